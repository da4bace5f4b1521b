"""rgnn convert: AIMD trajectories -> a graph store."""

import glob
from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli import options

FRAMES = "Frames"


def convert(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Trajectories with forces; globs allowed.")],
    out: Annotated[Path, typer.Option(help="Store to write, such as data/mine.zarr.")],
    cutoff: Annotated[
        float | None,
        typer.Option(help="Radius of a neighbourhood in Å; default 3.8, or that of the store appended to."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th frame.", rich_help_panel=FRAMES)] = 1,
    first: Annotated[int, typer.Option("--from", min=0, help="First frame of each file.", rich_help_panel=FRAMES)] = 0,
    last: Annotated[
        int | None, typer.Option("--to", min=1, help="Stop before this frame of each file.", rich_help_panel=FRAMES)
    ] = None,
    file_format: Annotated[
        str | None, typer.Option("--format", help="ASE's name of the format, where it is not recognised.")
    ] = None,
    append: Annotated[bool, typer.Option("--append", help="Add to the store at --out.")] = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Turn trajectories with forces, of any format that ASE reads, into a graph store.

    Example: rgnn convert 'run*/vasprun.xml' --out data/mine.zarr --every 2

    A frame that cannot be used (no forces, NaN, absurd values, no neighbours) ends the conversion and
    leaves everything as it was.
    """
    from rgnn.errors import InputError
    from rgnn.store import convert as convert_to_store
    from rgnn_cli import workspace
    from rgnn_cli.console import Reporter

    report = Reporter(quiet, as_json)
    if append and overwrite:
        raise InputError("--append and --overwrite exclude each other; give one of them.")
    paths = _expand(sources)
    cutoff = 3.8 if cutoff is None and not append else cutoff
    with report.progress("Converting", None, "frames") as meter:
        store = convert_to_store(
            paths,
            out,
            cutoff,
            every=every,
            first=first,
            last=last,
            format=file_format,
            append=append,
            overwrite=overwrite,
            progress=meter.update,
        )
    workspace.remember("store", out)
    summary = store.summary()
    report.facts(f"Graph store {out}", summary)
    report.say("Next: rgnn train --bits 4 --noise 0.05")
    report.result({"store": str(out), **summary})


def _expand(sources: list[str]) -> list[Path]:
    """Globs that the shell has left alone are expanded, in sorted order."""
    from rgnn.errors import InputError

    paths: list[Path] = []
    for source in sources:
        found = sorted(glob.glob(source)) if glob.has_magic(source) and not Path(source).exists() else [source]  # noqa: PTH207
        if not found:
            raise InputError(f"{source}: no file fits this pattern.")
        paths += [Path(name) for name in found]
    return paths
