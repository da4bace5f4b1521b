"""What a sweep over hardware writes: tables, figures, and one report with all of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from rgnn.analysis import Analysis, AnalysisSettings, differences, doubts, tables
from rgnn.base.files import write_atomic
from rgnn.md import SweepSettings
from rgnn.plots import analysis as plots
from rgnn.reports.analysis import facts
from rgnn.reports.html import Picture, Table, write_report
from rgnn.reports.text import interval, kelvin, percent
from rgnn.reports.transport import coefficient, notes


def write_sweep(
    config: SweepSettings, runs: Sequence[Analysis], out: Path, how: AnalysisSettings
) -> tuple[list[Path], dict[str, Any]]:
    """Write sweep.json, sweep.csv, figures and report.html into `out`; these files, and what is in the JSON.

    Args:
        config: of the sweep.
        runs: analysed, one for each setting, named by it; the first is that of the ideal chip.
        out: folder of the sweep.
        how: they were analysed.
    """
    apart = _apart(runs)
    record = tables.record(how, runs, None, {})
    for entry, hardware in zip(record["runs"], config.runs, strict=True):
        entry["hardware"] = hardware.to_mapping()
    write_atomic(out / "sweep.json", json.dumps(record, indent=2))
    write_atomic(out / "sweep.csv", "\n".join(tables.csv_rows(runs, None, {})) + "\n")
    pictures = [
        Picture(
            "Observables against hardware",
            plots.sweep_figure([a.name for a in runs], runs, apart, out / "sweep.png"),
            "Dotted: what two halves of the ideal run differ by; by chance, runs of its length differ by 0.7 of it.",
        )
    ]
    if runs[0].radial is not None:
        file = plots.radial_figure(runs[1:], runs[0], out / "rdf.png")
        pictures.append(Picture("Radial distributions", file, "Black: the ideal chip."))
    moved = plots.displacement_figure(runs, out / "msd.png")
    if moved is not None:
        pictures.append(Picture("Mean squared displacements", moved, "Shaded: lags of the plain line."))
    md = config.md
    about = {"Structure": config.origin.structure, "Model": config.origin.model}
    about["Dynamics"] = (
        f"Langevin at {md.initial_temperature:g} K, {md.total_steps} steps of {md.timestep:g} fs, seed {md.seed}"
    )
    title = f"Hardware and dynamics: {config.origin.structure}"
    if config.board.driver:
        about["Board"] = f"{config.board.driver}; its products are measured, not simulated"
    known = {**about, **facts(how, runs, None)}
    shown = sweep_tables(runs)
    if said := [*doubts(runs), *notes(runs)]:
        shown.append(Table("Remarks", ["what to know of the runs"], [[sentence] for sentence in said]))
    page = write_report(out / "report.html", title, known, shown, pictures)
    return [page, out / "sweep.json", out / "sweep.csv", *(p.file for p in pictures)], record


def sweep_tables(runs: Sequence[Analysis]) -> list[Table]:
    """Temperature and heating, differences of g(r), diffusion and coordination for each setting."""
    return [_observables(runs), *_radial(runs, _apart(runs)), *_diffusion(runs), *_shells(runs)]


def _apart(runs: Sequence[Analysis]) -> list[Mapping[str, float]]:
    """Integrated differences from the ideal chip's g(r); in its own place, what its two halves differ by."""
    if runs[0].radial is None:
        return [{} for _ in runs]
    others = [differences(a.radial, runs[0].radial) for a in runs[1:] if a.radial is not None]
    return [runs[0].floor, *others]


def _observables(runs: Sequence[Analysis]) -> Table:

    rows = [[a.name, kelvin(a.temperature.get("all")), "" if a.work is None else interval(a.work)] for a in runs]
    title = "Temperature (± half of the 95% interval), and what the model heats"
    return Table(title, ["hardware", "T (K)", "work of the forces (meV/atom/ps)"], rows)


def _radial(runs: Sequence[Analysis], apart: Sequence[Mapping[str, float]]) -> list[Table]:

    if not apart[0]:
        return []
    kinds = list(apart[0])
    rows = [[a.name, *(percent(found[k]) for k in kinds)] for a, found in zip(runs[1:], apart[1:], strict=True)]
    rows.append(["halves of the ideal run", *(percent(apart[0][k]) for k in kinds)])
    title = "g(r): ∫|g - g_ideal| dr / ∫ g_ideal dr; no more than between halves is no difference"
    return [Table(title, ["hardware", *kinds], rows)]


def _diffusion(runs: Sequence[Analysis]) -> list[Table]:

    moved = [a for a in runs if a.displacements is not None]
    if not moved:
        return []
    rows = [[a.name, *(coefficient(d) for d in a.displacements.elements)] for a in moved if a.displacements is not None]
    symbols = [chemical_symbols[d.element] for d in moved[0].displacements.elements]  # type: ignore[union-attr]
    title = "Diffusion coefficients, 10⁻⁵ cm²/s [95%]; below a bound where no diffusion was seen"
    return [Table(title, ["hardware", *symbols], rows)]


def _shells(runs: Sequence[Analysis]) -> list[Table]:
    """Counted within the ideal chip's distance in all runs: else the number would follow the distance."""
    first = runs[0]
    if first.radial is None:
        return []
    counts = first.radial.counts
    shells = [s for s in first.shells if counts[s.centre] <= counts[s.neighbour]]  # the other way says the same
    if not shells:
        return []
    rows = []
    for a in runs:
        assert a.radial is not None
        rows.append([a.name, *(f"{a.radial.coordination(s.centre, s.neighbour, s.distance):.2f}" for s in shells)])
    columns = ["hardware", *(f"{s.name}\n< {s.distance:.2f} Å" for s in shells)]
    return [Table("Coordination (A-B: of B around A), within the ideal run's first minima", columns, rows)]
