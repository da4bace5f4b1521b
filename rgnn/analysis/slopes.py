"""Slopes of squared displacements against the lag, with intervals that count the parts of a run, and the runs.

A slope is taken between two lags, a factor of two apart. Its error is the scatter of the same slope among consecutive
parts of a run; of several runs it is the scatter among these where that is the larger, since runs differ in what a
single one never sees, such as the glass that they start from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2
from scipy.stats import t as student

from rgnn.base.estimate import Estimate

# Standard deviations that a 95% interval of a normal distribution reaches on either side.
REACH = 1.959964
# Consecutive parts of a run that are compared, each at least so many times as long as the longest lag.
FEWEST_PARTS, LONGER = 3, 2
# Lags that a line needs at least, counted from the first.
FEWEST_LAGS = 2


@dataclass(frozen=True)
class Track:
    """How squared displacements of a run grow.

    Attributes:
        interval: between lags in ps.
        whole: [T] mean squared displacement against the lag, over all time origins, in square Angstrom.
        parts: [P, L] the same in consecutive parts of the run.
        weight: of the run among others, atoms times ps.
    """

    interval: float
    whole: np.ndarray
    parts: np.ndarray
    weight: float

    @property
    def length(self) -> float:
        """Of the run in ps."""
        return self.interval * (len(self.whole) - 1)

    def at(self, lag: float) -> float:
        """Square Angstrom at a lag in ps, on a straight line between the nearest; NaN beyond the run."""
        return float(np.interp(lag, self.interval * np.arange(len(self.whole)), self.whole, right=np.nan))

    def slopes(self, fit: tuple[float, float]) -> tuple[float, np.ndarray]:
        """Square Angstrom per ps between two lags in ps: of the whole run, and of each part that is long enough."""
        first, last = (round(lag / self.interval) for lag in fit)
        last = max(last, first + FEWEST_LAGS)
        long_enough = self.parts.size and self.parts.shape[1] > last
        of_parts = [_slope(part, self.interval, first, last) for part in self.parts] if long_enough else []
        return _slope(self.whole, self.interval, first, last), np.array(of_parts)


@dataclass(frozen=True)
class Slope:
    """A slope with its error.

    Attributes:
        value: square Angstrom per ps.
        error: one standard deviation; infinite where there is nothing to compare.
        freedom: degrees of freedom of the error.
    """

    value: float
    error: float
    freedom: float

    @property
    def student(self) -> Estimate:
        """With the 95% interval of Student's t."""
        half = float(student.ppf(0.975, self.freedom)) * self.error if np.isfinite(self.error) else np.inf
        return Estimate(self.value, self.value - half, self.value + half)

    @property
    def gamma(self) -> Estimate:
        """With a 95% interval for a few squares, which lies above zero and reaches further up than down.

        A mean of squares of normal displacements is distributed as chi square; its degrees of freedom are those that
        give the error, made larger as Student's t makes it.
        """
        if not (self.value > 0 and np.isfinite(self.error)):
            return self.student
        relative = float(student.ppf(0.975, self.freedom)) / REACH * self.error / self.value
        n = 2 / max(relative, 1e-6) ** 2
        low, high = n / chi2.ppf([0.975, 0.025], n)
        return Estimate(self.value, float(self.value * low), float(self.value * min(high, 1e6)))


def slope(tracks: Sequence[Track], fit: tuple[float, float]) -> Slope:
    """Of one run, or of several runs of the same, between two lags in ps.

    The value is that of all runs, weighted by atoms times length. Its error is the larger one of two: from the parts
    within the runs, and from the scatter among the runs.

    Args:
        tracks: of each run.
        fit: shortest and longest lag in ps.
    """
    weights = np.array([track.weight for track in tracks])
    weights = weights / weights.sum()
    found = [track.slopes(fit) for track in tracks]
    values = np.array([whole for whole, _ in found])
    value, errors = float(weights @ values), list[tuple[float, float]]()
    if all(len(parts) > 1 for _, parts in found):
        variance = np.square(weights) * [parts.var(ddof=1) / len(parts) for _, parts in found]
        total = float(variance.sum())
        freedom = total**2 / sum(v**2 / (len(p) - 1) for v, (_, p) in zip(variance, found, strict=True)) if total else 1
        errors.append((total**0.5, freedom))
    if (n := len(tracks)) > 1 and (n >= FEWEST_PARTS or errors):
        scatter = float((np.square(weights) * np.square(values - value)).sum()) * n / (n - 1)
        errors.append((scatter**0.5, n - 1))
    return Slope(value, *max(errors, default=(np.inf, 1.0)))


def _slope(squares: np.ndarray, interval: float, first: int, last: int) -> float:
    """Of a straight line through some lags, square Angstrom per ps."""
    lags = interval * np.arange(first, last + 1)
    return float(np.polyfit(lags, squares[first : last + 1], 1)[0])


def exponent(track: Track, fit: tuple[float, float]) -> float:
    """Of the growth of the displacement with the lag: 1 for diffusion, 0 for atoms that stay where they are."""
    first, last = (round(lag / track.interval) for lag in fit)
    first, last = max(first, 1), max(last, first + FEWEST_LAGS)
    lags, values = np.arange(first, last + 1), track.whole[first : last + 1]
    return float(np.polyfit(np.log(lags), np.log(values), 1)[0]) if values.min() > 0 else 0.0


def pooled(tracks: Sequence[Track]) -> Track:
    """The mean of several runs over the lags that all of them have, without parts."""
    interval = max(track.interval for track in tracks)
    end = min((len(track.whole) - 1) * track.interval for track in tracks)
    lags = interval * np.arange(int(end / interval + 1e-9) + 1)
    weights = np.array([track.weight for track in tracks])
    known = [np.interp(lags, t.interval * np.arange(len(t.whole)), t.whole) for t in tracks]
    return Track(interval, weights @ known / weights.sum(), np.zeros((0, 0)), float(weights.sum()))


def parted(squares: np.ndarray, n: int) -> list[slice]:
    """`n` consecutive parts of equal length of a run with so many frames."""
    length = len(squares) // n
    return [slice(k * length, (k + 1) * length) for k in range(n)]
