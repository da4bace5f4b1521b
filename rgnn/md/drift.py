"""Whether a run conserves the energy that it should, for models that have an energy."""

import math
from dataclasses import dataclass

import numpy as np

from rgnn.md.barostat import moves_cell
from rgnn.md.settings import MDSettings

# Part of a stage that is left out at its begin, rows that must be left, and parts that an interval is found from.
SETTLING, FEWEST_ROWS, PARTS = 0.1, 32, 16
# Drifts up to which conservation is good, and beyond which it is too much, meV/atom/ps. At 1 a nanosecond adds 1 eV to
# each atom where no thermostat carries it off.
GOOD, TOO_MUCH = 0.1, 1.0


@dataclass(frozen=True)
class Drift:
    """How the conserved energy of a run grows.

    Attributes:
        slope: of a straight line through it, meV/atom/ps; None where that is not known.
        error: half of the 95% interval, meV/atom/ps.
        verdict: in words.
    """

    slope: float | None = None
    error: float | None = None
    verdict: str = ""


def with_error(value: float, half: float, sign: str = "") -> str:
    """A value and half of its interval, to the first digit of the latter: 46 ± 37, 0.09 ± 0.01."""
    digits = min(max(0, -math.floor(math.log10(half))), 6) if half > 0 else 3
    return f"{value:{sign}.{digits}f} ± {half:.{digits}f}"


def drift(log: dict[str, np.ndarray], config: MDSettings, n_atoms: int) -> Drift:
    """Of the last stage of a run, by least squares.

    The interval allows for residuals that are correlated: the sums of w r over `PARTS` consecutive parts, with w the
    weight of a row in the slope and r its residual, are taken for independent (errors robust to clusters).
    """
    last = int(log["step"][-1])
    place, stage = config.stage_at(last)
    begin = config.begins(place)
    if stage.is_ramp and moves_cell(config.ensemble_at(last)):
        return Drift(verdict="not judged while the temperature is changed")
    chosen = log["step"] >= begin + SETTLING * (last - begin)
    time, energy = log["time_fs"][chosen] / 1000, 1000 / n_atoms * log["conserved_eV"][chosen]
    if len(time) < FEWEST_ROWS:
        return Drift(verdict="the run is too short to tell")
    slope, half = slope_with_error(time, energy)
    if half > GOOD and abs(slope) < half:
        return Drift(slope, half, "the run is too short to tell")
    word = "good" if abs(slope) <= GOOD else "noticeable" if abs(slope) <= TOO_MUCH else "too much"
    return Drift(slope, half, f"{word}: drifts by {with_error(slope, half, '+')} meV/atom/ps")


def slope_with_error(time: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Slope of a straight line through values [n] at times [n], and half of its 95% interval."""
    from scipy.stats import t as student

    weight = (time - time.mean()) / ((time - time.mean()) ** 2).sum()
    slope = float(weight @ values)
    residual = values - values.mean() - slope * (time - time.mean())
    sums = np.array([part.sum() for part in np.array_split(weight * residual, PARTS)])
    deviation = float(np.sqrt((sums**2).sum() * PARTS / (PARTS - 2)))
    return slope, float(student.ppf(0.975, PARTS - 2)) * deviation
