"""Self-diffusion coefficients from mean squared displacements, with 95% intervals, or why there is none.

D = d MSD / dt / 6 where the motion is diffusive, which it is where the displacement has passed a hop (see
`rgnn.analysis.hops`), still grows, and no longer flies. What has not is given an upper bound and no coefficient.

The slope and its interval come from kinisi, where it is installed: Bayesian regression with the covariance that
overlapping stretches of one trajectory have (McCluskey, Coles & Morgan, J. Chem. Theory Comput. 21, 79 (2025), doi
10.1021/acs.jctc.4c01249). Without it, from a plain straight line, with the spread of the same slope among consecutive
parts of the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal

import numpy as np
from ase.data import chemical_symbols
from scipy.stats import chi2
from scipy.stats import t as student

from rgnn.analysis.hops import Hop
from rgnn.analysis.observables import lag_squares, without_drift
from rgnn.analysis.slopes import FEWEST_LAGS, FEWEST_PARTS, LONGER, Track, exponent, parted, pooled, slope
from rgnn.base.errors import InputError
from rgnn.base.estimate import Estimate
from rgnn.base.rng import stream_seed

# 1 square Angstrom per ps in square centimetres per second.
CM2_PER_S = 1e-4
# Parts of a run that are compared, fewer where displacement takes its time to pass a hop.
MOST_PARTS = 10
# Frames below which a run holds too few lags.
FEWEST_FRAMES = 40
# Lags that kinisi is given.
LAGS = 40
# Exponents of the displacement's growth that pass for diffusion: below, atoms feel their cage; above, they still fly.
DIFFUSIVE = (0.7, 1.3)

Verdict = Literal["diffuses", "no hop", "subdiffusive", "still ballistic", "not above zero", "hop unknown"]


@dataclass(frozen=True)
class Diffusion:
    """How an element moves.

    Attributes:
        element: atomic number.
        atoms: their number.
        track: mean squared displacement of the run and of its parts.
        hop: that the displacement has to pass; None where it is not known.
        fit: lags in ps between which the line is fitted, or where it would have been.
        exponent: of the growth of the displacement with time there; 1 for diffusion, towards 0 for atoms that stay
            where they are.
        verdict: "diffuses", or why there is no coefficient.
        coefficient: square centimetres per second, with its 95% interval; None where the atoms do not diffuse.
        bound: upper end of what the coefficient can be, square centimetres per second; None where nothing bounds it.
    """

    element: int
    atoms: int
    track: Track
    hop: Hop | None
    fit: tuple[float, float]
    exponent: float
    verdict: Verdict
    coefficient: Estimate | None
    bound: float | None

    @property
    def msd(self) -> np.ndarray:
        """[T] mean squared displacement against the lag, in square Angstrom."""
        return self.track.whole

    @property
    def is_diffusive(self) -> bool:
        """Whether the displacement has passed a hop, grows as that of a random walk, and surely grows."""
        return self.coefficient is not None

    @property
    def reached(self) -> float:
        """Displacement at the longest lag of the fit, square Angstrom."""
        return self.track.at(self.fit[1])

    @property
    def sentence(self) -> str:
        """What can be said of the element, for a reader who knows neither lags nor exponents."""
        if self.coefficient is not None:
            return f"{chemical_symbols[self.element]} diffuses"
        least = "" if self.bound is None else f"; D is below {self.bound:.2g} cm²/s"
        window = f"{self.fit[0]:.3g} to {self.fit[1]:.3g} ps"
        hop = "" if self.hop is None else f"{self.hop.square:.3g} Å² ({self.hop.length:.3g} Å, {self.hop.source})"
        why = {
            "no hop": f"no diffusion seen: displacement stays at {self.reached:.2g} Å² in {self.fit[1]:.3g} ps, a hop "
            f"is {hop}",
            "subdiffusive": f"no diffusion coefficient: displacement grows as t^{self.exponent:.2f} at {window}",
            "still ballistic": f"no diffusion coefficient: displacement grows as t^{self.exponent:.2f} at {window}, so "
            "atoms still fly",
            "not above zero": f"no diffusion coefficient: its interval at {window} holds zero",
            "hop unknown": "no diffusion coefficient: the length of a hop is not known; give it, as "
            f"--hop {chemical_symbols[self.element]}=3",
        }
        return f"{chemical_symbols[self.element]}: {why[self.verdict]}{least}"


@dataclass(frozen=True)
class Displacements:
    """Displacements of a run, element by element.

    Attributes:
        interval: between lags in ps.
        elements: each with its diffusion coefficient, or why it has none.
        method: "kinisi" or "blocks".
    """

    interval: float
    elements: tuple[Diffusion, ...]
    method: str

    @property
    def lags(self) -> np.ndarray:
        """[T] in ps."""
        return self.interval * np.arange(len(self.elements[0].msd))

    def of(self, element: int) -> Diffusion | None:
        """That of an element by its atomic number."""
        return next((d for d in self.elements if d.element == element), None)


def kinisi_is_here() -> bool:
    """Whether the optional package that gives the better intervals is installed."""
    return find_spec("kinisi") is not None


def displacements(
    positions: np.ndarray,
    numbers: np.ndarray,
    masses: np.ndarray,
    interval: float,
    start: float | None = None,
    with_kinisi: bool | None = None,
    seed: int = 0,
    hops: Mapping[int, Hop] | None = None,
    anchored: bool = False,
) -> Displacements:
    """Displacements and diffusion coefficients of each element, the drift of the centre of mass removed.

    Args:
        positions: [T, N, 3] unwrapped, evenly spaced in time, in Angstrom.
        numbers: [N] atomic numbers.
        masses: [N] in atomic mass units.
        interval: between frames in ps.
        start: lag in ps that the line is fitted from; None is a fortieth of the run, or half of the time in which the
            displacement passes a hop, whichever is longer.
        with_kinisi: None takes it where it is installed.
        seed: of kinisi's sampling.
        hops: of each element; those that are left out have no coefficient.
        anchored: see `rgnn.analysis.observables.without_drift`.

    Raises:
        InputError: too short a run, or a start that leaves no lags to fit.
    """
    n = len(positions)
    if n < FEWEST_FRAMES:
        raise InputError(
            f"{n} frames are too few for a diffusion coefficient, which needs {FEWEST_FRAMES}; "
            "run longer, write more often, or skip less."
        )
    require_lags(n, interval, start)
    with_kinisi = kinisi_is_here() if with_kinisi is None else with_kinisi
    moved = without_drift(positions, masses, anchored=anchored)
    found = []
    for z in np.unique(numbers).tolist():
        mine, hop = moved[:, numbers == z], (hops or {}).get(z)
        whole = lag_squares(mine)
        first, last = window(whole, interval, start, hop, longest_lag(n))
        parts = np.stack([lag_squares(mine[part]) for part in parted(whole, min(MOST_PARTS, n // (LONGER * last)))])
        track = Track(interval, whole, parts, mine.shape[1] * interval * (n - 1))
        d = judged(z, mine.shape[1], [track], hop, (first * interval, last * interval))
        if with_kinisi and d.coefficient is not None:
            better = _scaled(_by_kinisi(mine, interval, first, stream_seed(seed, "kinisi", z)))
            d = replace(d, coefficient=better)
        found.append(d)
    return Displacements(interval, tuple(found), "kinisi" if with_kinisi else "blocks")


def longest_lag(frames: int, runs: int = 1) -> int:
    """In frames: beyond, too few parts of the runs, each of so many frames, are left to compare."""
    return frames // (LONGER * -(-FEWEST_PARTS // runs))


def require_lags(frames: int, interval: float, start: float | None) -> None:
    """Raise InputError where a line from a lag in ps on does not fit into a run."""
    if start is not None and _twice(max(1, round(start / interval))) > longest_lag(frames):
        raise InputError(
            f"a line from a lag of {start:g} ps on does not fit into a third of the run, which is "
            f"{frames // FEWEST_PARTS * interval:g} ps long; fit from an earlier lag, or run longer."
        )


def _twice(first: int) -> int:
    return max(2 * first, first + FEWEST_LAGS)


def window(whole: np.ndarray, interval: float, start: float | None, hop: Hop | None, longest: int) -> tuple[int, int]:
    """Lags in frames, a factor of two apart, of which the longer one passes a hop where any does.

    Args:
        whole: [T] mean squared displacement, square Angstrom.
        interval: between lags in ps.
        start: shortest lag in ps; None is as early as statistics and the hop allow.
        hop: that the displacement has to pass.
        longest: lag in frames that is looked at.
    """
    first = max(2, len(whole) // (2 * LONGER * MOST_PARTS)) if start is None else max(1, round(start / interval))
    last = _twice(first)
    if hop is not None:
        passed = np.flatnonzero(whole[: longest + 1] >= hop.square)
        last = max(last, int(passed[0]) if len(passed) else longest)
    last = min(last, longest)
    return (max(1, last // 2) if start is None else first), last


def judged(element: int, atoms: int, tracks: Sequence[Track], hop: Hop | None, fit: tuple[float, float]) -> Diffusion:
    """What one run, or several of the same, say of an element between two lags in ps."""
    track = tracks[0] if len(tracks) == 1 else pooled(tracks)
    grows, found = exponent(track, fit), slope(tracks, fit).student
    verdict: Verdict = "diffuses"
    if hop is None:
        verdict = "hop unknown"
    elif not track.at(fit[1]) >= hop.square:
        verdict = "no hop"
    elif grows < DIFFUSIVE[0]:
        verdict = "subdiffusive"
    elif grows > DIFFUSIVE[1]:
        verdict = "still ballistic"
    elif found.low <= 0 or not found.bounded:
        verdict = "not above zero"
    coefficient = _scaled(found) if verdict == "diffuses" else None
    least = None if verdict == "still ballistic" else _bound(tracks, hop, fit[1])
    return Diffusion(element, atoms, track, hop, fit, grows, verdict, coefficient, least)


def _scaled(per_ps: Estimate) -> Estimate:
    """Of a slope in square Angstrom per ps: square centimetres per second."""
    scale = CM2_PER_S / 6
    return Estimate(scale * per_ps.value, scale * per_ps.low, scale * per_ps.high)


def _bound(tracks: Sequence[Track], hop: Hop | None, lag: float) -> float | None:
    """Upper bound of D, square centimetres per second: displacement over six times the lag, rattling and all.

    The larger one of two upper ends of 95% intervals: that of Student's t among parts, and that of Poisson's
    distribution for so many hops as the displacement would be, which is 3.7 where none was seen.
    """
    if hop is None:
        return None
    values = [part[round(lag / t.interval)] for t in tracks for part in t.parts if len(part) > round(lag / t.interval)]
    values = values if len(values) > 1 else [t.at(lag) for t in tracks]
    if len(values) < 2:
        return None
    spread = float(student.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    reached, weight = pooled(tracks).at(lag), sum(t.weight * (1 - lag / t.length) for t in tracks)
    hops_per_square = weight / (lag * hop.square)
    many = float(chi2.ppf(0.975, 2 * (reached * hops_per_square + 1))) / 2
    upper = max(reached + spread, many / hops_per_square)
    return CM2_PER_S / 6 * upper / lag if np.isfinite(upper) else None


def squared_displacements(
    moved: np.ndarray, lags: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean squared displacement at some lags, the variance of that mean, and how many stretches are independent.

    A trajectory of T steps holds T / lag stretches that do not overlap, of each atom; that many are independent.

    Args:
        moved: [T + 1, n, 3] in Angstrom.
        lags: in frames.
    """
    mean, variance, independent = (np.zeros(len(lags)) for _ in range(3))
    for k, lag in enumerate(lags):
        square = np.square(moved[lag:] - moved[:-lag]).sum(axis=2)
        independent[k] = moved.shape[1] * (len(moved) - 1) / lag
        mean[k], variance[k] = square.mean(), square.var(ddof=1) / independent[k]
    return mean, variance, independent


