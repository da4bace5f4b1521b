"""rgnn convert: AIMD trajectories -> a graph store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn.base.choices import UnitStyle
from rgnn_cli.session import options
from rgnn_cli.session.options import RUNNING

FRAMES, LABELS = "Frames", "Labels"

Sources = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE...", help="Trajectories with forces, graph pickles or stores; globs allowed."),
]
Out = Annotated[Path, typer.Option(help="Graph store to write, such as data/mine.zarr.")]
Cutoff = Annotated[
    float | None,
    typer.Option(help="Largest length of an edge, Å; default: 3.8, or that of the store appended to."),
]
Every = Annotated[int, typer.Option(min=1, help="Step between frames: 2 is every other one.", rich_help_panel=FRAMES)]
First = Annotated[int, typer.Option("--from", min=0, help="First frame of each file.", rich_help_panel=FRAMES)]
Last = Annotated[
    int | None,
    typer.Option("--to", min=1, help="Frame of each file to stop before; default: its end.", rich_help_panel=FRAMES),
]
Unconverged = Annotated[bool, typer.Option("--unconverged", help="Unconverged frames too.", rich_help_panel=FRAMES)]
Format = Annotated[
    str | None,
    typer.Option("--format", help="Format by ASE's name, or dpdata:NAME; default: recognised."),
]
Cell = Annotated[str | None, typer.Option(help="Cell of files without one (CP2K), Å: 'A B C' or nine numbers.")]
Elements = Annotated[str | None, typer.Option(help="Elements of the types 1, 2, ..., such as Li,O,P.")]
UnitsOption = Annotated[
    UnitStyle | None,
    typer.Option(
        "--units",
        help="Units of files that state none: metal (eV, Å), real (kcal/mol, Å) or atomic; default: metal.",
        rich_help_panel=LABELS,
    ),
]
Forces = Annotated[
    str | None, typer.Option(help="Name of the array of forces; default: recognised.", rich_help_panel=LABELS)
]
Energy = Annotated[str | None, typer.Option(help="Name of the energy; default: recognised.", rich_help_panel=LABELS)]
Stress = Annotated[
    str | None, typer.Option(help="Name of the stress or virial; default: recognised.", rich_help_panel=LABELS)
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        "--label",
        metavar="MODULE:NAME",
        help="ASE calculator that gives all frames their forces.",
        rich_help_panel=LABELS,
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Number of processes; default: all cores.", rich_help_panel=RUNNING)
]
Append = Annotated[bool, typer.Option("--append", help="Addition of the frames to the store at --out.")]


def convert(
    sources: Sources,
    out: Out,
    cutoff: Cutoff = None,
    every: Every = 1,
    first: First = 0,
    last: Last = None,
    unconverged: Unconverged = False,
    file_format: Format = None,
    cell: Cell = None,
    elements: Elements = None,
    units: UnitsOption = None,
    forces: Forces = None,
    energy: Energy = None,
    stress: Stress = None,
    label: LabelOption = None,
    workers: Workers = None,
    append: Append = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Turn trajectories with forces into a graph store: VASP, CP2K, Quantum ESPRESSO and all that ASE reads.

    Example: rgnn convert 'run*/vasprun.xml.gz' --out data/mine.zarr --every 2

    Frames that cannot be used (no forces, not converged, NaN, a duplicate) are
    left out and counted. The same command continues a conversion that was
    killed. Several stores given as sources become one.
    """
    from rgnn.base.errors import InputError, Interrupted
    from rgnn.data.conversion import convert as convert_to_store
    from rgnn.data.conversion import kept_frames
    from rgnn.data.formats.labels import Keys
    from rgnn.data.formats.selection import Selection
    from rgnn.data.labelling import Label
    from rgnn_cli.session import parse, workspace
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import convert as show

    session = Session(quiet=quiet, as_json=as_json)
    if append and overwrite:
        raise InputError("--append and --overwrite exclude each other; give one of them.")
    wanted = Selection(
        first, last, every, file_format, unconverged,
        cell=None if cell is None else parse.numbers(cell, "--cell"),
        keys=Keys(forces, energy, stress, units),
        elements=parse.words(elements),
        label=None if label is None else Label(label),
    )  # fmt: skip
    files = parse.paths(sources)
    if not append:
        workspace.refuse_existing(out, True, *files)  # that a store is there is the writer's to say
    with session.report.progress("Converting", None, "frames") as meter:
        try:
            outcome = convert_to_store(
                files, out, cutoff, wanted, workers=workers, append=append, overwrite=overwrite,
                progress=meter.update, warn=session.report.warn,
            )  # fmt: skip
        except KeyboardInterrupt:
            if kept := kept_frames(out, append):
                raise Interrupted(f"{out}: {kept} frames are kept; the same command continues after them.") from None
            raise
    workspace.remember("store", out)
    show.result(session, outcome)
