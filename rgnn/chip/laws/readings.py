"""Measurements of cells from files: tables of readings, and series of reads at a fixed rate."""

import csv
import gzip
import io
import re
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rgnn.base.errors import InputError
from rgnn.chip.laws import columns as of
from rgnn.chip.laws.columns import Column
from rgnn.chip.measurement import OVERFLOW

COMMENTS = ("#", "%", "//")
# A line of so many numbers is a series of reads, not a reading with its circumstances.
SERIES = 64
# Steps of a clock that differ by less than this share of their median are those of a fixed rate.
UNEVEN = 0.01
# Conductances at time 0 and targets are within this factor of those measured, on the whole.
FAR = 100.0
# A file unpacks to at most so many bytes.
LARGEST = 2_000_000_000


@dataclass(frozen=True)
class Series:
    """Reads of a few cells at a fixed rate.

    Attributes:
        conductance: [cells, reads] siemens.
        rate: reads per second, or None where it is not known.
        source: in words.
        notes: what was taken for what, in words.
    """

    conductance: np.ndarray
    rate: float | None
    source: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Readings:
    """Single readings of many cells, with their circumstances.

    Attributes:
        conductance: [n] siemens.
        cell: [n] number of the cell, from 0.
        time: [n] s since programming, or None.
        temperature: [n] Celsius, or None.
        initial: [n] siemens of the same cell at time 0, NaN where it is not known; or None.
        target: [n] siemens that it was programmed to, or None.
        source: in words.
        notes: what was taken for what, in words.
    """

    conductance: np.ndarray
    cell: np.ndarray
    time: np.ndarray | None
    temperature: np.ndarray | None
    initial: np.ndarray | None
    target: np.ndarray | None
    source: str
    notes: tuple[str, ...] = ()


def read(path: str | Path, columns: str | None = None, rate: float | None = None) -> Series | Readings:
    """A file of readings: text with any separator and with or without headings, also gzipped, or a 2-D NPY.

    Args:
        path: of the file.
        columns: what its columns are, such as "cell,time[s],R[kOhm]"; None takes headings or recognises them.
        rate: reads per second of a series without a clock.

    Raises:
        InputError: not readable, columns that are not understood, or nothing to fit in it.
    """
    path = Path(path)
    names, values = _table(path)
    notes: list[str] = []
    width = values.shape[1]
    if names is None and columns is None and (width > SERIES or (width < len(values) and _is_series(values, path))):
        return _plain_series(values, rate, path)
    if columns is not None:
        meant = of.given(columns)
        if len(meant) != width:
            raise InputError(f"{path}: has {width} columns, but --columns names {len(meant)}; write - for one to skip.")
    elif names is not None:
        meant = of.of_headings(names, path)
        unused = [name for name, c in zip(names, meant, strict=True) if c.meaning == "skip"]
        notes += [f"columns not used: {', '.join(unused)}"] if unused else []
    else:
        meant, notes = of.by_numbers(values, path)
    return _readings(values, meant, names, rate, path, notes)


def _is_series(values: np.ndarray, path: Path) -> bool:
    """Whether columns without headings are reads of cells, a line a moment: all of one size, and not whole numbers."""
    x = values[: 10 * SERIES]
    middle = np.nanmedian(np.abs(x), axis=0)
    return len(values) > SERIES and bool(
        (middle > 0).all() and middle.max() < 1e3 * middle.min() and (x != x.round()).any(0).all()
    )


