"""Laws fitted to readings, with 95% intervals, residuals and their test on the half that was held out."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import t as student

from rgnn.base.errors import InputError
from rgnn.base.estimate import Estimate
from rgnn.base.rng import numpy_stream
from rgnn.chip.laws.change import ChangeLaw, inverse_thermal
from rgnn.chip.laws.polynomial import Polynomial
from rgnn.chip.laws.read_noise import ReadNoiseLaw
from rgnn.chip.laws.readings import Readings
from rgnn.chip.laws.regression import MOST_IN_CONDUCTANCE, Part, Regression, regress

# Bins that laws are compared with: of conductance, and of times or temperatures that are not few.
BINS, MOST_PLACES = 8, 8
# A bin counts where it has so many readings, and a curvature of read noise is tried with so many cells.
FEWEST_IN_BIN, CURVED = 20, 40
# Two values of a coordinate are different where they differ by this factor of time, or this many degrees.
APART, DEGREES = 1.5, 2.0
# Deviations that a bin's own misfit counts up to.
FAR = 2.5
# Normal deviations that 95% lie within.
NORMAL = 1.959964


@dataclass(frozen=True)
class Coverage:
    """How many of what was held out lie within the 95% intervals of a law that was fitted to the rest.

    Attributes:
        what: what was held out and compared, in words.
        inside, total: counts.
    """

    what: str
    inside: int
    total: int

    @property
    def share(self) -> float:
        """Fraction inside."""
        return self.inside / max(1, self.total)


@dataclass(frozen=True)
class ReadNoiseFit:
    """Read noise against conductance.

    Attributes:
        law: the medians and the scatter.
        mean, deviation: [cells] in siemens.
        intervals: of the law's numbers.
        covariance: [terms, terms] of the coefficients of ln sigma.
        residual: root mean square of ln sigma about the law.
        held_out: coverages.
    """

    law: ReadNoiseLaw
    mean: np.ndarray
    deviation: np.ndarray
    intervals: dict[str, Estimate]
    covariance: np.ndarray
    residual: float
    held_out: tuple[Coverage, ...] = ()

    def band(self, siemens: np.ndarray, *, of_cell: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the 95% interval of the median deviation at conductances, or of a single further cell's."""
        x = np.log(np.clip(siemens, *self.law.conductance) / self.law.reference)
        rows = np.stack([x**k for k in range(len(self.covariance))], 1)
        variance = ((rows @ self.covariance) * rows).sum(1) + (self.residual**2 if of_cell else 0.0)
        wide = student.ppf(0.975, len(self.mean) - len(self.covariance)) * np.sqrt(variance)
        middle = np.asarray(self.law.median(np.asarray(siemens)))
        return middle * np.exp(-wide), middle * np.exp(wide)


def fit_read_noise(mean: np.ndarray, deviation: np.ndarray, reads: int) -> ReadNoiseFit:
    """Least squares of ln sigma on ln G.

    Args:
        mean: [cells] siemens.
        deviation: [cells] standard deviation of one read, siemens.
        reads: of each cell; what their number leaves uncertain is no scatter of the cells.

    Raises:
        InputError: fewer than three cells that fluctuate, or all at one conductance.
    """
    good = np.isfinite(mean) & np.isfinite(deviation) & (mean > 0) & (deviation > 0)
    g, s = mean[good], deviation[good]
    if len(g) < 3 or np.ptp(np.log(g)) < 1e-3:
        raise InputError(
            f"a law of read noise needs three cells of different conductance that fluctuate, but there are {len(g)}; "
            "measure more levels."
        )
    reference = float(np.exp(np.log(g).mean()))
    x, y = np.log(g / reference), np.log(s)
    degree = 1
    if len(g) >= CURVED:
        straight, bent = (_least_squares(x, y, k)[2] for k in (1, 2))
        degree = 2 if len(g) * math.log(straight / bent) > math.log(len(g)) else 1
    c, covariance, variance = _least_squares(x, y, degree)
    sampling = 1 / (2 * max(1, reads - 1))
    scatter = math.sqrt(max(0.0, variance - sampling))
    median = np.stack([x**k for k in range(degree + 1)], 1) @ c
    law = ReadNoiseLaw(
        reference=reference,
        deviation_at_reference=math.exp(c[0]),
        exponent=float(c[1]),
        curvature=float(c[2]) if degree == 2 else 0.0,
        scatter=min(3.0, scatter),
        rms_over_median=float(np.sqrt(np.exp(2 * (y - median)).mean())),
        conductance=(float(g.min()), float(g.max())),
    )
    wide = student.ppf(0.975, len(g) - degree - 1) * np.sqrt(np.diag(covariance))
    intervals = {
        "deviation_at_reference": Estimate(*(math.exp(c[0] + k * wide[0]) for k in (0, -1, 1))),
        "exponent": Estimate(*(float(c[1] + k * wide[1]) for k in (0, -1, 1))),
    }
    if degree == 2:
        intervals["curvature"] = Estimate(*(float(c[2] + k * wide[2]) for k in (0, -1, 1)))
    return ReadNoiseFit(law, g, s, intervals, covariance, math.sqrt(variance))


