"""What the columns of a table of readings are: by their headings, as given, or by what their numbers can only be."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from rgnn.base.errors import InputError
from rgnn.chip.units import OHMS, SIEMENS, units_in

Meaning = Literal[
    "cell", "row", "column", "time", "temperature", "resistance", "conductance", "initial", "target", "level", "skip"
]
MEANINGS: tuple[Meaning, ...] = get_args(Meaning)
SECONDS = {
    "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "min": 60.0, "minute": 60.0,
    "minutes": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0,
    "days": 86400.0,
}  # fmt: skip
KELVIN = {"k", "kelvin"}
CELSIUS = {"c", "degc", "deg c", "celsius", "°c"}
# Headings, the more special ones first; a lone T is a temperature and a lone t a time.
HEADINGS: tuple[tuple[Meaning, str], ...] = (
    ("skip", r"nominal.*|.*nominal|.*comment.*|.*date.*|timestamp.*"),
    ("temperature", r"T|[Tt]emp.*|.*[Tt]emperature.*|.*bake.*temp.*|T[ _]?(bake|C|K)"),
    (
        "time",
        r"t|[Tt]ime.*|.*[_ ]time|[Ee]lapsed.*|[Dd]elay.*|t[ _]?(s|ms|us|min|h)|"
        r"(s|ms|us|min|h|hours?|seconds?|minutes?|days?)",
    ),
    ("target", r"([Gg][ _]?)?(target|goal|aim)([ _]?([Gg]|cond.*))?|[Gg][ _]?(t|set|prog)"),
    ("level", r"[Ll]evel.*|[Rr]ange.*|[Ss]tate.*|[Bb]in"),
    ("initial", r"[Gg][ _]?(0|i|in|init.*|start|at.*0)|initial.*([Gg]|cond).*|cond.*[ _]?(0|init.*)|initial"),
    ("row", r"[Rr]ows?|[Ww][Ll]|[Ww]ord.?line"),
    ("column", r"[Cc]ol(umn)?s?|[Bb][Ll]|[Bb]it.?line"),
    ("cell", r"[Aa]ddr.*|[Cc]ell.*|[Dd]evice.*|[Ii]d|[Ii]ndex|[Ii]dx|[Dd][Uu][Tt]|#"),
    ("conductance", r"[Gg]([ _]?(f|final|meas.*|read|now))?|[Cc]ond.*|.*conductance.*|[Gg][ _(\[].*"),
    ("resistance", r"[Rr]([ _]?(f|final|meas.*|read))?|[Rr]es.*|.*resistance.*|[Rr][ _(\[].*"),
)
# Of a conductance without a unit, medians that can only be meant in siemens or microsiemens; of a resistance, ohm.
CERTAINLY = {"S": (1e-8, 1e-3), "uS": (0.5, 1000.0)}
CERTAINLY_OHM = (1000.0, 1e9)
# R times G is 1 to this precision where both are columns of a table.
RECIPROCAL = 1e-3


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        meaning: what it holds.
        unit: as stated, lower case for times and temperatures; None where nothing is.
    """

    meaning: Meaning
    unit: str | None = None


def given(text: str) -> list[Column]:
    """Columns as typed: "cell,time[s],R[kOhm],temperature[C],-".

    Raises:
        InputError: a name that is none.
    """
    short: dict[str, Meaning] = {
        "g": "conductance",
        "r": "resistance",
        "g0": "initial",
        "t": "time",
        "-": "skip",
        "address": "cell",
    }
    known: dict[str, Meaning] = short | {m: m for m in MEANINGS}
    found = []
    for part in text.split(","):
        name, _, unit = part.strip().partition("[")
        word = name.strip().lower()
        meaning = known.get(word)
        if meaning is None:
            raise InputError(
                f"--columns has '{part.strip()}', but a column is one of {', '.join(MEANINGS)}, with its unit in "
                "brackets, such as time[s] or conductance[uS]."
            )
        found.append(Column(meaning, unit.rstrip("] ").strip() or None))
    return found


def of_headings(names: list[str], path: object) -> list[Column]:
    """Columns by their headings; those that are not understood are left out of use."""
    found = []
    for name in names:
        text = re.sub(r"\s+", " ", name.strip().strip("\"'"))
        bare = re.sub(r"[\[(].*$", "", text).strip()
        plain = re.sub(r"[_ /](s|sec|ms|us|min|h|S|mS|[uµμ]S|nS|pS|[kMG]?[Oo]hms?|[kMG]?Ω|C|degC|K)$", "", bare) or bare
        fitting = (m for m, p in HEADINGS for word in (bare, plain) if re.fullmatch(p, word))
        meaning: Meaning = next(fitting, "skip")
        bracket = re.search(r"[\[(]\s*([^\])]+?)\s*[\])]", text)
        tail = (
            bracket.group(1) if bracket else (bare[len(plain) :].lstrip("_ /") or (bare if bare in SECONDS else None))
        )
        found.append(Column(meaning, tail))
    return found