def _by_kinisi(moved: np.ndarray, interval: float, first: int, seed: int) -> Estimate:
    """The slope in square Angstrom per ps, by kinisi's regression on our displacements."""
    import scipp
    from kinisi.diffusion import Diffusion as Regression

    lags = np.unique(np.linspace(first, (len(moved) - 1) // 2, LAGS).round().astype(int))
    mean, variance, independent = squared_displacements(moved, lags)
    if not mean.any():
        return Estimate(0.0, 0.0, 0.0)
    axis = "time interval"
    data = scipp.DataArray(
        scipp.Variable(dims=[axis], values=mean, variances=variance, unit="angstrom^2"),
        coords={
            axis: scipp.array(dims=[axis], values=interval * lags, unit="ps"),
            "n_samples": scipp.array(dims=[axis], values=independent),
        },
    )
    regression = Regression(scipp.DataGroup({"da": data, "dimensionality": scipp.scalar(3)}))
    state = np.random.get_state()  # noqa: NPY002 (kinisi samples with NumPy's global generator)
    try:
        random = np.random.RandomState(seed % 2**32)
        regression.bayesian_regression(data.coords[axis][0], progress=False, random_state=random)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    low, middle, high = np.quantile(regression.gradient.values, [0.025, 0.5, 0.975])
    return Estimate(float(middle), float(low), float(high))
