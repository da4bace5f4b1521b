"""How reports write numbers."""

from math import isfinite

from rgnn.base.estimate import Estimate


def interval(e: Estimate, scale: float = 1.0, digits: int = 3) -> str:
    """Value [low, high] with significant digits."""
    value, low, high = (f"{scale * x:.{digits}g}" for x in (e.value, e.low, e.high))
    return f"{value} [{low}, {high}]" if isfinite(e.low) else value


def kelvin(t: Estimate | None) -> str:
    """Mean and standard error."""
    return "" if t is None else f"{t.value:.1f} ± {(t.high - t.low) / 3.92:.1f}"


def percent(x: float) -> str:
    """A part of one in per cent; nothing for NaN, as of a pair that does not exist."""
    return f"{100 * x:.2f}%" if x == x else ""
