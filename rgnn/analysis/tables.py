"""Results of several runs as one record and as rows of CSV."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from rgnn.analysis.activation import Arrhenius
from rgnn.analysis.run import Analysis, AnalysisSettings, differences, pair_name, to_mapping
from rgnn.base.estimate import Estimate


def record(
    config: AnalysisSettings, runs: Sequence[Analysis], reference: Analysis | None, fits: Mapping[int, Arrhenius]
) -> dict[str, Any]:
    """All results as plain numbers."""
    known = reference if reference is not None else runs[0]
    result: dict[str, Any] = {"settings": config.to_mapping(), "runs": [to_mapping(a) for a in runs]}
    if reference is not None:
        result["reference"] = to_mapping(reference)
    if known.radial is not None:
        apart = {
            a.name: {k: None if np.isnan(x) else x for k, x in differences(a.radial, known.radial).items()}
            for a in runs
            if a.radial is not None and a is not known
        }
        result["radial_difference"] = {"from": known.name, "of": apart}
    if fits:
        result["arrhenius"] = {chemical_symbols[z]: _fit(fit) for z, fit in fits.items()}
    return result


def _fit(fit: Arrhenius) -> dict[str, Any]:
    return {
        "energy_eV": fit.energy.value,
        "energy_95_eV": [fit.energy.low, fit.energy.high],
        "prefactor_cm2_per_s": fit.prefactor,
        "temperatures_K": fit.temperatures.tolist(),
        "cm2_per_s": [d.value for d in fit.coefficients],
    }


def csv_rows(runs: Sequence[Analysis], reference: Analysis | None, fits: Mapping[int, Arrhenius]) -> list[str]:
    """One number with its interval a line."""
    known = reference if reference is not None else runs[0]
    rows = ["run,quantity,of,unit,value,low_95,high_95"]

    def add(run: str, quantity: str, of: str, unit: str, e: Estimate | float) -> None:
        e = e if isinstance(e, Estimate) else Estimate(e, float("nan"), float("nan"))
        numbers = ["" if not np.isfinite(x) else f"{x:.6g}" for x in (e.value, e.low, e.high)]
        rows.append(",".join([f'"{run}"' if "," in run else run, quantity, of, unit, *numbers]))

    for a in [*runs, *([] if reference is None else [reference])]:
        for name, kelvin in a.temperature.items():
            add(a.name, "temperature", name, "K", kelvin)
        if a.work is not None:
            add(a.name, "work of the forces", "all", "meV/atom/ps", a.work)
        for shell in a.shells:
            add(a.name, "coordination", shell.name, "", shell.number)
            add(a.name, "coordination distance", shell.name, "Angstrom", shell.distance)
        for d in () if a.displacements is None else a.displacements.elements:
            add(a.name, "diffusion coefficient", chemical_symbols[d.element], "cm2/s", d.coefficient)
            add(a.name, "exponent of displacement", chemical_symbols[d.element], "", d.exponent)
        if a.radial is not None and known.radial is not None and a is not known:
            for name, x in differences(a.radial, known.radial).items():
                add(a.name, f"g(r) difference from {known.name}", name, "", x)
        for name, x in a.floor.items():
            add(a.name, "g(r) difference of halves", name, "", x)
    for z, fit in fits.items():
        add("all runs", "activation energy", chemical_symbols[z], "eV", fit.energy)
    return rows


def radial_rows(runs: Sequence[Analysis]) -> list[str]:
    """g(r) of every run: r, then all atoms and each pair."""
    rows: list[str] = []
    for a in runs:
        if a.radial is not None:
            rows = rows or [",".join(["run", "r_A", "all", *map(pair_name, a.radial.pairs)])]
            table = np.column_stack([a.radial.r, a.radial.total, *a.radial.g])
            rows += [",".join([a.name, *(f"{x:.6g}" for x in row)]) for row in table]
    return rows


def displacement_rows(runs: Sequence[Analysis]) -> list[str]:
    """Mean squared displacement of every run: lag, then each element; lags up to half of the run."""
    rows: list[str] = []
    for a in runs:
        moved = a.displacements
        if moved is not None:
            symbols = [f"{chemical_symbols[d.element]}_A2" for d in moved.elements]
            rows = rows or [",".join(["run", "lag_ps", *symbols])]
            table = np.column_stack([moved.lags, *(d.msd for d in moved.elements)])[: len(moved.lags) // 2]
            rows += [",".join([a.name, *(f"{x:.6g}" for x in row)]) for row in table]
    return rows
