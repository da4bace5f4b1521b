"""rgnn chip mvm: a plain product, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli.session import options
from rgnn_cli.session.options import HARDWARE

MatrixFile = Annotated[
    Path, typer.Argument(help="Matrix, outputs x inputs, as NPY or text; or a folder of golden vectors.")
]
Vectors = Annotated[Path | None, typer.Argument(help="Vectors, one a row, as NPY or text.")]
Range = Annotated[
    str | None,
    typer.Option(
        "--range", help="Range of the input converters, as '-1 1'; default: that of the vectors.",
        rich_help_panel=HARDWARE,
    ),
]  # fmt: skip
Reads = Annotated[int, typer.Option(min=1, help="Reads of each product, with fresh noise.", rich_help_panel=HARDWARE)]
BitsOption = Annotated[
    int | None,
    typer.Option("--bits", min=1, max=16, help=f"{options.BITS}; default: 8.", rich_help_panel=HARDWARE),
]
NoiseOption = Annotated[
    float | None, typer.Option("--noise", min=0, help=f"{options.NOISE}; default: 0.05.", rich_help_panel=HARDWARE)
]
Noisy = Annotated[bool, typer.Option("--noisy", help="Golden vectors with their read noise.", rich_help_panel=HARDWARE)]
Out = Annotated[Path, typer.Option(help="Folder to write.")]


def mvm(
    ctx: typer.Context,
    matrix: MatrixFile,
    vectors: Vectors = None,
    hardware: options.HardwareOption = None,
    bits: BitsOption = None,
    noise: NoiseOption = None,
    range: Range = None,  # noqa: A002
    reads: Reads = 1,
    noisy: Noisy = False,
    driver: options.Driver = None,
    timeout: options.BoardTimeout = 60.0,
    out: Out = Path("mvm"),
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Multiply vectors with a matrix on any hardware, or replay golden vectors.

    Example: rgnn chip mvm weights.npy inputs.csv --bits 6 --noise 0.02 --reads 20

    The outputs of all reads, the exact ones, the input codes and a figure lie
    in --out. A matrix of two maps [2, outputs, inputs] in NPY is G+ and G- in
    siemens. Golden vectors are compared code by code with what they expect, on
    the simulator, or with --driver column by column on a board.
    """
    from rgnn.base.errors import InputError
    from rgnn.chip.hardware import Hardware
    from rgnn.chip.presets import load_hardware
    from rgnn.reports.chip_exchange import multiply, replay
    from rgnn_cli.session import parse, workspace
    from rgnn_cli.session.session import Session
    from rgnn_cli.show import board
    from rgnn_cli.show import chip as show

    session = Session(quiet=quiet, as_json=as_json)
    workspace.refuse_existing(out, overwrite, matrix, vectors)
    if matrix.is_dir():
        given = {"vectors": vectors, "--hardware": hardware, "--bits": bits, "--noise": noise, "--range": range}
        if beside := [name for name, value in given.items() if value is not None]:
            raise InputError(f"{matrix}: golden vectors have their own {beside[0].strip('-')}; leave that out.")
        where = board.named(ctx)
        if noisy and where is not None:
            raise InputError("a board fluctuates as it does; leave --noisy or --driver out.")
        show.columns(session, replay(matrix, out, noisy=noisy, seed=seed or 0, board=where), out)
        return
    if driver is not None:
        raise InputError("--driver measures golden vectors; name a folder of them, or leave it out.")
    if vectors is None:
        raise InputError("there are no vectors to multiply with; name a file of them, one vector a row.")
    how = (Hardware() if hardware is None else load_hardware(hardware)).with_given(bits, noise)
    span = None if range is None else parse.numbers(range, "--range")
    if span is not None and len(span) != 2:
        raise InputError(f"--range is {range!r}; write two numbers, as '-1 1'.")
    found = multiply(
        matrix, vectors, out, how, input_range=None if span is None else (span[0], span[1]), reads=reads, seed=seed or 0
    )
    show.product(session, found, out)
