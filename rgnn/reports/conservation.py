"""What a check of energy conservation writes: conservation.json and a report."""

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from ase import Atoms

from rgnn.analysis.conservation import PROBES, PUBLISHED, STEPS, Conservation, Differences, Jacobian, Push, Verdict
from rgnn.analysis.nve import NVE
from rgnn.base.estimate import Estimate
from rgnn.base.files import write_atomic
from rgnn.evaluation import EvaluationSettings
from rgnn.reports.html import Table, write_report
from rgnn.reports.text import interval

PUBLISHED_DIRECT = "published direct models ({:g} to {:g})".format(*PUBLISHED)
WORDS: dict[Verdict, str] = {
    "breaks_off_in_nve": "explodes in NVE ({broke_off}): no dynamics without a thermostat, and train it further",
    "heats_too_much": "heats by {percent:.0f}% of its temperature in a picosecond of NVE: NVT only, with much friction",
    "nearly_conservative": f"nearer to conservative than {PUBLISHED_DIRECT}: NVE is worth a try",
    "as_published_direct_models": f"as far from conservative as {PUBLISHED_DIRECT}: run NVT",
    "farther_than_published_direct_models": f"farther from conservative than {PUBLISHED_DIRECT}: NVT only, and look "
    "at the temperature of each element",
    "forces_are_no_derivative": "forces differ by {error:.2g}% from finite differences of the energy: NVT only",
    "conserves_energy": "conserves energy: NVE and NPT hold",
    "drift_noticeable": "the total energy drifts noticeably: short runs in NVE hold, long ones need a thermostat",
    "drift_too_much": "the total energy drifts too much for NVE: run NVT",
    "drift_unknown": "forces are derivatives of the energy; the run is too short to tell its drift (--nve-steps)",
}


def verdict_words(found: Conservation) -> str:
    """What was found, in a sentence."""
    broken = next((run.broke_off for run in found.nve.runs if run.broke_off), "")
    percent, error = 100 * found.heating_part.value, 100 * (found.energy_error or 0.0)
    return WORDS[found.verdict].format(broke_off=broken, percent=percent, error=error)


DIFFERENCES = (
    "forces against (E(x + h v) - E(x - h v)) / 2h along the same directions, noise off: root mean square of the "
    "difference over that of the slopes"
)


def conservation_facts(found: Conservation, config: EvaluationSettings, frames: int, nve_steps: int) -> dict[str, str]:
    """How it was measured, and what that says."""
    steps = ", ".join(f"{h:g}" for h in STEPS)
    return {
        "Model": config.model,
        "Frames": f"{frames} of {config.store}",
        "Asymmetry": "λ = |J - Jᵀ| / (2 |J|), Frobenius norms (Bigi et al. 2025, arXiv 2412.11569): 0 for forces of an "
        "energy, at most 1",
        "Jacobian": f"{PROBES} random directions a frame, central differences over {steps} Å a component",
        "NVE": f"{nve_steps} steps of 1 fs at {found.temperature:g} K (--nve-steps); heating: twice the growth of the "
        "kinetic energy; the interval is what energy sloshing between motion and bonds gives a run this short",
        **({"Differences": DIFFERENCES} if found.differences else {}),
        "Verdict": verdict_words(found),
    }


def conservation_tables(found: Conservation, frames: Sequence[int], structures: Sequence[Atoms]) -> list[Table]:
    """Of the Jacobian, of net force and torque, of differences of an energy, and of NVE."""
    tables = [_jacobian_table(found.jacobians), _push_table(frames, structures, found.pushes)]
    tables += [_difference_table(found.differences)] if found.differences else []
    return [*tables, _nve_table(found.nve)]


def conservation_record(found: Conservation, config: EvaluationSettings, frames: Sequence[int]) -> dict[str, Any]:
    """All numbers, with their units in the keys."""

    def plain(e: Estimate | None) -> dict[str, Any] | None:
        if e is None or not isfinite(e.value):
            return None
        return {"value": e.value, "95%": [e.low, e.high] if e.bounded else None}

    def finite(x: float) -> float | None:
        return x if isfinite(x) else None

    nve = found.nve
    named = {"noise_off": nve.noise_off, "as_trained": nve.as_trained}
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
            **{name: None if run is None else plain(run.heating) for name, run in named.items()},
            "expected_of_noise": nve.expected,
        },
        "nve_drift_mev_per_atom_ps": {name: None if run is None else plain(run.drift) for name, run in named.items()},
        "nve_broke_off": {name: None if run is None else run.broke_off or None for name, run in named.items()},
        "energy_difference_error": {f"{h:g}": finite(d.error) for h, d in found.differences.items()} or None,
        "force_noise_ev_per_angstrom": nve.force_noise,
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


def _difference_table(differences: Mapping[float, Differences]) -> Table:
    rows = [[f"{h:g} Å", f"{100 * d.error:.2g}%"] for h, d in differences.items()]
    return Table("Forces against finite differences of the energy, by step", ["step", "difference"], rows)


def _nve_table(nve: NVE) -> Table:
    rows = []
    for name, run in (("noise off", nve.noise_off), ("noise as trained", nve.as_trained)):
        if run is not None:
            heating = "" if run.heating.value != run.heating.value else interval(run.heating)
            drift = "" if run.drift is None else interval(run.drift)
            rows.append([name, heating, drift, run.broke_off or "to its end"])
    if nve.expected is not None:
        name = f"by the noise of the forces ({nve.force_noise:.3g} eV/Å): σ² dt / 2m"
        rows.append([name, f"{nve.expected:.3g}", "", ""])
    columns = ["", "heating", "drift of the total energy", "went"]
    if all(run.drift is None for run in nve.runs):
        columns, rows = [columns[0], columns[1], columns[3]], [[row[0], row[1], row[3]] for row in rows]
    return Table("NVE, meV/atom/ps [95%]", columns, rows)