def _table(path: Path) -> tuple[list[str] | None, np.ndarray]:
    """Headings, or None, and the numbers [lines, columns] of a file."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; check the name.")
    if path.suffix.lower() == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"{path}: is not an array of numbers ({error}); export it again.") from None
        if values.ndim != 2 or not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
            raise InputError(
                f"{path}: holds {values.dtype} of shape {values.shape}, but a table has two axes of numbers."
            )
        return None, _without_overflows(values.astype(np.float64))
    text = _text(path)
    lines = [line for line in text.splitlines() if line.strip()]
    comments = [line for line in lines if line.lstrip().startswith(COMMENTS)]
    lines = [line for line in lines if not line.lstrip().startswith(COMMENTS)]
    if not lines:
        raise InputError(f"{path}: holds no readings; export it again.")
    separator, comma = _dialect(lines[: 10 * SERIES])
    names = _fields(lines[0], separator) if _in_words(lines[0], separator, comma) else None
    if names is None and comments:
        last = _fields(comments[-1].lstrip("#%/ "), separator)
        names = last if len(last) == len(_fields(lines[0], separator)) and len(last) < SERIES else None
        body = lines
    else:
        body = lines if names is None else lines[1:]
    if not body:
        raise InputError(f"{path}: holds nothing below its headings; export it again.")
    return names, _without_overflows(_numbers(body, separator, comma, path))


def _without_overflows(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values) & (np.abs(values) < OVERFLOW), values, np.nan)


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(data)) as packed:
                data = packed.read(LARGEST + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: is not a whole gzip file ({error}); copy it again.") from None
        if len(data) > LARGEST:
            raise InputError(f"{path}: unpacks to more than {LARGEST:,} bytes; cut it into parts.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    if b"\0" in data[:100_000]:
        raise InputError(f"{path}: is not text; export the readings as CSV or NPY.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _dialect(lines: list[str]) -> tuple[str | None, bool]:
    """The separator (None: spaces), and whether a comma is the decimal point."""
    points = any(re.search(r"\d\.\d", line) for line in lines)
    for mark in ("\t", ";"):
        if mark in lines[0] and mark in lines[-1]:
            return mark, not points and any(re.search(r"\d,\d", line) for line in lines)
    if (
        "," in lines[0]
        and (len(lines) < 2 or "," in lines[1])
        and (points or not any(re.search(r"\d,\d+\s+[-+\d]", line) for line in lines))
    ):
        return ",", False
    return None, not points and any(re.search(r"\d,\d", line) for line in lines)


def _fields(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    return [field.strip() for field in next(csv.reader([line], delimiter=separator), [])]


def _in_words(line: str, separator: str | None, comma: bool) -> bool:
    fields = [f for f in _fields(line, separator) if f]
    return any(_number(field, comma) is None for field in fields)


def _number(field: str, comma: bool) -> float | None:
    try:
        return float((field.replace(",", ".") if comma else field).strip("\"' ") or "nan")
    except ValueError:
        return None


def _numbers(lines: list[str], separator: str | None, comma: bool, path: Path) -> np.ndarray:
    """[lines, columns]; the quick way where every field is a number, and the slow one to say which is not."""
    plain = [line.replace(",", ".") for line in lines] if comma else lines
    try:
        return np.loadtxt(plain, delimiter=separator, ndmin=2, comments=None, dtype=np.float64)
    except ValueError:
        pass
    rows: list[list[float]] = []
    missing = {"nan", "na", "n/a", "null", "none", "-", "--", "ovld", "overflow", ""}
    for k, line in enumerate(lines, 1):
        fields = _fields(line, separator)
        if separator not in (None, "\t") and len(fields) > 1 and not fields[-1]:
            fields.pop()
        found = [float("nan") if f.strip("\"' ").lower() in missing else _number(f, comma) for f in fields]
        row = [x for x in found if x is not None]
        if len(row) < len(found) or (rows and len(row) != len(rows[0])):
            wrong = next((f for f, x in zip(fields, found, strict=True) if x is None), None)
            what = f"has {len(row)} fields and not {len(rows[0])}" if wrong is None else f"holds '{wrong[:20]}'"
            raise InputError(f"{path}: reading {k} {what}; every line must be a reading, headings may stand above.")
        rows.append(row)
    return np.array(rows, np.float64)


def _plain_series(values: np.ndarray, rate: float | None, path: Path) -> Series:
    """Cells along the shorter axis, without columns of whole numbers before them, which are labels."""
    notes = list[str]()
    if values.shape[1] < values.shape[0]:
        values = values.T
    labels = 0
    while (
        labels < 4
        and (values[:, labels] == np.floor(values[:, labels])).all()
        and not (values[:, labels:] == np.floor(values[:, labels:])).all()
    ):
        labels += 1
    if labels:
        notes.append(f"the first {labels} columns are whole numbers and taken as labels")
    series = of.siemens(values[:, labels:], Column("conductance"), path, notes)
    notes.append(f"a series of {series.shape[1]:,} reads of {len(series)} cells")
    return Series(_finite(series, path), rate, path.name, tuple(notes))


def _finite(series: np.ndarray, path: Path) -> np.ndarray:
    """Cells all of whose reads are numbers above zero in the mean.

    Raises:
        InputError: none is.
    """
    kept: np.ndarray = series[np.isfinite(series).all(1) & (np.nan_to_num(series).mean(1) > 0)]
    if not len(kept):
        raise InputError(f"{path}: no cell of the series has a number for every read; mend the gaps.")
    return kept


def _readings(
    values: np.ndarray, columns: list[Column], names: list[str] | None, rate: float | None, path: Path, notes: list[str]
) -> Series | Readings:
    at: dict[str, list[int]] = {}
    for k, column in enumerate(columns):
        at.setdefault(column.meaning, []).append(k)
    value = at.get("conductance") or at.get("resistance")
    time = at.get("time")
    if value is None and time and names is not None:  # columns named after cells
        value = [k for k, c in enumerate(columns) if c.meaning == "skip"]
        value += at["cell"] if len(at.get("cell", ())) > 1 else []
        columns = [Column("conductance", c.unit) if k in value else c for k, c in enumerate(columns)]
        notes = [f"columns taken as cells: {len(value)}"]
    if not value:
        raise InputError(f"{path}: no column is a conductance or a resistance; name them with --columns.")
    for meaning in ("time", "temperature", "initial", "target"):
        if len(at.get(meaning, ())) > 1:
            raise InputError(f"{path}: has {len(at[meaning])} columns of {meaning}; name one of them with --columns.")
    alone = not {"cell", "row", "column", "temperature", "initial", "target"} & at.keys()
    t = None if not time else of.seconds(values[:, time[0]], columns[time[0]], path)
    if alone and t is not None and len(values) > SERIES and _even(t):
        if len({columns[k] for k in value}) == 1:  # one unit, whatever the size of a single cell
            series = of.siemens(values[:, value], columns[value[0]], path, notes).T
        else:
            series = np.stack([of.siemens(values[:, k], columns[k], path, notes) for k in value])
        return Series(_finite(series, path), _rate(t, rate, path), path.name, tuple(notes))
    if len(value) > 1:
        raise InputError(f"{path}: has {len(value)} columns of conductances; name one of them with --columns.")
    return _single(values, columns, {m: k[0] for m, k in at.items()}, value[0], t, rate, path, notes)


def _even(t: np.ndarray) -> bool:
    steps = np.diff(t)
    return bool((steps > 0).all() and np.ptp(steps) < UNEVEN * np.median(steps))


def _rate(clock: np.ndarray, given: float | None, path: Path) -> float:
    """Reads per second by an even clock [..., reads] in s.

    Raises:
        InputError: another rate was given, so that the unit of the clock is wrong.
    """
    rate = 1 / float(np.median(np.diff(clock)))
    if given is not None and abs(given - rate) > UNEVEN * rate:
        raise InputError(
            f"{path}: its clock has {rate:.4g} reads per second, but --rate is {given:g}; leave --rate out, or say the "
            "unit of the time, as in --columns time[ms],..."
        )
    return rate


def _single(
    values: np.ndarray, columns: list[Column], at: dict[str, int], value: int, t: np.ndarray | None,
    rate: float | None, path: Path, notes: list[str],
) -> Series | Readings:  # fmt: skip
    g = of.siemens(values[:, value], columns[value], path, notes)
    good = np.isfinite(g)
    for meaning in ("time", "temperature", "cell"):
        if meaning in at:
            good &= np.isfinite(values[:, at[meaning]])
    if not good.all():
        notes.append(f"{int((~good).sum()):,} readings without a number are left out")
    if not good.any():
        raise InputError(f"{path}: no reading has all its numbers; export it again.")
    values, g, t = values[good], g[good], None if t is None else t[good]
    temperature = None
    if "temperature" in at:
        temperature, said = of.celsius(values[:, at["temperature"]], columns[at["temperature"]], path)
        notes += [said] if said else []
    cell = _cells(values, at, len(g))
    if t is not None and temperature is None and not {"initial", "target", "level"} & at.keys():
        found = _series_of_cells(g, cell, t)
        if found is not None:
            return Series(found[0], _rate(found[1], rate, path), path.name, tuple(notes))
    initial = None
    if "initial" in at:
        initial = _beside(g, columns[value], values[:, at["initial"]], columns[at["initial"]], path, notes)
    elif t is not None:
        initial = _at_start(g, cell, t, temperature)
    target = None
    if "target" in at:
        target = _beside(g, columns[value], values[:, at["target"]], columns[at["target"]], path, notes)
    elif "level" in at:
        target = _of_levels(g if initial is None else initial, values[:, at["level"]])
        notes.append("levels have no conductance, so the mean of each is taken as its target")
    return Readings(g, cell, t, temperature, initial, target, path.name, tuple(notes))


def _beside(
    g: np.ndarray, of_g: Column, values: np.ndarray, column: Column, path: Path, notes: list[str]
) -> np.ndarray:
    """Conductances at time 0 or targets in siemens, in the unit of the conductances where they have none.

    Raises:
        InputError: they are far from those measured, so that one of the two has another unit.
    """
    if column.unit is None and of_g.meaning == "conductance":
        column = replace(column, unit=of_g.unit)
    found = of.siemens(values, column, path, notes)
    here, there = (float(np.nanmedian(np.abs(x))) if np.isfinite(x).any() else 0.0 for x in (g, found))
    if here and there and not 1 / FAR < there / here < FAR:
        raise InputError(
            f"{path}: the median {column.meaning} is {there / here:.3g} times that of the conductances, so one of them "
            "has another unit; say both with --columns, as in conductance[uS],target[uS]."
        )
    return found


def _cells(values: np.ndarray, at: dict[str, int], n: int) -> np.ndarray:
    keys = [values[:, at[m]] for m in ("cell", "row", "column") if m in at]
    if not keys:
        return np.arange(n)
    return _numbered(keys)


def _numbered(keys: list[np.ndarray]) -> np.ndarray:
    """A number from 0 for each combination of keys [n]."""
    number = np.zeros(len(keys[0]), np.int64)
    for key in keys:
        place = np.unique(key, return_inverse=True)[1].reshape(-1)
        number = np.unique(number * (place.max() + 1) + place, return_inverse=True)[1].reshape(-1)
    return number


def _series_of_cells(g: np.ndarray, cell: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Reads and clocks [cells, reads] of a few cells that are listed one by one, with as many each at a fixed rate."""
    counts = np.bincount(cell)
    if counts.min() != counts.max() or counts[0] <= SERIES:
        return None
    order = np.lexsort((t, cell))
    clock = t[order].reshape(len(counts), -1)
    if not all(_even(row) for row in clock):
        return None
    return g[order].reshape(len(counts), -1), clock


def _at_start(g: np.ndarray, cell: np.ndarray, t: np.ndarray, temperature: np.ndarray | None) -> np.ndarray | None:
    """Conductance of each reading's cell at time 0 of the same temperature; None where no time is 0."""
    if not (t == 0).any():
        return None
    run = _numbered([cell] if temperature is None else [cell, temperature])
    first: np.ndarray = np.full(run.max() + 1, np.nan)
    first[run[t == 0]] = g[t == 0]
    found: np.ndarray = first[run]
    return found


def _of_levels(g: np.ndarray, level: np.ndarray) -> np.ndarray:
    number = np.unique(level, return_inverse=True)[1].reshape(-1)
    good = np.isfinite(g)
    total = np.bincount(number[good], g[good], minlength=number.max() + 1)
    mean: np.ndarray = total / np.maximum(1, np.bincount(number[good], minlength=number.max() + 1))
    return mean[number]
