"""Mean and standard deviation as functions of coordinates, by weighted least squares and pseudo-likelihood.

Of changes d_i with coordinates x_i, the mean is m(x) = a . P(x) and ln sigma(x) = c . P(x). Given sigma, a solves
weighted least squares; given a, c maximises the Gaussian likelihood, sum_i P(x_i) (r_i^2 / sigma_i^2 - 1) = 0, which is
consistent for other distributions too (Carroll & Ruppert, Transformation and Weighting in Regression, 1988, chapter 3).
Covariances are sandwiches over cells, so that the readings of a cell may depend on each other (Liang & Zeger,
Biometrika 73, 13 (1986)). Degrees grow as long as Schwarz's criterion falls.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from rgnn.base.errors import InputError
from rgnn.chip.laws.polynomial import products

# Highest degree in the conductance, and rounds of mean and deviation in turn.
MOST_IN_CONDUCTANCE, ROUNDS = 6, 3
# A fit needs so many cells, and so many readings for each coefficient.
FEWEST_CELLS, READINGS_EACH = 30, 10
STEPS = 60


@dataclass(frozen=True)
class Part:
    """One of the two polynomials.

    Attributes:
        degrees: in each coordinate.
        values: [terms] coefficients.
        covariance: [terms, terms] of the coefficients.
    """

    degrees: tuple[int, ...]
    values: np.ndarray
    covariance: np.ndarray

    def at(self, x: list[np.ndarray]) -> np.ndarray:
        """Values at coordinates [n]."""
        found: np.ndarray = design(x, self.degrees) @ self.values
        return found

    def error(self, x: list[np.ndarray]) -> np.ndarray:
        """Standard errors of the values at coordinates [n]."""
        rows = design(x, self.degrees)
        found: np.ndarray = np.sqrt(np.maximum(0, ((rows @ self.covariance) * rows).sum(1)))
        return found


@dataclass(frozen=True)
class Regression:
    """Mean and ln(standard deviation) of something, with their covariances; both in the same unit."""

    mean: Part
    log_deviation: Part


def design(x: list[np.ndarray], degrees: tuple[int, ...]) -> np.ndarray:
    """[n, terms] of coordinates [n] each."""
    return np.stack(products(x, degrees), 1)


def regress(x: list[np.ndarray], d: np.ndarray, cell: np.ndarray, most: tuple[int, ...]) -> Regression:
    """Fit both polynomials.

    Args:
        x: coordinates, [n] each, between -1 and 1.
        d: [n] what is to be explained; its unit is kept.
        cell: [n] number of the cell of each value.
        most: highest degree that is tried in each coordinate.

    Raises:
        InputError: too few cells, or values that do not scatter.
    """
    n_cells = len(np.unique(cell))
    if n_cells < FEWEST_CELLS:
        raise InputError(f"a law of changes needs at least {FEWEST_CELLS} cells, but there are {n_cells}.")
    unit = float(np.std(d))
    if not unit:
        raise InputError("all conductances changed by the same amount, so there is no deviation to fit.")
    y = d / unit
    cell = np.unique(cell, return_inverse=True)[1].reshape(-1)
    room = max(1, len(d) // READINGS_EACH)
    mean_degrees = deviation_degrees = tuple(0 for _ in x)
    deviation = np.ones(len(y))
    for _ in range(ROUNDS):
        mean_degrees = _grown(partial(_mean_criterion, x, y, deviation, n_cells), mean_degrees, most, room)
        residual = y - _mean(design(x, mean_degrees), y, deviation)[1]
        excess = float(np.mean((residual / deviation) ** 4) / np.mean((residual / deviation) ** 2) ** 2 - 1) / 2
        deviation_degrees = _grown(
            partial(_deviation_criterion, x, residual, max(1.0, excess), n_cells), deviation_degrees, most, room
        )
        deviation = np.exp(_log_deviation(design(x, deviation_degrees), residual)[1])
    rows = design(x, mean_degrees)
    a, fitted = _mean(rows, y, deviation)
    residual = y - fitted
    c_rows = design(x, deviation_degrees)
    c, log_deviation = _log_deviation(c_rows, residual)
    deviation = np.exp(log_deviation)
    bread = np.linalg.inv((rows / deviation[:, None] ** 2).T @ rows)
    mean_covariance = _sandwich(bread, rows * (residual / deviation**2)[:, None], cell)
    z2 = (residual / deviation) ** 2
    bread = np.linalg.inv(2 * (c_rows * z2[:, None]).T @ c_rows)
    covariance = _sandwich(bread, c_rows * (z2 - 1)[:, None], cell)
    c = c + np.r_[math.log(unit), np.zeros(len(c) - 1)]
    return Regression(Part(mean_degrees, unit * a, unit**2 * mean_covariance), Part(deviation_degrees, c, covariance))


def _grown(
    criterion: Callable[[tuple[int, ...]], float], degrees: tuple[int, ...], most: tuple[int, ...], room: int
) -> tuple[int, ...]:
    """Degrees grown one by one, two at once where one alone does not help, while the criterion falls."""
    best = criterion(degrees)
    while True:
        tries = [
            tuple(k + step * (i == axis) for i, k in enumerate(degrees))
            for axis in range(len(degrees))
            for step in (1, 2)
            if degrees[axis] + step <= most[axis]
        ]
        tries = [t for t in tries if math.prod(k + 1 for k in t) <= room]
        scores = [(criterion(t), t) for t in tries]
        if not scores or min(scores)[0] >= best:
            return degrees
        best, degrees = min(scores)


def _mean_criterion(
    x: list[np.ndarray], y: np.ndarray, deviation: np.ndarray, cells: int, degrees: tuple[int, ...]
) -> float:
    rows = design(x, degrees)
    residual = (y - _mean(rows, y, deviation)[1]) / deviation
    penalty = rows.shape[1] * math.log(max(cells, len(y)))
    return float(len(y) * math.log(float(np.square(residual).mean())) + penalty)


def _deviation_criterion(
    x: list[np.ndarray], residual: np.ndarray, excess: float, cells: int, degrees: tuple[int, ...]
) -> float:
    """Twice the negative log-likelihood over its excess dispersion, (kurtosis - 1) / 2, and the penalty."""
    rows = design(x, degrees)
    eta = _log_deviation(rows, residual)[1]
    deviance = float((2 * eta + np.square(residual) * np.exp(-2 * eta)).sum())
    return float(deviance / excess + rows.shape[1] * math.log(max(cells, len(residual))))


def _mean(rows: np.ndarray, y: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and fitted values."""
    weighted = rows / deviation[:, None] ** 2
    a = np.linalg.solve(weighted.T @ rows, weighted.T @ y)
    return a, rows @ a


