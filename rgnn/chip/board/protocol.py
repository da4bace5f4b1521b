"""The protocol of a board: four calls with names and arrays, the same in this process, over pipes and in a folder.

    info()                                     what the board is
    program(array, shape, plus, minus, weight, tolerance)
                                               make room for an array, and bring its cells to targets where it can
    read(array)                                conductances as they are
    mvm(array, planes, bits, inputs, add)      bit planes in, column sums out

docs/chip-in-the-loop.md describes every field, with a full message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rgnn.base.errors import RGNNError

PROTOCOL = "rgnn board 1"
CALLS = ("info", "program", "read", "mvm")
# Types of numbers that travel, little-endian.
TYPES = ("uint8", "int16", "uint16", "int32", "float32", "float64")


class BoardFault(RGNNError):  # noqa: N818 (it is the board's, and may pass)
    """A call of a board failed: it stopped, was silent for too long, or answered something that makes no sense.

    Args:
        message: what happened, in words without a full stop.
        passing: the same call may succeed when it is made again.
    """

    def __init__(self, message: str, passing: bool = True) -> None:
        super().__init__(message)
        self.passing = passing


class Board(Protocol):
    """What answers the calls: a chip behind a transport, a class of a user's, or the simulator.

    Results are mappings of plain values and NumPy arrays. Whatever goes wrong is raised, and ends as a `BoardFault`.
    """

    def info(self) -> Mapping[str, Any]:
        """What the board is: protocol, name, bits (most planes of a call)."""

    def program(
        self,
        array: str,
        shape: Sequence[int],
        plus: np.ndarray | None = None,
        minus: np.ndarray | None = None,
        weight: np.ndarray | None = None,
        tolerance: float | None = None,
    ) -> Mapping[str, Any]:
        """Make room for an array of this shape (outputs, inputs), and program it where the board can.

        Args:
            array: its name from now on.
            shape: outputs and inputs.
            plus: [out, in] target conductances G+ in siemens; None where only the difference is known.
            minus: the same of G-.
            weight: [out, in] the difference in the model's units.
            tolerance: that a conductance may miss its target by, siemens.

        Returns:
            programmed (whether cells were set), unit and zero: weight of one count of a column sum, and the count of a
            column that nothing drives, each a number or one for each output; both may be left out (1 and 0).
        """

    def read(self, array: str) -> Mapping[str, Any]:
        """The array as it is: plus and minus [out, in] in siemens, or weight [out, in] in the model's units.

        Also done [out, in], true where a cell reached its target, if that is known.
        """

    def mvm(self, array: str, planes: np.ndarray, bits: int, inputs: int, add: bool = True) -> Mapping[str, Any]:
        """Products of an array with rows of bit planes.

        Args:
            array: name that `program` gave it.
            planes: [rows, bits, ceil(inputs / 8)] uint8, see `rgnn.chip.board.planes`.
            bits: planes of a row.
            inputs: of the array.
            add: planes may be added up, plane b 2^b times.

        Returns:
            sums: [rows, bits, out] counts of each plane; or, where they may be added, [rows, out].
        """


@dataclass(frozen=True)
class BoardInfo:
    """What a board says of itself.

    Attributes:
        name: in words.
        bits: most bit planes of a call.
        rows: most rows of a call.
    """

    name: str = "unnamed"
    bits: int = 16
    rows: int = 4096

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "BoardInfo":
        """Those of an answer.

        Raises:
            BoardFault: of another protocol, or not a description.
        """
        if answer.get("protocol") != PROTOCOL:
            raise BoardFault(f"speaks '{answer.get('protocol')}', not '{PROTOCOL}'", passing=False)
        found = cls(str(answer.get("name", "unnamed")), _count(answer, "bits", 16), _count(answer, "rows", cls.rows))
        if found.bits > 16:
            raise BoardFault(f"says that it takes {found.bits} bits, but a code has at most 16", passing=False)
        return found


def _count(answer: Mapping[str, Any], name: str, default: int) -> int:
    value = answer.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BoardFault(f"says that {name} is {value!r}, but it must be a whole number of 1 or more", passing=False)
    return value


def matrix_of(answer: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """[out, in] float64 of an answer; None where it has none.

    Raises:
        BoardFault: of another shape, or with numbers that are not finite.
    """
    value = answer.get(name)
    if value is None:
        return None
    found = np.asarray(value, dtype=np.float64)
    if found.shape != shape:
        raise BoardFault(f"answers {name} of shape {list(found.shape)}, not {list(shape)}", passing=False)
    if not np.isfinite(found).all():
        raise BoardFault(f"answers {name} with numbers that are not finite")
    return found


def sums_of(answer: Mapping[str, Any], rows: int, bits: int, out: int, add: bool) -> np.ndarray:
    """Counts [rows, bits, out], or [rows, out] where the board has added its planes.

    Raises:
        BoardFault: there are none, of another shape, or not finite.
    """
    value = answer.get("sums")
    if value is None:
        raise BoardFault("answers a product without sums", passing=False)
    found = np.asarray(value)
    shapes = [(rows, bits, out), *([(rows, out)] if add else [])]
    if found.shape not in shapes or found.dtype.kind not in "iuf":
        wanted = " or ".join(str(list(shape)) for shape in shapes)
        raise BoardFault(f"answers sums of shape {list(found.shape)}, not {wanted}", passing=False)
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise BoardFault("answers sums that are not finite")
    return found
