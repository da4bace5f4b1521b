"""Hardware: what lies between a digital vector and its digital product with a crossbar; presets by device family."""

from numbers import Integral
from typing import Any, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from rgnn.base.choices import (
    AdcCalibration,
    Compensation,
    InputRange,
    NoiseReference,
    NoiseSharing,
    Offset,
    OutputRange,
    RetentionTime,
    Rounding,
)
from rgnn.base.errors import InputError
from rgnn.base.settings import Must, Number, Settings, Whole, require
from rgnn.chip.laws.change import ChangeLaw
from rgnn.chip.laws.read_noise import ReadNoiseLaw

MOST_NOISE = 2.0
# A weight is held in float32.
MOST_SLICED_BITS = 24

# What an error adds to the range of a field.
RELATIVE: dict[str, JsonValue] = {"remark": " (0.05 is 5% of its reference)"}
FRACTION: dict[str, JsonValue] = {"remark": ", a fraction of all cells"}
UNQUANTISED: dict[str, JsonValue] = {"remark": ", or null for unquantised input"}
IDEAL: dict[str, JsonValue] = {"remark": ", or null for an ideal ADC"}
GAIN: dict[str, JsonValue] = {"remark": " (0.02 is 2% from column to column)"}
STEPS: dict[str, JsonValue] = {"remark": " LSB, steps of the converter"}
OHM: dict[str, JsonValue] = {"remark": " ohm a segment, or null for ideal wires"}
WHOLE_WEIGHT: dict[str, JsonValue] = {"remark": ", or null for weights that are not sliced"}


