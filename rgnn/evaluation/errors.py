"""Force errors: sums over components, from which every measure follows, and what repeats of them tell.

Intervals come from frames, repeats and chips drawn with replacement (bootstrap; Efron & Tibshirani 1993).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rgnn.base.estimate import Estimate
from rgnn.base.rng import numpy_stream
from rgnn.chip.hardware import Hardware

BOOTSTRAP_DRAWS = 1000
TERMS = 11


@dataclass(frozen=True)
class ErrorSums:
    """Sums over force components: [..., 11] of n, |d|, d^2, |F|, F, F^2, P, P^2, F P with d = P - F, atoms, angles.

    P is predicted, F the label, in eV/Angstrom; angles between the two in radians, of atoms where both are above zero.
    """

    sums: np.ndarray

    @classmethod
    def of(cls, predicted: np.ndarray, label: np.ndarray) -> "ErrorSums":
        """From forces [n, 3]."""
        p, f = predicted.astype(np.float64), label.astype(np.float64)
        d = p - f
        terms = (np.ones_like(f), abs(d), d * d, abs(f), f, f * f, p, p * p, f * p)
        lengths = np.linalg.norm(p, axis=-1) * np.linalg.norm(f, axis=-1)
        some = lengths > 0
        angles = np.arccos(np.clip((p * f).sum(-1)[some] / lengths[some], -1, 1))
        return cls(np.array([*(t.sum() for t in terms), some.sum(), angles.sum()]))

    @property
    def relative_error(self) -> np.ndarray:
        """Sum |dF| / sum |F|, the published measure; NaN where all forces are zero."""
        return _ratio(self.sums[..., 1], self.sums[..., 3])

    @property
    def mae(self) -> np.ndarray:
        """Mean absolute error of a component, eV/Angstrom."""
        return _ratio(self.sums[..., 1], self.sums[..., 0])

    @property
    def rmse(self) -> np.ndarray:
        """Root mean square error of a component, eV/Angstrom."""
        return np.sqrt(_ratio(self.sums[..., 2], self.sums[..., 0]))

    @property
    def mean_force(self) -> np.ndarray:
        """Mean |F| of a component of the labels, eV/Angstrom."""
        return _ratio(self.sums[..., 3], self.sums[..., 0])

    @property
    def angle(self) -> np.ndarray:
        """Mean angle between predicted and labelled force of an atom, degrees."""
        return np.degrees(_ratio(self.sums[..., 10], self.sums[..., 9]))

    @property
    def correlation(self) -> np.ndarray:
        """Pearson correlation of predicted and labelled components."""
        n, _, _, _, f, ff, p, pp, fp, _, _ = np.moveaxis(self.sums, -1, 0)
        return _ratio(n * fp - f * p, np.sqrt((n * ff - f * f) * (n * pp - p * p)))


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A / b; NaN where b is not above zero."""
    return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) > 0)


@dataclass(frozen=True)
class ErrorSpread:
    """Standard deviations of sum|dF| / sum|F| apart: between reads of one chip, and between chips (nested)."""

    read: float | None
    chip: float | None


