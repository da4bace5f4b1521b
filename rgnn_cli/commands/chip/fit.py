"""rgnn chip fit: laws of a chip from its measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli.session import options

Files = Annotated[list[Path], typer.Argument(help="Series of reads, tables of readings, or a folder of repeated maps.")]
Out = Annotated[Path, typer.Option(help="Folder to write, such as a chip folder's laws/.")]
Columns = Annotated[
    str | None,
    typer.Option(help="Columns of the tables, as cell,time[s],R[kOhm],temperature[C]; default: recognised."),
]
Rate = Annotated[float | None, typer.Option(min=1e-9, help="Rate of a series without a clock, reads per second.")]
Base = Annotated[
    str | None, typer.Option("--hardware", help="Preset or YAML file with the other settings; default: default.")
]


def fit(
    files: Files,
    out: Out = Path("laws"),
    columns: Columns = None,
    rate: Rate = None,
    hardware: Base = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Fit laws of cells to measurements, as hardware for train, eval and md.

    Example: rgnn chip fit reads.csv bake.tsv.gz --rate 400 --out laws

    Reads at a fixed rate give read noise against conductance and the spectrum.
    Readings at times since programming give the relaxation, at temperatures the
    activation of a bake, beside targets the programming error. Columns are
    known by their headings, or by what their numbers can only be, which is
    said. Half of each file tests the law of the other half.
    """
    from rgnn.chip.presets import load_hardware
    from rgnn.reports.laws import fit_laws
    from rgnn_cli.session import workspace
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import laws as show

    session = Session(quiet=quiet, as_json=as_json)
    workspace.refuse_existing(out, overwrite, *files)
    base = None if hardware is None else load_hardware(hardware)
    found = fit_laws(files, out, columns=columns, rate=rate, base=base)
    show.result(session, found, out)
