"""rgnn convert: AIMD trajectories -> a graph store."""

from __future__ import annotations

import glob
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rgnn_cli.session import options

if TYPE_CHECKING:
    from rgnn.data.conversion import Outcome
    from rgnn_cli.session.console import Reporter

FRAMES = "Frames"


def convert(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Trajectories with forces, graph pickles, stores; globs allowed."),
    ],
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
    unconverged: Annotated[
        bool, typer.Option("--unconverged", help="Take unconverged frames too.", rich_help_panel=FRAMES)
    ] = False,
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="ASE's name of the format, or dpdata:NAME, where it is not recognised."),
    ] = None,
    cell: Annotated[
        str | None, typer.Option(help="'A B C' or nine numbers in Å, for files without a cell (CP2K).")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="ASE calculator that gives all frames their forces.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: all cores.", rich_help_panel=options.RUNNING)
    ] = None,
    append: Annotated[bool, typer.Option("--append", help="Add to the store at --out.")] = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Turn trajectories with forces into a graph store: VASP, CP2K, Quantum ESPRESSO, extended XYZ, all that ASE reads.

    Example: rgnn convert 'run*/vasprun.xml.gz' --out data/mine.zarr --every 2

    Frames that cannot be used (no forces, not converged, NaN, a duplicate) are left out and counted. A conversion
    that was killed goes on when it is run again. Several stores given as sources become one.
    """
    from rgnn.base.errors import InputError, Interrupted
    from rgnn.data.conversion import convert as convert_to_store
    from rgnn.data.conversion import cores
    from rgnn.data.formats.selection import Selection
    from rgnn.data.labelling import Label
    from rgnn_cli.session import workspace
    from rgnn_cli.session.console import Reporter
    from rgnn_cli.show.info import store_facts

    report = Reporter(quiet, as_json)
    if append and overwrite:
        raise InputError("--append and --overwrite exclude each other; give one of them.")
    paths = _expand(sources)
    wanted = Selection(
        first=first,
        last=last,
        every=every,
        format=file_format,
        unconverged=unconverged,
        cell=None if cell is None else _numbers(cell),
        label=None if label is None else Label(label),
    )
    with report.progress("Converting", None, "frames") as meter:
        try:
            outcome = convert_to_store(
                paths,
                out,
                3.8 if cutoff is None and not append else cutoff,
                wanted,
                workers=cores() if workers is None else workers,
                append=append,
                overwrite=overwrite,
                progress=meter.update,
                warn=report.warn,
            )
        except KeyboardInterrupt:
            kept = _kept(out, append)
            if not kept:
                raise
            raise Interrupted(f"{out}: {kept} frames are kept; the same command goes on after them.") from None
    workspace.remember("store", out)
    _tell(report, outcome)
    summary = outcome.store.summary()
    report.facts(f"Graph store {out}", store_facts(summary))
    report.say("Next: rgnn train --bits 4 --noise 0.05")
    sources_done = [{"name": s.name, "frames": s.frames, "skipped": s.skipped} for s in outcome.sources]
    report.result({"store": str(out), "added": outcome.frames, "converted": sources_done, **asdict(summary)})


def _tell(report: Reporter, outcome: Outcome) -> None:
    """What was left out, and why."""
    if outcome.already:
        report.say("Already there: this command has made the store before, and its sources have not changed.")
        return
    left_out: dict[str, int] = {}
    for source in outcome.sources:
        for reason, count in source.skipped.items():
            left_out[reason] = left_out.get(reason, 0) + count
    for reason, count in left_out.items():
        example = outcome.examples.get(reason)
        report.warn(f"{count} frame(s) left out: {reason}" + (f"; the first: {example}" if example else "."))
    if len(outcome.sources) > 1:
        rows = [[s.name, f"{s.frames}", f"{sum(s.skipped.values())}"] for s in outcome.sources]
        report.table("Converted", ["source", "frames", "left out"], rows)


def _kept(out: Path, append: bool) -> int:
    """Frames that a conversion which was interrupted has left."""
    from rgnn.base.errors import InputError
    from rgnn.data.store.ledger import Ledger

    try:
        return Ledger.load(out if append else out.with_name(out.name + ".partial")).frames
    except InputError:
        return 0


def _numbers(text: str) -> tuple[float, ...]:
    """'10 10 12' or '10,10,12'."""
    from rgnn.base.errors import InputError

    try:
        return tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise InputError(f"--cell '{text}' is not made of numbers; give three lengths in Angstrom.") from None


def _expand(sources: list[str]) -> list[Path]:
    """Globs that the shell has left alone are expanded, in sorted order."""
    from rgnn.base.errors import InputError

    paths: list[Path] = []
    for source in sources:
        found = sorted(glob.glob(source)) if glob.has_magic(source) and not Path(source).exists() else [source]  # noqa: PTH207
        if not found:
            raise InputError(f"{source}: no file fits this pattern.")
        paths += [Path(name) for name in found]
    return paths
