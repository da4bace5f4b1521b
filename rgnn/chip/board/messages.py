"""Messages as JSON lines: plain values, and arrays of numbers as base64 or as NPY files beside the message."""

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rgnn.base.arrayfiles import npy, read_npy
from rgnn.base.errors import InputError, first_line
from rgnn.base.files import write_atomic
from rgnn.chip.board.protocol import TYPES, BoardFault

# Numbers of one array at most.
MOST = 2**31


def encode(message: Mapping[str, Any], keep: Callable[[str, np.ndarray], Any] | None = None) -> str:
    """One line of JSON, without its end.

    Args:
        message: plain values and arrays.
        keep: gives what stands for an array of a key; None puts its bytes into the line as base64.
    """
    put = keep or (lambda _, array: packed_array(array))
    plain = {
        key: put(key, np.asarray(value)) if isinstance(value, np.ndarray) else value for key, value in message.items()
    }
    return json.dumps(plain, separators=(",", ":"), allow_nan=False)


def packed_array(array: np.ndarray) -> dict[str, Any]:
    """An array as plain values: type, shape, and its bytes, little-endian in C order, as base64."""
    name = array.dtype.name if array.dtype.name in TYPES else "float64"
    little = np.ascontiguousarray(array, dtype=np.dtype(name).newbyteorder("<"))
    data = base64.b64encode(little.tobytes()).decode("ascii")
    return {"dtype": name, "shape": list(array.shape), "data": data}


def decode(line: str | bytes, folder: Path | None = None) -> dict[str, Any]:
    """The message of a line.

    Args:
        line: of JSON.
        folder: where the NPY files of its arrays lie; None admits none.

    Raises:
        BoardFault: it is not a message, or an array does not have the size that it states.
    """
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError) as error:
        shown = line[:60] if isinstance(line, str) else line[:60].decode("utf-8", "replace")
        raise BoardFault(f"wrote '{shown}', which is not JSON ({first_line(error)})") from None
    if not isinstance(plain, dict):
        raise BoardFault("wrote a line that is not a JSON object")
    return {key: _value(key, value, folder) for key, value in plain.items()}


def _value(key: str, value: Any, folder: Path | None) -> Any:
    if not isinstance(value, dict):
        return value
    if folder is not None and value.keys() == {"file"}:
        name = value["file"]
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".npy"):
            raise BoardFault(f"names {name!r} for {key}, but it must be an NPY file in the same folder", passing=False)
        try:
            return read_npy(folder / name)
        except InputError as error:
            raise BoardFault(f"has a file that cannot be read ({error})") from None
    if value.keys() == {"dtype", "shape", "data"}:
        return _unpacked(key, value)
    return value


def _unpacked(key: str, value: dict[str, Any]) -> np.ndarray:
    dtype, shape, data = value["dtype"], value["shape"], value["data"]
    if dtype not in TYPES:
        raise BoardFault(f"sends {key} as {dtype!r}, but it must be one of {', '.join(TYPES)}", passing=False)
    whole = isinstance(shape, list) and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape)
    if not whole or math.prod(shape) > MOST or not isinstance(data, str):
        raise BoardFault(f"sends {key} with a shape or data that make no sense", passing=False)
    kind = np.dtype(dtype).newbyteorder("<")
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BoardFault(f"sends {key} with bytes that are not base64") from None
    if len(raw) != math.prod(shape) * kind.itemsize:
        raise BoardFault(f"sends {key} with {len(raw)} bytes, which do not fill {shape} of {dtype}")
    return np.frombuffer(raw, dtype=kind).reshape(shape).astype(dtype)


class MessageFolder:
    """A folder through which messages travel, each a JSON file with NPY files of its arrays beside it.

    Args:
        folder: made where absent.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, message: Mapping[str, Any]) -> None:
        """Put a message there; its JSON file comes last, so that whoever sees it finds the arrays."""

        def keep(key: str, array: np.ndarray) -> dict[str, str]:
            file = f"{name}.{key}.npy"
            write_atomic(self.folder / file, npy(array))
            return {"file": file}

        write_atomic(self.folder / f"{name}.json", encode(message, keep))

    def read(self, name: str) -> dict[str, Any] | None:
        """The message of this name; None while it is not there."""
        try:
            text = (self.folder / f"{name}.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise BoardFault(f"has a file that cannot be read ({first_line(error)})") from None
        return decode(text, self.folder)

    def remove(self, name: str) -> None:
        """Take a message away, the JSON file first."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)
        for file in self.folder.glob(f"{name}.*.npy"):
            file.unlink(missing_ok=True)
