"""Plain arrays in NPY and NPZ files, never objects: nothing is unpickled."""

import io
from pathlib import Path

import numpy as np

from rgnn.base.errors import InputError, first_line


def npy(array: np.ndarray) -> bytes:
    """The bytes of an NPY file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def read_npy(path: str | Path) -> np.ndarray:
    """The array of an NPY file.

    Raises:
        InputError: not there, or not a plain NPY file.
    """
    found = _loaded(Path(path), "an NPY file", "numpy.save")
    if not isinstance(found, np.ndarray):
        raise InputError(f"{path}: holds several arrays; give one NPY file for each.")
    return found


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file by name.

    Raises:
        InputError: not there, or not plain arrays.
    """
    found = _loaded(Path(path), "an NPZ file", "numpy.savez")
    if isinstance(found, np.ndarray):
        raise InputError(f"{path}: holds one array without a name; write it with numpy.savez.")
    try:
        with found:
            return {name: found[name] for name in found.files}
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: an array of it cannot be read ({first_line(error)}); write it again.") from None


def _loaded(path: Path, kind: str, way: str) -> "np.ndarray | np.lib.npyio.NpzFile":
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; name {kind}.")
    try:
        found: np.ndarray | np.lib.npyio.NpzFile = np.load(path, allow_pickle=False)
    except Exception as error:  # zipfile has several
        raise InputError(
            f"{path}: is not {kind} of plain numbers ({first_line(error)}); write it with {way}."
        ) from None
    return found


def read_numbers(path: str | Path) -> np.ndarray:
    """An array of numbers from an NPY file, or a table without headings from a text file with commas, tabs or spaces.

    Raises:
        InputError: not there, or something in it is not a number.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        found = read_npy(path)
        if found.dtype.kind not in "iufb":
            raise InputError(f"{path}: holds {found.dtype}, not real numbers; write it with numpy.save.")
        return found.astype(np.float64)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; name an NPY file or a table of numbers.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = [line.replace(",", " ").split() for line in text.splitlines() if line.strip() and line[0] != "#"]
        found = np.array([[float(word) for word in row] for row in rows])
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path}: is not a table of numbers ({first_line(error)}); give rows of equal length without headings, "
            "or an NPY file."
        ) from None
    if not found.size:
        raise InputError(f"{path}: holds no numbers; give a table or an NPY file.")
    return found
