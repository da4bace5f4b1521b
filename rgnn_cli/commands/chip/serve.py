"""rgnn chip serve: a board for other processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgnn_cli.session import options
from rgnn_cli.session.options import HARDWARE

What = Annotated[str, typer.Argument(help="Driver to serve: simulator, or MODULE:NAME of a Python class.")]
NoiseOption = Annotated[
    float | None,
    typer.Option("--noise", min=0, help=f"{options.NOISE}; default: the hardware's.", rich_help_panel=HARDWARE),
]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Folder of messages; default: JSON lines on the standard streams.")
]


def serve(
    what: What = "simulator",
    hardware: options.HardwareOption = None,
    noise: NoiseOption = None,
    folder: FolderOption = None,
    seed: options.Seed = None,
) -> None:
    """Answer the four calls of a board: the simulator's, or those of a class of yours.

    Example: rgnn chip serve simulator --noise 0.02 --folder board

    Another rgnn reaches it by --driver "process: rgnn chip serve simulator" or
    by --driver "folder: board". docs/chip-in-the-loop.md describes the messages.
    """
    import sys

    from rgnn.base.errors import InputError
    from rgnn.chip.board.server import serve_folder, serve_lines
    from rgnn.chip.board.simulator import SimulatedBoard
    from rgnn.chip.board.transports import python_class
    from rgnn.chip.hardware import Hardware
    from rgnn.chip.presets import load_hardware
    from rgnn_cli.session.signals import asked_to_stop

    if what == "simulator":
        how = (Hardware() if hardware is None else load_hardware(hardware)).with_given(None, noise)
        board = SimulatedBoard(how, seed or 0)
    else:
        if hardware is not None or noise is not None:
            raise InputError(f"'{what}' has its own hardware; leave --hardware and --noise out.")
        board = python_class(what)()
    if folder is None:
        serve_lines(board, sys.stdin.buffer, sys.stdout.buffer)
        return
    with asked_to_stop() as stop:
        serve_folder(board, folder, stop)
