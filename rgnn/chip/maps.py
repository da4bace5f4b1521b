"""Files of conductance maps -> arrays. Nothing in a file is ever executed."""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rgnn.base.choices import AxisOfReads, ConductanceUnit
from rgnn.base.errors import InputError, first_line
from rgnn.chip.matlab import read_mat
from rgnn.chip.tables import NoTable, Table, read_sheet, read_text, sheets
from rgnn.chip.units import other_quantity, units_in

# Numbers of a map at most: 2 GB. Small files can claim more than any machine has.
LARGEST = 2**28
# Variance between reads of a cell as a share of that of all numbers: less than the first where an axis counts reads; 1,
# with some scatter, for arrays that are not reads of each other.
SHARE_OF_READS, SHARE_OF_ARRAYS = 0.5, 0.8


@dataclass(frozen=True)
class Maps:
    """Repeated reads of one array as a file gives them.

    Attributes:
        values: [reads, rows, columns] float64, NaN where nothing was read.
        unit: as the file states it, or None.
        notes: what was taken for labels, headings and the like, in words for people.
        quantity: what the numbers are by the words beside them, where these are no conductances; else None.
    """

    values: np.ndarray
    unit: ConductanceUnit | None = None
    notes: tuple[str, ...] = ()
    quantity: str | None = None


def read_maps(
    path: str | Path,
    name: str | None = None,
    *,
    plus: str | None = None,
    minus: str | None = None,
    reads: AxisOfReads | None = None,
) -> Maps:
    """A file of one map or a stack of reads, or a folder of such files in the order of their names.

    Args:
        path: CSV, TSV, text, NPY, NPZ, MAT, HDF5, XLSX, XLS or ODS, or a folder of those.
        name: of the array, field or sheet in a file that has several.
        plus: name of the array, field, sheet or (in a folder) file that holds G+.
        minus: that of G-; the map is then that of G+ with that of G- to its right.
        reads: the axis of a stack that counts reads; None finds the one along which numbers hardly change.

    Raises:
        InputError: unknown, damaged or empty files, several arrays without a name, maps of different sizes, or a stack
            whose maps are not reads of one array.
    """
    path = Path(path)
    if (plus is None) != (minus is None):
        raise InputError("G+ and G- come in two arrays; name both, with --plus and --minus.")
    if plus is not None and minus is not None:
        if name is not None:
            raise InputError("--name chooses one array, --plus and --minus two; leave --name out.")
        first, second = _one(path, plus, reads), _one(path, minus, reads)
        if first.values.shape != second.values.shape:
            raise InputError(
                f"{path}: {plus} is {first.values.shape[1:]} in {len(first.values)} reads, {minus} is "
                f"{second.values.shape[1:]} in {len(second.values)}; G+ and G- must have one size."
            )
        if first.unit != second.unit:
            raise InputError(f"{path}: {plus} is in {first.unit}, {minus} in {second.unit}; give both in one unit.")
        return replace(first, values=np.concatenate([first.values, second.values], axis=2))
    return _one(path, name, reads)


def _one(path: Path, name: str | None, reads: AxisOfReads | None) -> Maps:
    if not path.is_dir():
        return _stack(_read(path, name), path, reads)
    if name is not None and (named := [f for f in _files(path) if name in (f.name, f.stem)]):
        return _stack(_read(named[0], None), named[0], reads)
    return _folder(path, name, reads)


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix.lower() in READERS and not file.name.startswith("."))


def _folder(path: Path, name: str | None, reads: AxisOfReads | None) -> Maps:
    """All maps of a folder as reads of one array; texts without numbers are notes."""
    maps: list[tuple[Path, Maps]] = []
    aside: list[str] = []
    for file in _files(path):
        try:
            maps.append((file, _stack(_read(file, name), file, reads)))
        except NoTable:
            aside.append(file.name)
    if not maps:
        raise InputError(f"{path}: holds no maps (files that end in {', '.join(READERS)}).")
    (first, begin), *more = maps
    for file, each in more:
        if each.values.shape[1:] != begin.values.shape[1:]:
            raise InputError(
                f"{file}: is a map of {each.values.shape[1:]}, but {first.name} one of {begin.values.shape[1:]}; "
                "repeated reads of one array must have its size."
            )
        if each.unit != begin.unit:
            raise InputError(
                f"{file}: is in {each.unit or 'no unit'}, but {first.name} in {begin.unit or 'none'}; reads of one "
                "array must have one unit."
            )
    notes = dict.fromkeys(note for _, each in maps for note in each.notes)
    notes |= {f"{file} holds no numbers and was left out": None for file in aside}
    values = np.concatenate([each.values for _, each in maps])
    if more and reads is None:
        _require_repeats(values, path, "its files")
    return Maps(values, begin.unit, tuple(notes), begin.quantity)


