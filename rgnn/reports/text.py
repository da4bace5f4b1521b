"""How reports write numbers."""

from collections.abc import Iterator
from dataclasses import replace
from math import isfinite

from rgnn.base.estimate import Estimate
from rgnn.md.thermometry import half_of, with_half
from rgnn.reports.html import Table

# Characters of a table's first column that stay in one line, and between columns.
FIRST, BETWEEN = 24, 3


def interval(e: Estimate, scale: float = 1.0, digits: int = 3) -> str:
    """Value [low, high] with significant digits."""
    value, low, high = (_significant(scale * x, digits) for x in (e.value, e.low, e.high))
    return f"{value} [{low}, {high}]" if isfinite(e.low) else value


def _significant(x: float, digits: int) -> str:
    """As 1,590 for 1593.2: thousands are no powers of ten."""
    return f"{float(f'{x:.{digits}g}'):,.0f}" if 1e3 <= abs(x) < 1e6 else f"{x:.{digits}g}"


def plus_minus(e: Estimate, scale: float = 1.0, digits: int = 2, unit: str = "") -> str:
    """Value and half of its interval, or the words that there were too few frames for one; nothing for NaN."""
    if e.value != e.value:
        return ""
    value = f"{scale * e.value:.{digits}f}"
    if not e.bounded:
        return f"{value}{unit} (too few frames)"
    return f"{value} ± {scale * (e.high - e.low) / 2:.{digits}f}{unit}"


def half_interval(e: Estimate, scale: float = 1.0, digits: int = 2, unit: str = "") -> str:
    """Half of the interval, or that there were too few frames for one; nothing for NaN."""
    if e.value != e.value:
        return ""
    return f"{scale * (e.high - e.low) / 2:.{digits}f}{unit}" if e.bounded else "too few"


def kelvin(t: Estimate | None) -> str:
    """Mean and half of the 95% interval, where the run is long enough for one."""
    return "" if t is None else with_half(t.value, half_of(t))


def percent(x: float) -> str:
    """A part of one in per cent; nothing for NaN, as of a pair that does not exist."""
    return f"{100 * x:.2f}%" if x == x else ""


def folded(table: Table, width: int = 80) -> Iterator[Table]:
    """A table as one or several of at most so many characters, each with the first column of the whole."""

    def longest(column: int) -> int:
        cells = [table.columns[column], *(row[column] for row in table.rows)]
        return max(len(line) for cell in cells for line in (cell.split("\n") or [""]))

    first = 2 + min(longest(0), FIRST)  # with the edges
    chosen, used, title = [0], first, table.title
    for column in range(1, len(table.columns)):
        wide = BETWEEN + longest(column)
        if len(chosen) > 1 and used + wide > width:
            yield _columns(table, chosen, title)
            chosen, used, title = [0], first, ""
        chosen.append(column)
        used += wide
    yield _columns(table, chosen, title)


def _columns(table: Table, chosen: list[int], title: str) -> Table:
    rows = [[row[k] for k in chosen] for row in table.rows]
    return replace(table, title=title, columns=[table.columns[k] for k in chosen], rows=rows)
