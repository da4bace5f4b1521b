"""rgnn chip export: what a model asks of a chip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn.base.choices import PairDirection
from rgnn_cli.session import options

Model = Annotated[Path | None, typer.Argument(help="Model folder or training run; default: the newest here.")]
Out = Annotated[Path, typer.Option(help="Folder to write.")]
Tile = Annotated[
    str | None, typer.Option(help="Rows and columns of cells of a tile, as 256x256; default: the model's hardware.")
]
Pairs = Annotated[
    PairDirection,
    typer.Option("--pairs", help="Place of the second cell of a weight: the next column, or the next row."),
]
Tolerance = Annotated[
    str | None,
    typer.Option(help="Largest miss of a target, % or a fraction of it; default: the programming noise, or 5%."),
]
Program = Annotated[
    bool, typer.Option("--program", help="Targets of a measured chip too, to write its conductances to another array.")
]


def export(
    model: Model = None,
    out: Out = Path("chip-export"),
    tile: Tile = None,
    pairs: Pairs = "columns",
    tolerance: Tolerance = None,
    program: Program = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Write targets and regions of all cells that a model needs.

    Example: rgnn chip export runs/latest --out to-the-lab

    regions.json says which cells of which tile hold which inputs and outputs of
    which array. A chip that is programmed also gets its targets, tolerances and
    a mask as NPY and as a table. The cells of a measured chip were picked one
    by one from its map, so it cannot multiply these matrices as it lies;
    --program gives targets for an array that can.
    """
    from rgnn.reports.chip_exchange import export_chip
    from rgnn_cli.session import parse, workspace
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import chip as show

    session = Session(quiet=quiet, as_json=as_json)
    path = model or session.newest_model()
    size = None if tile is None else parse.size(tile, "--tile")
    share = None if tolerance is None else parse.percentage(tolerance, "--tolerance")
    workspace.refuse_existing(out, overwrite, path)
    found, files = export_chip(path, out, tile=size, pairs=pairs, tolerance=share, program=program)
    show.export(session, found, files, out)
