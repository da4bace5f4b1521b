"""Hardware: what lies between a digital vector and its digital product with a crossbar; presets by device family."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, Self

from rgnn.base.errors import InputError
from rgnn.base.settings import Settings, require

MOST_NOISE = 2.0


@dataclass(frozen=True)
class Hardware(Settings):
    """Converters, fluctuations and defects of the chip that a model runs on. None is ideal.

    Attributes:
        bits: input bits n, 1 to 16; None drives the array with unquantised values.
        rounding: "nearest", or "floor" as published (biased by half a step).
        range: "calibrated" (followed in training, then fixed) or "dynamic" (minimum and maximum of
            each call, as published; forces then depend on what shares the call).
        noise: standard deviation of a fluctuation of the conductances, relative to its reference.
        noise_reference: "weight": to |G+ - G-|, as published; "device": to G+ and to G-, each for itself, which
            is what a cell does and far larger; "measured": to the deviation that was measured of each
            weight, so that 1 is the chip as it is.
        noise_sharing: "read": new for each product and bit plane; "product": one draw for all bit
            planes of a product; "plane": new for each bit plane but shared by all rows of a call,
            as published; "call": one draw a call; "chip": frozen.
        offset: the term lo * rowsum(W) from the "clean" weights, or from the weights of the
            "last_plane" as published (there the second node matrix is clean).
        adc_bits: resolution of the output converters, one conversion for each column, bit plane and tile.
        adc_range: "calibrated" (what training or a calibration has seen of each column; values outside
            saturate) or "full" (whatever the column's cells can give; nothing saturates).
        stuck_on, stuck_off: fraction of cells at the largest and at the smallest conductance of their array.
        programming_noise: standard deviation of a cell's conductance after programming, relative to what it was
            meant to be. For synthetic chips only: a measured chip is already what it is.
        retention: time since programming; conductances are then redrawn from measured statistics, see `Retention`.
        compensation: of retention: "none", or the digital gain that restores the weights best: "global"
            (one for each array) or "column" (one for each of its outputs).
        tile: inputs and outputs of one physical array. A larger matrix is cut; partial sums pass their own converter.
        chip: number of the draw of all that is frozen: stuck cells, programming, retention, frozen noise.
    """

    bits: int | None = 8
    rounding: Literal["nearest", "floor"] = "nearest"
    range: Literal["calibrated", "dynamic"] = "calibrated"
    noise: float | None = 0.05
    noise_reference: Literal["weight", "device", "measured"] = "weight"
    noise_sharing: Literal["read", "product", "plane", "call", "chip"] = "read"
    offset: Literal["clean", "last_plane"] = "clean"
    adc_bits: int | None = None
    adc_range: Literal["calibrated", "full"] = "calibrated"
    stuck_on: float = 0.0
    stuck_off: float = 0.0
    programming_noise: float | None = None
    retention: Literal["1 s", "1 day", "2 days"] | None = None
    compensation: Literal["none", "global", "column"] = "none"
    tile: tuple[int, int] = (256, 256)
    chip: int = 0

    def __post_init__(self) -> None:
        if self.bits is not None:
            require(1 <= self.bits <= 16, "bits", self.bits, "between 1 and 16, or null for unquantised input")
        if self.adc_bits is not None:
            require(1 <= self.adc_bits <= 16, "adc_bits", self.adc_bits, "between 1 and 16, or null for an ideal ADC")
        for name in ("noise", "programming_noise"):
            self._check_deviation(name)
        for name in ("stuck_on", "stuck_off"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a fraction between 0 and 1")
        require(
            self.stuck_on + self.stuck_off <= 1, "stuck_on + stuck_off", self.stuck_on + self.stuck_off, "at most 1"
        )
        tile_is_good = len(self.tile) == 2 and min(self.tile) >= 1
        require(tile_is_good, "tile", self.tile, "two counts, inputs and outputs of an array, such as [256, 256]")
        require(self.chip >= 0, "chip", self.chip, "0 or more")
        self._refuse_what_excludes_itself()

    def _check_deviation(self, name: str) -> None:
        value = getattr(self, name)
        if value is None:
            return
        good = math.isfinite(value) and 0 <= value <= MOST_NOISE
        require(good, name, value, f"between 0 and {MOST_NOISE:g} (0.05 is 5% of its reference)")
        if value == 0:
            object.__setattr__(self, name, None)

    def _refuse_what_excludes_itself(self) -> None:
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
        if self.compensation != "none" and self.retention is None:
            raise InputError(f"compensation '{self.compensation}' needs retention: there is nothing to compensate.")

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
        return self.noise is not None and self.noise_sharing != "chip"

    @property
    def is_frozen_random(self) -> bool:
        """Whether another `chip` gives another result."""
        frozen = self.noise is not None and self.noise_sharing == "chip"
        drawn = self.stuck_on or self.stuck_off or self.programming_noise is not None or self.retention is not None
        return frozen or bool(drawn)

    @classmethod
    def published(cls) -> Self:
        """The settings of Xu et al. 2025: 8 bits, floor, dynamic ranges, 10% noise shared by all rows."""
        return cls(8, "floor", "dynamic", 0.1, noise_sharing="plane", offset="last_plane")

    def ideal(self) -> Self:
        """The same converters (rounding, range) without quantisation, noise and defects."""
        return type(self)(rounding=self.rounding, range=self.range, bits=None, noise=None, tile=self.tile)

    def without_noise(self) -> Self:
        """The same, but nothing fluctuates from read to read."""
        return dataclasses.replace(self, noise=None, offset="clean")

    def varied(self, bits: int | None = None, noise: float | None = None) -> Self:
        """A copy with bits and noise changed where they are given; noise 0 switches noise off."""
        return self.replace(bits=bits, noise=noise)

    def describe(self) -> str:
        """A few words for a table: '8 bits, 5% read noise'."""
        words = ["unquantised" if self.bits is None else f"{self.bits} bit{'s' if self.bits > 1 else ''}"]
        words.append(self._noise_in_words())
        if self.adc_bits is not None:
            words.append(f"{self.adc_bits}-bit ADC" + (" of full range" if self.adc_range == "full" else ""))
        if self.stuck_on or self.stuck_off:
            words.append(f"{100 * self.stuck_on:g}% stuck on, {100 * self.stuck_off:g}% stuck off")
        if self.programming_noise is not None:
            words.append(f"{100 * self.programming_noise:g}% programming noise")
        if self.retention is not None:
            words.append(f"after {self.retention}" + self._compensated())
        return ", ".join(words)

    def _noise_in_words(self) -> str:
        if self.noise is None:
            return "no noise"
        if self.noise_reference == "measured":
            return f"{self.noise_sharing} noise " + ("as measured" if self.noise == 1 else f"{self.noise:g} x measured")
        return f"{100 * self.noise:g}% {self.noise_sharing} noise" + (
            " of each cell" if self.noise_reference == "device" else ""
        )

    def _compensated(self) -> str:
        return "" if self.compensation == "none" else f" ({self.compensation} compensation)"
