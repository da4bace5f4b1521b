"""The epochs of a training run, and the log that keeps them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rgnn.base.errors import InputError
from rgnn.base.files import read_csv, write_atomic


@dataclass
class Epoch:
    """A row of log.csv.

    Errors are those of forces on the validation frames in eV/Angstrom, relative_error is sum|dF| / sum|F|; energy_error
    is the mean absolute error of the energy in eV/atom, None where the model or the frames have none. Epoch 0 is the
    model that a training began with, whose loss is the mean absolute error on the validation frames.
    """

    epoch: int
    loss: float
    mae: float
    rmse: float
    relative_error: float
    learning_rate: float
    seconds: float
    energy_error: float | None = None


def write_log(out: Path, history: Sequence[Epoch]) -> None:
    """The log.csv of a run folder."""
    names = [name for name, value in asdict(history[0]).items() if value is not None]
    rows = [",".join(names)] + [",".join(f"{getattr(row, name):.8g}" for name in names) for row in history]
    write_atomic(out / "log.csv", "\n".join(rows) + "\n")


def read_epochs(out: str | Path) -> list[Epoch]:
    """The epochs in the log.csv of a run folder; none where it has not finished one.

    Raises:
        InputError: the log is damaged.
    """
    file = Path(out) / "log.csv"
    if not file.is_file():
        return []
    remedy = "the run itself is in state.safetensors and can be resumed"
    columns = read_csv(file, remedy)
    names = [column.name for column in fields(Epoch)]
    if set(columns) not in (set(names), {*names} - {"energy_error"}):
        raise InputError(f"{file}: has other columns than a training log; {remedy}.")
    rows = zip(*(columns[name].tolist() for name in names if name in columns), strict=True)
    return [Epoch(int(epoch), *rest) for epoch, *rest in rows]
