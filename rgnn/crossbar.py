"""The analog product: what a resistive-memory crossbar makes of a digital input.

Digital input x -> range (lo, hi) -> n-bit codes q -> bit planes, one read of the array each -> cells
that fluctuate -> shift and add -> offset lo * rowsum(W) -> digital output:

    y = sum_b 2^b (W + N_b) x_b,    N_b ~ N(0, (s |W|)^2),    A(x; W) = y (hi - lo) / (2^n - 1) + lo rowsum(W)

Three closed forms replace the sum over planes (exact, none is an approximation):
    no noise           sum_b 2^b x_b = q: one product.
    read, product      independent from row to row, so Gaussian given q: mean q W^T and variance V (s W)^2^T, with
                       V = sum_b 4^b x_b (read: each plane draws anew) or q^2 (product: one draw): two products.
    plane              shared by all rows, so the matrices are drawn, and multiplied once with the planes side by side.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from rgnn.config import Hardware
from rgnn.errors import InputError
from rgnn.streams import fill_normal

# Share of the way that a calibrated range moves to the extremes of each training batch.
RANGE_MOMENTUM = 0.05


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

    def scale(self, y: Tensor) -> Tensor:
        """Code units -> units of x W^T, in place; in the published order of operations, so rounding agrees."""
        return y if self.levels is None else y.div_(self.levels).mul_(self.width)


class Noise(Protocol):
    """How the fluctuations of one call enter its products."""

    def product(self, q: Tensor, columns: Tensor | slice) -> Tensor:
        """[rows, k] codes on these columns of W -> [rows, out] in code units, noise included."""


class NoNoise:
    """y = q W^T."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def product(self, q: Tensor, columns: Tensor | slice) -> Tensor:
        return q @ self.weight[:, columns].T


class RowNoise:
    """Fluctuations independent from row to row: y ~ N(q W^T, V (s W)^2^T), V from the codes.

    "read":    every bit plane reads the cells anew, V = sum_b 4^b x_b.
    "product": one fluctuation per product, V = q^2.
    """

    def __init__(self, weight: Tensor, hardware: Hardware, generator: torch.Generator) -> None:
        assert hardware.noise is not None
        self.weight, self.variance = weight, (hardware.noise * weight).square()
        self.generator = generator
        self.bits = hardware.bits if hardware.noise_sharing == "read" else None

    def product(self, q: Tensor, columns: Tensor | slice) -> Tensor:
        squares = q.square() if self.bits is None else sum_of_squared_planes(q, self.bits)
        deviation = (squares @ self.variance[:, columns].T).sqrt_()
        noise = fill_normal(torch.empty_like(deviation), self.generator)
        return noise.mul_(deviation).addmm_(q, self.weight[:, columns].T)


class PlaneNoise:
    """Fluctuations drawn once per bit plane and shared by all rows of the call, as published.

    `matrices` [n, out, in] are W + N_b, so y = sum_b x_b (2^b (W + N_b))^T.
    """

    def __init__(self, weight: Tensor, hardware: Hardware, generator: torch.Generator) -> None:
        assert hardware.bits is not None and hardware.noise is not None
        draws = torch.empty((hardware.bits, *weight.shape), dtype=weight.dtype, device=weight.device)
        draws.normal_(generator=generator)
        self.matrices = weight * (1 + hardware.noise * draws)

    def product(self, q: Tensor, columns: Tensor | slice) -> Tensor:
        codes = q.int()
        planes = torch.cat([(codes >> b & 1).to(q.dtype) for b in range(len(self.matrices))], dim=1)
        powers = 2.0 ** torch.arange(len(self.matrices), dtype=q.dtype, device=q.device)
        stacked = (powers.view(-1, 1, 1) * self.matrices[:, :, columns]).permute(1, 0, 2).flatten(1)
        return planes @ stacked.T


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

    def __init__(self, converter: Converter, noise: Noise, offset: Tensor) -> None:
        self.converter, self.noise, self.offset = converter, noise, offset

    def accumulate(self, x: Tensor, columns: Tensor | slice = slice(None)) -> Tensor:
        """[rows, k] -> [rows, out] in code units, noise included; overwrites x by its codes."""
        return self.noise.product(self.converter.codes(x), columns)

    def finish(self, y: Tensor) -> Tensor:
        """[rows, out] in code units -> A, in place: rescaled, and the offset lo rowsum(W) added."""
        return self.converter.scale(y).add_(self.offset)

    def __call__(self, x: Tensor) -> Tensor:
        """[rows, in] -> [rows, out]; overwrites x by its codes."""
        return self.finish(self.accumulate(x))


