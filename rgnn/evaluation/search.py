"""The cheapest hardware on which a model's error stays near that on the ideal chip."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rgnn.base.errors import InputError
from rgnn.base.estimate import Estimate
from rgnn.chip.hardware import Hardware
from rgnn.evaluation.errors import HardwareErrors
from rgnn.evaluation.frame_errors import plain
from rgnn.evaluation.intervals import Sample
from rgnn.evaluation.run import evaluate_hardware
from rgnn.graphs.graph import LabelledFrames
from rgnn.models.base import ForceField

# What is tried of each setting, the cheapest first. Noise is bracketed by these, then halved between.
COUNTS = {"bits": tuple(range(1, 13)), "adc_bits": tuple(range(2, 15))}
NOISES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
HALVINGS = 3


@dataclass(frozen=True)
class Found:
    """A combination of counts, and what it bears.

    Attributes:
        hardware: with the most noise that keeps the error within the limit, where noise was searched.
        ratio: its error over the ideal chip's, with a 95% interval of the pairs.
        error: its relative force error.
    """

    hardware: Hardware
    ratio: Estimate
    error: Estimate


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        ideal: on the ideal chip.
        limit: largest ratio that was allowed.
        found: every combination that keeps within it, the cheapest first.
        tried: settings that were evaluated.
    """

    ideal: HardwareErrors
    limit: float
    found: tuple[Found, ...]
    tried: int

    def to_mapping(self) -> dict[str, Any]:
        """All of it as plain numbers."""
        return {
            "ideal": self.ideal.relative_error().value,
            "tried": self.tried,
            "found": [
                {"hardware": f.hardware.to_mapping(), "error": _plain(f.error), "ratio": _plain(f.ratio)}
                for f in self.found
            ],
        }


def search(
    model: ForceField,
    frames: LabelledFrames,
    indices: Sequence[int],
    base: Hardware,
    names: Sequence[str],
    within: float,
    repeats: int = 5,
    chips: int = 1,
    seed: int = 0,
    progress: Callable[[Hardware], None] = lambda hardware: None,
    sample: Sample | None = None,
) -> Search:
    """Search among the settings named ("bits", "adc_bits", "noise"); all else is as in `base`.

    An error is within the limit where its ratio to the ideal chip's is at most 1 + `within`. Fewer input bits are
    cheaper than fewer output bits (each is a read of every array), and both than more noise. Of a count that
    suffices, larger ones are not tried unless noise is searched too.

    Raises:
        InputError: another name.
    """
    unknown = [name for name in names if name not in (*COUNTS, "noise")]
    if unknown or not names:
        raise InputError(f"cannot search for '{', '.join(unknown)}'; search for {', '.join(COUNTS)} or noise.")
    tries = _Tries(model, frames, indices, repeats, chips, seed, 1 + within, progress, sample)
    counted = [name for name in COUNTS if name in names]
    found: list[Found] = []
    enough: list[tuple[int, ...]] = []
    borne: dict[tuple[int, ...], list[float]] = {}  # by all counts but the last, which rises first
    ended: set[tuple[int, ...]] = set()
    for values in itertools.product(*(COUNTS[name] for name in counted)):
        first = values[:-1]
        if first in ended:
            continue
        if first not in borne and _bears_no_more([max(noises) for noises in borne.values()]):
            break
        if any(all(v >= e for v, e in zip(values, known, strict=True)) for known in enough) and "noise" not in names:
            continue  # no cheaper than what is known to do
        start = base.override(**dict(zip(counted, values, strict=True)))
        best = tries.most_noise(start) if "noise" in names else tries.good(start)
        if best is not None:
            found.append(best)
            enough.append(values)
            if "noise" in names:
                borne.setdefault(first, []).append(best.hardware.noise or 0.0)
                if _bears_no_more(borne[first]):
                    ended.add(first)
    return Search(tries.ideal, 1 + within, tuple(found), tries.count)


def _plain(e: Estimate) -> dict[str, float | None]:
    return {"value": plain(e.value), "low": plain(e.low), "high": plain(e.high)}


def _bears_no_more(noises: Sequence[float]) -> bool:
    """Whether the last of some hardware with ever more bits bears no more noise than the one before."""
    return len(noises) > 1 and noises[-1] <= 1.02 * noises[-2]


class _Tries:
    """Evaluates settings, and counts them."""

    def __init__(
        self, model: ForceField, frames: LabelledFrames, indices: Sequence[int], repeats: int, chips: int, seed: int,
        limit: float, progress: Callable[[Hardware], None], sample: Sample | None,
    ) -> None:  # fmt: skip
        self.limit, self.progress, self.count = limit, progress, 0
        self._evaluate = lambda h: evaluate_hardware(model, frames, indices, [h], repeats, chips, seed, sample=sample)[
            0
        ]
        self.ideal = self._evaluate(model.hardware.ideal())

    def good(self, hardware: Hardware) -> Found | None:
        """The setting, where its error is within the limit."""
        self.progress(hardware)
        self.count += 1
        setting = self._evaluate(hardware)
        ratio = setting.ratio_to(self.ideal)
        return Found(hardware, ratio, setting.relative_error()) if ratio.value <= self.limit else None

    def most_noise(self, hardware: Hardware) -> Found | None:
        """With the most noise that is within the limit; None where not even none is."""
        best = self.good(hardware.without_noise())
        if best is None:
            return None
        low, high = 0.0, None
        for noise in NOISES:
            found = self.good(hardware.override(noise=noise))
            if found is None:
                high = noise
                break
            best, low = found, noise
        for _ in range(HALVINGS if high is not None else 0):
            middle = (low + (high or low)) / 2
            found = self.good(hardware.override(noise=middle))
            if found is None:
                high = middle
            else:
                best, low = found, middle
        return best