def _read(path: Path, name: str | None) -> Table:
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
        library, extra = ("h5py", "hdf5") if path.suffix.lower() in (".h5", ".hdf5", ".mat") else _SHEETS
        raise InputError(
            f"{path}: needs {library} to be read; pip install 'rgnn[{extra}]', or export it as CSV."
        ) from None
    except Exception as error:  # a damaged file ends each reader in its own way
        raise InputError(f"{path}: cannot be read ({first_line(error)}); export it again.") from None


def _stack(table: Table, path: Path, reads: AxisOfReads | None) -> Maps:
    """[reads, rows, columns], whichever axis counts the reads in the file."""
    values, notes = table.values, table.notes
    if values.dtype.kind not in "fiu" or values.ndim not in (2, 3) or not values.size:
        raise InputError(
            f"{path}: expected numbers in rows and columns (or a stack of such maps), found {values.dtype} of shape "
            f"{values.shape}."
        )
    values = values.astype(np.float64)
    if values.ndim == 2:
        return Maps(values[None], table.unit, notes, table.quantity)
    axis = reads
    if axis is None:
        if len(values) == 1:
            axis = "first"
        elif values.shape[2] == 1 or _share(values, 2) < SHARE_OF_READS <= _share(values, 0):
            axis = "last"
        else:
            _require_repeats(values, path, "its maps")
            axis = "first"
    if axis == "last":
        values = np.moveaxis(values, 2, 0)
        notes = (*notes, f"the last axis counts {len(values)} reads")
    return Maps(values, table.unit, notes, table.quantity)


def _share(values: np.ndarray, axis: int) -> float:
    """Variance along an axis as a share of that of all numbers, sentinels of instruments left out."""
    usual = np.where(np.isfinite(values) & (np.abs(values) < 1e30), values, np.nan)
    if values.shape[axis] < 2 or not np.isfinite(usual).any():
        return 0.0
    centred = usual - np.nanmedian(usual)
    scale = np.nanmax(np.abs(centred))
    if not scale > 0:
        return 0.0
    ranks = np.clip(centred, *np.nanquantile(centred, [0.02, 0.98])) / scale  # a few shorts decide nothing
    counts = np.isfinite(ranks).sum(axis)
    filled = np.nan_to_num(ranks)
    mean = filled.sum(axis) / np.maximum(counts, 1)
    squares = np.where(np.isfinite(ranks), (filled - np.expand_dims(mean, axis)) ** 2, 0).sum(axis)
    several = counts > 1
    within = squares[several].sum() / max(1, (counts[several] - 1).sum())
    return float(within / max(float(np.nanvar(ranks)), 1e-300))


def _require_repeats(values: np.ndarray, path: Path, what: str) -> None:
    """Raise InputError where maps differ as much as the cells of one, so that they are reads of different arrays."""
    if (share := _share(values, 0)) > SHARE_OF_ARRAYS:
        raise InputError(
            f"{path}: {what} differ from each other by {100 * min(share, 1) ** 0.5:.0f}% of the spread of all cells, "
            "so they are hardly reads of one array; import one of them, or say --reads first (or last) if they are."
        )


_SHEETS = ("python-calamine", "sheets")


def _text(path: Path, name: str | None) -> Table:
    return read_text(path)


def _npy(path: Path, name: str | None) -> Table:
    header = np.load(path, allow_pickle=False, mmap_mode="r")
    _require_size(header.shape, path)
    return Table(np.array(header))


