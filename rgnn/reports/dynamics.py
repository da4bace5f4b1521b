"""What a run of molecular dynamics came to, in numbers with their units in the keys."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rgnn.md import MDResult, MDSettings
from rgnn.md.lammps.script import ScriptResult
from rgnn.md.settings import ClosestAtoms
from rgnn.reports.html import Table

# Ends of the keys that say the unit.
UNITS = {
    "temperature": "_kelvin",
    "element_temperature": "_kelvin",
    "net_force": "_ev_per_angstrom",
    "work": "_mev_per_atom_ps",
    "heat": "_mev_per_atom_ps",
    "potential_energy": "_ev",
    "pressure": "_gpa",
    "volume": "_cubic_angstrom",
    "density": "_g_per_cm3",
    "density_fluctuation": "_g_per_cm3",
    "drift": "_mev_per_atom_ps",
    "drift_error": "_mev_per_atom_ps",
    "temperature_error": "_kelvin",
    "element_temperature_error": "_kelvin",
    "uncertainty_time": "_ps",
}


def dynamics_mapping(result: MDResult, settings: MDSettings, first_peaks: Mapping[str, float]) -> dict[str, Any]:
    """All measures of a run as plain values, as `rgnn md --json` prints them.

    Args:
        result: of the run.
        settings: of the run; in NVE a temperature is not shifted, but changes at a rate.
        first_peaks: distance of the first peak of g(r) of each pair of elements, Å.
    """
    shift = "_kelvin_per_ps" if settings.ensemble_at(result.steps) == "nve" else "_kelvin"
    shifts = {"temperature_shift": shift, "temperature_shift_error": shift}
    plain = asdict(result) | {"closest": closest_mapping(result.closest)}
    return {"first_peaks_angstrom": dict(first_peaks), **_with_units(plain, UNITS | shifts)}


def closest_mapping(closest: Mapping[str, ClosestAtoms]) -> dict[str, Any]:
    """The closest atoms of each pair of elements as plain values with their units in the keys."""
    return {
        name: {
            "angstrom": each.distance,
            "time_ps": each.time,
            "training_angstrom": each.trained,
            "too_close": each.too_close,
        }
        for name, each in closest.items()
    }


def closest_table(closest: Mapping[str, ClosestAtoms]) -> Table:
    """The closest atoms of each pair of elements, beside the closest in training."""
    rows = []
    for name, each in closest.items():
        known, ratio = (
            ("", "") if each.trained is None else (f"{each.trained:.2f}", f"{each.distance / each.trained:.2f}")
        )
        verdict = "too close" if each.too_close else ""
        rows.append([name, f"{each.distance:.2f}", f"{each.time:.4g} ps", known, ratio, verdict])
    return Table("Closest atoms, Å", ["", "in run", "at", "in training", "ratio", ""], rows)


def closest_words(closest: Mapping[str, ClosestAtoms]) -> str:
    """The pair that came closest to what training has, or is too close; empty where nothing is known."""
    known = {name: each.distance / each.trained for name, each in closest.items() if each.trained}
    close = [name for name, each in closest.items() if each.too_close]
    worst = min(close or known, key=lambda name: known.get(name, 0.0), default=None)
    if worst is None:
        return ""
    each = closest[worst]
    beside = "" if each.trained is None else f", {known[worst]:.2f} of the closest in training"
    return f"{worst} {each.distance:.2f} Å at {each.time:.4g} ps{beside}{': too close' if close else ''}"


def script_mapping(result: ScriptResult) -> dict[str, Any]:
    """All measures of a user's LAMMPS input as plain values, as `rgnn md --input --json` prints them."""
    return _with_units(asdict(result), UNITS)


def _with_units(plain: Mapping[str, Any], units: Mapping[str, str]) -> dict[str, Any]:
    return {f"{name}{units.get(name, '')}": value for name, value in plain.items()}
