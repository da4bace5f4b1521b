"""Results of an analysis as plain numbers, with their units in the keys."""

from typing import Any

import numpy as np
from ase.data import chemical_symbols

from rgnn.analysis.conductivity import Conductivity
from rgnn.analysis.diffusion import Diffusion
from rgnn.analysis.run import Analysis
from rgnn.analysis.vibrations import Vibrations
from rgnn.base.estimate import Estimate
from rgnn.md.contacts import pair_name


def plain(e: Estimate) -> dict[str, Any]:
    """Value and interval, None where nothing bounds it."""
    return {"value": e.value, "95%": [e.low, e.high] if e.bounded else None}


def to_mapping(a: Analysis) -> dict[str, Any]:
    """All results as plain numbers; intervals as [low, high]."""
    moved = a.displacements
    return {
        "name": a.name,
        "path": str(a.trajectory.path),
        "frames": a.frames,
        "atoms": a.atoms,
        "skipped_frames": a.skipped,
        "length_ps": a.length,
        "target_K": a.trajectory.target or a.trajectory.temperature,
        "temperature_K": {name: plain(t) for name, t in a.temperature.items()},
        "thermostat": a.thermostat or None,
        "equipartition": a.equipartition or None,
        "work_meV_per_atom_ps": None if a.work is None else plain(a.work),
        "radial": None
        if a.radial is None
        else {
            "bin_A": a.radial.width,
            "frames": a.radial.frames,
            "first_peak_A": {pair_name(p): _or_none(a.radial.first_peak(p)) for p in a.radial.pairs},
            "difference_of_halves": {name: _or_none(x) for name, x in a.floor.items()},
        },
        "coordination": {s.name: {"within_A": s.distance, **plain(s.number)} for s in a.shells},
        "diffusion": None
        if moved is None
        else {
            "method": moved.method,
            "cm2_per_s": {chemical_symbols[d.element]: diffusion_mapping(d) for d in moved.elements},
        },
        "conductivity": None if a.conductivity is None else conductivity_mapping(a.conductivity),
        "vibrations": None if a.vibrations is None else _vibrations(a.vibrations),
        "closest": {
            pair_name(pair): {
                "angstrom": found.distance,
                "time_ps": found.time,
                "frame": found.frame,
                "limit_angstrom": a.closest.limits.limit(pair),
                "training_angstrom": a.closest.limits.trained.get(pair),
            }
            for pair, found in sorted(a.closest.approaches.items())
        },
        "unsound": a.unsound or None,
        "notes": list(a.notes),
    }


def diffusion_mapping(d: Diffusion) -> dict[str, Any]:
    """Coefficient with its interval, or None for both and an upper bound."""
    known = {"value": None, "95%": None} if d.coefficient is None else plain(d.coefficient)
    return {
        **known,
        "below": d.bound if d.coefficient is None else None,
        "exponent": d.exponent,
        "verdict": d.verdict,
        "fit_ps": list(d.fit),
        "displacement_A2": _or_none(d.reached),
        "hop_A": None if d.hop is None else d.hop.length,
        "hop_from": None if d.hop is None else d.hop.source,
    }


def conductivity_mapping(c: Conductivity) -> dict[str, Any]:
    """Both conductivities and the Haven ratio, with what they were worked out from."""
    return {
        "charges_e": {chemical_symbols[z]: q for z, q in c.charges.items()},
        "nernst_einstein_mS_per_cm": None if c.alone is None else plain(c.alone),
        "nernst_einstein_below_mS_per_cm": c.bound,
        "collective_mS_per_cm": None if c.together is None else plain(c.together),
        "haven_ratio": None if c.haven is None else plain(c.haven),
        "collective_fit_ps": None if c.fit is None else list(c.fit),
        "temperature_K": c.temperature,
        "volume_A3": c.volume,
        "notes": list(c.notes),
    }


def _vibrations(v: Vibrations) -> dict[str, Any]:
    names = {chemical_symbols[z]: z for z in v.density}
    return {
        "resolution_THz": float(v.frequency[1]),
        "stretches": v.stretches,
        "mean_THz": {name: v.mean(z) for name, z in names.items()},
        "99%_below_THz": {name: v.below(z, 0.99) for name, z in names.items()},
    }


def _or_none(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None
