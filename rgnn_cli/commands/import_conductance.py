"""rgnn import-conductance: measured conductances -> a chip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn.base.choices import AxisOfReads, ConductanceScheme, ConductanceUnit
from rgnn_cli.session import options

MAPS = "Maps"

Source = Annotated[Path, typer.Argument(help="A map, a folder of repeated reads, or the published Conductance.pkl.")]
Out = Annotated[Path, typer.Option(help="Chip folder to write.")]
UnitOption = Annotated[
    ConductanceUnit | None,
    typer.Option(
        "--unit", help="Unit of the numbers; default: as the file states, or by their size.", rich_help_panel=MAPS
    ),
]
SchemeOption = Annotated[
    ConductanceScheme | None,
    typer.Option(
        "--scheme",
        help="Cells that make a weight: pairs of columns, of rows, of halves, or cells less a reference column; "
        "default: signed where a number is negative, else pair.",
        rich_help_panel=MAPS,
    ),
]
ReferenceColumn = Annotated[
    int | None,
    typer.Option(help="Column of --scheme reference, from 0; default: the last.", rich_help_panel=MAPS),
]
Target = Annotated[Path | None, typer.Option(help="Map of what the cells were programmed to.", rich_help_panel=MAPS)]
Name = Annotated[str | None, typer.Option(help="Name of the map in a file that has several.", rich_help_panel=MAPS)]
Plus = Annotated[str | None, typer.Option(help="Name of the map of G+, beside --minus.", rich_help_panel=MAPS)]
Minus = Annotated[str | None, typer.Option(help="Name of the map of G-, beside --plus.", rich_help_panel=MAPS)]
Reads = Annotated[
    AxisOfReads | None,
    typer.Option("--reads", help="Axis of a stack that counts reads; default: recognised.", rich_help_panel=MAPS),
]


def import_conductance(
    source: Source,
    out: Out,
    unit: UnitOption = None,
    scheme: SchemeOption = None,
    reference_column: ReferenceColumn = None,
    target: Target = None,
    name: Name = None,
    plus: Plus = None,
    minus: Minus = None,
    reads: Reads = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Turn measured conductances into a chip, which train and import-checkpoint take as --chip.

    Example: rgnn import-conductance reads/ --unit uS --out chips/mine

    Maps are CSV, TSV, text, NPY, NPZ, MAT, HDF5 or spreadsheets, in rows and
    columns as the array has them, or as a list of readings. Labels, headings
    and units in them are understood. A folder holds repeated reads of one
    array, one map a file: the read noise of each cell is then measured, and
    kept. Nothing in a file is ever executed.
    """
    from rgnn.reports.chip import import_chip
    from rgnn_cli.session import workspace
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import import_conductance as show

    session = Session(quiet=quiet, as_json=as_json)
    workspace.refuse_existing(out, overwrite, source, target)
    found = import_chip(
        source,
        out,
        unit=unit,
        scheme=scheme,
        reference_column=reference_column,
        target=target,
        name=name,
        plus=plus,
        minus=minus,
        reads=reads,
    )
    show.result(session, found, out)
