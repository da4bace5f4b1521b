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
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rgnn.cells import Cells, after, effects
from rgnn.errors import InputError
from rgnn.hardware import Hardware
from rgnn.streams import draw_key, normal

# Share of the way that a calibrated range moves to the extremes of each training batch.
RANGE_MOMENTUM = 0.05
# The same for the range of the output converters, but only inwards: they widen at once.
ADC_MOMENTUM = 0.01


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


class Crossbar(nn.Module):
    """One matrix on the chip with its converters.

    Attributes:
        weight: [out, in] buffer, fixed: G+ - G- in the model's units.
        pair, read_deviation, siemens: what else is known of the cells, see `Cells`; absent where it is not.
        low, high: the calibrated input range; NaN until a training batch has been seen.
        adc_low, adc_high: [out] the calibrated range of the output converters; NaN until something was converted,
            and absent in models without them.
        place: (layer, matrix) of the array in its model.
        clean_offset: the offset takes the clean weights even where the hardware says otherwise.
        follows_inputs, follows_outputs: outside of training too, ranges widen to what they see; see `calibrate`.
    """

    weight: Tensor
    pair: Tensor | None
    read_deviation: Tensor | None
    siemens: Tensor | None
    low: Tensor
    high: Tensor
    adc_low: Tensor | None
    adc_high: Tensor | None

    def __init__(self, cells: Cells | Tensor, clean_offset: bool = False, place: tuple[int, int] = (0, 0)) -> None:
        super().__init__()
        cells = cells if isinstance(cells, Cells) else Cells(cells)
        self.clean_offset, self.place = clean_offset, place
        self.follows_inputs = self.follows_outputs = False
        self.register_buffer("weight", cells.weight.clone())
        for name in ("pair", "read_deviation"):
            known = getattr(cells, name)
            self.register_buffer(name, None if known is None else known.clone())
        self.register_buffer("siemens", None if cells.siemens is None else torch.tensor(cells.siemens))
        self.register_buffer("low", torch.tensor(torch.nan))
        self.register_buffer("high", torch.tensor(torch.nan))
        self.register_buffer("adc_low", None)
        self.register_buffer("adc_high", None)
        self._programmed: dict[Any, Cells] = {}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        for name in ("pair", "read_deviation", "siemens", "adc_low", "adc_high"):  # some models have them
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.weight.device))
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def expect_output_converters(self) -> None:
        """Make room for their ranges."""
        if self.adc_low is None:
            self.adc_low, self.adc_high = (torch.full_like(self.weight[:, 0], torch.nan) for _ in range(2))

    @property
    def cells(self) -> Cells:
        """The cells as they were measured or made."""
        return Cells(self.weight, self.pair, self.read_deviation, self.siemens)

    def programmed(self, hardware: Hardware, *, noisy: bool) -> Cells:
        """The cells after all that happens to them once on this hardware; `noisy` includes frozen noise."""
        applied = effects(hardware, noisy=noisy)
        if not applied:
            return self.cells
        key = (*applied, hardware.chip, self.weight._version, self.weight.device, self.weight.dtype)
        if key not in self._programmed:
            self._programmed = {key: after(self.cells, applied, hardware.chip, self.place)}  # the last one is enough
        return self._programmed[key]

    def follows(self, hardware: Hardware) -> bool:
        """Whether a call needs to know the minimum and maximum of its inputs."""
        return hardware.range == "dynamic" or self.training or self.follows_inputs

    def begin(
        self,
        hardware: Hardware,
        generator: torch.Generator | None,
        seen: tuple[Tensor, Tensor] | None = None,
        counts: Counts | None = None,
    ) -> AnalogProduct:
        """Start a call.

        Args:
            hardware: converters and noise.
            generator: stream of this call's fluctuations; None reads the array without noise.
            seen: minimum and maximum of the inputs, where `follows` asks for them: a dynamic range takes
                them as they are, a calibrated one follows them in training, from the next call on.
            counts: where to count what lies outside the ranges; counting takes time.

        Raises:
            InputError: a range was never calibrated, or the hardware asks for what is not known of the cells.
        """
        low, high = self._range(hardware, seen)
        if hardware.levels is not None and torch.isnan(low):
            raise InputError("the model has no calibrated input ranges; train it, or set range to 'dynamic'.")
        cells = self.programmed(hardware, noisy=generator is not None)
        converter, noise = Converter(hardware, low, high), self._noise(cells, hardware, generator)
        offset_weight = cells.weight
        if isinstance(noise, PlaneNoise) and hardware.offset == "last_plane" and not self.clean_offset:
            offset_weight = cells.weight + noise.fluctuations[-1]
        offset = (converter.low * offset_weight).sum(1)
        if hardware.adc_bits is None:
            return AnalogProduct(converter, noise, offset, generator, counts)
        return AnalogProduct(converter, self._converted(noise, cells, hardware, counts), offset, generator, counts)

    def _noise(
        self, cells: Cells, hardware: Hardware, generator: torch.Generator | None
    ) -> NoNoise | RowNoise | PlaneNoise:
        if generator is None or hardware.noise is None or hardware.noise_sharing == "chip":
            return NoNoise(cells.weight)
        if hardware.noise_sharing == "plane":
            return PlaneNoise(cells, hardware, draw_key(generator))
        if hardware.noise_sharing == "call":
            return NoNoise(cells.weight + fluctuations(cells, hardware, draw_key(generator), 1)[0])
        return RowNoise(cells, hardware)

    def _converted(
        self, noise: NoNoise | RowNoise | PlaneNoise, cells: Cells, hardware: Hardware, counts: Counts | None
    ) -> ConvertedPlanes:
        assert hardware.bits is not None and hardware.adc_bits is not None
        if hardware.adc_range == "full":
            low, high = cells.weight.clamp_max(0).sum(1), cells.weight.clamp_min(0).sum(1)
            adc = Adc(hardware.adc_bits, low, high)
            return ConvertedPlanes(noise, hardware.bits, hardware.tile[0], adc, None, counts)
        follows = self.training or self.follows_outputs
        if follows:
            self.expect_output_converters()
        if self.adc_low is None or self.adc_high is None or (torch.isnan(self.adc_low).any() and not follows):
            raise InputError(
                "the output converters of this model were never calibrated; train it with adc_bits, calibrate it, "
                "or set adc_range to 'full'."
            )
        # A range that nothing has set yet cannot convert: the first sums only set it.
        is_set = not torch.isnan(self.adc_low).any()
        calibrated = Adc(hardware.adc_bits, self.adc_low, self.adc_high) if is_set else None
        observe = self._observe if follows else None
        return ConvertedPlanes(noise, hardware.bits, hardware.tile[0], calibrated, observe, counts)

    def _range(self, hardware: Hardware, seen: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """That of a call. In training it is that of before the call, so that all parts of a batch have the same."""
        if seen is None:
            return self.low, self.high
        if hardware.range == "dynamic":
            return seen
        before = self.low.clone(), self.high.clone()
        self._calibrate(*seen)
        return (self.low, self.high) if torch.isnan(before[0]) or not self.training else before

    def _calibrate(self, low: Tensor, high: Tensor) -> None:
        if not self.training:  # the whole span of all that it is shown
            self.low.copy_(torch.fmin(self.low, low))
            self.high.copy_(torch.fmax(self.high, high))
            return
        first = torch.isnan(self.low)
        self.low.copy_(torch.where(first, low, torch.lerp(self.low, low, RANGE_MOMENTUM)))
        self.high.copy_(torch.where(first, high, torch.lerp(self.high, high, RANGE_MOMENTUM)))

    def _observe(self, y: Tensor) -> None:
        low, high = y.amin(0), y.amax(0)
        pace = ADC_MOMENTUM if self.training else 0.0
        assert self.adc_low is not None and self.adc_high is not None
        self.adc_low.copy_(torch.fmin(low, torch.lerp(self.adc_low, low, pace)))
        self.adc_high.copy_(torch.fmax(high, torch.lerp(self.adc_high, high, pace)))
