"""Models on a board: while a block lasts, every product of a model's crossbars is measured."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from rgnn.base.errors import InputError
from rgnn.base.events import SILENT, Listener
from rgnn.base.rng import numpy_stream
from rgnn.base.tensorfiles import read_tensors, write_tensors
from rgnn.chip.board.connection import BoardConnection, ColumnGains, connect
from rgnn.chip.board.names import array_name
from rgnn.chip.board.settings import BoardSettings
from rgnn.chip.board.tap import Tap
from rgnn.chip.columns import ColumnFit
from rgnn.chip.crossbar import Crossbar
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import find_model, fingerprint

FORMAT, VERSION, FILE = "rgnn columns", 1, "columns.safetensors"
# Vectors that gain and offset of columns are found with, and times that each is read.
VECTORS, READS = 128, 4
# A column that answers less than this share of what it should is dead, and is left as it is.
DEAD = 0.1


def set_tap(model: ForceField, tap: Tap | None) -> None:
    """Let a model, and each member of a committee, read through a tap; None simulates the chip again."""
    model.tap = tap
    for member in model.members:
        member.tap = tap


@contextmanager
def on_board(
    model: ForceField,
    settings: BoardSettings,
    path: str | Path | None = None,
    seed: int = 0,
    listener: Listener = SILENT,
) -> Iterator[BoardConnection | None]:
    """Measure every product of the model's crossbars while the block lasts.

    Args:
        model: with a chip.
        settings: of the board; without a driver nothing happens, and None is given.
        path: where the model was loaded from; gains and offsets of columns that lie beside it are undone.
        seed: of the noise, where the board is the simulator.
        listener: receives the name of the board, and a warning each time that it is started again.

    Raises:
        InputError: no such driver, a model without a chip, or a board that holds another chip.
        LostBoard: the board does not answer.
    """
    if not settings.driver:
        yield None
        return
    if not model.uses_chip:
        raise InputError("the model is all digital and has nothing to measure on a board; leave the driver out.")
    connection = connect(settings.driver, model.crossbars, settings.timeout, settings.retries, seed)
    try:
        if path is not None and str(path):
            connection.gains = load_gains(path, model)
        connection.listener = listener
        listener.info(f"Board: {connection.info.name}")
        set_tap(model, connection)
        yield connection
    finally:
        set_tap(model, None)
        connection.close()


def calibrate_columns(
    board: BoardConnection, crossbars: Sequence[Crossbar], bits: int, seed: int = 0
) -> list[ColumnFit]:
    """Find gain and offset of each column with random vectors, and let the digital side undo them from now on.

    Args:
        board: that the crossbars are attached to.
        crossbars: of the model.
        bits: planes of a code.
        seed: of the vectors.

    Returns:
        The fit of each array, measured against its weights; columns that are dead are in it, and stay as they are.
    """
    fits = []
    for number, crossbar in enumerate(crossbars):
        name, weight = array_name(crossbar), crossbar.weight.double().cpu().numpy()
        codes = numpy_stream(seed, "columns", number).integers(0, 2**bits, (VECTORS, weight.shape[1]))
        planes = codes[:, None, :] >> np.arange(bits)[:, None] & 1
        measured = np.stack([board.by_plane(name, codes, bits) for _ in range(READS)])
        expected = np.broadcast_to(planes @ weight.T, measured.shape)
        fit = ColumnFit.of(name, measured, expected)
        fits.append(fit)
        alive = np.isfinite(fit.gain) & (np.abs(fit.gain) > DEAD)
        board.gains[name] = ColumnGains(np.where(alive, fit.gain, 1.0), np.where(alive, fit.offset, 0.0))
    return fits


def save_gains(board: BoardConnection, model: ForceField, folder: str | Path) -> None:
    """Write gains and offsets of columns beside a model."""
    tensors = dict[str, torch.Tensor]()
    for name, gains in board.gains.items():
        tensors |= {f"{name}/gain": torch.from_numpy(gains.gain), f"{name}/offset": torch.from_numpy(gains.offset)}
    settings = {"format": FORMAT, "version": VERSION, "model": fingerprint(model), "board": board.info.name}
    write_tensors(Path(folder) / FILE, tensors, settings)


def load_gains(path: str | Path, model: ForceField) -> dict[str, ColumnGains]:
    """Gains and offsets that lie beside the model at a path; none where nothing lies there.

    Raises:
        InputError: damaged, or of another model.
    """
    file = find_model(path) / FILE
    if not file.is_file():
        return {}
    tensors, settings = read_tensors(file, FORMAT, VERSION)
    if settings.get("model") != fingerprint(model):
        raise InputError(f"{file}: belongs to another model than the one beside it; refit the model again.")
    found = {}
    for crossbar in model.crossbars:
        name, out = array_name(crossbar), crossbar.weight.shape[0]
        parts = [tensors.get(f"{name}/{part}") for part in ("gain", "offset")]
        if any(p is None or p.shape != (out,) or not torch.isfinite(p).all() for p in parts):
            raise InputError(f"{file}: has no gains that fit {name}; refit the model again.")
        gain, offset = (p.double().numpy() for p in parts if p is not None)
        if not gain.all():
            raise InputError(f"{file}: has a gain of 0 in {name}; refit the model again.")
        found[name] = ColumnGains(gain, offset)
    return found
