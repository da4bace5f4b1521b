"""Files of conductance maps -> arrays. Nothing in a file is ever executed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rgnn.base.errors import InputError, first_line


def read_maps(path: str | Path, name: str | None = None) -> np.ndarray:
    """[reads, rows, columns] float64 of a file of one map or a stack of reads, or of a folder of such files.

    The files of a folder are taken in the order of their names.

    Raises:
        InputError: unknown, damaged or empty files, several arrays without a name, or maps of different sizes.
    """
    path = Path(path)
    if not path.is_dir():
        return _stack(_read(path, name), path)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in READERS)
    if not files:
        raise InputError(f"{path}: holds no maps (files that end in {', '.join(READERS)}).")
    stacks = [_stack(_read(file, name), file) for file in files]
    for file, stack in zip(files, stacks, strict=True):
        if stack.shape[1:] != stacks[0].shape[1:]:
            raise InputError(
                f"{file}: is a map of {stack.shape[1:]}, but {files[0].name} one of {stacks[0].shape[1:]}; "
                "repeated reads of one array must have its size."
            )
    return np.concatenate(stacks)


def _read(path: Path, name: str | None) -> Any:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: '{path.suffix}' is not a known kind of map; use {', '.join(READERS)}.")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    try:
        return reader(path, name)
    except InputError:
        raise
    except ImportError:
        raise InputError(f"{path}: needs h5py to be read; pip install 'rgnn[hdf5]', or export it as CSV.") from None
    except Exception as error:  # a damaged file ends each reader in its own way
        raise InputError(f"{path}: cannot be read ({first_line(error)}); export it again.") from None


def _stack(values: Any, path: Path) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "fiu" or values.ndim not in (2, 3) or not values.size:
        raise InputError(
            f"{path}: expected numbers in rows and columns (or a stack of such maps, the reads first), found "
            f"{values.dtype} of shape {values.shape}."
        )
    stack: np.ndarray = (values if values.ndim == 3 else values[None]).astype(np.float64)
    return stack


def _text(path: Path, name: str | None) -> np.ndarray:
    """Numbers between commas, semicolons, tabs or spaces; a first line of words and lines with # are left out."""
    text = path.read_text(encoding="utf-8-sig").splitlines()
    lines = [(number, line) for number, line in enumerate(text, 1) if line.strip() and line[0] != "#"]
    if not lines:
        raise InputError(f"{path}: is empty.")
    separator = next((mark for mark in ("\t", ";", ",") if any(mark in line for _, line in lines)), None)
    rows: list[list[float]] = []
    for number, line in lines[0 if _numbers(lines[0][1], separator) else 1 :]:
        row = _numbers(line, separator)
        if row is None or (rows and len(row) != len(rows[0])):
            what = "is not all numbers" if row is None else f"has {len(row)} numbers, the first one {len(rows[0])}"
            raise InputError(f"{path}: line {number} {what}; every line must be a row of the map.")
        rows.append(row)
    return np.array(rows)


def _numbers(line: str, separator: str | None) -> list[float] | None:
    """The numbers of a line, an empty field as NaN; None where it holds anything else."""
    try:
        return [float(field) if field.strip() else np.nan for field in line.strip("\n").split(separator)]
    except ValueError:
        return None


def _npy(path: Path, name: str | None) -> np.ndarray:
    array: np.ndarray = np.load(path, allow_pickle=False)
    return array


def _npz(path: Path, name: str | None) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        return _choose({key: arrays[key] for key in arrays.files}, name, path)


def _mat(path: Path, name: str | None) -> np.ndarray:
    from scipy.io import loadmat

    try:
        arrays = loadmat(path)
    except NotImplementedError:  # version 7.3 is HDF5 inside, and stored column by column
        return np.asarray(_hdf5(path, name)).T
    return _choose({key: value for key, value in arrays.items() if not key.startswith("__")}, name, path)


def _hdf5(path: Path, name: str | None) -> np.ndarray:
    import h5py

    found: dict[str, np.ndarray] = {}

    def keep(key: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim in (2, 3) and item.dtype.kind in "fiu":
            found[key] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(keep)
    return _choose(found, name, path)


def _choose(arrays: dict[str, Any], name: str | None, path: Path) -> np.ndarray:
    maps = {k: v for k, v in arrays.items() if np.ndim(v) in (2, 3) and np.asarray(v).dtype.kind in "fiu"}
    if name is not None and name in maps:
        return np.asarray(maps[name])
    if name is not None or not maps:
        raise InputError(f"{path}: has no map {'at all' if name is None else repr(name)}; it has {sorted(arrays)}.")
    if len(maps) > 1:
        raise InputError(f"{path}: has the maps {', '.join(sorted(maps))}; choose one with --name.")
    return np.asarray(next(iter(maps.values())))


READERS: dict[str, Callable[[Path, str | None], Any]] = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".dat"), _text),
    ".npy": _npy,
    ".npz": _npz,
    ".mat": _mat,
    **dict.fromkeys((".h5", ".hdf5"), _hdf5),
}