class ReluChain:
    """A(relu(A(.; W)); W'): the code sums of `first`, in two parts, to the product of `second`."""

    def __init__(self, first: AnalogProduct, second: AnalogProduct) -> None:
        self.first, self.second = first, second

    def parts(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """What has to be added, from the accumulated parts of the first product; may overwrite them."""
        return p, q

    def __call__(self, h: Tensor) -> Tensor:
        """[rows, hidden] sums of the parts -> [rows, out]; overwrites h."""
        return self.second(self.first.finish(h).relu_())

    @staticmethod
    def of(first: AnalogProduct, second: AnalogProduct) -> "ReluChain":
        """The quicker of the two ways that gives the same codes."""
        return FoldedReluChain(first, second) if FoldedReluChain.fits(first, second) else ReluChain(first, second)


class FoldedReluChain(ReluChain):
    """The same with everything between the two products folded into clamp(round(p' + q'), 0, 2^n - 1).

    Both rescalings are affine, so they are applied to the parts before these are added, and a range that
    starts at or above zero makes the clamp a ReLU. Folding changes the order of operations and thereby the
    last bit, which only a floor would turn into another code as a matter of course (at sums that are exactly
    on the grid), so floor keeps the literal way.
    """

    def __init__(self, first: AnalogProduct, second: AnalogProduct) -> None:
        super().__init__(first, second)
        levels_first, levels = first.converter.levels, second.converter.levels
        assert levels_first is not None and levels is not None
        steps = levels / second.converter.divisor  # of the second converter, per unit of its input
        self.levels = levels
        self.slope = first.converter.width / levels_first * steps
        self.shift = (first.offset - second.converter.low) * steps

    @staticmethod
    def fits(first: AnalogProduct, second: AnalogProduct) -> bool:
        """Quantised, and rounded to nearest."""
        return first.converter.levels is not None and second.converter.levels is not None and second.converter.nearest

    def parts(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        return p.mul_(self.slope).add_(self.shift), q.mul_(self.slope)

    def __call__(self, h: Tensor) -> Tensor:
        return self.second.finish(self.second.noise.product(h.round_().clamp_(0, self.levels), slice(None)))


class Crossbar(nn.Module):
    """One matrix on the chip with its converter.

    Attributes:
        weight: [out, in] buffer, fixed: G+ - G- in the model's units.
        low, high: the calibrated input range; NaN until a training batch has been seen.
        clean_offset: the offset takes the clean weights even where the hardware says otherwise.
    """

    weight: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, weight: Tensor, clean_offset: bool = False) -> None:
        super().__init__()
        self.clean_offset = clean_offset
        self.register_buffer("weight", weight.clone())
        self.register_buffer("low", torch.tensor(torch.nan))
        self.register_buffer("high", torch.tensor(torch.nan))

    def follows(self, hardware: Hardware) -> bool:
        """Whether a call needs to know the minimum and maximum of its inputs."""
        return hardware.range == "dynamic" or self.training

    def begin(
        self, hardware: Hardware, generator: torch.Generator | None, seen: tuple[Tensor, Tensor] | None = None
    ) -> AnalogProduct:
        """Start a call.

        Args:
            hardware: converters and noise.
            generator: stream of this call's fluctuations; None reads the array without noise.
            seen: minimum and maximum of the inputs, where `follows` asks for them: a dynamic range takes
                them as they are, a calibrated one follows them in training.
        """
        if seen is not None and self.training and hardware.range == "calibrated":
            self._calibrate(*seen)
        low, high = seen if seen is not None and hardware.range == "dynamic" else (self.low, self.high)
        if hardware.levels is not None and torch.isnan(low):
            raise InputError("the model has no calibrated input ranges; train it, or set range to 'dynamic'.")
        converter, weight, offset_weight = Converter(hardware, low, high), self.weight, self.weight
        noise: Noise
        if generator is None or hardware.noise is None:
            noise = NoNoise(weight)
        elif hardware.noise_sharing != "plane":
            noise = RowNoise(weight, hardware, generator)
        else:
            noise = planes = PlaneNoise(weight, hardware, generator)
            if hardware.offset == "last_plane" and not self.clean_offset:
                offset_weight = planes.matrices[-1]
        return AnalogProduct(converter, noise, (converter.low * offset_weight).sum(1))

    def _calibrate(self, low: Tensor, high: Tensor) -> None:
        first = torch.isnan(self.low)
        self.low.copy_(torch.where(first, low, torch.lerp(self.low, low, RANGE_MOMENTUM)))
        self.high.copy_(torch.where(first, high, torch.lerp(self.high, high, RANGE_MOMENTUM)))
