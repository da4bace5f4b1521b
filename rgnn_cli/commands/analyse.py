"""rgnn analyse: what runs came to, and how they compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rgnn_cli.session import options
from rgnn_cli.session.analysis import ANALYSIS, FitFrom, Reach, Skip, Width, analyse_one, settings

if TYPE_CHECKING:
    from rgnn.analysis import Analysis, Trajectory
    from rgnn_cli.session.console import Reporter

REFERENCE = "Reference"


def analyse(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or trajectories that ASE reads.")],
    reference: Annotated[
        Path | None,
        typer.Option(help="Trajectory that g(r) is compared with; default: the first run.", rich_help_panel=REFERENCE),
    ] = None,
    reference_temperature: Annotated[
        float | None,
        typer.Option(help="Take its frames with this temperature in the header, K.", rich_help_panel=REFERENCE),
    ] = None,
    arrhenius: Annotated[
        bool, typer.Option("--arrhenius", help="Activation energies from runs at several temperatures.")
    ] = False,
    skip: Skip = "20%",
    width: Width = 0.02,
    reach: Reach = 6.0,
    fit_from: FitFrom = None,
    interval: Annotated[
        float | None, typer.Option(help="Between frames in fs, where a file does not say.", rich_help_panel=ANALYSIS)
    ] = None,
    format: Annotated[  # noqa: A002
        str | None, typer.Option(help="Of the files, where ASE cannot tell it.", rich_help_panel=ANALYSIS)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for results; default: analysis/NAME-001 and so on.")] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Radial distributions, coordination, diffusion, temperature and heating of runs, and how far apart they are.

    Example: rgnn analyse md/glass-001 --reference aimd.xyz --reference-temperature 600

    Of several runs, g(r) is compared with that of the first, or of the reference, beside what two halves of it
    differ by. Writes report.html with all figures and tables, analysis.json and CSV files.
    """
    from rgnn.base.errors import InputError
    from rgnn.reports.analysis import write_analysis
    from rgnn_cli.session import workspace
    from rgnn_cli.session.console import Reporter
    from rgnn_cli.show.analyse import show

    report = Reporter(quiet, as_json)
    config = settings(skip, width, reach, fit_from)
    if reference_temperature is not None and reference is None:
        raise InputError("--reference-temperature chooses frames of the file at --reference; name it too.")
    if out is not None:
        workspace.refuse_existing(out, overwrite)
    opened = named_apart([_open(path, format, interval) for path in runs])
    other = None if reference is None else _open(reference, format, None, reference_temperature)
    analysed = [analyse_one(report, t, config) for t in opened]
    against = None if other is None else analyse_one(report, other, config.override(skip=0.0, skip_ps=0.0))
    fits = _fits(report, analysed) if arrhenius else {}
    folder = out or workspace.new_folder("analysis", opened[0].name)
    workspace.clear_run(folder)
    files, record = write_analysis(folder, config, analysed, against, fits)
    show(report, config, analysed, against, fits)
    report.say(f"Results: {', '.join(str(file) for file in files)}")
    report.result({"out": str(folder), **record})


def _open(path: Path, format: str | None, interval: float | None, temperature: float | None = None) -> Trajectory:  # noqa: A002
    from rgnn.analysis import open_trajectory

    return open_trajectory(path, format, None if interval is None else interval / 1000, temperature)


def named_apart(opened: list[Trajectory]) -> list[Trajectory]:
    """With the path as name where two would have the same."""
    from dataclasses import replace

    names = [t.name for t in opened]
    return [replace(t, name=str(t.path)) if names.count(t.name) > 1 else t for t in opened]


def _fits(report: Reporter, analysed: list[Analysis]) -> dict:
    """By element, where all runs tell a diffusion coefficient; why not, where they do not."""
    from ase.data import chemical_symbols

    from rgnn.analysis import activation_energies, distinct
    from rgnn.base.errors import InputError

    fits, left_out = activation_energies(analysed)
    if not fits:
        found = ", ".join(f"{chemical_symbols[z]} ({why})" for z, why in left_out.items())
        raise InputError(f"no activation energy for {found or 'any element'}; run longer, or at more temperatures.")
    for z, why in left_out.items():
        report.warn(f"no activation energy for {chemical_symbols[z]}: {why}.")
    few = min(distinct(fit.temperatures) for fit in fits.values())
    if few < 3:
        report.warn("two temperatures always lie on a line, so the interval knows nothing of a bend; run a third.")
    return fits