def by_numbers(values: np.ndarray, path: object) -> tuple[list[Column], list[str]]:
    """Columns of a table without headings, and how they were recognised.

    Resistance and conductance are each other's inverse; a time begins at 0; the conductance at time 0 equals the
    conductance in the rows of time 0; temperatures are few; addresses are whole numbers.

    Raises:
        InputError: they are not recognised with certainty.
    """
    n, width = values.shape
    pairs = [
        (i, j)
        for i in range(width)
        for j in range(width)
        if i != j and np.nanmedian(values[:, i]) > np.nanmedian(values[:, j]) > 0
        and np.nanmax(np.abs(values[:, i] * values[:, j] - 1)) < RECIPROCAL
    ]  # fmt: skip
    if not pairs:
        raise InputError(
            f"{path}: has {width} columns without headings, and no two of them are ohms and siemens of one reading; "
            "name them, for example --columns cell,time[s],conductance[uS]."
        )
    # Where G at time 0 stands beside G, it is the inverse only in rows of time 0. `siemens` finds units by size.
    r, g = pairs[0]
    named: dict[int, Column] = {r: Column("resistance"), g: Column("conductance")}
    rest = [k for k in range(width) if k not in named]
    kinds = {k: np.unique(values[:, k]) for k in rest}
    whole = {k for k in rest if (kinds[k] == np.floor(kinds[k])).all()}
    time = _time(values, rest, kinds, whole)
    if time is not None:
        named[time] = Column("time", "s")
        zero = values[:, time] == 0
    for k in rest:
        if k in named:
            continue
        x, different = values[:, k], len(kinds[k])
        counts = k in whole and len(kinds[k]) > 1 and bool((np.diff(kinds[k]) == 1).all())
        if time is not None and np.allclose(x[zero], values[zero, g], rtol=1e-6, atol=0):
            named[k] = Column("initial")
        elif time is not None and different < 20 and np.allclose(x, values[:, time], rtol=0.3, atol=0.01):
            named[k] = Column("skip")  # a nominal time
        elif different <= 20 and x.min() >= 20 and x.max() <= 700 and not counts:
            named[k] = Column("temperature")
        elif k in whole and different > max(100, n // 50):
            named[k] = Column("cell")
        elif k in whole and x.min() >= 0 and 1 < different <= 256:
            named[k] = Column("level")
        else:
            named[k] = Column("skip")
    columns = [named[k] for k in range(width)]
    said = ", ".join(c.meaning + (f" [{c.unit}]" if c.unit else "") for c in columns)
    return columns, [f"columns recognised by their numbers: {said}; say --columns if that is wrong"]


def _time(values: np.ndarray, rest: list[int], kinds: dict[int, np.ndarray], whole: set[int]) -> int | None:
    """The column that begins at 0 and is no count: the one of most values where one has fractions, else of fewest."""
    start = [k for k in rest if kinds[k][0] == 0 and len(kinds[k]) > 1]
    broken = [k for k in start if k not in whole]
    if broken:
        return max(broken, key=lambda k: len(kinds[k]))
    gaps = [k for k in start if not (np.diff(kinds[k]) == 1).all()]
    return min(gaps, key=lambda k: len(kinds[k])) if gaps else None


def siemens(values: np.ndarray, column: Column, path: object, notes: list[str]) -> np.ndarray:
    """Conductances of a column, or of several alike, in siemens; NaN where a resistance is not above zero.

    Args:
        values: numbers of the column.
        column: what it is.
        path: of the file, for errors.
        notes: a unit that is taken by the size of the numbers is added to these, in words.

    Raises:
        InputError: a unit that is none, or none where the size is not certain.
    """
    known = None
    if column.unit is not None:
        found = units_in([f"[{column.unit}]"])
        if len(found) != 1:
            raise InputError(f"{path}: '{column.unit}' is no unit of a {column.meaning}; use S, uS, nS, Ohm or kOhm.")
        known = str(found[0])
    median = float(np.nanmedian(np.abs(values)))
    if known is None and column.meaning == "resistance" and CERTAINLY_OHM[0] <= median <= CERTAINLY_OHM[1]:
        known = "Ohm"
    elif known is None and column.meaning != "resistance":
        known = next((unit for unit, (low, high) in CERTAINLY.items() if low <= median <= high), None)
    if known is None:
        raise InputError(
            f"{path}: the {column.meaning} has no unit and a median of {median:.3g}, which no unit is certain for; say "
            f"--columns ...,{column.meaning}[uS],... with its unit."
        )
    if column.unit is None:
        notes.append(f"the {column.meaning} has no unit and is taken in {known}, by its median of {median:.3g}")
    if known in SIEMENS:
        return values * SIEMENS[known]
    inverse: np.ndarray = np.divide(1.0, values * OHMS[known], out=np.full(values.shape, np.nan), where=values > 0)
    return inverse


def seconds(values: np.ndarray, column: Column, path: object) -> np.ndarray:
    """Times of a column in seconds, which they are where no unit is stated.

    Raises:
        InputError: a unit that is none.
    """
    unit = (column.unit or "s").strip().lower().replace("µ", "u").replace("μ", "u").rstrip(".")
    if unit not in SECONDS:
        raise InputError(f"{path}: '{column.unit}' is no unit of time; use us, ms, s, min, h or days.")
    return values * SECONDS[unit]


def celsius(values: np.ndarray, column: Column, path: object) -> tuple[np.ndarray, str | None]:
    """Temperatures of a column in Celsius, and what was assumed where no unit is stated.

    Raises:
        InputError: a unit that is none, or none where it might be either.
    """
    if column.unit is not None:
        unit = column.unit.strip().lower().replace("º", "°")
        if unit in KELVIN:
            return values - 273.15, None
        if unit in CELSIUS:
            return values, None
        raise InputError(f"{path}: '{column.unit}' is no unit of temperature; use C or K.")
    if float(np.nanmin(values)) < 200:
        return values, "temperatures without a unit are taken as Celsius, since some are below 200"
    raise InputError(
        f"{path}: temperatures from {np.nanmin(values):g} to {np.nanmax(values):g} may be Celsius or kelvin; say "
        "--columns ...,temperature[K],... or [C]."
    )
