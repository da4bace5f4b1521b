"""The analog product: what a resistive-memory crossbar makes of a digital input.

Digital input x -> range (lo, hi) -> n-bit codes q -> bit planes, one read of the array each -> cells
that fluctuate -> shift and add -> offset lo * rowsum(W) -> digital output:

    y = sum_b 2^b (W + N_b) x_b,    N_b ~ N(0, (s R)^2),    A(x; W) = y (hi - lo) / (2^n - 1) + lo rowsum(W)

R is what the fluctuation is relative to: |W| as published, or what both cells of a weight do for themselves.
Closed forms replace the sum over planes (exact, none is an approximation):
    no noise           sum_b 2^b x_b = q: one product. So too where all planes share a fluctuation (call, chip).
    read, product      independent from row to row, so Gaussian given q: mean q W^T and variance V (s R)^2^T, with
                       V = sum_b 4^b x_b (read: each plane draws anew) or q^2 (product: one draw): two products.
    plane              shared by all rows, so the matrices are drawn, and multiplied once with the planes side by side.
Output converters (ADC) see one plane and one tile at a time: then the planes are visited one by one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rgnn.cells import Cells
from rgnn.hardware import Hardware
from rgnn.streams import draw_key, normal


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

    def count(self, x: Tensor, counts: Counts) -> None:
        """Count what the range clips: x more than half a step outside of it."""
        if self.levels is not None:
            counts.codes += x.numel()
            beyond = 0.5 * self.width / self.levels
            counts.clipped += int(((x < self.low - beyond) | (x > self.low + self.width + beyond)).sum())

    def scale(self, y: Tensor) -> Tensor:
        """Code units -> units of x W^T, in place; in the published order of operations, so rounding agrees."""
        return y if self.levels is None else y.div_(self.levels).mul_(self.width)


class Noise(Protocol):
    """How the fluctuations of one call enter its products.

    Attributes:
        weight: [out, in] without fluctuations that change from row to row.
        strength: relative deviation of a cell.
        settings: what else decides on the numbers of a call, for those who prepare them.
    """

    weight: Tensor
    strength: float
    settings: tuple[str | float | int | None, ...]

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        """[rows, k] codes on these columns of W -> [rows, out] in code units, noise included.

        The noise of a row depends on the key and on its number alone; the first is number `first`.
        """


class NoNoise:
    """y = q W^T; also where one fluctuation is shared by all rows and planes of a call (or by all calls)."""

    strength = 0.0
    settings: tuple[str | float | int | None, ...] = ()

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        return q @ self.weight[:, columns].T


class RowNoise:
    """Fluctuations independent from row to row: y ~ N(q W^T, V (s R)^2^T), V from the codes.

    "read":    every bit plane reads the cells anew, V = sum_b 4^b x_b.
    "product": one fluctuation per product, V = q^2; `bits` is None.
    """

    def __init__(self, cells: Cells, hardware: Hardware) -> None:
        assert hardware.noise is not None
        self.weight, self.strength = cells.weight, hardware.noise
        self.bits = hardware.bits if hardware.noise_sharing == "read" else None
        self.settings: tuple[str | float | int | None, ...] = (hardware.noise_reference, self.bits)
        self._cells = cells

    @property
    def variance(self) -> Tensor:
        """[out, in] R^2, of a fluctuation of strength 1."""
        return self._cells.reference(str(self.settings[0])).square()

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        squares = q.square() if self.bits is None else sum_of_squared_planes(q, self.bits)
        deviation = (squares @ self.variance[:, columns].T).sqrt_().mul_(self.strength)
        numbers = torch.arange(first, first + len(q), device=q.device)
        noise = normal(key, numbers, len(self.weight)).to(q.dtype)
        return noise.mul_(deviation).addmm_(q, self.weight[:, columns].T)


class PlaneNoise:
    """Fluctuations drawn once per bit plane and shared by all rows of the call, as published.

    `fluctuations` [n, out, in] are the N_b, so y = sum_b x_b (2^b (W + N_b))^T.
    """

    settings: tuple[str | float | int | None, ...] = ()

    def __init__(self, cells: Cells, hardware: Hardware, key: int) -> None:
        assert hardware.bits is not None and hardware.noise is not None
        self.weight, self.strength = cells.weight, hardware.noise
        self.fluctuations = fluctuations(cells, hardware, key, hardware.bits)

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        cells = self.weight + self.fluctuations
        planes = torch.cat(list(bit_planes(q, len(cells))), dim=1)
        powers = 2.0 ** torch.arange(len(cells), dtype=q.dtype, device=q.device)
        stacked = (powers.view(-1, 1, 1) * cells[:, :, columns]).permute(1, 0, 2).flatten(1)
        return planes @ stacked.T


def fluctuations(cells: Cells, hardware: Hardware, key: int, n: int) -> Tensor:
    """[n, out, in] draws of s R z."""
    reference = cells.reference(hardware.noise_reference)
    numbers = torch.arange(n * len(reference), device=reference.device)
    draws = normal(key, numbers, reference.shape[1]).view(n, *reference.shape)
    return (hardware.noise or 0.0) * reference * draws.to(reference.dtype)


def bit_planes(q: Tensor, n: int) -> Iterator[Tensor]:
    """The n bits of whole numbers q, the lowest first, each in q's float type."""
    codes = q.int()
    for b in range(n):
        yield (codes >> b & 1).to(q.dtype)


