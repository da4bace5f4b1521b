"""rgnn analyse: what runs came to, and how they compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli.session import options
from rgnn_cli.session.analysis import ANALYSIS, Charges, FitFrom, Hops, Kelvin, Reach, Skip, Width, settings

REFERENCE = "Reference"

Runs = Annotated[list[Path], typer.Argument(help="Run folders, or trajectories that ASE reads.")]
Reference = Annotated[
    Path | None,
    typer.Option(help="Trajectory that g(r) is compared with; default: the first run.", rich_help_panel=REFERENCE),
]
ReferenceTemperature = Annotated[
    float | None,
    typer.Option(
        help="Temperature of its frames, K, as their headers say; default: all frames.", rich_help_panel=REFERENCE
    ),
]
Arrhenius = Annotated[bool, typer.Option("--arrhenius", help="Activation energies, from several temperatures.")]
Interval = Annotated[
    float | None,
    typer.Option(help="Time between frames, fs; default: as the file says.", rich_help_panel=ANALYSIS),
]
Format = Annotated[
    str | None,
    typer.Option("--format", help="Format of the files by ASE's name; default: recognised.", rich_help_panel=ANALYSIS),
]
SoundPart = Annotated[
    bool,
    typer.Option(
        "--sound-part",
        help="Only what came before two atoms were too close or the run broke off.",
        rich_help_panel=ANALYSIS,
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder for results; default: analysis/NAME-001 and so on.")]


def analyse(
    runs: Runs,
    reference: Reference = None,
    reference_temperature: ReferenceTemperature = None,
    arrhenius: Arrhenius = False,
    skip: Skip = "20%",
    width: Width = 0.02,
    reach: Reach = 6.0,
    fit_from: FitFrom = None,
    sound_part: SoundPart = False,
    hop: Hops = None,
    charge: Charges = None,
    temperature: Kelvin = None,
    interval: Interval = None,
    format: Format = None,  # noqa: A002
    out: Out = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Analyse runs: g(r), coordination, diffusion, conductivity, vibrations, temperature, and how they differ.

    Example: rgnn analyse md/glass-001 --reference aimd.xyz --reference-temperature 600

    The g(r) of several runs is compared with that of the first, or of the
    reference, beside what two halves of it differ by. Runs of the same atoms,
    temperature and model also count as one, with an interval over the runs. No
    diffusion coefficient is given of a run in which two atoms came too close, or
    that broke off. --charge Li=1 adds ionic conductivity. Writes
    report.html with all figures and tables, analysis.json and CSV files.
    """
    from rgnn.analysis import compare
    from rgnn.reports.analysis import write_analysis
    from rgnn_cli.session import workspace
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import analyse as show

    session = Session(quiet=quiet, as_json=as_json)
    config = settings(skip, width, reach, fit_from, sound_part, hop, charge, temperature)
    if out is not None:
        workspace.refuse_existing(out, overwrite, *runs, reference)
    with session.listening("Reading", "frames") as listener:
        found = compare(
            runs, config, reference=reference, reference_temperature=reference_temperature, arrhenius=arrhenius,
            interval=interval, format=format, listener=listener,
        )  # fmt: skip
    folder = out or workspace.new_folder("analysis", found.runs[0].name)
    workspace.clear_run(folder)
    files, record = write_analysis(folder, config, found.runs, found.reference, found.fits, found.together)
    show.result(session, found, files)
    session.result({"out": str(folder), **record})
