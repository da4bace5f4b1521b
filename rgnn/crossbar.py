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
from rgnn.streams import draw_key, normal

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
    """How the fluctuations of one call enter its products.

    Attributes:
        weight: [out, in] without fluctuations.
        strength: relative deviation of a cell.
        settings: what else decides on the numbers of a call, for those who prepare them.
    """

    weight: Tensor
    strength: float
    settings: tuple[float | int | None, ...]

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        """[rows, k] codes on these columns of W -> [rows, out] in code units, noise included.

        The noise of a row depends on the key and on its number alone; the first is number `first`.
        """


class NoNoise:
    """y = q W^T."""

    strength = 0.0
    settings: tuple[float | int | None, ...] = ()

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        return q @ self.weight[:, columns].T


class RowNoise:
    """Fluctuations independent from row to row: y ~ N(q W^T, V (s W)^2^T), V from the codes.

    "read":    every bit plane reads the cells anew, V = sum_b 4^b x_b.
    "product": one fluctuation per product, V = q^2; `bits` is None.
    """

    def __init__(self, weight: Tensor, hardware: Hardware) -> None:
        assert hardware.noise is not None
        self.weight, self.strength = weight, hardware.noise
        self.bits = hardware.bits if hardware.noise_sharing == "read" else None
        self.settings: tuple[float | int | None, ...] = (self.strength, self.bits)

    @property
    def variance(self) -> Tensor:
        """[out, in] (s W)^2."""
        return (self.strength * self.weight).square()

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        squares = q.square() if self.bits is None else sum_of_squared_planes(q, self.bits)
        deviation = (squares @ self.variance[:, columns].T).sqrt_()
        numbers = torch.arange(first, first + len(q), device=q.device)
        noise = normal(key, numbers, len(self.weight)).to(q.dtype)
        return noise.mul_(deviation).addmm_(q, self.weight[:, columns].T)


class PlaneNoise:
    """Fluctuations drawn once per bit plane and shared by all rows of the call, as published.

    `fluctuations` [n, out, in] are the N_b, so y = sum_b x_b (2^b (W + N_b))^T.
    """

    settings: tuple[float | int | None, ...] = ()

    def __init__(self, weight: Tensor, hardware: Hardware, key: int) -> None:
        assert hardware.bits is not None and hardware.noise is not None
        numbers = torch.arange(hardware.bits * len(weight), device=weight.device)
        draws = normal(key, numbers, weight.shape[1]).view(-1, *weight.shape)
        self.weight, self.strength = weight, hardware.noise
        self.fluctuations = (hardware.noise * weight) * draws.to(weight.dtype)

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        codes, cells = q.int(), self.weight + self.fluctuations
        planes = torch.cat([(codes >> b & 1).to(q.dtype) for b in range(len(cells))], dim=1)
        powers = 2.0 ** torch.arange(len(cells), dtype=q.dtype, device=q.device)
        stacked = (powers.view(-1, 1, 1) * cells[:, :, columns]).permute(1, 0, 2).flatten(1)
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

    def __init__(
        self, converter: Converter, noise: Noise, offset: Tensor, generator: torch.Generator | None = None
    ) -> None:
        self.converter, self.noise, self.offset = converter, noise, offset
        self._generator = generator

    def key(self) -> int:
        """Of the row noise of one accumulation: drawn anew each time."""
        return draw_key(self._generator) if isinstance(self.noise, RowNoise) and self._generator else 0

    def accumulate(
        self, x: Tensor, columns: Tensor | slice = slice(None), key: int | None = None, first: int = 0
    ) -> Tensor:
        """[rows, k] -> [rows, out] in code units, noise included; overwrites x by its codes.

        Rows that belong together may come in blocks, with one key and the number of the first row of each.
        """
        return self.noise.product(self.converter.codes(x), columns, self.key() if key is None else key, first)

    def finish(self, y: Tensor) -> Tensor:
        """[rows, out] in code units -> A, in place: rescaled, and the offset lo rowsum(W) added."""
        return self.converter.scale(y).add_(self.offset)

    def __call__(self, x: Tensor) -> Tensor:
        """[rows, in] -> [rows, out]; overwrites x by its codes."""
        return self.finish(self.accumulate(x))


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
            noise = RowNoise(weight, hardware)
        else:
            noise = planes = PlaneNoise(weight, hardware, draw_key(generator))
            if hardware.offset == "last_plane" and not self.clean_offset:
                offset_weight = weight + planes.fluctuations[-1]
        return AnalogProduct(converter, noise, (converter.low * offset_weight).sum(1), generator)

    def _calibrate(self, low: Tensor, high: Tensor) -> None:
        first = torch.isnan(self.low)
        self.low.copy_(torch.where(first, low, torch.lerp(self.low, low, RANGE_MOMENTUM)))
        self.high.copy_(torch.where(first, high, torch.lerp(self.high, high, RANGE_MOMENTUM)))
