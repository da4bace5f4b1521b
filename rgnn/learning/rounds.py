"""What each round of active learning came to, and where it keeps what."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from rgnn.base.errors import InputError
from rgnn.base.files import write_atomic

STORE, TEST, ROUNDS, BEST = "store.zarr", "test.zarr", "rounds", "best"
TABLE, LIST = "rounds.csv", "rounds.json"

# Units of what a round is in numbers, as its columns are named in tables.
UNITS = {
    "validation_mae": "_ev_per_angstrom",
    "test_mae": "_ev_per_angstrom",
    "test_energy": "_ev_per_atom",
    "added_mae": "_ev_per_angstrom",
    "added_rmse": "_ev_per_angstrom",
    "added_sigma": "_ev_per_angstrom",
}


@dataclass(frozen=True)
class Round:
    """A model, what it was trained on, and what its dynamics found.

    Attributes:
        round: number, from 1.
        frames: in the store that the model was trained on, those held out included.
        labels: structures that the reference had labelled by then.
        validation_error: relative force error on the held-out frames of the store.
        validation_mae: of force components on them, eV/Angstrom.
        test_error, test_mae, test_energy: on the frames for the test: relative force error, mean absolute errors of
            force components (eV/Angstrom) and of the energy (eV/atom); None without such frames or without an energy.
        steps: of the dynamics; None where the model has not been run.
        looked: frames of the dynamics in which the uncertainty was looked at.
        outside: those of them in which some atom was outside of what the model was trained on.
        first_outside: step of the first of them.
        ended: why the dynamics ended before its last step, in words.
        inside: whether the dynamics stayed inside to its last step, which ends the learning.
        added: frames that were labelled and added.
        added_mae, added_rmse: error of the model on them before it had learned them, eV/Angstrom.
        added_sigma: root mean square of the uncertainty that it gave for them, eV/Angstrom.
        added_rank: rank correlation of both, over atoms.
    """

    round: int
    frames: int
    labels: int
    validation_error: float
    validation_mae: float
    test_error: float | None = None
    test_mae: float | None = None
    test_energy: float | None = None
    steps: int | None = None
    looked: int | None = None
    outside: int | None = None
    first_outside: int | None = None
    ended: str = ""
    inside: bool = False
    added: int | None = None
    added_mae: float | None = None
    added_rmse: float | None = None
    added_sigma: float | None = None
    added_rank: float | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers, with their units in the keys; errors are fractions, null where there is none."""
        return {f"{name}{UNITS.get(name, '')}": value for name, value in asdict(self).items()}

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any]) -> Self:
        """Of what `to_mapping` gave."""
        return cls(**{field.name: mapping[f"{field.name}{UNITS.get(field.name, '')}"] for field in fields(cls)})


class Folder:
    """A folder of active learning.

    Args:
        path: of the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.store, self.test, self.best = self.path / STORE, self.path / TEST, self.path / BEST

    def round(self, number: int) -> Path:
        """The folder of a round; that of round 0 holds what learning started from."""
        return self.path / ROUNDS / f"{number:02d}"

    def rounds(self) -> list[Round]:
        """The finished ones.

        Raises:
            InputError: their file is damaged.
        """
        file = self.path / LIST
        if not file.is_file():
            return []
        try:
            return [Round.from_mapping(mapping) for mapping in json.loads(file.read_text("utf-8"))]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{file}: is damaged; remove it, and the same command writes it again.") from None

    def keep(self, rounds: Sequence[Round]) -> None:
        """Write the finished rounds as JSON and as a table."""
        mappings = [row.to_mapping() for row in rounds]
        lines = [",".join(mappings[0]), *(",".join(_cell(value) for value in each.values()) for each in mappings)]
        write_atomic(self.path / TABLE, "\n".join(lines) + "\n")
        write_atomic(self.path / LIST, json.dumps(mappings, indent=1) + "\n")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + value.replace('"', "'") + '"'
    return f"{value:.8g}" if isinstance(value, float) else str(value)
