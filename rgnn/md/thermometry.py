"""Whether a run has the temperature that was asked for, and whether all of its elements share it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rgnn.base.estimate import PARTS, Estimate, block_error
from rgnn.md.drift import with_error
from rgnn.md.settings import MDSettings

# Parts of the target up to which a temperature is good, and beyond which it is too far off.
GOOD, TOO_FAR = 0.01, 0.05
# The same for what an element's temperature differs from that of all atoms by.
EVEN, UNEVEN = 0.03, 0.1
# Independent values that a series must seem to hold for an interval. Series that forget in 19 values, as a temperature
# under friction does, then have the truth inside in 95 to 98 of 100 where they hold 16 independent values or more; of
# those that hold 10, a quarter pass, with 78 of 100.
INDEPENDENT = 24


def correlated_mean(values: np.ndarray, outside: float = 0.05) -> Estimate:
    """Mean of a correlated series [n] with an interval that is exceeded with the probability `outside`.

    The error is that of `block_error`, or of the means of `PARTS` consecutive parts where that is larger, with
    Student's factor for so many parts. Where the series is too short for that, since it seems to hold fewer than
    `INDEPENDENT` independent values, the interval has no ends.
    """
    from scipy.stats import t as student

    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean()) if len(values) else float("nan")
    if len(values) < INDEPENDENT:
        return Estimate(mean, -np.inf, np.inf)
    variance = float(values.var(ddof=1))
    if variance == 0:
        return Estimate(mean, mean, mean)
    parts = values[: len(values) // PARTS * PARTS].reshape(PARTS, -1).mean(axis=1)
    error = max(block_error(values), float(parts.std(ddof=1)) / PARTS**0.5)
    if variance / error**2 < INDEPENDENT:
        return Estimate(mean, -np.inf, np.inf)
    half = float(student.ppf(1 - outside / 2, PARTS - 1)) * error
    return Estimate(mean, mean - half, mean + half)


def half_of(e: Estimate) -> float | None:
    """Half of an interval; None where it has no ends."""
    return (e.high - e.low) / 2 if e.bounded else None


def with_half(value: float, half: float | None) -> str:
    """As "611 ± 4" or "611 ± 85", or the value alone."""
    return f"{value:.0f}" if half is None else f"{value:.0f} ± {half:{'.0f' if half >= 10 else '.2g'}}"


def kelvin(e: Estimate) -> str:
    """As "611 ± 4 K", or without an interval where it has no ends."""
    return f"{with_half(e.value, half_of(e))} K"


@dataclass(frozen=True)
class Equipartition:
    """Whether all elements have one temperature.

    Attributes:
        elements: K of each element that has atoms free to move, with a 95% interval.
        verdict: in words; empty where there are no two elements to compare.
    """

    elements: Mapping[str, Estimate] = field(default_factory=dict)
    verdict: str = ""


@dataclass(frozen=True)
class Thermometer:
    """Temperatures of the second half of a run, where it has stages of the last one.

    Attributes:
        temperature: K, with a 95% interval that has no ends where the run is too short for one.
        verdict: against the thermostat, in words, however short the run is.
        equipartition: of the elements.
    """

    temperature: Estimate
    verdict: str
    equipartition: Equipartition


def second_half(log: Mapping[str, np.ndarray], config: MDSettings) -> np.ndarray:
    """[rows] whether a row of the log is in the second half of the run, where it has stages of the last one."""
    last = int(log["step"][-1])
    begin = config.begins(config.stage_at(last)[0])
    return np.asarray(log["step"] >= begin + (last - begin) / 2)


def thermometer(log: Mapping[str, np.ndarray], config: MDSettings) -> Thermometer:
    """Of the log of a run."""
    rows = second_half(log, config)
    whole = log["temperature_K"][rows]
    elements = {name.removeprefix("T_"): log[name][rows] for name in log if name.startswith("T_")}
    last = int(log["step"][-1])
    mean = correlated_mean(whole)
    if config.ensemble_at(last) in ("nve", "nph"):
        verdict = f"no thermostat to compare with: {kelvin(mean)}"
    else:
        target = log.get("target_K", np.full(len(rows), config.target(last)))[rows]
        verdict = against_thermostat(whole, target)
    return Thermometer(mean, verdict, equipartition(elements, whole))


def against_thermostat(temperature: np.ndarray, target: np.ndarray) -> str:
    """Temperatures [n] of a run against those that its thermostat had, K, in words."""
    mean, off, asked = correlated_mean(temperature), correlated_mean(temperature - target), float(target.mean())
    wanted = f"{'a ramp with a mean of ' if np.ptp(target) else ''}{asked:.4g} K"
    half = half_of(off)
    if half is None or half > TOO_FAR * asked > abs(off.value) - half:
        return f"too short to judge: {kelvin(mean)}, where the thermostat has {wanted}"
    if abs(off.value) <= max(GOOD * asked, half):
        return f"good: {kelvin(mean)}, where the thermostat has {wanted}"
    word = "noticeable" if abs(off.value) <= TOO_FAR * asked else "too far off"
    side = "above" if off.value > 0 else "below"
    percent = 100 / asked
    return f"{word}: {with_error(abs(off.value) * percent, half * percent)}% {side} the {wanted} of the thermostat"


def equipartition(elements: Mapping[str, np.ndarray], whole: np.ndarray) -> Equipartition:
    """Whether elements have one temperature, from series [n] of theirs and of that of all atoms, K.

    Fixed degrees of freedom do not count in such series, see `rgnn.md.constraints.freedom`; an element all of whose
    atoms are held has 0 K throughout, and is left out. An element is called hotter or colder where it differs from all
    atoms by more than `EVEN`, and beyond an interval that is exceeded once in twenty runs by any of the elements.
    """
    free = {name: values for name, values in elements.items() if len(values) and values.any()}
    means = {name: correlated_mean(values) for name, values in free.items()}
    if len(free) < 2:
        return Equipartition(means)
    middle = float(whole.mean())
    apart = {name: correlated_mean(values - whole, 0.05 / len(free)) for name, values in free.items()}
    halves = {name: half for name, e in apart.items() if (half := half_of(e)) is not None}
    unlike = {
        name: apart[name].value / middle
        for name, half in halves.items()
        if abs(apart[name].value) > max(half, EVEN * middle)
    }
    if unlike:
        worst = max(unlike, key=lambda name: abs(unlike[name]))
        part, half = unlike[worst], halves[worst] / middle
        word, side = "noticeable" if abs(part) <= UNEVEN else "broken", "hotter" if part > 0 else "colder"
        verdict = f"{word}: {worst} is {with_error(100 * abs(part), 100 * half)}% {side} than all atoms"
        return Equipartition(means, verdict)
    reach = max((abs(apart[name].value) + half for name, half in halves.items()), default=np.inf) / middle
    if len(halves) < len(free) or reach > UNEVEN:
        said = ", ".join(f"{name} {float(values.mean()):.0f} K" for name, values in free.items())
        return Equipartition(means, f"too short to judge: {said}")
    return Equipartition(means, f"good: elements have one temperature within {math.ceil(100 * reach)}%")
