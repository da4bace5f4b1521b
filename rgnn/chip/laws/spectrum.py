"""Spectra of reads that follow each other: S(f) = A / f^a + W, its exponent a and its corner f_c, where A / f^a = W."""

import math
from dataclasses import dataclass

import numpy as np

from rgnn.base.estimate import Estimate, mean_of_parts

# Frequencies in use: from the fourth of a record, since the window and the mean take the lowest, to a quarter of the
# rate, above which power of higher frequencies is folded in. Of Hann's window every second frequency is independent.
FIRST, LAST, EVERY = 4, 0.25, 2
# Reads that a spectrum needs.
FEWEST_READS = 512
# A floor is found where its standard error is below this, in ln W.
FOUND = 0.5
BANDS = 24
STEPS = 200


@dataclass(frozen=True)
class Spectrum:
    """Of one cell, by Whittle's likelihood (P. Whittle, Ark. Mat. 2, 423 (1953)).

    Attributes:
        exponent: a.
        exponent_error: standard error of it.
        amplitude: A in S^2/Hz at 1 Hz.
        floor: W in S^2/Hz; 0 where none is found.
        log_corner: ln(f_c / Hz), NaN where no floor is found.
        log_corner_error: standard error of it.
    """

    exponent: float
    exponent_error: float
    amplitude: float
    floor: float
    log_corner: float
    log_corner_error: float

    def at(self, f: np.ndarray) -> np.ndarray:
        """S^2/Hz at frequencies in Hz."""
        found: np.ndarray = self.amplitude * f**-self.exponent + self.floor
        return found


@dataclass(frozen=True)
class SpectrumLaw:
    """Spectra of all cells of a series.

    Attributes:
        cells: one spectrum each.
        exponent: mean over cells with its 95% interval.
        corner: geometric mean over cells in Hz with its 95% interval; None where fewer than half have a floor.
        band: lowest and highest frequency in use, Hz.
    """

    cells: tuple[Spectrum, ...]
    exponent: Estimate
    corner: Estimate | None
    band: tuple[float, float]


def periodogram(x: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and one-sided power per Hz of reads [cells, n], in the band in use."""
    n = x.shape[1]
    window = np.hanning(n + 1)[:-1]
    power = np.abs(np.fft.rfft((x - x.mean(1, keepdims=True)) * window, axis=1)) ** 2
    used = np.arange(FIRST, int(LAST * n) + 1, EVERY)
    return used * rate / n, 2 * power[:, used] / (rate * float(window @ window))


def spectra(x: np.ndarray, rate: float) -> SpectrumLaw | None:
    """The law of reads [cells, n]; None where there are too few, or a cell does not fluctuate."""
    if x.shape[1] < FEWEST_READS:
        return None
    f, power = periodogram(x, rate)
    alive = power.min(1) > 0
    if not alive.any():
        return None
    cells = tuple(whittle(f, p) for p in power[alive])
    exponent = _over(np.array([c.exponent for c in cells]), np.array([c.exponent_error for c in cells]))
    found = [c for c in cells if math.isfinite(c.log_corner)]
    corner = None
    if 2 * len(found) > len(cells):
        log = _over(np.array([c.log_corner for c in found]), np.array([c.log_corner_error for c in found]))
        corner = Estimate(*(math.exp(min(700.0, v)) for v in (log.value, log.low, log.high)))
    return SpectrumLaw(cells, exponent, corner, (float(f[0]), float(f[-1])))


def _over(values: np.ndarray, errors: np.ndarray) -> Estimate:
    """Mean over cells with its interval: from their scatter, or of a single cell from its own error."""
    if len(values) > 1:
        return mean_of_parts(values)
    return Estimate(float(values[0]), *(float(values[0] + s * 1.96 * errors[0]) for s in (-1, 1)))


def whittle(f: np.ndarray, power: np.ndarray) -> Spectrum:
    """Fit ln A, a and ln W by Fisher scoring on sum ln S + P / S; without W where the data do not ask for it."""
    middle = math.exp(float(np.log(f).mean()))
    unit = float(power.mean())
    x, p = np.log(f / middle), power / unit
    flat = float(np.median(p[-max(8, len(p) // 10) :]) / math.log(2))
    coarse = _bands(x, p)
    slope = max(0.2, -float(np.polyfit(*coarse, 1)[0]))
    best = None
    for share in (0.9, 0.3, 0.02):
        theta = np.array([float(coarse[1].mean()), slope, math.log(share * flat)])
        value, theta = _scored(x, p, theta)
        if best is None or value < best[0]:
            best = (value, theta)
    plain_value, plain = _scored(x, p, np.array([float(coarse[1].mean()), slope]))
    assert best is not None
    value, theta = best
    covariance = np.linalg.pinv(_fisher(x, theta)[0])
    with_floor = plain_value - value > 4 and math.sqrt(covariance[2, 2]) < FOUND
    if not with_floor:
        theta, covariance = plain, np.linalg.pinv(_fisher(x, plain)[0])
    a, error = float(theta[1]), math.sqrt(covariance[1, 1])
    amplitude = unit * math.exp(theta[0]) * middle**a
    if not with_floor:
        return Spectrum(a, error, amplitude, 0.0, math.nan, math.nan)
    corner = math.log(middle) + (theta[0] - theta[2]) / a  # ln f_c
    slopes = np.array([1 / a, -(theta[0] - theta[2]) / a**2, -1 / a])
    return Spectrum(
        a, error, amplitude, unit * math.exp(theta[2]), float(corner), math.sqrt(slopes @ covariance @ slopes)
    )


def _bands(x: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean coordinate and ln of the mean power in bands of equal width on a logarithmic scale."""
    band = np.minimum((BANDS * (x - x[0]) / (x[-1] - x[0])).astype(int), BANDS - 1)
    filled = np.unique(band)
    return np.array([x[band == b].mean() for b in filled]), np.array([math.log(p[band == b].mean()) for b in filled])


def banded(f: np.ndarray, power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and mean powers in bands, for figures."""
    x, log_power = _bands(np.log(f), power)
    return np.exp(x), np.exp(log_power)


def _model(x: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S and its relative slopes [n, parameters]."""
    slope = np.exp(np.clip(theta[0] - theta[1] * x, -300, 300))
    floor = math.exp(max(-300.0, theta[2])) if len(theta) > 2 else 0.0
    total = slope + floor
    columns = [slope / total, -x * slope / total]
    return total, np.stack([*columns, floor / total] if len(theta) > 2 else columns, 1)


def _fisher(x: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    total, slopes = _model(x, theta)
    return slopes.T @ slopes, total, slopes


def _scored(x: np.ndarray, p: np.ndarray, theta: np.ndarray) -> tuple[float, np.ndarray]:
    def objective(theta: np.ndarray) -> float:
        total = _model(x, theta)[0]
        return float((np.log(total) + p / total).sum())

    now = objective(theta)
    for _ in range(STEPS):
        fisher, total, slopes = _fisher(x, theta)
        step = np.linalg.solve(fisher + 1e-9 * np.trace(fisher) * np.eye(len(theta)), slopes.T @ (p / total - 1))
        step = np.clip(step, -2, 2)
        length = 1.0
        while length > 1e-4 and (new := objective(theta + length * step)) > now:
            length /= 2
        if length <= 1e-4:
            break
        theta = theta + length * step
        if now - new < 1e-6:
            break
        now = new
    return objective(theta), theta
