"""What a check of energy conservation writes: conservation.json and a report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from rgnn.analysis.conservation import PROBES, STEPS, Conservation, Heating, Jacobian, Push, Verdict
from rgnn.base.estimate import Estimate
from rgnn.base.files import write_atomic
from rgnn.evaluation import EvaluationSettings
from rgnn.reports.html import Table, write_report
from rgnn.reports.text import interval

WORDS: dict[Verdict, str] = {
    "nearly_conservative": "nearly conservative: NVE is worth a try",
    "as_published_direct_models": "as far from conservative as published direct models (0.004 to 0.03): run NVT",
    "far_from_conservative": "far from conservative: NVT only, and look at the temperature of each element",
}


def conservation_facts(found: Conservation, config: EvaluationSettings, frames: int, nve_steps: int) -> dict[str, str]:
    """How it was measured, and what that says."""
    steps = ", ".join(f"{h:g}" for h in STEPS)
    return {
        "Model": config.model,
        "Frames": f"{frames} of {config.store}",
        "Asymmetry": "λ = |J - Jᵀ| / (2 |J|), Frobenius norms (Bigi et al. 2025, arXiv 2412.11569): 0 for forces of an "
        "energy, at most 1",
        "Jacobian": f"{PROBES} random directions a frame, central differences over {steps} Å a component",
        "NVE": f"{nve_steps} steps of 1 fs at {found.temperature:g} K (--nve-steps), twice the growth of the kinetic "
        "energy; the interval is what energy sloshing between motion and bonds gives a run this short",
        "Verdict": WORDS[found.verdict],
    }


def conservation_tables(found: Conservation, frames: Sequence[int], structures: Sequence[Atoms]) -> list[Table]:
    """Of the Jacobian, of net force and torque, and of heating."""
    return [
        _jacobian_table(found.jacobians),
        _push_table(frames, structures, found.pushes),
        _heating_table(found.heating),
    ]


def conservation_record(found: Conservation, config: EvaluationSettings, frames: Sequence[int]) -> dict[str, Any]:
    """All numbers, with their units in the keys."""

    def plain(e: Estimate | None) -> dict[str, Any] | None:
        return None if e is None else {"value": e.value, "95%": [e.low, e.high]}

    heating = found.heating
    return {
        "model": config.model,
        "store": config.store,
        "frames": list(frames),
        "verdict": found.verdict,
        "asymmetry": {
            j.name: {
                "by_step_angstrom": {f"{h:g}": plain(a.value) for h, a in j.by_step.items()},
                "plateau": j.has_plateau,
                "antisymmetric_ev_per_angstrom2": j.result.antisymmetric,
                "symmetric_ev_per_angstrom2": j.result.symmetric,
            }
            for j in found.jacobians
        },
        "net_force": [push.net_force for push in found.pushes],
        "net_torque": [push.net_torque for push in found.pushes],
        "nve_temperature_kelvin": found.temperature,
        "nve_mev_per_atom_ps": {
            "noise_off": plain(heating.noise_off),
            "as_trained": plain(heating.as_trained),
            "expected_of_noise": heating.expected,
        },
        "force_noise_ev_per_angstrom": heating.force_noise,
    }


def write_conservation(
    found: Conservation,
    config: EvaluationSettings,
    frames: Sequence[int],
    structures: Sequence[Atoms],
    nve_steps: int,
    folder: Path,
) -> list[Path]:
    """Write report.html and conservation.json into `folder`; these files."""
    record = conservation_record(found, config, frames)
    write_atomic(folder / "conservation.json", json.dumps(record, indent=2))
    facts = conservation_facts(found, config, len(frames), nve_steps)
    tables = conservation_tables(found, frames, structures)
    page = write_report(folder / "report.html", f"Conservation of energy by {config.model}", facts, tables, [])
    return [page, folder / "conservation.json"]


def _jacobian_table(jacobians: Sequence[Jacobian]) -> Table:
    rows = [[f"{h:g} Å", *(interval(j.by_step[h].value) for j in jacobians)] for h in STEPS]
    rows.append(["plateau", *("yes" if j.has_plateau else "no" for j in jacobians)])
    rows.append(["|S|_F (eV/Å²)", *(f"{j.result.symmetric:.1f}" for j in jacobians)])
    return Table("Asymmetry λ of the Jacobian by step [95%]", ["step", *(j.name for j in jacobians)], rows)


def _push_table(frames: Sequence[int], structures: Sequence[Atoms], pushes: Sequence[Push]) -> Table:
    rows = []
    for index, atoms, push in zip(frames, structures, pushes, strict=True):
        kelvin = f"{atoms.info['temperature']:g} K" if "temperature" in atoms.info else ""
        torque = "periodic" if push.net_torque is None else f"{push.net_torque:.3g}"
        rows.append([str(index), kelvin, f"{push.net_force:.3g}", torque])
    columns = ["frame", "temperature", "|ΣF| / N over mean |F|", "|Σ r×F| / Σ|r||F|"]
    return Table("Net force and torque before their removal, noise off", columns, rows)


def _heating_table(heating: Heating) -> Table:
    rows = [["noise off", interval(heating.noise_off)]]
    if heating.as_trained is not None:
        rows.append(["noise as trained", interval(heating.as_trained)])
    if heating.expected is not None:
        name = f"by the noise of the forces ({heating.force_noise:.3g} eV/Å): σ² dt / 2m"
        rows.append([name, f"{heating.expected:.3g}"])
    return Table("Heating in NVE, meV/atom/ps", ["", "heating"], rows)
