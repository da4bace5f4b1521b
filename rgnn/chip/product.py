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

from collections.abc import Callable

import torch
from torch import Tensor

from rgnn.base.rng import draw_key, normal
from rgnn.chip.converters import Adc, Converter, Counts
from rgnn.chip.noise import Noise, NoNoise, PlaneNoise, RowNoise, bit_planes


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
