"""Errors of one hardware setting: sums over force components, from which every measure follows, and of whole frames.

Relative force error everywhere: sum |dF| / sum |F| over force components, the published measure. Its intervals are
those of `rgnn.evaluation.intervals`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rgnn.base.estimate import Estimate
from rgnn.chip.hardware import Hardware
from rgnn.evaluation.frame_errors import GPA, FrameErrors, plain
from rgnn.evaluation.intervals import Ratio, Sample, ratio

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
        return ratio(self.sums[..., 1], self.sums[..., 3])

    @property
    def mae(self) -> np.ndarray:
        """Mean absolute error of a component, eV/Angstrom."""
        return ratio(self.sums[..., 1], self.sums[..., 0])

    @property
    def rmse(self) -> np.ndarray:
        """Root mean square error of a component, eV/Angstrom."""
        return np.sqrt(ratio(self.sums[..., 2], self.sums[..., 0]))

    @property
    def mean_force(self) -> np.ndarray:
        """Mean |F| of a component of the labels, eV/Angstrom."""
        return ratio(self.sums[..., 3], self.sums[..., 0])

    @property
    def angle(self) -> np.ndarray:
        """Mean angle between predicted and labelled force of an atom, degrees."""
        return np.degrees(ratio(self.sums[..., 10], self.sums[..., 9]))

    @property
    def correlation(self) -> np.ndarray:
        """Pearson correlation of predicted and labelled components."""
        n, _, _, _, f, ff, p, pp, fp, _, _ = np.moveaxis(self.sums, -1, 0)
        return ratio(n * fp - f * p, np.sqrt((n * ff - f * f) * (n * pp - p * p)))


@dataclass(frozen=True)
class ErrorSpread:
    """Standard deviations of the relative force error apart: between reads of one chip, and between chips (nested)."""

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
        whole: errors of energies and stresses; None for a model that has forces only.
        sample: which frames belong together; None takes them for one trajectory in the order given.
    """

    hardware: Hardware
    elements: tuple[int, ...]
    sums: np.ndarray
    whole: FrameErrors | None = None
    sample: Sample | None = None

    def errors(self, element: int | None = None, frames: Sequence[int] | np.ndarray | None = None) -> ErrorSums:
        """Pooled over chips, repeats and frames, of one element or of all."""
        sums = self.sums if frames is None else self.sums[:, :, frames]
        return ErrorSums(sums[..., self._columns(element), :].sum(axis=(0, 1, 2, 3)))

    def relative_error(
        self, element: int | None = None, seed: int = 0, frames: Sequence[int] | np.ndarray | None = None
    ) -> Estimate:
        """The relative force error with a 95% interval over frames, repeats and chips, of one element or of all."""
        sample, found = self._sample, self._ratio(element)
        if frames is not None:
            sample, found = sample.of_frames(frames), Ratio(found.above[..., frames], found.below[..., frames])
        return found.estimate(sample, seed)

    def ratio_to(self, other: "HardwareErrors", seed: int = 0) -> Estimate:
        """Error over that of another setting on the same frames, drawn together: most of the frames' part cancels."""
        return self._ratio(None).over(other._ratio(None), self._sample, seed)

    @property
    def _sample(self) -> Sample:
        return self.sample or Sample.of_one_run(self.sums.shape[2])

    def _ratio(self, element: int | None) -> Ratio:
        sums = self.sums[..., self._columns(element), :].sum(axis=3)
        return Ratio(sums[..., 1], sums[..., 3])

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
            return {f"{name}{unit}": plain(getattr(e, name)) for name, unit in MEASURES.items()}

        def with_interval(element: int | None, frames: Sequence[int] | None = None) -> dict[str, Any]:
            r = self.relative_error(element, frames=frames)
            found = measures(self.errors(element, frames))
            return {**found, "relative_error_95": [plain(r.low), plain(r.high)]}

        return {
            "hardware": self.hardware.to_mapping(),
            "chips": self.sums.shape[0],
            "repeats": self.sums.shape[1],
            "frames": self.sums.shape[2],
            "all": with_interval(None),
            "deviation_between_reads": self.spread.read,
            "deviation_between_chips": self.spread.chip,
            "elements": {str(z): with_interval(z) for z in self.elements},
            "groups": {
                name: {"frames": len(members), **with_interval(None, members)}
                for name, members in (groups or {}).items()
            },
            **({} if self.whole is None else self.whole.to_mapping()),
        }


def csv_rows(settings: Sequence[HardwareErrors]) -> list[str]:
    """A table of all settings and elements (0 is all together), one line each, with a heading.

    Energies and stresses stand in the lines of element 0; a field is empty where something has no meaning.
    """
    names, whole = list(Hardware().to_mapping()), any(s.whole is not None for s in settings)
    rows = [",".join([*names, "element", *CSV_MEASURES, *(CSV_WHOLE if whole else ())])]
    for setting in settings:
        values = [_field(value) for value in setting.hardware.to_mapping().values()]
        for element in (None, *setting.elements):
            e, r = setting.errors(element), setting.relative_error(element)
            numbers = [r.value, r.low, r.high, *map(float, (e.mae, e.rmse, e.angle, e.correlation))]
            numbers += _of_whole(setting.whole if element is None else None) if whole else []
            shown = (f"{x:.6g}" if np.isfinite(x) else "" for x in numbers)
            rows.append(",".join([*values, str(element or 0), *shown]))
    return rows


def _of_whole(whole: FrameErrors | None) -> list[float]:
    """The numbers of `CSV_WHOLE`."""
    if whole is None:
        return [float("nan")] * len(CSV_WHOLE)
    estimates = [e for m in (whole.energies, whole.differences) for e in (m.mae, m.rmse)]
    stresses = [whole.stresses.mae, whole.stresses.rmse]
    numbers = [x for e in estimates for x in (e.value, e.low, e.high)]
    return [*numbers, *(x / GPA for e in stresses for x in (e.value, e.low, e.high))]


# Measures of a mapping, with the ends of their keys that say the unit.
MEASURES = {
    "relative_error": "",
    "mae": "_ev_per_angstrom",
    "rmse": "_ev_per_angstrom",
    "angle": "_degrees",
    "correlation": "",
    "mean_force": "_ev_per_angstrom",
}
CSV_MEASURES = (
    "relative_error",
    "relative_error_low_95",
    "relative_error_high_95",
    "mae_ev_per_angstrom",
    "rmse_ev_per_angstrom",
    "angle_degrees",
    "correlation",
)
CSV_WHOLE = tuple(
    f"{name}{end}"
    for name in (
        "energy_mae_mev_per_atom",
        "energy_rmse_mev_per_atom",
        "energy_differences_mae_mev_per_atom",
        "energy_differences_rmse_mev_per_atom",
        "stress_mae_gpa",
        "stress_rmse_gpa",
    )
    for end in ("", "_low_95", "_high_95")
)


def _field(value: object) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
