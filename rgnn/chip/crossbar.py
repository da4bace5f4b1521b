"""A matrix on the chip with its converters: what is fixed of it, and how a call of it begins."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rgnn.base.errors import InputError
from rgnn.base.rng import Key, draw_key
from rgnn.chip.adc_errors import AdcErrors
from rgnn.chip.cells import Cells
from rgnn.chip.converters import Adc, Converter, Counts
from rgnn.chip.effects import effects, programmed
from rgnn.chip.hardware import Hardware
from rgnn.chip.noise import Noise, NoNoise, PlaneNoise, RowNoise, fluctuations
from rgnn.chip.product import AnalogProduct, ConvertedPlanes, Gradient
from rgnn.chip.slices import ConvertedSlices, joined
from rgnn.chip.slow import Moment, Traps

# Share of the way that a calibrated range moves to the extremes of each training batch.
RANGE_MOMENTUM = 0.05
# The same for the range of the output converters, but only inwards: they widen at once.
ADC_MOMENTUM = 0.01
# Programmed forms of a crossbar that are kept, the newest ones.
KEPT = 4


class Crossbar(nn.Module):
    """One matrix on the chip with its converters.

    Attributes:
        weight: [out, in] buffer, fixed: G+ - G- in the model's units.
        pair, read_deviation, siemens: what else is known of the cells, see `Cells`; absent where it is not.
        low, high: the calibrated input range; NaN until a training batch has been seen.
        adc_low, adc_high: [out] the calibrated range of the output converters; NaN until something was converted,
            and absent in models without them.
        place: (layer, matrix) of the array in its model.
        member: number of that model in a committee, whose members have different chips.
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
        self.clean_offset, self.place, self.member = clean_offset, place, 0
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
        self._traps: dict[Any, Traps] = {}

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
        if not applied and hardware.slices is None:
            return self.cells
        w = self.weight
        key = (*applied, hardware.slices, hardware.slice_bits, hardware.chip, w._version, w.device, w.dtype)
        if key not in self._programmed:
            newest = list(self._programmed.items())[1 - KEPT :]
            found = programmed(self.cells, hardware, self._own_place, noisy=noisy)
            self._programmed = {**dict(newest), key: found}
        return self._programmed[key]

    @property
    def _own_place(self) -> tuple[Key, ...]:
        """What keeps the draws of this array apart from those of all others."""
        return self.place if not self.member else (*self.place, self.member)

    def fluctuated(self, cells: Cells, hardware: Hardware, moment: Moment, place: tuple[Key, ...]) -> Cells:
        """The cells as their slow fluctuations have them at a moment; `place` keeps arrays apart."""
        if cells.slices:
            arrays = enumerate(cells.slices)
            return joined(
                [
                    replace(array, cells=self.fluctuated(array.cells, hardware, moment, (*place, "slice", s)))
                    for s, array in arrays
                ]
            )
        assert hardware.slow_noise is not None
        key = hardware.chip, hardware.slow_noise_calls, hardware.slow_noise_exponent, place
        if key not in self._traps:
            self._traps = {k: traps for k, traps in self._traps.items() if k[:3] == key[:3]}
            self._traps[key] = Traps.of(hardware, cells.weight.numel(), place)
        change = self._traps[key].at(moment).view(cells.weight.shape).to(cells.weight)
        reference = cells.reference(hardware.noise_reference, hardware.noise_law)
        return replace(cells, weight=cells.weight + hardware.slow_noise * reference * change)

    def follows(self, hardware: Hardware) -> bool:
        """Whether a call needs to know the minimum and maximum of its inputs."""
        return hardware.range == "dynamic" or self.training or self.follows_inputs

    def begin(
        self,
        hardware: Hardware,
        generator: torch.Generator | None,
        seen: tuple[Tensor, Tensor] | None = None,
        counts: Counts | None = None,
        gradient: Gradient = "blocked",
        moment: Moment | None = None,
    ) -> AnalogProduct:
        """Start a call.

        Args:
            hardware: converters and noise.
            generator: stream of this call's fluctuations; None reads the array without noise.
            seen: minimum and maximum of the inputs, where `follows` asks for them: a dynamic range takes
                them as they are, a calibrated one follows them in training, from the next call on.
            counts: where to count what lies outside the ranges; counting takes time.
            gradient: what training sees of the product.
            moment: when the array is read, for what fluctuates slowly; None reads it without slow fluctuations.

        Raises:
            InputError: a range was never calibrated, or the hardware asks for what is not known of the cells.
        """
        low, high = self._range(hardware, seen)
        if hardware.levels is not None and torch.isnan(low):
            raise InputError("the model has no calibrated input ranges; train it, or set range to 'dynamic'.")
        cells = self.programmed(hardware, noisy=generator is not None)
        offset_weight, converter = cells.weight, Converter(hardware, low, high)
        if moment is not None and hardware.slow_noise is not None:
            cells = self.fluctuated(cells, hardware, moment, self._own_place)
        if cells.slices and hardware.adc_bits is not None:
            noise: Noise
            noise, shared = self._converted_slices(cells, hardware, generator, counts)
        else:
            noise = self._noise(cells, hardware, generator)
            shared = None if noise.fluctuations is None else noise.fluctuations[-1]
            if hardware.adc_bits is not None:
                noise = self._converted(noise, cells, hardware, counts, self._own_place)
        if shared is not None and hardware.offset == "last_plane" and not self.clean_offset:
            offset_weight = offset_weight + shared
        offset = (converter.low * offset_weight).sum(1)
        return AnalogProduct(converter, noise, offset, generator, counts, gradient)

    def _noise(self, cells: Cells, hardware: Hardware, generator: torch.Generator | None) -> Noise:
        if generator is None or hardware.noise is None or hardware.noise_sharing == "chip":
            return NoNoise(cells.weight)
        if hardware.noise_sharing == "plane":
            return PlaneNoise(cells, hardware, draw_key(generator))
        if hardware.noise_sharing == "call":
            return NoNoise(cells.weight + fluctuations(cells, hardware, draw_key(generator), 1)[0])
        return RowNoise(cells, hardware)

    def _converted_slices(
        self, cells: Cells, hardware: Hardware, generator: torch.Generator | None, counts: Counts | None
    ) -> tuple[ConvertedSlices, Tensor | None]:
        """Arrays that are read and converted apart, and what all rows see in the last plane, where they share it."""
        found, shared = list[tuple[float, Noise]](), list[Tensor]()
        for s, array in enumerate(cells.slices):
            noise = self._noise(array.cells, hardware, generator)
            if noise.fluctuations is not None:
                shared.append(array.factor * noise.fluctuations[-1])
            place = (*self._own_place, "slice", s)
            found.append((array.factor, self._converted(noise, array.cells, hardware, counts, place)))
        return ConvertedSlices(found, cells.weight), torch.stack(shared).sum(0) if shared else None

    def _converted(
        self, noise: Noise, cells: Cells, hardware: Hardware, counts: Counts | None, place: tuple[Key, ...]
    ) -> ConvertedPlanes:
        assert hardware.bits is not None and hardware.adc_bits is not None
        errors = AdcErrors.of(hardware, cells.weight, place)
        if hardware.adc_range == "full":
            low, high = cells.weight.clamp_max(0).sum(1), cells.weight.clamp_min(0).sum(1)
            adc = Adc(hardware.adc_bits, low, high, errors)
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
        calibrated = Adc(hardware.adc_bits, self.adc_low, self.adc_high, errors) if is_set else None
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
