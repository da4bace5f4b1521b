"""Converters between the digital side and a crossbar: inputs to codes, column sums to the values of codes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rgnn.chip.adc_errors import AdcErrors
from rgnn.chip.hardware import Hardware


@dataclass
class Counts:
    """What a monitored array met: codes and conversions, and how many of them lay outside their range."""

    codes: int = 0
    clipped: int = 0
    conversions: int = 0
    saturated: int = 0


class Converter:
    """Digital-to-analog conversion: x -> codes 0 .. 2^n - 1, held as whole numbers in x's float type.

    With bits = None the code is x itself and low is 0. A range of zero width gives code 0, so a constant
    input c yields exactly c rowsum(W).
    """

    def __init__(self, hardware: Hardware, low: Tensor, high: Tensor) -> None:
        self.low = low
        self.levels = hardware.levels
        self.nearest = hardware.rounding == "nearest"
        if self.levels is None:
            self.low = torch.zeros_like(low)
        else:
            self.width = high - low
            self.divisor = torch.where(self.width > 0, self.width, torch.ones_like(self.width))

    def codes(self, x: Tensor) -> Tensor:
        """The codes of x, in place."""
        if self.levels is None:
            return x
        # A true division, so that high gives the last code also with floor.
        q = x.sub_(self.low).div_(self.divisor).mul_(self.levels)
        q = q.round_() if self.nearest else q.floor_()
        return q.clamp_(0, self.levels)

    def passed(self, x: Tensor) -> Tensor | None:
        """Which of x lie in the range, limits included; None where nothing is converted."""
        return None if self.levels is None else (x >= self.low) & (x <= self.low + self.width)

    def count(self, x: Tensor, counts: Counts) -> None:
        """Count what the range clips: x more than half a step outside of it."""
        if self.levels is not None:
            counts.codes += x.numel()
            beyond = 0.5 * self.width / self.levels
            counts.clipped += int(((x < self.low - beyond) | (x > self.low + self.width + beyond)).sum())

    def scale(self, y: Tensor) -> Tensor:
        """Code units -> units of x W^T, in place; in the published order of operations, so rounding agrees."""
        return y if self.levels is None else y.div_(self.levels).mul_(self.width)


class Adc:
    """Analog-to-digital conversion of column sums: n bits over [low, high], one range for each column.

    Level 0 is one of the codes, so an undriven column gives 0. What lies outside saturates. The error of an input that
    is spread evenly over its steps has the variance LSB^2 / 12.

    Args:
        bits: resolution.
        low, high: [out] the ranges.
        errors: of the converters, for each column and tile; None are without.
    """

    def __init__(self, bits: int, low: Tensor, high: Tensor, errors: AdcErrors | None = None) -> None:
        self.last, self.errors = 2**bits - 1, errors
        width = high - low
        self.lsb = torch.where(width > 0, width / self.last, torch.ones_like(width))
        self.first = (low / self.lsb).round()
        self._lines: dict[int, tuple[Tensor, Tensor]] = {}

    def convert(self, y: Tensor, counts: Counts | None = None, tile: int = 0) -> Tensor:
        """[rows, out] sums of a tile to the values of their codes, in place where converters are without errors."""
        y = y.div_(self.lsb)
        if self.errors is not None:
            y = self.errors.distorted(y, self.first, self.last, tile)
        code = y.round_().sub_(self.first)
        if counts is not None:
            counts.conversions += code.numel()
            counts.saturated += int(((code < 0) | (code > self.last)).sum())
        code = code.clamp_(0, self.last).add_(self.first)
        if self.errors is not None and self.errors.calibrated:
            slope, intercept = self.line(tile)
            code.sub_(intercept).div_(slope)
        return code.mul_(self.lsb)

    def line(self, tile: int) -> tuple[Tensor, Tensor]:
        """Slope and intercept [out] that the calibration of a tile has found, once for all planes of a call."""
        assert self.errors is not None
        if tile not in self._lines:
            self._lines[tile] = self.errors.line(self.first, self.last, tile)
        return self._lines[tile]
