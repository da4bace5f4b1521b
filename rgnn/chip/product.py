"""The analog product: what a resistive-memory crossbar makes of a digital input.

Digital input x -> range (lo, hi) -> n-bit codes q -> bit planes, one read of the array each -> cells
that fluctuate -> shift and add -> offset lo * rowsum(W) -> digital output:

    y = sum_b 2^b (W + N_b) x_b,    N_b ~ N(0, (s R)^2),    A(x; W) = y (hi - lo) / (2^n - 1) + lo rowsum(W)

R is what the fluctuation is relative to: |W| as published, or what both cells of a weight do for themselves.
Closed forms replace the sum over planes (exact, none is an approximation):
    no noise           sum_b 2^b x_b = q: one product. So too where all planes share a fluctuation (call, chip).
    read, product      independent from row to row, so Gaussian given q: mean q W^T and variance V (s R)^2^T, with
                       V = sum_b 4^b x_b (read: one draw for each plane) or q^2 (product: one draw): two products.
    plane              shared by all rows, so the matrices are drawn, and multiplied once with the planes side by side.
Output converters (ADC) see one plane and one tile at a time: then the planes are visited one by one.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rgnn.base.rng import draw_key, normal
from rgnn.chip.converters import Adc, Converter, Counts
from rgnn.chip.noise import CacheKey, Noise, bit_planes, difference_of_rows

# What training sees of the analog products: no gradient, or that of x W^T where the input converter does not clip.
Gradient = Literal["blocked", "straight_through"]
EVERY = slice(None)


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

    has_closed_form = False
    variance: Tensor | None = None
    fluctuations: Tensor | None = None

    def __init__(
        self,
        inner: Noise,
        bits: int,
        tile: int,
        adc: Adc | None,
        observe: Callable[[Tensor], None] | None,
        counts: Counts | None,
    ) -> None:
        self.inner, self.tile, self.adc = inner, tile, adc
        self.bits: int | None = bits
        self.observe, self.counts, self._planes = observe, counts, bits
        self.weight, self.strength, self.draws_rows = inner.weight, inner.strength, inner.draws_rows

    def cache_key(self) -> CacheKey | None:
        """None: sums are converted plane by plane, and nothing of them can be prepared."""
        return None

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        """See `Noise`."""
        weight, shared, variance = self.weight[:, columns], self.inner.fluctuations, self.inner.variance
        variance = None if variance is None else variance[:, columns]
        total, reads = torch.zeros_like(q[:, :1] @ weight[:, :1].T), self._planes * -(-weight.shape[1] // self.tile)
        for b, plane in enumerate(bit_planes(q, self._planes)):
            cells = weight if shared is None else weight + shared[b][:, columns]
            for t, k in enumerate(range(0, weight.shape[1], self.tile)):
                part = slice(k, k + self.tile)
                y = plane[:, part] @ cells[:, part].T
                if variance is not None:
                    deviation = (plane[:, part] @ variance[:, part].T).sqrt_().mul_(self.strength)
                    read = b * (reads // self._planes) + t
                    numbers = torch.arange(first, first + len(q), device=q.device) * reads + read
                    y += normal(key, numbers, len(weight)).to(q.dtype).mul_(deviation)
                if self.observe is not None:
                    self.observe(y)
                if self.adc is not None:
                    y = self.adc.convert(y, self.counts, t)
                total.add_(y, alpha=2.0**b)
        return total


class AnalogProduct:
    """A(.; W) for one call: the range and the fluctuations that the call shares are fixed.

    `finish(accumulate(x))` is the product. A concatenation may be accumulated in parts, each on its own
    columns, and added before `finish`: bit for bit the product of the whole where the weights lie on a coarse
    grid (sums of codes times weights are then exact in float32), else up to rounding; in distribution with noise.

    Attributes:
        gradient: that of `with_gradient`.
    """

    def __init__(
        self,
        converter: Converter,
        noise: Noise,
        offset: Tensor,
        generator: torch.Generator | None = None,
        counts: Counts | None = None,
        gradient: Gradient = "blocked",
    ) -> None:
        self.converter, self.noise, self.offset, self.counts = converter, noise, offset, counts
        self.gradient: Gradient = gradient
        self._generator = generator

    def key(self) -> int:
        """The key of the row noise of one accumulation, another one each time; 0 without row noise."""
        return draw_key(self._generator) if self.noise.draws_rows and self._generator else 0

    def accumulate(self, x: Tensor, columns: Tensor | slice = EVERY, key: int | None = None, first: int = 0) -> Tensor:
        """[rows, k] -> [rows, out] in code units, noise included; overwrites x by its codes.

        Rows that belong together may come in blocks, with one key and the number of the first row of each.
        """
        if self.counts is not None:
            self.converter.count(x, self.counts)
        return self.noise.product(self.converter.codes(x), columns, self.key() if key is None else key, first)

    def finish(self, y: Tensor) -> Tensor:
        """[rows, out] in code units -> A, in place: rescaled, and the offset lo rowsum(W) added."""
        return self.converter.scale(y).add_(self.offset)

    def difference(self, x: Tensor, y: Tensor, key: int, first: int) -> Tensor:
        """[rows, out] A(x) - A(y) for x and y [rows, in], two reads with noise of their own; overwrites both.

        Where the reads of a row fluctuate independently, so does their difference, with the sum of their variances: it
        has one draw. The rows are numbered from `first`, and those of y follow where they have separate draws.
        """
        if self.counts is not None:
            self.converter.count(x, self.counts)
            self.converter.count(y, self.counts)
        q, p, noise = self.converter.codes(x), self.converter.codes(y), self.noise
        if noise.draws_rows and noise.has_closed_form:
            sums = difference_of_rows(noise, q, p, key, first)
        else:
            sums = noise.product(q, EVERY, key, first) - noise.product(p, EVERY, key, first + len(q))
        return self.converter.scale(sums)

    def __call__(self, x: Tensor) -> Tensor:
        """[rows, in] -> [rows, out]; overwrites x by its codes."""
        return self.finish(self.accumulate(x))

    def passes_gradient(self, *inputs: Tensor) -> bool:
        """Whether a gradient to one of these inputs must be found."""
        straight = self.gradient == "straight_through" and torch.is_grad_enabled()
        return straight and any(x.requires_grad for x in inputs)

    def with_gradient(
        self,
        form: Callable[[Tensor], Tensor],
        x: Tensor,
        columns: Tensor | slice = EVERY,
        *,
        finished: bool = True,
        relu: bool = False,
    ) -> Tensor:
        """form(x), some form of this product, with the call's gradient: none, or that of `StraightThrough`.

        Args:
            form: gives [rows, out] of [rows, k]; it may overwrite its argument.
            x: the inputs on these columns; not overwritten where they need a gradient.
            columns: of W.
            finished: the form gives A; otherwise sums in code units.
            relu: the form gives relu of it.
        """
        if not self.passes_gradient(x):
            return form(x.detach())
        weight = self.noise.weight[:, columns]
        if not finished and self.converter.levels is not None:
            weight = weight * (self.converter.levels / self.converter.divisor)
        y: Tensor = StraightThrough.apply(x, form, self.converter, weight, relu)  # type: ignore[no-untyped-call]
        return y


class StraightThrough(torch.autograd.Function):
    """An analog product whose gradient ignores rounding and noise: dx = dy W in the input range, 0 where it clips.

    The straight-through estimator of Bengio et al. 2013 (arXiv 1308.3432). Noise is never differentiated.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, form: Callable[[Tensor], Tensor], converter: Converter, weight: Tensor, relu: bool
    ) -> Tensor:
        """form(x)."""
        passed = converter.passed(x)
        y = form(x.clone())
        ctx.save_for_backward(weight, passed, y if relu else None)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """The product dy W, with zeros where relu or the range cut."""
        weight, passed, y = ctx.saved_tensors
        dx = (dy if y is None else dy * (y > 0)) @ weight
        return dx if passed is None else dx * passed, None, None, None, None
