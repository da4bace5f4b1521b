"""Self-diffusion coefficients from mean squared displacements, with 95% intervals.

D = d MSD / dt / 6 where the motion is diffusive. The slope and its interval come from kinisi, where it is installed:
Bayesian regression with the covariance that overlapping stretches of one trajectory have (McCluskey, Coles & Morgan,
J. Chem. Theory Comput. 21, 79 (2025), doi 10.1021/acs.jctc.4c01249). Without it, from a plain straight line, with the
spread of the same slope among consecutive parts of the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from rgnn.analysis.observables import mean_squared_displacement
from rgnn.base.errors import InputError
from rgnn.base.estimate import PARTS, Estimate, mean_of_parts
from rgnn.base.rng import stream_seed

# 1 square Angstrom per ps in square centimetres per second.
CM2_PER_S = 1e-4
# The straight line is fitted from this fraction of a part's length to that, unless a start is given.
FIT_FROM, FIT_TO = 0.25, 0.5
# Frames that a part needs for a slope.
FEWEST_FRAMES = 8
# Lags that kinisi is given.
LAGS = 40
# Exponents of the displacement's growth that pass for diffusion: below, atoms feel their cage; above, they still fly.
DIFFUSIVE = (0.7, 1.3)


@dataclass(frozen=True)
class Diffusion:
    """How an element moves.

    Attributes:
        element: atomic number.
        msd: [T] mean squared displacement against the lag, in square Angstrom.
        coefficient: square centimetres per second, with its 95% interval.
        exponent: of the growth of the displacement with time where the line is fitted; 1 for diffusion, towards 0
            for atoms that stay where they are.
    """

    element: int
    msd: np.ndarray
    coefficient: Estimate
    exponent: float

    @property
    def verdict(self) -> str:
        """Whether the slope is a diffusion coefficient, in a word or two."""
        if self.exponent < DIFFUSIVE[0]:
            return "subdiffusive"
        if self.exponent > DIFFUSIVE[1]:
            return "still ballistic"
        return "diffuses" if self.coefficient.low > 0 else "not above zero"

    @property
    def is_diffusive(self) -> bool:
        """Whether the displacement grows as that of a random walk, and surely grows."""
        return self.verdict == "diffuses"


@dataclass(frozen=True)
class Displacements:
    """Displacements of a run, element by element.

    Attributes:
        interval: between lags in ps.
        elements: each with its diffusion coefficient.
        fit: lags in ps between which a plain line is fitted; kinisi weighs all lags from the first on.
        method: "kinisi" or "blocks".
    """

    interval: float
    elements: tuple[Diffusion, ...]
    fit: tuple[float, float]
    method: str

    @property
    def lags(self) -> np.ndarray:
        """[T] in ps."""
        return self.interval * np.arange(len(self.elements[0].msd))


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
) -> Displacements:
    """Displacements and diffusion coefficients of each element, the drift of the centre of mass removed.

    Args:
        positions: [T, N, 3] unwrapped, evenly spaced in time, in Angstrom.
        numbers: [N] atomic numbers.
        masses: [N] in atomic mass units.
        interval: between frames in ps.
        start: lag in ps that the line is fitted from; None is a quarter of a fifth of the run.
        with_kinisi: None takes it where it is installed.
        seed: of kinisi's sampling.

    Raises:
        InputError: too short a run, or a start that leaves no lags to fit.
    """
    part = len(positions) // PARTS
    if part < FEWEST_FRAMES:
        raise InputError(
            f"{len(positions)} frames are too few for a diffusion coefficient, which needs {PARTS * FEWEST_FRAMES}; "
            "run longer, write more often, or skip less."
        )
    first = max(1, round(FIT_FROM * part)) if start is None else max(1, round(start / interval))
    last = max(round(FIT_TO * part), min(2 * first, part - 1))
    if last - first < 2:
        raise InputError(
            f"a line from a lag of {first * interval:g} ps on does not fit into a fifth of the run, which is "
            f"{part * interval:g} ps long; fit from an earlier lag, or run longer."
        )
    kinds = np.unique(numbers)
    groups = [np.flatnonzero(numbers == z) for z in kinds]
    window = slice(first, last + 1)
    whole = mean_squared_displacement(positions, groups, masses)
    parts = [mean_squared_displacement(positions[k * part : (k + 1) * part], groups, masses) for k in range(PARTS)]
    with_kinisi = kinisi_is_here() if with_kinisi is None else with_kinisi
    found = []
    for row, z in enumerate(kinds.tolist()):
        slope = _slope(whole[row], interval, window)
        if with_kinisi:
            moved = positions[:, groups[row]] - np.einsum("tnx,n->tx", positions, masses / masses.sum())[:, None]
            d = _by_kinisi(moved, interval, first, stream_seed(seed, "kinisi", z))
        else:
            d = mean_of_parts(np.array([_slope(msd[row], interval, window) for msd in parts]), slope)
        scale = CM2_PER_S / 6
        coefficient = Estimate(scale * d.value, scale * d.low, scale * d.high)
        found.append(Diffusion(z, whole[row], coefficient, _exponent(whole[row], window)))
    fit = (first * interval, last * interval)
    return Displacements(interval, tuple(found), fit, "kinisi" if with_kinisi else "blocks")


def _slope(msd: np.ndarray, interval: float, window: slice) -> float:
    """Of a straight line through the displacements of some lags, square Angstrom per ps."""
    return float(np.polyfit(interval * np.arange(len(msd))[window], msd[window], 1)[0])


def _exponent(msd: np.ndarray, window: slice) -> float:
    lags, values = np.arange(len(msd))[window], msd[window]
    return float(np.polyfit(np.log(lags), np.log(values), 1)[0]) if values.min() > 0 else 0.0


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
