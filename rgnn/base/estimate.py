"""Numbers with their 95% intervals, from correlated series and from parts of a run, and an even choice of items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")

# Blocks that a standard error is worked out from: with fewer it is too uncertain itself.
FEWEST_BLOCKS = 16
# Parts of a run whose results are compared.
PARTS = 5


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval.

    Attributes:
        value: the estimate.
        low, high: ends of the interval, in the unit of the value; infinite where nothing bounds it.
    """

    value: float
    low: float
    high: float

    @property
    def bounded(self) -> bool:
        """Whether the interval has ends."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def __str__(self) -> str:
        bounds = f"[{100 * self.low:.2f}, {100 * self.high:.2f}]" if self.bounded else "(too few frames)"
        return f"{100 * self.value:.2f}% {bounds}"


def block_error(x: np.ndarray) -> float:
    """Standard error of the mean of a correlated series [n]; NaN for fewer than two values.

    Neighbours are averaged in pairs again and again; the naive error of the averages grows until they are
    independent (Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989), doi 10.1063/1.457480). The result is the largest
    error among the lengths that leave at least `FEWEST_BLOCKS` averages.
    """
    x = np.asarray(x, dtype=np.float64)
    if len(x) < 2:
        return float("nan")
    largest = 0.0
    while True:
        largest = max(largest, float(x.std(ddof=1) / len(x) ** 0.5))
        if len(x) // 2 < FEWEST_BLOCKS:
            return largest
        x = 0.5 * (x[0 : len(x) // 2 * 2 : 2] + x[1::2])


def mean_of_parts(values: np.ndarray, value: float | None = None) -> Estimate:
    """Mean of a few independent values [n] with its 95% interval by Student's t, which is unbounded for n = 1.

    Args:
        values: one result of each part.
        value: the middle of the interval, where it is known better than by the mean.
    """
    from scipy.stats import t as student

    values = np.asarray(values, dtype=np.float64)
    middle = float(values.mean()) if value is None else value
    if len(values) < 2:
        return Estimate(middle, -np.inf, np.inf)
    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    return Estimate(middle, middle - half, middle + half)


def rate(time: np.ndarray, sums: np.ndarray, parts: int = 10) -> Estimate:
    """Growth of a cumulative sum per unit of time, with a 95% interval from consecutive parts of the run.

    Args:
        time: [n] rising.
        sums: [n] the sum at each time.
        parts: how many parts to compare; fewer where n is smaller.
    """
    parts = min(parts, len(time) - 1)
    if parts < 1:
        return Estimate(float("nan"), -np.inf, np.inf)
    ends = np.linspace(0, len(time) - 1, parts + 1).round().astype(int)
    whole = float((sums[-1] - sums[0]) / (time[-1] - time[0]))
    return mean_of_parts(np.diff(sums[ends]) / np.diff(time[ends]), whole)


def evenly(items: Sequence[T], n: int) -> list[T]:
    """`n` of the items, evenly spaced from the first to the last, each at most once; all where there are no more."""
    if len(items) <= n:
        return list(items)
    return [items[k] for k in np.linspace(0, len(items) - 1, n).round().astype(int).tolist()]
