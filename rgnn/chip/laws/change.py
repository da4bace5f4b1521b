"""How conductances change, in the mean and from cell to cell: relaxation and bakes by time, programming by target."""

import math
from typing import Any, Self

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.base.settings import Number, Settings
from rgnn.chip.laws.polynomial import Polynomial
from rgnn.chip.laws.read_noise import require_covered

# Boltzmann's constant, eV/K (CODATA 2018), and the zero of Celsius.
BOLTZMANN, ZERO_CELSIUS = 8.617333262e-5, 273.15
# Times and temperatures that lie so close to the ends of a law are at its ends.
TOLERANCE = 1e-6


def inverse_thermal(celsius: Any) -> Any:
    """1 / kT in 1/eV."""
    return 1 / (BOLTZMANN * (celsius + ZERO_CELSIUS))


def scaled(x: Any, low: float, high: float) -> Any:
    """-1 at the low end and 1 at the high one; 0 where the two are one."""
    return x * 0 if low == high else (2 * x - low - high) / (high - low)


class ChangeLaw(Settings):
    """G' - G of mean m and standard deviation sigma; m and ln sigma are polynomials of G, log10 t and 1 / kT.

    The coordinates are scaled to -1 ... 1 over the ranges that were measured. A law without time has no coordinates
    but the conductance, and one at a single temperature none for it.
    """

    conductance: tuple[Number, Number]
    """Smallest and largest conductance before the change, siemens; it is held at its ends outside."""
    time: tuple[Number, Number] | None = None
    """Shortest and longest time, s; None where the change has no time."""
    temperature: tuple[Number, Number] | None = None
    """Lowest and highest temperature, Celsius; None where it was not noted."""
    mean: Polynomial
    """m in siemens."""
    log_deviation: Polynomial
    """ln(sigma / 1 S)."""

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name, lowest in (("conductance", 0.0), ("time", 0.0), ("temperature", -ZERO_CELSIUS)):
            span = getattr(self, name)
            if span is not None and not (lowest <= span[0] <= span[1]):
                raise InputError(f"{name} is {list(span)}, but it must be two rising numbers from {lowest:g}.")
        if self.time is not None and self.time[0] <= 0:
            raise InputError(f"time is {list(self.time)}, but it must be two rising numbers above 0.")
        n = 1 + (self.time is not None) + (self.temperature is not None)
        for name in ("mean", "log_deviation"):
            if len(getattr(self, name).degrees) != n:
                raise InputError(f"{name}.degrees has to name {n} coordinates, one for each range of the law.")
        return self

    def coordinates(self, siemens: Any, seconds: Any = None, celsius: Any = None) -> list[Any]:
        """Coordinates scaled to -1 ... 1, each of the shape of `siemens`, which is held at the ends of its range."""
        low, high = self.conductance
        clip = torch.clamp if isinstance(siemens, Tensor) else np.clip
        found = [scaled(clip(siemens, low, high), low, high)]
        if self.time is not None:
            first, last = (math.log10(t) for t in self.time)
            found.append(found[0] * 0 + scaled(_plain(np.log10(seconds)), first, last))
        if self.temperature is not None:
            hot, cold = (inverse_thermal(t) for t in self.temperature[::-1])
            found.append(found[0] * 0 + scaled(_plain(inverse_thermal(celsius)), hot, cold))
        return found

    def moments(self, siemens: Any, seconds: Any = None, celsius: Any = None) -> tuple[Any, Any]:
        """Mean and standard deviation of the change in siemens, of the shape of the conductances.

        Args:
            siemens: conductances before it, an array or a tensor.
            seconds: since then.
            celsius: temperature since then.
        """
        x = self.coordinates(siemens, seconds, celsius)
        exponent = self.log_deviation(x)
        exp = torch.exp if isinstance(exponent, Tensor) else np.exp
        return self.mean(x), exp(exponent)

    def require_time(self, seconds: float | None, celsius: float | None) -> tuple[float | None, float | None]:
        """The time and the temperature to use; of a law at a single temperature, that one.

        Raises:
            InputError: outside of what was measured, or not given.
        """
        if self.time is None:
            raise InputError("this law of a change has no time, so it cannot be that of retention.")
        if seconds is None or not _within(seconds, self.time):
            given = "not given" if seconds is None else f"{seconds:g} s"
            raise InputError(
                f"retention_time is {given}, but the law was measured from {self.time[0]:.3g} to {self.time[1]:.3g} s "
                "after programming; choose a time between them, or fit the law to longer measurements."
            )
        if self.temperature is None:
            if celsius is not None:
                raise InputError(
                    f"retention_temperature is {celsius:g} C, but the law was measured at one unknown temperature; "
                    "leave it out, or fit a bake."
                )
            return seconds, None
        low, high = self.temperature
        if celsius is None and low == high:
            celsius = low
        if celsius is None or not _within(celsius, self.temperature):
            given = "not given" if celsius is None else f"{celsius:g} C"
            raise InputError(
                f"retention_temperature is {given}, but the law was measured from {low:g} to {high:g} C; choose a "
                "temperature between them, or fit the law to a bake at others."
            )
        return seconds, celsius

    def changed(
        self,
        g: Tensor,
        siemens: float | Tensor,
        draws: Tensor,
        name: str,
        strength: float,
        *time_and_temperature: float | None,
    ) -> Tensor:
        """G + s (m + sigma z), at least 0, in the model's units for conductances in them; s is the strength.

        Raises:
            InputError: the law does not cover these conductances.
        """
        unit = float(siemens)
        require_covered(unit * g, *self.conductance, name)
        mean, deviation = self.moments(unit * g, *time_and_temperature)
        changed: Tensor = g + strength * (mean + deviation * draws) / unit
        return changed.clamp_min(0)


def _within(value: float, span: tuple[float, float]) -> bool:
    margin = TOLERANCE * max(abs(end) for end in span)
    return span[0] - margin <= value <= span[1] + margin


def _plain(x: Any) -> Any:
    """A number of NumPy as one of Python, which tensors take; an array as it is."""
    return float(x) if np.ndim(x) == 0 else x
