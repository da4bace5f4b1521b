"""rgnn chip golden: stimulus of an array and the answers that are expected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli.session import options
from rgnn_cli.session.options import HARDWARE

Frames = Annotated[Path, typer.Argument(help="Graph store, or a structure file.")]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Model folder or training run; default: the newest here.")
]
Frame = Annotated[int, typer.Option(help="Number of the frame, from 0; -1 is the last.")]
Layer = Annotated[int, typer.Option(min=0, help="Layer of the array, from 0.")]
Matrix = Annotated[int, typer.Option(min=0, help="Number of the array in its layer, from 0.")]
Member = Annotated[int, typer.Option(min=0, help="Chip of a model on several chips, from 0.")]
Rows = Annotated[int, typer.Option(min=0, help="Number of vectors, evenly chosen; 0 is all.")]
AdcBits = Annotated[
    int | None,
    typer.Option(
        min=1, max=16, help="Bits of output converters of full range; default: as trained.", rich_help_panel=HARDWARE
    ),
]
Out = Annotated[Path, typer.Option(help="Folder to write.")]


def golden(
    frames: Frames,
    model: ModelOption = None,
    frame: Frame = 0,
    layer: Layer = 0,
    matrix: Matrix = 0,
    member: Member = 0,
    rows: Rows = 256,
    hardware: options.HardwareOption = None,
    adc_bits: AdcBits = None,
    out: Out = Path("golden"),
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Write golden vectors: what a frame drives an array with, and what its columns answer.

    Example: rgnn chip golden data/sample.zarr --layer 0 --matrix 2 --out golden

    For each vector the input codes and their bit planes, the expected column
    sums of each plane and tile with their spread, and the codes of the output
    converters where there are some; as NPY files, with golden.json.
    """
    from rgnn.chip.presets import load_hardware
    from rgnn.models.checkpoints import load_model
    from rgnn.reports.chip_exchange import make_golden
    from rgnn_cli.session import workspace
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import chip as show

    session = Session(quiet=quiet, as_json=as_json)
    path = model or session.newest_model()
    wanted = None if hardware is None else load_hardware(hardware)
    if adc_bits is not None:
        wanted = (wanted or load_model(path).hardware).override(adc_bits=adc_bits, adc_range="full")
    workspace.refuse_existing(out, overwrite, path, frames)
    found = make_golden(
        path, frames, out, frame=frame, layer=layer, matrix=matrix, member=member, hardware=wanted, rows=rows
    )
    show.golden(session, found, out)