class Adc:
    """Analog-to-digital conversion of column sums: n bits over [low, high], one range for each column.

    Level 0 is one of the codes, so an undriven column gives 0. What lies outside saturates. The error of an input that
    is spread evenly over its steps has the variance LSB^2 / 12.
    """

    def __init__(self, bits: int, low: Tensor, high: Tensor) -> None:
        self.last = 2**bits - 1
        width = high - low
        self.lsb = torch.where(width > 0, width / self.last, torch.ones_like(width))
        self.first = (low / self.lsb).round()

    def convert(self, y: Tensor, counts: Counts | None = None) -> Tensor:
        """[rows, out] to the values of their codes, in place."""
        code = y.div_(self.lsb).round_().sub_(self.first)
        if counts is not None:
            counts.conversions += code.numel()
            counts.saturated += int(((code < 0) | (code > self.last)).sum())
        return code.clamp_(0, self.last).add_(self.first).mul_(self.lsb)


class ConvertedPlanes:
    """Column sums that are converted one bit plane and one tile at a time: y = sum_b 2^b sum_t ADC(y_bt).

    With one conversion for each plane x_b^2 = x_b, so mean and variance of the sums have the same left operand:
    y_bt ~ N(x_b W_t^T, x_b (s R_t)^2^T) where each read fluctuates for itself ("read"). Where all rows share
    fluctuations ("plane", and "call", "chip", which are in the weight already) W_t is replaced by W_t + N_bt.

    Args:
        inner: how the cells fluctuate.
        bits: planes of a code.
        tile: inputs of one array.
        adc: the converter; None only observes.
        observe: is given all sums before they are converted, for a range to follow them.
    """

    def __init__(
        self, inner: NoNoise | RowNoise | PlaneNoise, bits: int, tile: int, adc: Adc | None,
        observe: Callable[[Tensor], None] | None, counts: Counts | None,
    ) -> None:  # fmt: skip
        self.inner, self.bits, self.tile, self.adc = inner, bits, tile, adc
        self.observe, self.counts = observe, counts
        self.weight, self.strength = inner.weight, inner.strength
        self.settings: tuple[str | float | int | None, ...] = (*inner.settings, bits, tile)

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        weight = self.weight[:, columns]
        variance = self.inner.variance[:, columns] if isinstance(self.inner, RowNoise) else None
        total, reads = torch.zeros_like(q[:, :1] @ weight[:, :1].T), self.bits * -(-weight.shape[1] // self.tile)
        for b, plane in enumerate(bit_planes(q, self.bits)):
            cells = weight
            if isinstance(self.inner, PlaneNoise):
                cells = weight + self.inner.fluctuations[b][:, columns]
            for t, k in enumerate(range(0, weight.shape[1], self.tile)):
                part = slice(k, k + self.tile)
                y = plane[:, part] @ cells[:, part].T
                if variance is not None:
                    deviation = (plane[:, part] @ variance[:, part].T).sqrt_().mul_(self.strength)
                    read = b * (reads // self.bits) + t
                    numbers = torch.arange(first, first + len(q), device=q.device) * reads + read
                    y += normal(key, numbers, len(weight)).to(q.dtype).mul_(deviation)
                if self.observe is not None:
                    self.observe(y)
                if self.adc is not None:
                    y = self.adc.convert(y, self.counts)
                total.add_(y, alpha=2.0**b)
        return total


def sum_of_squared_planes(q: Tensor, bits: int) -> Tensor:
    """V(q) = sum_b 4^b x_b for whole numbers q of at most 16 bits, where x_b is bit b of q.

    4^b moves bit b to bit 2b: a zero is interleaved before every bit, by halves of halves.
    """
    v = q.to(torch.int16 if bits <= 8 else torch.int32)  # the narrowest type that holds 4^bits / 3
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        if bits > shift:
            v |= v << shift
            v &= mask if bits > 8 else mask & 0x7FFF
    return v.to(q.dtype)


class AnalogProduct:
    """A(.; W) for one call: the range and the fluctuations that the call shares are fixed.

    `finish(accumulate(x))` is the product. A concatenation may be accumulated in parts, each on its own
    columns, and added before `finish`: bit for bit the product of the whole where the weights lie on a coarse
    grid (sums of codes times weights are then exact in float32), else up to rounding; in distribution with noise.
    """

    def __init__(
        self,
        converter: Converter,
        noise: Noise,
        offset: Tensor,
        generator: torch.Generator | None = None,
        counts: Counts | None = None,
    ) -> None:
        self.converter, self.noise, self.offset, self.counts = converter, noise, offset, counts
        self._generator = generator

    def key(self) -> int:
        """Of the row noise of one accumulation: drawn anew each time."""
        noise = self.noise.inner if isinstance(self.noise, ConvertedPlanes) else self.noise
        return draw_key(self._generator) if isinstance(noise, RowNoise) and self._generator else 0

    def accumulate(
        self, x: Tensor, columns: Tensor | slice = slice(None), key: int | None = None, first: int = 0
    ) -> Tensor:
        """[rows, k] -> [rows, out] in code units, noise included; overwrites x by its codes.

        Rows that belong together may come in blocks, with one key and the number of the first row of each.
        """
        if self.counts is not None:
            self.converter.count(x, self.counts)
        return self.noise.product(self.converter.codes(x), columns, self.key() if key is None else key, first)

    def finish(self, y: Tensor) -> Tensor:
        """[rows, out] in code units -> A, in place: rescaled, and the offset lo rowsum(W) added."""
        return self.converter.scale(y).add_(self.offset)

    def __call__(self, x: Tensor) -> Tensor:
        """[rows, in] -> [rows, out]; overwrites x by its codes."""
        return self.finish(self.accumulate(x))
