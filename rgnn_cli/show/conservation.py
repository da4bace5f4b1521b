"""rgnn eval --conservation: how far a model's forces are from those of an energy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgnn_cli.show.analyse import interval

if TYPE_CHECKING:
    from ase import Atoms

    from rgnn.analysis.conservation import Jacobian
    from rgnn.data.store.reader import GraphStore
    from rgnn.evaluation import Estimate, EvaluationSettings
    from rgnn.models.base import ForceField
    from rgnn.reports.html import Table
    from rgnn_cli.session.console import Reporter

# Frames that are looked at where nobody says how many.
FRAMES = 3


def judge(
    report: Reporter,
    model: ForceField,
    data: GraphStore,
    config: EvaluationSettings,
    frames: int | None,
    nve_steps: int,
    folder: Path,
) -> None:
    """Measure, show the tables with a verdict, and write conservation.json and report.html."""
    from rgnn.analysis import conservation as measure
    from rgnn.base.estimate import evenly
    from rgnn.base.files import write_atomic
    from rgnn.base.settings import dump_yaml
    from rgnn.reports.html import write_report
    from rgnn_cli.session.signals import asked_to_stop

    chosen = evenly(config.frames, frames or FRAMES)
    structures = [_atoms(data, k) for k in chosen]
    with report.progress("Probing the Jacobian", None, "frames") as meter:

        def progress(done: int, total: int) -> None:
            if meter.total is None:
                meter.start(done, total)
            meter.update(done)

        jacobians = measure.jacobians(model, structures, seed=config.seed, progress=progress)
    pushes = [_pushes(model, atoms) for atoms in structures]
    start = structures[len(structures) // 2]
    with asked_to_stop() as stop, report.progress("NVE", None, "runs") as meter:
        heating = _heating(model, start, nve_steps, config.seed, stop, meter.advance)
    result = jacobians[0].result
    words = measure.verdict(result.value.value)
    tables = [_jacobian_table(jacobians), _push_table(chosen, structures, pushes), _heating_table(heating)]
    record = _record(config, chosen, jacobians, pushes, heating, words)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "config.yaml", dump_yaml(config.to_mapping()))
    write_atomic(folder / "conservation.json", json.dumps(record, indent=2))
    steps = ", ".join(f"{h:g}" for h in measure.STEPS)
    facts = {
        "Model": config.model,
        "Frames": f"{len(chosen)} of {config.store}",
        "Asymmetry": "λ = |J - Jᵀ| / (2 |J|), Frobenius norms (Bigi et al. 2025, arXiv 2412.11569): 0 for forces of an "
        "energy, at most 1",
        "Jacobian": f"{measure.PROBES} random directions a frame, central differences over {steps} Å a component",
        "NVE": f"{nve_steps} steps of 1 fs at {_kelvin(start):g} K (--nve-steps), twice the growth of the kinetic "
        "energy; the interval is what energy sloshing between motion and bonds gives a run this short",
        "Verdict": words,
    }
    page = write_report(folder / "report.html", f"Conservation of energy by {config.model}", facts, tables, [])
    for name in ("Asymmetry", "Jacobian", "NVE"):
        report.say(f"{name}: {facts[name]}")
    for table in tables:
        report.table(table.title, table.columns, table.rows)
    if not jacobians[0].has_plateau:
        report.warn("the asymmetry follows the length of the step, so it is no property of the model alone.")
    report.say(f"Verdict: asymmetry {interval(result.value)}, [bold]{words}[/]")
    report.say(f"Results: {page}, {folder / 'conservation.json'}")
    report.result({"out": str(folder), **record})


def _atoms(data: GraphStore, index: int) -> Atoms:
    from ase import Atoms

    frame = data.frame(index)
    atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    if frame.temperature is not None:
        atoms.info["temperature"] = frame.temperature
    return atoms


def _kelvin(atoms: Atoms) -> float:
    return float(atoms.info.get("temperature", 300.0))


def _pushes(model: ForceField, atoms: Atoms) -> tuple[float, float | None]:
    """Net force, and net torque of what is not periodic."""
    from rgnn.analysis.conservation import forces_of, net_force, net_torque

    forces = forces_of(model, atoms, model.hardware)(atoms.positions)
    return net_force(forces), None if atoms.pbc.any() else net_torque(atoms.positions, forces)


def _heating(model: ForceField, atoms: Atoms, steps: int, seed: int, stop: Any, advance: Any) -> dict[str, Any]:
    """Measured in NVE with noise as trained and off, and what fresh read noise should give."""
    from rgnn.analysis.conservation import expected_heating, nve_heating, read_noise
    from rgnn.md import MDSettings

    config = MDSettings(steps=steps, temperature=_kelvin(atoms), ensemble="nve", seed=seed, write_every=1)
    config = config.override(any_element=True)
    found: dict[str, Any] = {"noise off": nve_heating(model, atoms, config.override(noise=0.0), stop)}
    advance()
    if model.hardware.noise is None or not model.uses_chip:
        return found
    found["noise as trained"] = nve_heating(model, atoms, config, stop)
    advance()
    variance = read_noise(model, atoms, seed=seed) if model.hardware.varies_between_reads else None
    if variance is not None:
        found["expected of the noise"] = expected_heating(variance, atoms.get_masses(), config.timestep)
        found["force noise"] = float(variance.mean()) ** 0.5
    return found


def _jacobian_table(jacobians: Sequence[Jacobian]) -> Table:
    from rgnn.analysis.conservation import STEPS
    from rgnn.reports.html import Table

    rows = [[f"{h:g} Å", *(interval(j.by_step[h].value) for j in jacobians)] for h in STEPS]
    rows.append(["plateau", *("yes" if j.has_plateau else "no" for j in jacobians)])
    rows.append(["|S|_F (eV/Å²)", *(f"{j.result.symmetric:.1f}" for j in jacobians)])
    return Table("Asymmetry λ of the Jacobian by step [95%]", ["step", *(j.name for j in jacobians)], rows)


def _push_table(
    chosen: Sequence[int], structures: Sequence[Atoms], pushes: Sequence[tuple[float, float | None]]
) -> Table:
    from rgnn.reports.html import Table

    rows = []
    for index, atoms, (force, torque) in zip(chosen, structures, pushes, strict=True):
        kelvin = f"{_kelvin(atoms):g} K" if "temperature" in atoms.info else ""
        rows.append([str(index), kelvin, f"{force:.3g}", "periodic" if torque is None else f"{torque:.3g}"])
    columns = ["frame", "temperature", "|ΣF| / N over mean |F|", "|Σ r×F| / Σ|r||F|"]
    return Table("Net force and torque before their removal, noise off", columns, rows)


def _heating_table(heating: dict[str, Any]) -> Table:
    from rgnn.reports.html import Table

    rows = [[name, interval(heating[name])] for name in ("noise off", "noise as trained") if name in heating]
    if "force noise" in heating:
        name = f"by the noise of the forces ({heating['force noise']:.3g} eV/Å): σ² dt / 2m"
        rows.append([name, f"{heating['expected of the noise']:.3g}"])
    return Table("Heating in NVE, meV/atom/ps", ["", "heating"], rows)


def _record(
    config: EvaluationSettings,
    chosen: Sequence[int],
    jacobians: Sequence[Jacobian],
    pushes: Sequence[tuple[float, float | None]],
    heating: dict[str, Any],
    words: str,
) -> dict[str, Any]:
    def plain(e: Estimate) -> dict[str, Any]:
        return {"value": e.value, "95%": [e.low, e.high]}

    return {
        "model": config.model,
        "store": config.store,
        "frames": list(chosen),
        "verdict": words,
        "asymmetry": {
            j.name: {
                "by_step_A": {f"{h:g}": plain(a.value) for h, a in j.by_step.items()},
                "plateau": j.has_plateau,
                "antisymmetric_eV_per_A2": j.result.antisymmetric,
                "symmetric_eV_per_A2": j.result.symmetric,
            }
            for j in jacobians
        },
        "net_force": [force for force, _ in pushes],
        "net_torque": [torque for _, torque in pushes],
        "nve_meV_per_atom_ps": {k: v if isinstance(v, float) else plain(v) for k, v in heating.items()},
    }