class Hardware(Settings):
    """Converters, fluctuations and defects of the chip that a model runs on. None is ideal."""

    bits: Whole | None = Field(default=8, ge=1, le=16, json_schema_extra=UNQUANTISED)
    """Resolution of the input converters, bits; None drives the array with unquantised values."""
    rounding: Rounding = "nearest"
    """Rounding to an input code: "nearest", or "floor" as published, which is biased by half a step."""
    range: InputRange = "calibrated"
    """Range of the input converters: "calibrated" is followed in training and then fixed; "dynamic" is the minimum and
    maximum of each call, as published, so forces then depend on what shares the call."""
    noise: Number | None = Field(default=0.05, ge=0, le=MOST_NOISE, json_schema_extra=RELATIVE)
    """Standard deviation of a fluctuation of the conductances, relative to its reference. 0 is read as None."""
    noise_reference: NoiseReference = "weight"
    """What the noise is relative to: "weight" is |G+ - G-|, as published; "device" is G+ and G-, each for itself, which
    is what a cell does and far larger; "measured" is the deviation measured of each weight, and "law" that of both
    cells by `noise_law`, so that a noise of 1 is the chip as it is."""
    noise_law: ReadNoiseLaw | None = None
    """Read noise of a cell by its conductance, for the noise reference "law"; `rgnn chip fit` writes it."""
    noise_sharing: NoiseSharing = "read"
    """How often the noise is drawn: "read" for each product and bit plane; "product" once for all bit planes of a
    product; "plane" for each bit plane, but shared by all rows of a call, as published; "call" once a call; "chip" once
    and for all."""
    offset: Offset = "clean"
    """Weights of the term lo * rowsum(W): "clean", or those of the "last_plane" as published (there the second node
    matrix is clean)."""
    adc_bits: Whole | None = Field(default=None, ge=1, le=16, json_schema_extra=IDEAL)
    """Resolution of the output converters, bits: one conversion for each column, bit plane and tile. None is ideal."""
    adc_range: OutputRange = "calibrated"
    """Range of the output converters: "calibrated" is what training or a calibration has seen of each column, and
    values outside saturate; "full" is whatever the column's cells can give, and nothing saturates."""
    adc_gain: Number = Field(default=0.0, ge=0, le=1, json_schema_extra=GAIN)
    """Standard deviation of the gain of a column's output converter, relative to 1; drawn once for a chip."""
    adc_offset: Number = Field(default=0.0, ge=0, le=1000, json_schema_extra=STEPS)
    """Standard deviation of the offset of a column's output converter, LSB; drawn once for a chip."""
    adc_nonlinearity: Number = Field(default=0.0, ge=0, le=1000, json_schema_extra=STEPS)
    """Root mean square of the integral nonlinearity of a column's output converter, LSB; drawn once for a chip."""
    adc_calibration: AdcCalibration = "none"
    """What the digital side takes out of the codes: "none", or "linear", slope and intercept of each column as found
    with known sums."""
    stuck_on: Number = Field(default=0.0, ge=0, le=1, json_schema_extra=FRACTION)
    """Fraction of cells stuck at the largest conductance of their array."""
    stuck_off: Number = Field(default=0.0, ge=0, le=1, json_schema_extra=FRACTION)
    """Fraction of cells stuck at the smallest conductance of their array."""
    programming_noise: Number | None = Field(default=None, ge=0, le=MOST_NOISE, json_schema_extra=RELATIVE)
    """Standard deviation of a cell's conductance after programming, relative to its target. 0 is read as None. For
    synthetic chips only: a measured chip is already what it is."""
    programming_law: ChangeLaw | None = None
    """Miss of a cell's target by the target; a programming noise of 1 is then what was measured."""
    retention: RetentionTime | None = None
    """Time since programming; conductances are then redrawn from measured statistics, see `Retention`."""
    retention_law: ChangeLaw | None = None
    """Relaxation or bake of a technology by conductance, time and temperature; it acts where a time is given."""
    retention_time: Number | None = Field(default=None, gt=0, json_schema_extra={"remark": " s since programming"})
    """Time since programming for `retention_law`, s; a time that the law does not cover is refused."""
    retention_temperature: Number | None = Field(default=None, gt=-273.15, json_schema_extra={"remark": " Celsius"})
    """Temperature since programming for `retention_law`, Celsius."""
    wire_resistance: Number | None = Field(default=None, ge=0, le=1e6, json_schema_extra=OHM)
    """Resistance of the wire between two cells, in rows and in columns, ohm (IR drop); a tile is one array with two
    columns for each output. 0 is read as None."""
    compensation: Compensation = "none"
    """Digital gain that restores the weights best after retention and wires: "none", "global" (one for each array) or
    "column" (one for each output of an array)."""
    slow_noise: Number | None = Field(default=None, ge=0, le=MOST_NOISE, json_schema_extra=RELATIVE)
    """Standard deviation of fluctuations that last from one force call to the next (1/f noise), relative to
    `noise_reference`. 0 is read as None."""
    slow_noise_calls: tuple[Whole, Whole] = (1, 65536)
    """Shortest and longest time that they last, force calls."""
    slow_noise_exponent: Number = Field(default=1.0, ge=0.5, le=1.5)
    """Exponent a of their spectrum 1/f^a."""
    slices: Whole | None = Field(default=None, ge=1, le=16, json_schema_extra=WHOLE_WEIGHT)
    """Digits of a weight, each in a pair of cells of its own, shifted and added; None keeps the whole weight in one
    pair. For synthetic chips only: the weights of a measured one are in its cells already."""
    slice_bits: Whole = Field(default=2, ge=1, le=8)
    """Bits of such a digit."""
    tile: tuple[Whole, Whole] = (256, 256)
    """Inputs and outputs of one physical array. A larger matrix is cut, and partial sums pass their own converter."""
    chip: Whole = Field(default=0, ge=0)
    """Number of the draw of all that is frozen: stuck cells, programming, retention, errors of output converters,
    traps, frozen noise."""

    @field_validator("noise", "programming_noise", "wire_resistance", "slow_noise")
    @classmethod
    def _none_for_zero(cls, value: float | None) -> float | None:
        """None for 0, so that there is one way to say that nothing fluctuates."""
        return value or None

    @field_validator("tile", mode="before")
    @classmethod
    def _two_counts(cls, tile: Any) -> Any:
        if isinstance(tile, list | tuple) and (len(tile) != 2 or any(n < 1 for n in tile if isinstance(n, Integral))):
            raise Must("two counts, inputs and outputs of an array, such as [256, 256]")
        return tile

    @field_validator("slow_noise_calls")
    @classmethod
    def _shortest_and_longest(cls, calls: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= calls[0] < calls[1] <= 10**9:
            raise Must("two rising whole numbers from 1 to 1e9, such as [1, 65536]")
        return calls

    @model_validator(mode="after")
    def _refuse_what_excludes_itself(self) -> Self:
        stuck = self.stuck_on + self.stuck_off
        require(stuck <= 1, "stuck_on + stuck_off", stuck, "at most 1")
        bit_by_bit = self.noise is not None and self.noise_sharing in ("read", "plane")
        if self.bits is None and bit_by_bit:
            raise InputError(
                f"noise_sharing is '{self.noise_sharing}' but bits is null: unquantised input has no bit planes; "
                "give bits, or set noise_sharing to 'product', 'call' or 'chip'."
            )
        if self.bits is None and self.adc_bits is not None:
            raise InputError(
                f"adc_bits is {self.adc_bits} but bits is null: the converters read one bit plane at a time; give bits."
            )
        if self.adc_bits is not None and self.noise is not None and self.noise_sharing == "product":
            raise InputError(
                "noise_sharing 'product' draws once for all bit planes, but adc_bits converts each plane for itself; "
                "set noise_sharing to 'read', 'plane', 'call' or 'chip', or adc_bits to null."
            )
        if self.offset == "last_plane" and self.noise_sharing != "plane":
            raise InputError("offset 'last_plane' needs noise_sharing 'plane': no other noise has a last plane.")
        self._refuse_effects_alone()
        self._refuse_laws_alone()
        changed = self.retention is not None or self.retention_time is not None or self.wire_resistance is not None
        if self.compensation != "none" and not changed:
            raise InputError(
                f"compensation '{self.compensation}' needs retention or wire_resistance: there is nothing to "
                "compensate."
            )
        return self

    def _refuse_laws_alone(self) -> None:
        """Laws that are missing, and times that a law does not cover."""
        if self.noise_reference == "law" and self.noise_law is None and (self.noise or self.slow_noise):
            raise InputError(
                "noise_reference is 'law', but noise_law is missing; fit one with rgnn chip fit, or set "
                "noise_reference to 'weight'."
            )
        if self.programming_law is not None and self.programming_law.time is not None:
            raise InputError("programming_law has a time, so it is a law of relaxation; name it retention_law.")
        if self.retention_time is None:
            if self.retention_temperature is not None:
                raise InputError("retention_temperature needs retention_time: nothing happens without a time.")
            return
        if self.retention is not None:
            raise InputError("retention and retention_time say the same twice; leave one of them out.")
        if self.retention_law is None:
            raise InputError(
                "retention_time needs retention_law; fit one with rgnn chip fit, or set retention to '1 s', '1 day' or "
                "'2 days'."
            )
        self.retention_law.require_time(self.retention_time, self.retention_temperature)

    def _refuse_effects_alone(self) -> None:
        """What newer effects do not go together with."""
        errors = {name: getattr(self, name) for name in ("adc_gain", "adc_offset", "adc_nonlinearity")}
        wrong = [f"{name} is {value:g}" for name, value in errors.items() if value]
        if wrong and self.adc_bits is None:
            raise InputError(f"{wrong[0]} but adc_bits is null: there are no output converters; give adc_bits.")
        if self.adc_calibration != "none" and not wrong:
            raise InputError(
                f"adc_calibration '{self.adc_calibration}' needs adc_gain, adc_offset or adc_nonlinearity: there is "
                "nothing to calibrate."
            )
        if self.slices is None:
            return
        total = self.slices * self.slice_bits
        require(total <= MOST_SLICED_BITS, "slices * slice_bits", total, f"at most {MOST_SLICED_BITS}")
        if self.noise_reference == "measured" and (self.noise or self.slow_noise):
            raise InputError(
                "noise_reference is 'measured', but the cells of slices are not those that were measured; set "
                "noise_reference to 'weight' or 'device', or slices to null."
            )
        if self.adc_bits is not None and self.adc_range == "calibrated":
            raise InputError(
                "adc_range is 'calibrated', but a calibration follows the sums of whole weights and not those of "
                "slices; set adc_range to 'full', or slices to null."
            )

    @property
    def levels(self) -> int | None:
        """The largest input code, 2^n - 1."""
        return None if self.bits is None else 2**self.bits - 1

    @property
    def rows_are_independent(self) -> bool:
        """Whether the product of one row does not depend on the rows that are multiplied with it."""
        shared = self.noise is not None and self.noise_sharing in ("plane", "call")
        return self.range == "calibrated" and not shared

    @property
    def varies_between_reads(self) -> bool:
        """Whether a second pass over the same input gives another result."""
        return self.follows_calls or (self.noise is not None and self.noise_sharing != "chip")

    @property
    def follows_calls(self) -> bool:
        """Whether a pass depends on when it is made among others."""
        return self.slow_noise is not None

    @property
    def is_frozen_random(self) -> bool:
        """Whether another `chip` gives another result."""
        frozen = self.noise is not None and self.noise_sharing == "chip"
        drawn = self.stuck_on or self.stuck_off or self.programming_noise is not None or self.retention is not None
        drawn = drawn or self.retention_time is not None
        converters = self.adc_gain or self.adc_offset or self.adc_nonlinearity
        return frozen or bool(drawn or converters)

    @classmethod
    def published(cls) -> Self:
        """The settings of Xu et al. 2025: 8 bits, floor, dynamic ranges, 10% noise shared by all rows."""
        return cls(bits=8, rounding="floor", range="dynamic", noise=0.1, noise_sharing="plane", offset="last_plane")

    def ideal(self) -> Self:
        """The same converters (rounding, range) without quantisation, noise and defects."""
        return type(self)(rounding=self.rounding, range=self.range, bits=None, noise=None, tile=self.tile)

    def without_noise(self) -> Self:
        """The same, but nothing fluctuates from read to read."""
        return self.override(noise=None, slow_noise=None, offset="clean")

    def with_given(self, bits: int | None = None, noise: float | None = None) -> Self:
        """The same with the bits and the noise that are given; None leaves the model's own, noise 0 is none at all."""
        given = {"bits": bits, "noise": noise, "slow_noise": noise if noise == 0 else None}
        return self.override(**{name: value for name, value in given.items() if value is not None})

    def describe(self) -> str:
        """A few words for a table: '8 bits, 5% read noise'."""
        words = [*self._inputs_in_words(), self._noise_in_words()]
        if self.offset == "last_plane":
            words.append("offset of the last plane")
        if self.adc_bits is not None:
            words.append(f"{self.adc_bits}-bit ADC" + (" of full range" if self.adc_range == "full" else ""))
        words += self._converters_in_words()
        if self.slices is not None:
            words.append(f"{self.slices} slices of {self.slice_bits} bit{'s' if self.slice_bits > 1 else ''}")
        if self.stuck_on or self.stuck_off:
            words.append(f"{100 * self.stuck_on:g}% stuck on, {100 * self.stuck_off:g}% stuck off")
        if self.programming_noise is not None:
            share = f"{100 * self.programming_noise:g}%"
            by_law = "as measured" if self.programming_noise == 1 else f"{self.programming_noise:g} x measured"
            words.append(f"programming errors {by_law}" if self.programming_law else f"{share} programming noise")
        if self.retention is not None:
            words.append(f"after {self.retention}" + self._compensated())
        if self.retention_time is not None:
            words.append(self._retention_in_words())
        if self.wire_resistance is not None:
            compensated = self._compensated() if self.retention is None and self.retention_time is None else ""
            words.append(f"wires of {self.wire_resistance:g} ohm" + compensated)
        if self.slow_noise is not None:
            words.append(self._slow_noise_in_words())
        if self.tile != type(self).model_fields["tile"].default:
            words.append(f"tiles of {self.tile[0]} x {self.tile[1]}")
        if self.chip:
            words.append(f"chip {self.chip}")
        return ", ".join(words)

    def _inputs_in_words(self) -> list[str]:
        if self.bits is None:
            return ["unquantised"]
        rounded = " rounded down" if self.rounding == "floor" else ""
        words = [f"{self.bits} bit{'s' if self.bits > 1 else ''}{rounded}"]
        return [*words, "dynamic ranges"] if self.range == "dynamic" else words

    def _converters_in_words(self) -> list[str]:
        parts = [f"{100 * self.adc_gain:g}% gain"] if self.adc_gain else []
        parts += [f"{self.adc_offset:g} LSB offset"] if self.adc_offset else []
        parts += [f"{self.adc_nonlinearity:g} LSB nonlinearity"] if self.adc_nonlinearity else []
        calibrated = " (calibrated)" if self.adc_calibration == "linear" else ""
        return [f"ADC errors of {', '.join(parts)}{calibrated}"] if parts else []

    def _slow_noise_in_words(self) -> str:
        assert self.slow_noise is not None
        exponent = "" if self.slow_noise_exponent == 1 else f"^{self.slow_noise_exponent:g}"
        shortest, longest = self.slow_noise_calls
        span = "" if (shortest, longest) == (1, 65536) else f" of {shortest} to {longest} calls"
        reference = {"device": " of each cell", "measured": " x measured", "law": " x law"}.get(
            self.noise_reference, ""
        )
        return f"{100 * self.slow_noise:g}% 1/f{exponent} noise{reference}{span}"

    def _noise_in_words(self) -> str:
        if self.noise is None:
            return "no noise"
        if self.noise_reference == "measured":
            return f"{self.noise_sharing} noise " + ("as measured" if self.noise == 1 else f"{self.noise:g} x measured")
        if self.noise_reference == "law":
            return f"{self.noise_sharing} noise by " + ("a law" if self.noise == 1 else f"{self.noise:g} x a law")
        return f"{100 * self.noise:g}% {self.noise_sharing} noise" + (
            " of each cell" if self.noise_reference == "device" else ""
        )

    def _retention_in_words(self) -> str:
        heat = "" if self.retention_temperature is None else f" at {self.retention_temperature:g} C"
        return f"after {self.retention_time:g} s{heat}{self._compensated()}"

    def _compensated(self) -> str:
        return "" if self.compensation == "none" else f" ({self.compensation} compensation)"
