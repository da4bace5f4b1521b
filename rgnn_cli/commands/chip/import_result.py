"""rgnn chip import-result: what came back from a chip beside what was sent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli.session import options

Source = Annotated[
    Path, typer.Argument(help="What came back: an NPZ file, a folder of NPY files, or a table of cells.")
]
Of = Annotated[Path, typer.Option(help="The export or the golden vectors that it answers.")]
Out = Annotated[Path, typer.Option(help="Folder to write.")]


def import_result(
    source: Source,
    of: Of,
    out: Out = Path("chip-result"),
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Compare conductances or column sums that came back from a chip, column by column.

    Example: rgnn chip import-result from-the-lab.npz --of to-the-lab

    Arrays are named conductance [tiles, rows, columns] in siemens, success of
    the same shape, and codes or sums [rows, bits, columns]. A table has the
    columns tile, row, column, conductance_siemens and perhaps success. Gain and
    offset of each column are fitted. Conductances also make a chip folder,
    which rgnn train takes as --chip.
    """
    from rgnn.reports.chip_exchange import import_result as compare
    from rgnn_cli.session import workspace
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import chip as show

    session = Session(quiet=quiet, as_json=as_json)
    workspace.refuse_existing(out, overwrite, source, of)
    show.columns(session, compare(source, of, out), out)
