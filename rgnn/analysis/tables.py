"""Results of several runs as one record and as rows of CSV."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from rgnn.analysis.activation import Arrhenius
from rgnn.analysis.conductivity import Conductivity
from rgnn.analysis.diffusion import Diffusion
from rgnn.analysis.joint import Joint
from rgnn.analysis.mapping import conductivity_mapping, diffusion_mapping, to_mapping
from rgnn.analysis.run import Analysis, differences, pair_name
from rgnn.analysis.settings import AnalysisSettings
from rgnn.analysis.vibrations import PER_CM
from rgnn.base.estimate import Estimate


def record(
    config: AnalysisSettings,
    runs: Sequence[Analysis],
    reference: Analysis | None,
    fits: Mapping[int, Arrhenius],
    together: Sequence[Joint] = (),
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
    if together:
        result["together"] = [_joint(joint) for joint in together]
    if fits:
        result["arrhenius"] = {chemical_symbols[z]: _fit(fit) for z, fit in fits.items()}
    return result


def _joint(joint: Joint) -> dict[str, Any]:
    return {
        "runs": list(joint.names),
        "temperature_K": joint.temperature,
        "cm2_per_s": {chemical_symbols[d.element]: diffusion_mapping(d) for d in joint.elements},
        "conductivity": None if joint.conductivity is None else conductivity_mapping(joint.conductivity),
        "notes": list(joint.notes),
    }


def _fit(fit: Arrhenius) -> dict[str, Any]:
    return {
        "energy_eV": fit.energy.value,
        "energy_95_eV": [fit.energy.low, fit.energy.high],
        "prefactor_cm2_per_s": fit.prefactor,
        "temperatures_K": fit.temperatures.tolist(),
        "cm2_per_s": [d.value for d in fit.coefficients],
    }


class _Rows:
    """Lines of CSV, one number each."""

    def __init__(self) -> None:
        self.lines = ["run,quantity,of,unit,value,low_95,high_95"]

    def add(self, run: str, quantity: str, of: str, unit: str, e: Estimate | float | None) -> None:
        """A line, where there is a number."""
        if e is None:
            return
        e = e if isinstance(e, Estimate) else Estimate(e, float("nan"), float("nan"))
        numbers = ["" if not np.isfinite(x) else f"{x:.6g}" for x in (e.value, e.low, e.high)]
        self.lines.append(",".join([_quoted(run), quantity, of, unit, *numbers]))

    def moves(self, run: str, elements: Sequence[Diffusion], c: Conductivity | None) -> None:
        """How elements move, and what they conduct."""
        for d in elements:
            symbol = chemical_symbols[d.element]
            self.add(run, "diffusion coefficient", symbol, "cm2/s", d.coefficient)
            if d.coefficient is None:
                self.add(run, "diffusion coefficient below", symbol, "cm2/s", d.bound)
            self.add(run, "exponent of displacement", symbol, "", d.exponent)
        if c is not None:
            self.add(run, "conductivity of ions alone", "all", "mS/cm", c.alone)
            self.add(run, "conductivity of ions alone below", "all", "mS/cm", c.bound)
            self.add(run, "conductivity of all charges", "all", "mS/cm", c.together)
            self.add(run, "Haven ratio", "all", "", c.haven)

    def run(self, a: Analysis, known: Analysis) -> None:
        """All numbers of a run; `known` is what its g(r) is compared with."""
        for name, kelvin in a.temperature.items():
            self.add(a.name, "temperature", name, "K", kelvin)
        self.add(a.name, "work of the forces", "all", "meV/atom/ps", a.work)
        for shell in a.shells:
            self.add(a.name, "coordination", shell.name, "", shell.number)
            self.add(a.name, "coordination distance", shell.name, "Angstrom", shell.distance)
        self.moves(a.name, () if a.displacements is None else a.displacements.elements, a.conductivity)
        if a.vibrations is not None:
            for z in a.vibrations.density:
                self.add(a.name, "mean frequency", chemical_symbols[z], "THz", a.vibrations.mean(z))
        if a.radial is not None and known.radial is not None and a is not known:
            for name, x in differences(a.radial, known.radial).items():
                self.add(a.name, f"g(r) difference from {known.name}", name, "", x)
        for name, x in a.floor.items():
            self.add(a.name, "g(r) difference of halves", name, "", x)


def csv_rows(
    runs: Sequence[Analysis],
    reference: Analysis | None,
    fits: Mapping[int, Arrhenius],
    together: Sequence[Joint] = (),
) -> list[str]:
    """One number with its interval a line."""
    rows = _Rows()
    for a in [*runs, *([] if reference is None else [reference])]:
        rows.run(a, reference if reference is not None else runs[0])
    for joint in together:
        rows.moves(joint.name, joint.elements, joint.conductivity)
    for z, fit in fits.items():
        rows.add("all runs", "activation energy", chemical_symbols[z], "eV", fit.energy)
    return rows.lines


def radial_rows(runs: Sequence[Analysis]) -> list[str]:
    """g(r) of every run: r, then all atoms and each pair."""
    tables = []
    for a in runs:
        if (found := a.radial) is not None:
            of_pairs = {pair_name(pair): found.of(pair) for pair in found.pairs}
            tables.append((a.name, {"r_A": found.r, "all": found.total, **of_pairs}))
    return _joined(tables)


def displacement_rows(runs: Sequence[Analysis]) -> list[str]:
    """Mean squared displacement of every run: lag, then each element; lags up to half of the run."""
    tables = []
    for a in runs:
        if (moved := a.displacements) is not None:
            columns = {"lag_ps": moved.lags}
            columns |= {f"{chemical_symbols[d.element]}_A2": d.msd for d in moved.elements}
            tables.append((a.name, {name: x[: len(moved.lags) // 2] for name, x in columns.items()}))
    return _joined(tables)


def vibration_rows(runs: Sequence[Analysis]) -> list[str]:
    """Density of states of every run: THz, 1/cm, then all atoms and each element, per THz."""
    tables = []
    for a in runs:
        if (v := a.vibrations) is not None:
            columns = {"THz": v.frequency, "per_cm": PER_CM * v.frequency, "all_per_THz": v.total}
            columns |= {f"{chemical_symbols[z]}_per_THz": states for z, states in v.density.items()}
            tables.append((a.name, columns))
    return _joined(tables)


def _joined(tables: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> list[str]:
    """One table of those of several runs, with all their columns; a field is empty where a run has no such column."""
    names = list(dict.fromkeys(name for _, columns in tables for name in columns))
    rows = [",".join(["run", *names])]
    for run, columns in tables:
        texts = [[f"{x:.6g}" for x in columns[name]] if name in columns else None for name in names]
        length = len(next(iter(columns.values())))
        rows += [",".join([_quoted(run), *("" if t is None else t[k] for t in texts)]) for k in range(length)]
    return rows


def _quoted(run: str) -> str:
    """The name of a run as a field."""
    return f'"{run}"' if "," in run else run