def _npz(path: Path, name: str | None) -> Table:
    with zipfile.ZipFile(path) as archive:
        _require_size((sum(item.file_size for item in archive.infolist()) // 8,), path)
    with np.load(path, allow_pickle=False) as arrays:
        return _choose(_readable(arrays), name, path)


def _readable(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays that hold no Python objects, which are never unpickled."""
    found = {}
    for key in arrays:
        try:
            found[key] = arrays[key]
        except ValueError:  # objects
            continue
    return found


def _mat(path: Path, name: str | None) -> Table:
    arrays = read_mat(path, LARGEST)
    if arrays is None:  # version 7.3 is HDF5 inside, and stored column by column
        table = _hdf5(path, name)
        return replace(table, values=np.asarray(table.values).T)
    return _choose(arrays, name, path)


def _hdf5(path: Path, name: str | None) -> Table:
    import h5py

    found: dict[str, Any] = {}
    units: dict[str, ConductanceUnit] = {}
    others: dict[str, str | None] = {}

    def keep(key: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu" or item.ndim not in (2, 3):
            return
        if item.external or item.is_virtual:
            raise InputError(f"{path}: {key} lies in other files, which are not read; copy the data into this file.")
        _require_size(item.shape, path)
        found[key] = item
        stated = units_in([str(item.attrs.get(word, "")) for word in ("unit", "units", "Unit", "Units")])
        bare = str(item.attrs.get("unit", item.attrs.get("units", ""))).strip()
        if stated or bare == "S":
            units[key] = stated[0] if stated else "S"
        others[key] = other_quantity([key.rsplit("/", 1)[-1], f"[{bare}]"])

    with h5py.File(path, "r") as file:
        file.visititems(keep)
        key = _key(found, name, path)
        table = _choose({key: found[key][()]}, key, path)
    return replace(table, unit=units.get(key, table.unit), quantity=others[key])


def _workbook(path: Path, name: str | None) -> Table:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _require_size((sum(item.file_size for item in archive.infolist()) // 8,), path)
    found = dict(sheets(path))
    if name is not None:
        if name not in found:
            raise InputError(f"{path}: has no sheet '{name}'; it has {', '.join(found)}.")
        return read_sheet(found[name], name, path)
    tables = {}
    for title, rows in found.items():
        try:
            tables[title] = read_sheet(rows, title, path)
        except NoTable:
            continue
    if len(tables) != 1:
        what = "has no sheet with a map" if not tables else f"has the maps {', '.join(tables)}; choose one with --name"
        raise InputError(f"{path}: {what}.")
    return next(iter(tables.values()))


def _require_size(shape: tuple[int, ...], path: Path) -> None:
    if (numbers := int(np.prod([float(n) for n in shape]))) > LARGEST:
        raise InputError(
            f"{path}: holds {numbers:,} numbers, more than the {LARGEST:,} of the largest map that is read."
        )


def _key(arrays: Mapping[str, Any], name: str | None, path: Path) -> str:
    """The name of the one map among arrays."""
    maps = [key for key, v in arrays.items() if np.ndim(v) in (2, 3) and v.dtype.kind in "fiu" and np.size(v) > 1]
    short = [key for key in maps if name is not None and key.rsplit("/", 1)[-1].rsplit(".", 1)[-1] == name]
    if name is not None and name in maps:
        return name
    if len(short) == 1:
        return short[0]
    if name is not None or not maps:
        raise InputError(f"{path}: has no map {'at all' if name is None else repr(name)}; it has {sorted(arrays)}.")
    if len(maps) > 1:
        raise InputError(
            f"{path}: has the maps {', '.join(sorted(maps))}; choose one with --name, or G+ and G- with --plus and "
            "--minus."
        )
    return maps[0]


def _choose(arrays: Mapping[str, Any], name: str | None, path: Path) -> Table:
    known = {key: np.asarray(value) for key, value in arrays.items()}
    key = _key(known, name, path)
    found = units_in([key])
    last = key.rsplit("/", 1)[-1].rsplit(".", 1)[-1]
    return Table(known[key], found[0] if len(found) == 1 else None, quantity=other_quantity([last]))


READERS: dict[str, Callable[[Path, str | None], Table]] = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".dat"), _text),
    ".npy": _npy,
    ".npz": _npz,
    ".mat": _mat,
    **dict.fromkeys((".h5", ".hdf5"), _hdf5),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), _workbook),
}