def _least_squares(x: np.ndarray, y: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients, their covariance, and the residual variance."""
    rows = np.stack([x**k for k in range(degree + 1)], 1)
    inverse = np.linalg.inv(rows.T @ rows)
    c = inverse @ rows.T @ y
    variance = float(np.square(y - rows @ c).sum() / max(1, len(y) - degree - 1))
    return c, variance * inverse, variance


def held_out_read_noise(first: ReadNoiseFit, mean: np.ndarray, deviation: np.ndarray, what: str) -> Coverage:
    """How many cells' deviations, of reads that the law has not seen, lie within its interval of a single cell."""
    low, high = first.band(mean, of_cell=True)
    return Coverage(what, int(((low <= deviation) & (deviation <= high)).sum()), len(mean))


@dataclass(frozen=True)
class Bin:
    """Readings at about one conductance, time and temperature (`place` counts these); changes in siemens."""

    siemens: float
    seconds: float | None
    celsius: float | None
    count: int
    mean: float
    deviation: float
    mean_error: float
    deviation_error: float
    place: int


@dataclass(frozen=True)
class ChangeFit:
    """Changes of conductance by time, temperature and conductance.

    Attributes:
        law: the polynomials.
        regression: the same with covariances.
        bins: readings in groups, for figures and residuals.
        mean_misfit: root mean square of bins about the mean of the law beyond their own error, in deviations.
        deviation_misfit: the same of the logarithm of the deviation.
        cells: number of cells.
        kurtosis: of the residuals; 3 for normal ones.
        held_out: coverages.
    """

    law: ChangeLaw
    regression: Regression
    bins: tuple[Bin, ...]
    mean_misfit: float
    deviation_misfit: float
    cells: int
    kurtosis: float
    held_out: tuple[Coverage, ...] = field(default=())

    def predicted(self, siemens: np.ndarray, seconds: object = None, celsius: object = None) -> tuple[np.ndarray, ...]:
        """Mean and deviation with their standard errors, [n] each and in siemens."""
        x = self.law.coordinates(siemens, seconds, celsius)
        mean, deviation = self.regression.mean, self.regression.log_deviation
        m, s = mean.at(x), np.exp(deviation.at(x))
        return (
            m,
            s,
            np.hypot(mean.error(x), self.mean_misfit * s),
            s * np.hypot(deviation.error(x), self.deviation_misfit),
        )


def fit_change(
    d: np.ndarray, before: np.ndarray, cell: np.ndarray, t: np.ndarray | None, c: np.ndarray | None
) -> ChangeFit:
    """A law of changes.

    Args:
        d: [n] changes in siemens.
        before: [n] conductances before them, siemens.
        cell: [n] number of the cell.
        t: [n] s, all above 0; or None.
        c: [n] Celsius, or None.

    Raises:
        InputError: too few cells.
    """
    span = [(float(x.min()), float(x.max())) if x is not None else None for x in (before, t, c)]
    places = [_places(np.log(t), math.log(APART)) if t is not None else 0, _places(c, DEGREES) if c is not None else 0]
    if t is not None and c is not None and places[1] > 1 and _one_time_each(t, c):
        places[0] = 1  # the time of each temperature says nothing that the temperature does not
    empty = Polynomial(degrees=(0,) * sum(s is not None for s in span), values=(0.0,))
    assert span[0] is not None
    law = ChangeLaw(conductance=span[0], time=span[1], temperature=span[2], mean=empty, log_deviation=empty)
    most = [min(MOST_IN_CONDUCTANCE, max(0, len(np.unique(before)) - 1))]
    most += [min(4, n - 1) for n, s in zip(places, span[1:], strict=True) if s is not None]
    found = regress(law.coordinates(before, t, c), d, cell, tuple(most))
    law = law.override(mean=_polynomial(found.mean), log_deviation=_polynomial(found.log_deviation))
    bins = binned(d, before, t, c)
    fit = ChangeFit(law, found, bins, 0.0, 0.0, len(np.unique(cell)), 3.0)
    m, s = law.moments(before, t, c)
    z = (d - m) / s
    kurtosis = float((z**4).mean() / (z**2).mean() ** 2)
    misfit = _misfit(fit, bins)
    return replace(fit, mean_misfit=misfit[0], deviation_misfit=misfit[1], kurtosis=kurtosis)


def _polynomial(part: Part) -> Polynomial:
    return Polynomial(degrees=part.degrees, values=tuple(float(v) for v in part.values))


def _places(x: np.ndarray, apart: float) -> int:
    """How many values there are that differ by at least so much."""
    ordered = np.unique(x)
    return (
        1 + int((np.diff(ordered) > apart).sum())
        if len(ordered) < len(x) // 4 or len(ordered) < 100
        else _spread(ordered, apart)
    )


def _spread(ordered: np.ndarray, apart: float) -> int:
    """Of values that fill a range or parts of it: gaps that set them apart, or as many steps as the range has."""
    gaps = int((np.diff(ordered) > apart).sum())
    return gaps + 1 if gaps else 1 + min(4, int((ordered[-1] - ordered[0]) / apart))


def _one_time_each(t: np.ndarray, c: np.ndarray) -> bool:
    return all(np.ptp(np.log(t[c == each])) < math.log(APART) for each in np.unique(c)[:50])


def binned(d: np.ndarray, before: np.ndarray, t: np.ndarray | None, c: np.ndarray | None) -> tuple[Bin, ...]:
    """Readings in bins of conductance, one set for each time and temperature."""
    groups = [
        _grouped(np.log(x) if x is t else x, gap) for x, gap in ((t, math.log(APART)), (c, DEGREES)) if x is not None
    ]
    place = (
        np.unique(np.stack(groups, 1), axis=0, return_inverse=True)[1].reshape(-1) if groups else np.zeros(len(d), int)
    )
    edges = np.quantile(before, np.linspace(0, 1, BINS + 1))
    row = np.clip(np.searchsorted(edges, before, side="right") - 1, 0, BINS - 1)
    found = []
    for p in np.unique(place):
        for r in range(BINS):
            here = (place == p) & (row == r)
            n = int(here.sum())
            if n < FEWEST_IN_BIN or not np.ptp(d[here]):
                continue
            x = d[here]
            m, s = float(x.mean()), float(x.std(ddof=1))
            fourth = float(((x - m) ** 4).mean() / x.var() ** 2)
            found.append(
                Bin(
                    float(before[here].mean()),
                    None if t is None else float(np.exp(np.log(t[here]).mean())),
                    None if c is None else float(c[here].mean()),
                    n,
                    m,
                    s,
                    s / math.sqrt(n),
                    s * math.sqrt(max(0.5, fourth - 1) / (4 * n)),
                    int(p),
                )
            )
    return tuple(found)


def _grouped(x: np.ndarray, apart: float) -> np.ndarray:
    """A number for the group of each value: groups lie apart, or are quantiles where nothing does."""
    ordered = np.unique(x)
    cuts = (ordered[1:] + ordered[:-1])[np.diff(ordered) > apart] / 2
    if not len(cuts) and np.ptp(ordered) > apart:
        cuts = np.unique(np.quantile(x, np.linspace(0, 1, 6)[1:-1]))
    return np.searchsorted(cuts, x)


def _misfit(fit: ChangeFit, bins: tuple[Bin, ...]) -> tuple[float, float]:
    """What bins deviate from the law by beyond their own errors."""
    if len(bins) < 4:
        return 0.0, 0.0
    m, s = _of_bins(fit, bins)[:2]
    mean = (np.array([b.mean for b in bins]) - m) / s
    ratio = np.log(np.array([b.deviation for b in bins]) / s)
    own = np.array([b.mean_error for b in bins]) / s
    own_ratio = np.array([b.deviation_error / b.deviation for b in bins])
    parts = fit.regression.mean, fit.regression.log_deviation
    mean_terms, deviation_terms = (len(part.values) for part in parts)
    return _beyond(mean, own, mean_terms), _beyond(ratio, own_ratio, deviation_terms)


def _beyond(residual: np.ndarray, own: np.ndarray, terms: int) -> float:
    """Root mean square of residuals less their own errors, of which a fit has taken the share of its terms.

    A residual beyond `FAR` standard deviations, as the median has them (1.4826 of it for normal ones), counts as one
    there: a single bin that no law describes would widen the intervals of all others.
    """
    far = FAR * 1.4826 * float(np.median(np.abs(residual)))
    left = max(0.0, 1 - terms / len(residual))
    variance = float(np.mean(np.clip(residual, -far, far) ** 2)) - left * float(np.mean(own**2))
    return math.sqrt(max(0.0, variance))


def _of_bins(fit: ChangeFit, bins: tuple[Bin, ...]) -> tuple[np.ndarray, ...]:
    g = np.array([b.siemens for b in bins])
    t = np.array([b.seconds for b in bins]) if bins[0].seconds is not None else None
    c = np.array([b.celsius for b in bins]) if bins[0].celsius is not None else None
    return fit.predicted(g, t, c)


def hold_out(
    d: np.ndarray, before: np.ndarray, cell: np.ndarray, t: np.ndarray | None, c: np.ndarray | None
) -> tuple[Coverage, ...]:
    """Fit half of the cells, chosen by lot, and compare the other half."""
    number = np.unique(cell, return_inverse=True)[1].reshape(-1)
    seen = (numpy_stream(0, "held-out cells").permutation(number.max() + 1) % 2 == 0)[number]

    def part(x: np.ndarray | None, where: np.ndarray) -> np.ndarray | None:
        return None if x is None else x[where]

    fit = fit_change(d[seen], before[seen], cell[seen], part(t, seen), part(c, seen))
    other = ~seen
    m, s = fit.law.moments(before[other], part(t, other), part(c, other))
    single = np.abs(d[other] - m) <= NORMAL * s
    bins = binned(d[other], before[other], part(t, other), part(c, other))
    found = [Coverage("single cells of the other half", int(single.sum()), int(single.size))]
    if bins:
        mean, deviation, mean_error, deviation_error = _of_bins(fit, bins)
        wide = NORMAL * np.hypot(mean_error, [b.mean_error for b in bins])
        inside = np.abs(mean - [b.mean for b in bins]) <= wide
        found.append(Coverage("means of bins of the other half", int(inside.sum()), len(bins)))
        wide = NORMAL * np.hypot(deviation_error, [b.deviation_error for b in bins])
        inside = np.abs(deviation - [b.deviation for b in bins]) <= wide
        found.append(Coverage("deviations of bins of the other half", int(inside.sum()), len(bins)))
    return tuple(found)


def relaxation(readings: Readings) -> ChangeFit:
    """The law of what happened to cells since time 0.

    Raises:
        InputError: no times, or no conductances at time 0.
    """
    d, before, cell, t, c = changes(readings)
    return replace(fit_change(d, before, cell, t, c), held_out=hold_out(d, before, cell, t, c))


def changes(readings: Readings) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Changes since time 0, the conductances then, cells, times and temperatures of all later readings.

    Raises:
        InputError: no times, or no conductances at time 0.
    """
    t, before = readings.time, readings.initial
    if t is None or before is None:
        raise InputError(
            f"{readings.source}: relaxation needs a time and the conductance at time 0; name both with --columns, or "
            "add the readings of time 0."
        )
    later = (t > 0) & np.isfinite(before) & (before > 0)
    if not later.any():
        raise InputError(f"{readings.source}: no reading is later than time 0.")
    temperature = None if readings.temperature is None else readings.temperature[later]
    return readings.conductance[later] - before[later], before[later], readings.cell[later], t[later], temperature


def programming(readings: Readings) -> ChangeFit:
    """The law of how far cells are from their targets, as first read.

    Raises:
        InputError: no targets.
    """
    if readings.target is None:
        raise InputError(f"{readings.source}: has no targets; name their column with --columns.")
    first = np.ones(len(readings.conductance), bool)
    if readings.time is not None:
        keys = [readings.cell] if readings.temperature is None else [readings.cell, readings.temperature]
        place = np.unique(np.stack(keys), axis=1, return_inverse=True)[1].reshape(-1)
        earliest = np.full(place.max() + 1, np.inf)
        np.minimum.at(earliest, place, readings.time)
        first = readings.time == earliest[place]
    first &= np.isfinite(readings.target) & (readings.target > 0)
    target, cell = readings.target[first], readings.cell[first]
    if readings.temperature is not None:
        cell = np.arange(len(target))
    d = readings.conductance[first] - target
    return replace(fit_change(d, target, cell, None, None), held_out=hold_out(d, target, cell, None, None))


@dataclass(frozen=True)
class Activation:
    """Apparent activation of a bake: ln sigma of the changes falls by E for each 1 / kT, at one time.

    Attributes:
        energy: E in eV with its 95% interval, which includes what the straight line leaves over.
        celsius, deviation: [temperatures] of the bake, and the root mean square over conductances, siemens.
        at_reference: sigma of the line at the lowest temperature, siemens.
        residual: root mean square of ln sigma about the line.
    """

    energy: Estimate
    celsius: np.ndarray
    deviation: np.ndarray
    at_reference: float
    residual: float

    def line(self, celsius: np.ndarray) -> np.ndarray:
        """Deviation in siemens by the line."""
        x = inverse_thermal(self.celsius[0]) - inverse_thermal(celsius)
        found: np.ndarray = self.at_reference * np.exp(self.energy.value * x)
        return found


def activation(readings: Readings) -> Activation | None:
    """Of readings at three temperatures or more, each at one time; None of others."""
    d, before, _, t, c = changes(readings)
    if c is None or len(np.unique(c)) < 3 or not _one_time_each(t, c):
        return None
    celsius = np.unique(c)
    edges = np.quantile(before, np.linspace(0, 1, BINS + 1))
    row = np.clip(np.searchsorted(edges, before, side="right") - 1, 0, BINS - 1)
    variance = np.array(
        [np.mean([d[(c == each) & (row == r)].var(ddof=1) for r in range(BINS) if ((c == each) & (row == r)).sum() > 1])
         for each in celsius]
    )  # fmt: skip
    x, y = inverse_thermal(celsius[0]) - inverse_thermal(celsius), 0.5 * np.log(variance)
    coefficients, covariance, left = _least_squares(x, y, 1)
    wide = float(student.ppf(0.975, len(x) - 2) * math.sqrt(covariance[1, 1]))
    energy = Estimate(*(float(coefficients[1] + k * wide) for k in (0, -1, 1)))
    return Activation(energy, celsius, np.sqrt(variance), math.exp(coefficients[0]), math.sqrt(left))