@dataclass(frozen=True)
class HardwareErrors:
    """The errors of one hardware setting.

    Attributes:
        hardware: the setting.
        elements: atomic numbers along the fourth axis.
        sums: [chips, repeats, frames, elements, 11], one entry for each draw of what is frozen on a chip, for
            each draw of the noise, frame and element.
    """

    hardware: Hardware
    elements: tuple[int, ...]
    sums: np.ndarray

    def errors(self, element: int | None = None, frames: Sequence[int] | np.ndarray | None = None) -> ErrorSums:
        """Pooled over chips, repeats and frames, of one element or of all."""
        sums = self.sums if frames is None else self.sums[:, :, frames]
        return ErrorSums(sums[..., self._columns(element), :].sum(axis=(0, 1, 2, 3)))

    def relative_error(self, element: int | None = None, seed: int = 0) -> Estimate:
        """sum|dF|/sum|F| with a 95% bootstrap interval over frames, repeats and chips."""
        sums = self.sums[..., self._columns(element), :].sum(axis=(0, 1, 2, 3))
        drawn = self._drawn(element, seed)
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Estimate(float(ErrorSums(sums).relative_error), float(low), float(high))

    def ratio_to(self, other: "HardwareErrors", seed: int = 0) -> Estimate:
        """Error over that of another setting on the same frames, drawn together: most of the frames' part cancels."""
        ratio = _ratio(self._drawn(None, seed), other._drawn(None, seed))
        low, high = np.quantile(ratio, [0.025, 0.975])
        value = self.errors().relative_error / other.errors().relative_error
        return Estimate(float(value), float(low), float(high))

    def _drawn(self, element: int | None, seed: int) -> np.ndarray:
        """Relative errors of frames, repeats and chips drawn with replacement; the same frames for the same seed."""
        sums = self.sums[..., self._columns(element), :].sum(axis=3)[..., [1, 3]]
        chips, repeats, frames, _ = sums.shape
        by_frame = _times_drawn(numpy_stream(seed, "bootstrap", "frames"), BOOTSTRAP_DRAWS, frames)
        rng = numpy_stream(seed, "bootstrap", "chips and repeats")
        by_chip = _times_drawn(rng, BOOTSTRAP_DRAWS, chips)
        by_repeat = _times_drawn(rng, BOOTSTRAP_DRAWS * chips, repeats).reshape(-1, chips, repeats)
        drawn = np.einsum("bc,bcr,bf,crfk->bk", by_chip, by_repeat, by_frame, sums, optimize=True)
        return _ratio(drawn[:, 0], drawn[:, 1])

    @property
    def spread(self) -> ErrorSpread:
        """How far the error of all frames together differs from draw to draw."""
        each = ErrorSums(self.sums.sum(axis=(2, 3))).relative_error  # [chips, repeats]
        chips, repeats = each.shape
        read = float(each.var(axis=1, ddof=1).mean()) if repeats > 1 else None
        if chips < 2:
            return ErrorSpread(None if read is None else read**0.5, None)
        between = float(each.mean(axis=1).var(ddof=1)) - (read or 0.0) / repeats
        return ErrorSpread(None if read is None else read**0.5, max(0.0, between) ** 0.5)

    def _columns(self, element: int | None) -> slice | list[int]:
        return slice(None) if element is None else [self.elements.index(element)]

    def to_mapping(self, groups: Mapping[str, Sequence[int]] | None = None) -> dict[str, Any]:
        """All measures as plain numbers with units in the keys, None where one has no meaning.

        Args:
            groups: name of a group of frames -> their positions; each is measured for itself.
        """

        def measures(e: ErrorSums) -> dict[str, float | None]:
            return {f"{name}{unit}": _plain(getattr(e, name)) for name, unit in MEASURES.items()}

        def with_interval(element: int | None) -> dict[str, Any]:
            r = self.relative_error(element)
            return {**measures(self.errors(element)), "relative_error_95": [_plain(r.low), _plain(r.high)]}

        return {
            "hardware": self.hardware.to_mapping(),
            "chips": self.sums.shape[0],
            "repeats": self.sums.shape[1],
            "frames": self.sums.shape[2],
            "all": with_interval(None),
            "deviation_between_reads": self.spread.read,
            "deviation_between_chips": self.spread.chip,
            "elements": {str(z): with_interval(z) for z in self.elements},
            "groups": {name: measures(self.errors(frames=members)) for name, members in (groups or {}).items()},
        }


def _plain(value: float | np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)


def _times_drawn(rng: np.random.Generator, draws: int, n: int) -> np.ndarray:
    """[draws, n] how often each of n was drawn in n drawings."""
    return rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)


def csv_rows(settings: Sequence[HardwareErrors]) -> list[str]:
    """A table of all settings and elements (0 is all together), one line each, with a heading."""
    names = list(Hardware().to_mapping())
    rows = [",".join([*names, "element", *CSV_MEASURES])]
    for setting in settings:
        values = [_field(value) for value in setting.hardware.to_mapping().values()]
        for element in (None, *setting.elements):
            e, r = setting.errors(element), setting.relative_error(element)
            numbers = (r.value, r.low, r.high, e.mae, e.rmse, e.angle, e.correlation)
            rows.append(",".join([*values, str(element or 0), *(f"{float(number):.6g}" for number in numbers)]))
    return rows


# Measures of a mapping, with the ends of their keys that say the unit.
MEASURES = {
    "relative_error": "",
    "mae": "_ev_per_angstrom",
    "rmse": "_ev_per_angstrom",
    "angle": "_degrees",
    "correlation": "",
    "mean_force": "_ev_per_angstrom",
}
CSV_MEASURES = ("relative_error", "low_95", "high_95", "mae", "rmse", "angle", "correlation")


def _field(value: object) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
