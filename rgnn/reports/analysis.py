"""What an analysis of runs writes: tables, figures, and one report with all of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from rgnn.analysis import Analysis, AnalysisSettings, Arrhenius, Joint, differences, kinisi_is_here, tables
from rgnn.base.files import write_atomic
from rgnn.base.settings import dump_yaml
from rgnn.md.contacts import pair_name
from rgnn.plots import analysis as plots
from rgnn.reports.html import Picture, Table, write_report
from rgnn.reports.structure import shell_table
from rgnn.reports.text import interval, kelvin, percent
from rgnn.reports.transport import remarks, transport_tables

NO_KINISI = (
    "plain Einstein slopes, their intervals from the spread among three to ten parts of each run; "
    "pip install 'rgnn[analysis]' (kinisi; 420 MB with all it needs) gives Bayesian ones, which are narrower."
)


def write_analysis(
    folder: Path,
    config: AnalysisSettings,
    runs: Sequence[Analysis],
    reference: Analysis | None,
    fits: Mapping[int, Arrhenius],
    together: Sequence[Joint] = (),
) -> tuple[list[Path], dict[str, Any]]:
    """analysis.json, CSV files, figures and report.html; the files, and what is in the JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    record = tables.record(config, runs, reference, fits, together)
    write_atomic(
        folder / "config.yaml",
        dump_yaml({"analysis": config.to_mapping(), "runs": [str(r.trajectory.path) for r in runs]}),
    )
    write_atomic(folder / "analysis.json", json.dumps(record, indent=2))
    write_atomic(folder / "analysis.csv", "\n".join(tables.csv_rows(runs, reference, fits, together)) + "\n")
    everything = [*([] if reference is None else [reference]), *runs]
    files = [folder / "analysis.json", folder / "analysis.csv"]
    curves = {
        "rdf.csv": tables.radial_rows(everything),
        "msd.csv": tables.displacement_rows(runs),
        "vdos.csv": tables.vibration_rows(runs),
    }
    for name, rows in curves.items():
        if len(rows) > 1:
            write_atomic(folder / name, "\n".join(rows) + "\n")
            files.append(folder / name)
    pictures = _pictures(folder, runs, reference, fits)
    shown = analysis_tables(runs, reference, fits, together)
    if said := remarks(runs, together):
        shown.append(Table("Remarks", ["what was left out, and why"], [[sentence] for sentence in said]))
    title = "Analysis of " + (runs[0].name if len(runs) == 1 else f"{len(runs)} runs")
    page = write_report(folder / "report.html", title, facts(config, runs, reference), shown, pictures)
    return [page, *files, *(picture.file for picture in pictures)], record


def facts(config: AnalysisSettings, runs: Sequence[Analysis], reference: Analysis | None) -> dict[str, object]:
    """What is needed to read the tables."""
    left_out = f"{config.skip_ps:g} ps" if config.skip_ps is not None else f"{100 * config.skip:g}%"
    known: dict[str, object] = {"Left out": f"the first {left_out} of each run as equilibration (--skip)"}
    if runs[0].radial is not None:
        known["g(r)"] = f"bins of {runs[0].radial.width:.3g} Å up to {config.r_max:g} Å, not smoothed"
    if reference is not None:
        known["Reference"] = f"{reference.trajectory.path}, {reference.frames} frames" + (
            "" if reference.trajectory.temperature is None else f" at {reference.trajectory.temperature:g} K"
        )
    if runs[0].radial is not None and (reference is not None or len(runs) > 1):
        known["Agreement"] = (
            "halves are noisier than the whole: a long run with the reference's own forces would come to half of what "
            "the reference's halves differ by, one of equal length to 0.7 of it"
        )
    if any(a.displacements is not None for a in runs):
        known["Diffusion"] = (
            "by kinisi, Bayesian regression (McCluskey et al. 2025), 95% credible intervals"
            if kinisi_is_here()
            else NO_KINISI
        )
        known["Criterion"] = (
            "an element diffuses where its displacement passes the square of a hop, grows as t^0.7 to t^1.3, and surely"
            " grows (after He et al. 2018, doi 10.1038/s41524-018-0074-y)"
        )
    if config.charges:
        given = ", ".join(f"{x.element} {x.value:+g}" for x in config.charges)
        known["Charges"] = f"{given} e, as given (--charge)"
    return known


def analysis_tables(
    runs: Sequence[Analysis],
    reference: Analysis | None,
    fits: Mapping[int, Arrhenius],
    together: Sequence[Joint] = (),
) -> list[Table]:
    """What was analysed: temperature, g(r), coordination, diffusion, conductivity, vibrations, activation energies."""
    found = [
        _run_table(runs),
        _temperature_table(runs),
        _difference_table(runs, reference),
        shell_table(runs, reference),
        *_closest_tables(runs),
        *transport_tables(runs, together),
        _fit_table(fits),
    ]
    return [table for table in found if table is not None]