def _log_deviation(rows: np.ndarray, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and ln sigma by Newton's method; the likelihood is concave in them."""
    squares = np.maximum(np.square(residual), 1e-12 * float(np.square(residual).mean()))
    c = np.zeros(rows.shape[1])
    c[0] = 0.5 * math.log(float(squares.mean()))

    def deviance(c: np.ndarray) -> float:
        eta = np.clip(rows @ c, -40, 40)
        return float((2 * eta + squares * np.exp(-2 * eta)).sum())

    now = deviance(c)
    for _ in range(STEPS):
        z2 = squares * np.exp(-2 * np.clip(rows @ c, -40, 40))
        slope = rows.T @ (z2 - 1)
        step = np.linalg.solve(2 * (rows * z2[:, None]).T @ rows + 1e-9 * np.eye(len(c)), slope)
        length = 1.0
        while length > 1e-6 and (new := deviance(c + length * step)) > now:
            length /= 2
        if length <= 1e-6:
            break
        c = c + length * step
        if now - new < 1e-8 * len(squares):
            break
        now = new
    return c, rows @ c


def _sandwich(bread: np.ndarray, scores: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Bread, sum over cells of s s^T, bread; with the usual factor for a finite number of cells."""
    n = int(cell.max()) + 1
    sums = np.stack([np.bincount(cell, column, minlength=n) for column in scores.T], 1)
    found: np.ndarray = bread @ (sums.T @ sums) @ bread * n / max(1, n - scores.shape[1])
    return found
