"""What a run of molecular dynamics came to, in numbers with their units in the keys."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rgnn.md import MDResult, MDSettings
from rgnn.md.lammps.script import ScriptResult

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
    "drift": "_mev_per_atom_ps",
    "drift_error": "_mev_per_atom_ps",
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
    return {"first_peaks_angstrom": dict(first_peaks), **_with_units(asdict(result), UNITS | shifts)}


def script_mapping(result: ScriptResult) -> dict[str, Any]:
    """All measures of a user's LAMMPS input as plain values, as `rgnn md --input --json` prints them."""
    return _with_units(asdict(result), UNITS)


def _with_units(plain: Mapping[str, Any], units: Mapping[str, str]) -> dict[str, Any]:
    return {f"{name}{units.get(name, '')}": value for name, value in plain.items()}