def _temperature_table(runs: Sequence[Analysis]) -> Table | None:

    elements = list(dict.fromkeys(name for a in runs for name in a.temperature if name != "all"))
    rows = [[a.name, *(kelvin(a.temperature.get(name)) for name in ("all", *elements))] for a in runs if a.temperature]
    return (
        Table("Temperature, K (± half of the 95% interval; alone: too short for one)", ["run", "all", *elements], rows)
        if rows
        else None
    )


def _run_table(runs: Sequence[Analysis]) -> Table:

    rows = []
    for a in runs:
        length = "" if a.length is None else f"{a.length:.4g} ps"
        rows.append([a.name, str(a.frames), length, "" if a.work is None else interval(a.work)])
    columns = ["run", "frames", "time", "work of the forces, meV/atom/ps [95%]"]
    if all(a.work is None for a in runs):
        return Table("Analysed", columns[:-1], [row[:-1] for row in rows])
    return Table("Analysed, and what the model heats", columns, rows)


def _difference_table(runs: Sequence[Analysis], reference: Analysis | None) -> Table | None:

    known = reference if reference is not None else runs[0]
    if known.radial is None:
        return None
    others = [a for a in runs if a is not known and a.radial is not None]
    rows, names = [], list(differences(known.radial, known.radial))
    for a in others:
        assert a.radial is not None
        apart = differences(a.radial, known.radial)
        rows.append([a.name, *(percent(apart[n]) for n in names)])
    for a in [known, *others]:
        if a.floor:
            what = " (reference)" if a is reference else ""
            rows.append([f"halves of {a.name}{what}", *(percent(a.floor[n]) for n in names)])
    title = "∫|g₁ - g₂| dr / ∫ g₂ dr of the two halves: what statistics alone do"
    if others:
        title = f"∫|g - g_ref| dr / ∫ g_ref dr against {known.name}, and between halves: what statistics alone do"
    return Table(title, ["", *names], rows) if rows else None


def _closest_tables(runs: Sequence[Analysis]) -> list[Table]:
    """The closest atoms of each pair of elements of a run, beside what they may be; of several, of those unsound."""
    found = []
    for a in (a for a in runs if len(runs) == 1 or a.unsound):
        limits, rows = a.closest.limits, []
        for pair, near in sorted(a.closest.approaches.items()):
            verdict = "too close" if near.distance < limits.limit(pair) else ""
            known = f"{limits.trained[pair]:.2f}" if pair in limits.trained else ""
            rows.append(
                [pair_name(pair), f"{near.distance:.2f}", near.when, known, f"{limits.limit(pair):.2f}", verdict]
            )
        if rows:
            of = "" if len(runs) == 1 else f" of {a.name}"
            title = f"Closest atoms{of}, Å (limit: 0.8 of the closest in training, else 0.6 of the covalent radii)"
            found.append(Table(title, ["", "closest", "at", "in training", "limit", ""], rows))
    return found


def _fit_table(fits: Mapping[int, Arrhenius]) -> Table | None:

    rows = []
    for z, fit in fits.items():
        reach = f"{fit.temperatures.min():.0f} to {fit.temperatures.max():.0f} K"
        rows.append(
            [chemical_symbols[z], interval(fit.energy), f"{fit.prefactor:.3g}", str(len(fit.temperatures)), reach]
        )
    columns = ["", "E_a (eV) [95%]", "D₀ (cm²/s)", "runs", "valid"]
    return Table("Activation energies, not continued beyond these temperatures", columns, rows) if rows else None


def _pictures(
    folder: Path, runs: Sequence[Analysis], reference: Analysis | None, fits: Mapping[int, Arrhenius]
) -> list[Picture]:

    pictures = []
    if any(a.radial is not None for a in runs):
        file = plots.radial_figure(runs, reference, folder / "rdf.png")
        pictures.append(Picture("Radial distributions", file, "In total and by pair, averaged over what was analysed."))
    moved = plots.displacement_figure(runs, folder / "msd.png")
    if moved is not None:
        words = (
            "Centre of mass removed; shaded: lags of the first run's line; dotted: the square of a hop, to be "
            "passed. A slope of 1 on these axes is diffusion."
        )
        pictures.append(Picture("Mean squared displacements", moved, words))
    states = plots.vibration_figure(runs, folder / "vdos.png")
    if states is not None:
        words = "Spectrum of the velocities of each element; areas are 1."
        pictures.append(Picture("Vibrational density of states", states, words))
    if fits:
        file = plots.arrhenius_figure(fits, folder / "arrhenius.png")
        pictures.append(Picture("Arrhenius", file, "Weighted fits with 95% intervals."))
    hot = plots.temperature_figure(runs, folder / "temperature.png")
    if hot is not None:
        pictures.append(Picture("Temperature", hot, "Means of short stretches; pale: left out; dotted: as started."))
    return pictures
