"""How reports write numbers."""

from math import isfinite

from rgnn.base.estimate import Estimate
from rgnn.md.thermometry import half_of, with_half


def interval(e: Estimate, scale: float = 1.0, digits: int = 3) -> str:
    """Value [low, high] with significant digits."""
    value, low, high = (f"{scale * x:.{digits}g}" for x in (e.value, e.low, e.high))
    return f"{value} [{low}, {high}]" if isfinite(e.low) else value


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
