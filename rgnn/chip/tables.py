"""Maps in text and spreadsheets: headings, labels of rows and columns, decimal commas, and lists of readings."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rgnn.base.choices import ConductanceUnit
from rgnn.base.errors import InputError
from rgnn.chip.units import other_quantity, units_in

# Cells of a row: a number (NaN where it is empty), or words.
Row = list[float | str]
COMMENTS = ("#", "%", "//")
NOTHING = {"", "nan", "na", "n/a", "null", "none", "-", "--", "inf", "+inf", "-inf", "ovld", "ovl", "overflow", "oor"}
# Headings of a list of readings: where a reading was taken, and what it is.
ROWS = {"row", "rows", "r_index", "wl", "wordline", "word_line", "word line", "row_index", "row index"}
COLUMNS = {"col", "cols", "column", "columns", "bl", "bitline", "bit_line", "bit line", "col_index", "column index"}
CYCLES = {"cycle", "cycles", "read", "reads", "repeat", "rep", "sweep", "measurement", "iteration", "n_read", "pulse"}
VALUES = re.compile(r"^(g|r|cond\w*|resist\w*|value|weight|w)([\s_(\[/].*)?$", re.IGNORECASE)
# Words in the corner of a map whose first column numbers the rows.
CORNERS = ROWS | {"index", "idx", "no", "no.", "nr", "nr.", "#"}
POINTED, COMMAED = (re.compile(rf"[-+]?\d*{mark}\d+([eEdD][-+]?\d+)?") for mark in (r"\.", ","))
# A grid may be so many times as large as the list of readings that it is made of.
SPARSEST = 16
# Two rows of a map are no evidence of labels, a sequence of this length is.
SHORTEST_SEQUENCE = 3


@dataclass(frozen=True)
class Table:
    """What a text file or a sheet holds.

    Attributes:
        values: [reads, rows, columns], NaN where nothing was read.
        unit: as the file states it, or None.
        notes: what was taken for labels and the like, in words for people.
        quantity: what the numbers are by the words beside them, where these are no conductances; else None.
    """

    values: np.ndarray
    unit: ConductanceUnit | None = None
    notes: tuple[str, ...] = ()
    quantity: str | None = None


class NoTable(InputError):  # noqa: N818 (said of a file)
    """A text in which no line holds numbers: notes, not a map."""


def read_text(path: Path) -> Table:
    """A table of numbers between commas, semicolons, tabs or spaces.

    Raises:
        NoTable: no line holds numbers.
        InputError: a line is not a row of the map.
    """
    text = _decoded(path)
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise NoTable(f"{path}: is empty.")
    comments = [line for _, line in lines if line.lstrip().startswith(COMMENTS)]
    rest = [(number, line) for number, line in lines if not line.lstrip().startswith(COMMENTS)]
    separator, comma = _dialect([line for _, line in rest])
    fields = [(f"line {number}", _fields(line, separator)) for number, line in rest]
    _refuse_doubtful_commas(fields, separator, comma, path)
    return table_of([(where, [_cell(f, comma) for f in row]) for where, row in fields], comments, path)


def read_sheet(rows: Sequence[Sequence[object]], where: str, path: Path) -> Table:
    """A table from the cells of a spreadsheet; empty rows and columns around it are left out."""
    cells = [(f"row {k} of {where}", [_of_object(cell) for cell in row]) for k, row in enumerate(rows, 1)]
    filled = [(name, row) for name, row in cells if any(isinstance(cell, str) or not np.isnan(cell) for cell in row)]
    width = max((len(row) for _, row in filled), default=0)
    full = [(name, row + [np.nan] * (width - len(row))) for name, row in filled]
    empty = {k for k in range(width) if all(not isinstance(r[k], str) and np.isnan(r[k]) for _, r in full)}
    return table_of([(name, [c for k, c in enumerate(row) if k not in empty]) for name, row in full], [], path)


def table_of(rows: list[tuple[str, Row]], comments: Sequence[str], path: Path) -> Table:
    """Rows of cells as a map, without their headings and labels; or a list of readings as the map that it gives.

    Args:
        rows: where each row stands, and its cells.
        comments: lines that may state a unit.
        path: of the file, for errors.

    Raises:
        NoTable: there are no numbers.
        InputError: a row is not one of numbers, or has another length.
    """
    if not any(isinstance(cell, float) and not np.isnan(cell) for _, row in rows for cell in row):
        raise NoTable(f"{path}: holds no numbers.")
    notes: list[str] = []
    heading: Row | None = None
    if _is_heading(rows[0], path):
        heading, rows = rows[0][1], rows[1:]
        notes.append("the first row is a heading")
    if not rows:
        raise NoTable(f"{path}: holds nothing below its heading.")
    words = [cell for cell in heading or [] if isinstance(cell, str)]
    unit = _stated([*comments, *words], path)
    columns = None if heading is None else _list_columns(heading, path)
    if columns is None and _has_row_labels(heading, rows):
        rows = [(where, row[1:]) for where, row in rows]
        heading = heading and heading[-len(rows[0][1]) :]
        notes.append("the first column is labels of rows")
    values = _rectangle(rows, path)
    columns = columns or (_unnamed_list(values) if heading is None and "labels" not in " ".join(notes) else None)
    names = words if columns is None or heading is None else [str(heading[columns.value])]
    table = Table(values[None], unit, tuple(notes), other_quantity(names, comments))
    return table if columns is None else _pivoted(table, columns, path)


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    if b"\0" in data:
        raise InputError(f"{path}: is not text, though its name says so.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # what instruments write for µ


def _dialect(lines: Sequence[str]) -> tuple[str | None, bool]:
    """What separates the fields (None: spaces), and whether a comma is the decimal point."""
    for mark in ("\t", ";"):
        if any(mark in line for line in lines):
            fields = [_bare(field) for line in lines for field in line.split(mark)]
            return mark, any(map(COMMAED.fullmatch, fields)) and not any(map(POINTED.fullmatch, fields))
    points = any(re.search(r"\d\.\d", line) for line in lines)
    if not points and any(re.search(r"\d,\d+([eEdD][-+]?\d+)?\s+[-+\d]", line) for line in lines):
        return None, True
    if not any("," in line for line in lines):
        return None, False
    return ",", not points and any(re.search(r'"\s*[-+]?\d+,\d', line) for line in lines)


def _fields(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    fields = next(csv.reader([line], delimiter=separator), [])
    if separator != "\t" and len(fields) > 1 and not fields[-1].strip():
        fields.pop()  # a separator at the end of the line
    return fields


def _bare(field: str) -> str:
    return field.strip().strip("'\"").strip()


def _refuse_doubtful_commas(
    rows: Sequence[tuple[str, list[str]]], separator: str | None, comma: bool, path: Path
) -> None:
    """Refuse commas that may be something else than what they are taken for.

    Raises:
        InputError: decimal commas between commas, or commas that may part thousands.
    """
    bare = [(where, [_bare(field) for field in row]) for where, row in rows]
    if separator == "," and not comma and not any(POINTED.fullmatch(field) for _, row in bare for field in row):
        for where, row in bare:
            if (broken := next((f for f in row[1:] if re.fullmatch(r"0\d+", f)), None)) is not None:
                raise InputError(
                    f"{path}: {where} holds {broken!r} after a comma, which then looks like a decimal comma; separate "
                    "numbers by semicolons, or write decimal points."
                )
    found = [field for _, row in bare for field in row if COMMAED.fullmatch(field)] if comma else []
    if len(found) > 1 and all(re.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}", field) for field in found):
        where, whole = next(((w, f) for w, row in bare for f in row if re.fullmatch(r"[-+]?\d+", f)), ("", ""))
        if whole:
            raise InputError(
                f"{path}: has {found[0]!r} beside {whole!r} ({where}), so its commas may part thousands or be decimal "
                "ones; write decimal points and no thousands."
            )


def _cell(field: str, comma: bool) -> float | str:
    """The number of a field, NaN for none, or its words."""
    text = _bare(field)
    if text.lower() in NOTHING:
        return float("nan")
    if re.fullmatch(r"[-+]?(\d+[.,]?\d*|[.,]\d+)([eEdD][-+]?\d+)?", text):
        number = text.replace(",", ".") if comma else text
        try:
            return float(number.replace("d", "e").replace("D", "e"))
        except ValueError:
            return text
    return text


def _of_object(cell: object) -> float | str:
    if cell is None:
        return float("nan")
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return str(cell)
    return _cell(cell, False) if isinstance(cell, str) else float(cell)


def _is_heading(row: tuple[str, Row], path: Path) -> bool:
    """Whether the first row names the columns: in words, or by numbers that count.

    Raises:
        InputError: numbers beside words, which may be cells that would be lost.
    """
    where, cells = row
    words = [cell for cell in cells if isinstance(cell, str)]
    corner = isinstance(cells[0], str) or np.isnan(cells[0])
    if _counts(cells) or (corner and _counts(cells[1:], from_anywhere=True)):
        return True
    if not words:
        return False
    named = [word for word in words if not re.match(r"[-+.]?\d", word)]
    filled = [cell for cell in cells if isinstance(cell, str) or not np.isnan(cell)]
    if len(named) == len(filled):
        return True
    if len(named) == 1 and cells[0] == named[0]:
        return False  # the label of a first row of cells
    strange = next(word for word in words if word not in named) if len(named) < len(words) else named[0]
    raise InputError(
        f"{path}: {where} holds {strange!r} beside numbers; if it is a heading, begin it with #, otherwise mend it."
    )


def _counts(cells: Sequence[float | str], *, from_anywhere: bool = False) -> bool:
    """Whether cells are numbers that count up by one from 0 or 1, or from any whole number."""
    n = len(cells)
    if n < SHORTEST_SEQUENCE:
        return False
    starts = [0, 1]
    if from_anywhere and isinstance(cells[0], float) and cells[0].is_integer():
        starts.append(int(cells[0]))
    return any(list(cells) == list(range(start, start + n)) for start in starts)


def _names_rows(heading: Row) -> bool:
    """Whether a heading says that the first column is labels: its corner is empty, or a word such as row or WL/BL."""
    corner, *others = heading
    if isinstance(corner, str):
        rows_and_columns = {part.strip() for part in re.split(r"[\\/]", corner.lower())}
        return rows_and_columns <= CORNERS | COLUMNS and not rows_and_columns.isdisjoint(CORNERS)
    return bool(np.isnan(corner)) and all(isinstance(cell, str) or not np.isnan(cell) for cell in others)


def _has_row_labels(heading: Row | None, rows: Sequence[tuple[str, Row]]) -> bool:
    """Whether the first column names the rows: in words, by different numbers under a corner, or by counting."""
    first = [row[0] for _, row in rows if row]
    if not first or len(rows[0][1]) < 2:
        return False
    if heading is not None and len(heading) == len(rows[0][1]) - 1:
        return True
    if all(isinstance(cell, str) and not re.match(r"[-+.]?\d", cell) for cell in first):
        return True
    if heading is not None and len(heading) == len(rows[0][1]) and _names_rows(heading):
        return len(set(first)) == len(first) and not any(isinstance(c, float) and np.isnan(c) for c in first)
    others = [cell for _, row in rows for cell in row[1:] if isinstance(cell, float)]
    whole = all(float(cell).is_integer() for cell in others if not np.isnan(cell))
    corner = heading is not None and (isinstance(heading[0], str) or np.isnan(heading[0]))
    return _counts(first) and (corner or not whole)


def _rectangle(rows: Sequence[tuple[str, Row]], path: Path) -> np.ndarray:
    width = len(rows[0][1])
    for where, row in rows:
        word = next((cell for cell in row if isinstance(cell, str)), None)
        if word is not None:
            raise InputError(
                f"{path}: {where} is not all numbers ({word[:20]!r}); every line must be a row of the map."
            )
        if len(row) != width:
            raise InputError(
                f"{path}: {where} has {len(row)} numbers, the first one {width}; every line must be a row of the map."
            )
    return np.array([row for _, row in rows], np.float64).reshape(len(rows), width)


def _stated(texts: Sequence[str], path: Path) -> ConductanceUnit | None:
    found = units_in(texts)
    if len(found) > 1:
        raise InputError(f"{path}: states the units {' and '.join(found)}; leave one in its heading.")
    return found[0] if found else None


@dataclass(frozen=True)
class _List:
    """Which columns of a list of readings say what."""

    row: int
    column: int
    value: int
    cycle: int | None


def _list_columns(heading: Row, path: Path) -> _List | None:
    names = [cell.strip().lower() if isinstance(cell, str) else "" for cell in heading]

    def find(known: set[str]) -> int | None:
        return next((k for k, name in enumerate(names) if name in known), None)

    row, column, cycle = find(ROWS), find(COLUMNS), find(CYCLES)
    value = [k for k, name in enumerate(names) if VALUES.match(name) and k not in (row, column, cycle)]
    if row is None or column is None:
        return None
    if len(value) != 1:
        raise InputError(
            f"{path}: lists readings by {names[row]} and {names[column]}, but {len(value)} of its columns are named as "
            "conductances or resistances; name one of them G or R, with its unit."
        )
    return _List(row, column, value[0], cycle)


def _unnamed_list(values: np.ndarray) -> _List | None:
    """Three or four columns of which the first two or three number all cells of a grid: a list without a heading."""
    n, width = values.shape
    if width not in (3, 4) or n < 8 or not np.isfinite(values[:, :-1]).all():
        return None
    index = values[:, :-1]
    if (index != np.floor(index)).any() or (index < 0).any() or len(np.unique(index, axis=0)) != n:
        return None
    sizes = [len(np.unique(column)) for column in index.T]
    return _List(0, 1, width - 1, 2 if width == 4 else None) if np.prod(sizes) == n and min(sizes) > 1 else None


def _pivoted(table: Table, columns: _List, path: Path) -> Table:
    """The reads of each cell, in the order of their cycles or of the list.

    Raises:
        InputError: places that are not whole numbers, or a grid that the list hardly fills.
    """
    values = table.values[0]
    where = values[:, [columns.row, columns.column]]
    if not np.isfinite(where).all() or (where != np.floor(where)).any():
        raise InputError(f"{path}: the rows and columns of its readings must be whole numbers.")
    place = (where - where.min(axis=0)).astype(np.int64)
    size = place.max(axis=0) + 1
    flat = place[:, 0] * size[1] + place[:, 1]
    if columns.cycle is None:
        order = np.argsort(flat, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(flat[order]) > 0])
        read = np.empty(len(flat), np.int64)
        read[order] = np.arange(len(flat)) - np.repeat(starts, np.diff(np.r_[starts, len(flat)]))
    else:
        read = np.unique(values[:, columns.cycle], return_inverse=True)[1].reshape(-1)
    reads = int(read.max()) + 1
    if reads * int(size[0]) * int(size[1]) > SPARSEST * len(values):
        raise InputError(
            f"{path}: its {len(values)} readings would be spread over {reads} reads of {size[0]} x {size[1]} cells; "
            "does it list rows and columns?"
        )
    key = read * (size[0] * size[1]) + flat
    if len(np.unique(key)) != len(key):
        raise InputError(f"{path}: lists a cell twice in one cycle; give each reading a cycle, or leave cycles out.")
    grid = np.full((reads, int(size[0]), int(size[1])), np.nan)
    grid[read, place[:, 0], place[:, 1]] = values[:, columns.value]
    times = "1 read" if reads == 1 else f"{reads} reads"
    note = f"a list of {len(values):,} readings became {times} of {size[0]} x {size[1]} cells"
    return replace(table, values=grid, notes=(*table.notes, note))


def sheets(path: Path) -> Iterator[tuple[str, list[list[object]]]]:
    """The name and cells of each sheet of a workbook.

    Raises:
        ImportError: python-calamine is not installed.
    """
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_path(str(path))
    for title in book.sheet_names:
        yield title, book.get_sheet_by_name(title).to_python(skip_empty_area=True)
