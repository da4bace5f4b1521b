"""Measured conductance maps -> a chip: units, schemes of signed weights, dead lines, repeated reads."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from rgnn.base.choices import AxisOfReads, ConductanceScheme, ConductanceUnit
from rgnn.base.errors import InputError
from rgnn.chip.chip import WEIGHT_DEVIATION, Chip
from rgnn.chip.maps import read_maps
from rgnn.chip.units import OHMS, to_siemens

# Medians of a map that can only be meant in siemens or in microsiemens: cells of resistive memories conduct
# 10 nS to 1 mS (Yu, Proc. IEEE 106, 260 (2018)), whatever else a number this small or large might be.
CERTAINLY: dict[ConductanceUnit, tuple[float, float]] = {"S": (1e-8, 1e-3), "uS": (0.5, 1000.0)}
# Medians that no array has in siemens, whatever its cells are.
POSSIBLE = (1e-15, 0.1)
# Deviations that signed numbers without a unit have where they are weights.
WEIGHTS = (0.02, 3.0)
# A cell is dead where it conducts less than this share of the median, a line where most of its cells are.
DEAD_CELL, DEAD_LINE = 0.01, 0.5
# Shorted cells are few, conduct many times the median, and are set off from all others by a gap.
SHORTED_SHARE, SHORTED_SIZE, SHORTED_GAP = 0.02, 10.0, 4.0
# Instruments give 9.9e37 or 9.91e37 beyond their range (SCPI); no conductance or resistance is near it.
OVERFLOW = 1e30
# Cells are within this factor of what they were programmed to, on the whole.
FAR = 5.0
# Readings below zero: noise about zero where they are small beside the others, faults where they are few.
SMALL, FEW, MANY = 0.05, 0.005, 0.02


@dataclass(frozen=True)
class Measurement:
    """Repeated reads of one array.

    Attributes:
        reads: [reads, rows, columns] conductances in siemens, or signed weights where `unit` is None; NaN where nothing
            sensible was read.
        source: in words.
        unit: of the file, or None for signed weights without one.
        signed: whether the numbers are differences G+ - G-, so that zero and less are weights like others.
        unit_reason: how the unit is known, in words.
        sign_reason: how it is known whether the numbers are signed, in words.
        notes: what was taken for labels, headings, overflows and faults, in words.
    """

    reads: np.ndarray
    source: str
    unit: ConductanceUnit | None
    signed: bool
    unit_reason: str = "as given"
    sign_reason: str = "as given"
    notes: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        path: str | Path,
        unit: ConductanceUnit | None = None,
        name: str | None = None,
        *,
        scheme: ConductanceScheme | None = None,
        plus: str | None = None,
        minus: str | None = None,
        reads: AxisOfReads | None = None,
    ) -> "Measurement":
        """From a file of one map or a stack of reads, or from a folder of one map a file.

        Args:
            path: CSV, TSV, text, NPY, NPZ, MAT, HDF5, XLSX, XLS or ODS, or a folder of those.
            unit: of the numbers; None takes the one that the file states, or recognises siemens and microsiemens by
                their size.
            name: of the array in a file that has several.
            scheme: how cells make weights; "signed" says that numbers are signed, any other that they are not.
            plus: name of the array that holds G+.
            minus: name of the array that holds G-.
            reads: the axis of a stack that counts reads.

        Raises:
            InputError: not readable, maps of different sizes, or a unit or a sign that cannot be recognised.
        """
        maps = read_maps(path, name, plus=plus, minus=minus, reads=reads)
        values, notes = maps.values, list(maps.notes)
        over = np.abs(values) >= OVERFLOW
        values = np.where(np.isfinite(values) & ~over, values, np.nan)
        if over.any():
            notes.append(
                f"{int(over.sum()):,} readings are overflows of the instrument ({values_of(maps.values, over)})"
            )
        if not np.isfinite(values).any():
            raise InputError(f"{path}: does not hold a finite number; export the map again.")
        if unit is not None and maps.unit not in (None, unit):
            notes.append(f"the file states {maps.unit}, but {unit} was given and is taken")
        known = unit or maps.unit
        signed, sign_reason, faults = _sign(values, scheme, known, path)
        if faults.any():
            notes.append(f"{int(faults.sum()):,} readings below zero are left out as faults")
            values = np.where(faults, np.nan, values)
        reason = "as given" if unit is not None else "as the file states"
        if known is None:
            if maps.quantity is not None:
                ways = {
                    "resistances": "say it with --unit Ohm, kOhm, MOhm or GOhm",
                    "currents": "divide them by the voltage, or say --unit uS (or another) if they are conductances",
                }
                raise InputError(
                    f"{path}: names its numbers {maps.quantity}, without a unit of conductance or resistance; "
                    f"{ways[maps.quantity]}."
                )
            known, reason = _recognised(values, signed, path)
        if known is not None:
            values = _possible(to_siemens(values, known), known, path)
        return cls(values, Path(path).name, known, signed, reason, sign_reason, tuple(notes))

    @property
    def n_reads(self) -> int:
        """How often each cell was read."""
        return len(self.reads)

    @property
    def mean(self) -> np.ndarray:
        """[rows, columns] over the reads that are finite; NaN where none is."""
        finite = np.isfinite(self.reads)
        total = np.where(finite, self.reads, 0).sum(0)
        mean: np.ndarray = np.divide(total, finite.sum(0), out=np.full(total.shape, np.nan), where=finite.any(0))
        return mean

    @property
    def read_deviation(self) -> np.ndarray | None:
        """[rows, columns] standard deviation of one read of each cell, NaN below two reads; None for a single map."""
        if self.n_reads < 2:
            return None
        finite = np.isfinite(self.reads)
        squares = np.where(finite, self.reads - self.mean, 0) ** 2
        n = finite.sum(0)
        deviation: np.ndarray = np.sqrt(np.divide(squares.sum(0), n - 1, out=np.full(n.shape, np.nan), where=n > 1))
        return deviation


def values_of(values: np.ndarray, where: np.ndarray) -> str:
    """The first few different numbers at some places, in words."""
    found = np.unique(values[where])
    return ", ".join(f"{x:.4g}" for x in found[:3]) + (", ..." if len(found) > 3 else "")


def _sign(
    values: np.ndarray, scheme: ConductanceScheme | None, unit: ConductanceUnit | None, path: str | Path
) -> tuple[bool, str, np.ndarray]:
    """Whether numbers are signed, why, and which readings below zero are faults.

    Raises:
        InputError: a map that may be either, or is not what the scheme says.
    """
    below, none = values < 0, np.zeros(values.shape, bool)
    if scheme == "signed":
        if unit in OHMS:
            raise InputError(f"{path}: is in {unit}, but a signed map is one of conductances or weights.")
        return True, "as the scheme says", none
    share = float(below.sum() / np.isfinite(values).sum())
    if not share:
        return False, "no number is negative", none
    usual = values[values > 0]
    size = float(np.median(-values[below]) / np.median(usual)) if usual.size else float("inf")
    percent = f"{100 * share:.2g}% of the numbers are negative"
    if size < SMALL:
        return False, f"{percent}, by as little as noise about zero is", none
    if share < FEW or unit in OHMS:
        return False, f"{percent}, too few for a signed map", below
    if scheme is not None and share < MANY:
        return False, f"{percent}, and the scheme is {scheme}", below
    if scheme is not None:
        raise InputError(f"{path}: has negative conductances, so they cannot be those of cells; use --scheme signed.")
    if share < MANY:
        raise InputError(
            f"{path}: {percent}, too few for a signed map and too many for faults; say --scheme signed if they are "
            "differences, or --scheme pair to leave them out."
        )
    return True, percent, none


def _recognised(values: np.ndarray, signed: bool, path: str | Path) -> tuple[ConductanceUnit | None, str]:
    """The unit that numbers of this size have; None for signed weights.

    Raises:
        InputError: their size says nothing.
    """
    finite = values[np.isfinite(values)]
    if signed and (finite < 0).any():
        low, high = np.quantile(finite, [0.005, 0.995])
        deviation = float(np.std(np.clip(finite, low, high)))
        if WEIGHTS[0] <= deviation <= WEIGHTS[1]:
            return None, f"weights, by their deviation of {deviation:.2g}"
        raise InputError(
            f"{path}: its signed numbers have a deviation of {deviation:.3g}, and weights one of {WEIGHTS[0]:g} to "
            f"{WEIGHTS[1]:g}; if they are differences of conductances, say --unit uS (or another), else scale them."
        )
    conducting = np.abs(finite[finite != 0])
    median = float(np.median(conducting)) if conducting.size else 0.0
    for unit, (least, most) in CERTAINLY.items():
        if least <= median <= most:
            return unit, f"by their median of {median:.3g}; say --unit if that is wrong"
    raise InputError(
        f"{path}: the median is {median:.3g}, which no unit is certain for; say it with --unit S, mS, uS, nS or kOhm."
    )


def _possible(siemens: np.ndarray, unit: ConductanceUnit, path: str | Path) -> np.ndarray:
    """The same conductances.

    Raises:
        InputError: they are so large or small that the unit is another one.
    """
    size = np.abs(siemens[np.isfinite(siemens) & (siemens != 0)])
    median = float(np.median(size)) if size.size else POSSIBLE[0]
    if not POSSIBLE[0] <= median <= POSSIBLE[1]:
        raise InputError(
            f"{path}: in {unit} its median is a conductance of {median:.3g} S, which no array has; say the unit with "
            "--unit, or mend it in the file."
        )
    return siemens


@dataclass(frozen=True)
class DeadLines:
    """Cells that cannot be used.

    Attributes:
        cells: cells in all that do not conduct, were not read or are shorted, those of dead lines included.
        unread: cells without a finite read.
        shorted: cells that conduct far more than all others.
        rows, columns: of which most cells are dead; they are left out of the chip.
        shorts: [rows, columns] where the shorted cells are.
    """

    cells: int
    unread: int
    shorted: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    shorts: np.ndarray

    @classmethod
    def of(cls, mean: np.ndarray, signed: bool) -> "DeadLines":
        """From a map [rows, columns].

        Zeros of a signed map are weights like others. Only where no other is zero, a line of nothing else is dead.
        """
        unread = ~np.isfinite(mean)
        read = mean[~unread]
        shorts = _shorts(np.where(unread, 0.0, np.abs(mean)))
        if signed:
            dead = unread | shorts
            zero = (mean == 0) | unread
            empty = zero.all(axis=1, keepdims=True) | zero.all(axis=0, keepdims=True)
            usual = (zero & ~empty).sum() > DEAD_CELL * max(1, (~empty).sum())  # of few levels, zero among them
            lines = dead if usual else dead | empty
        else:
            # The median of what conducts at all, so that a map of mostly dead lines does not make them the rule.
            typical = float(np.median(read[read > 0])) if (read > 0).any() else 0.0
            dead = unread | shorts | (np.where(unread, 0.0, mean) <= DEAD_CELL * typical)
            lines = dead
        rows = tuple(np.flatnonzero(lines.mean(1) > DEAD_LINE).tolist())
        alive = np.delete(lines, rows, axis=0)
        columns = tuple(np.flatnonzero(alive.mean(0) > DEAD_LINE).tolist()) if len(alive) else ()
        return cls(int(lines.sum()), int(unread.sum()), int(shorts.sum()), rows, columns, shorts)


def _shorts(size: np.ndarray) -> np.ndarray:
    """Where a few cells are set off from all others at the high end."""
    conducting = np.sort(size[size > 0])
    few = int(SHORTED_SHARE * conducting.size)
    if not few:
        return np.zeros(size.shape, bool)
    top = conducting[-few:]
    gap = (top >= SHORTED_GAP * conducting[-few - 1 : -1]) & (top >= SHORTED_SIZE * np.median(conducting))
    if not gap.any():
        return np.zeros(size.shape, bool)
    shorted: np.ndarray = size >= top[int(np.argmax(gap))]
    return shorted


@dataclass(frozen=True)
class ReadSpread:
    """What repeated reads tell of an array, in siemens (or weights).

    Attributes:
        mean: of all cells.
        programming: standard deviation of the cells about their target (about their mean where no target is
            known), without the read noise that is left in an average.
        read: root mean square standard deviation of one read.
    """

    mean: float
    programming: float
    read: float

    @classmethod
    def of(cls, measurement: Measurement, target: np.ndarray | None = None) -> "ReadSpread":
        """Variance of averages = programming^2 + read^2 / reads of the cell; both are unbiased estimates.

        Cells without a target, NaN there, do not count for the programming.
        """
        mean, deviation = measurement.mean, measurement.read_deviation
        good = np.isfinite(mean) if deviation is None else np.isfinite(mean) & np.isfinite(deviation)
        known = good if target is None else good & np.isfinite(target)
        about = mean[known] - (mean[known].mean() if target is None else target[known])
        variance = float(np.square(about).sum() / max(1, known.sum() - (target is None)))
        read = left = 0.0
        if deviation is not None:
            squares, reads = np.square(deviation), np.isfinite(measurement.reads).sum(0)
            read, left = float(squares[good].mean()), float((squares[known] / reads[known]).mean())
        return cls(float(mean[good].mean()), float(np.sqrt(max(0.0, variance - left))), float(np.sqrt(read)))


@dataclass(frozen=True)
class ImportedChip:
    """A chip made of a measurement, and what was found on the way.

    Attributes:
        chip: of the cells in use.
        scheme: how cells make weights.
        dead: lines that were left out.
        spread: of the cells in use.
        left_out: weights that lie on dead lines or have an unread cell.
    """

    chip: Chip
    scheme: ConductanceScheme
    dead: DeadLines
    spread: ReadSpread
    left_out: int


def to_chip(
    measurement: Measurement,
    scheme: ConductanceScheme | None = None,
    reference_column: int = -1,
    target: np.ndarray | None = None,
) -> ImportedChip:
    """Signed weights from a measured map.

    Args:
        measurement: of one array.
        scheme: "signed": the numbers are weights; "pair": G+ and G- in neighbouring columns, "pair-rows" in
            neighbouring rows, "pair-halves" in the left and the right half; "reference": one column of cells is
            subtracted from all others, row by row. None takes "signed" where a number is negative, else "pair".
        reference_column: of that scheme; -1 is the last.
        target: [rows, columns] what the cells were programmed to, in siemens; NaN where that is not known.

    Raises:
        InputError: the map does not fit the scheme, or nothing of it conducts.
    """
    mean, deviation = measurement.mean, measurement.read_deviation
    if target is not None and target.shape != mean.shape:
        raise InputError(f"the target is {target.shape}, but the map of {measurement.source} is {mean.shape}.")
    scheme = scheme or ("signed" if measurement.signed else "pair")
    if measurement.signed and scheme != "signed":
        raise InputError(
            f"{measurement.source}: has negative conductances, so they cannot be those of cells; use --scheme signed."
        )
    dead = DeadLines.of(mean, scheme == "signed")
    mean[dead.shorts] = np.nan
    mean[list(dead.rows)] = np.nan
    mean[:, list(dead.columns)] = np.nan
    used = replace(measurement, reads=np.where(np.isfinite(mean), measurement.reads, np.nan))
    positive, negative = _halves(mean, scheme, reference_column, measurement.source)
    difference = positive - negative
    good = np.isfinite(difference)
    if good.sum() < 2 or np.std(difference[good]) == 0:
        raise InputError(
            f"{measurement.source}: leaves {good.sum()} weights, too few or all the same; are scheme and unit right?"
        )
    if target is not None and not (np.isfinite(target) & np.isfinite(mean)).any():
        raise InputError(
            f"the target has no number for any cell in use of {measurement.source}; is it that of this array?"
        )
    spread = None
    if deviation is not None:
        a, b = _halves(deviation, scheme, reference_column, measurement.source)
        found = np.hypot(a, b)[good]
        known = np.isfinite(found)
        # A cell with one sensible read has no deviation yet, which is not one of 0: it takes the usual one.
        if known.any():
            spread = np.where(known, found, np.sqrt(np.square(found[known]).mean()))
    # Signed numbers without a unit are weights already.
    scale = 1.0 if measurement.unit is None else WEIGHT_DEVIATION / float(np.std(difference[good]))
    chip = Chip(
        weights=_tensor(scale * difference[good]),
        source=measurement.source,
        conductances=None if scheme == "signed" else _tensor(np.stack([positive[good], negative[good]])),
        read_deviation=None if spread is None else _tensor(scale * spread),
        siemens=None if measurement.unit is None else 1 / scale,
        measured=True,
    )
    return ImportedChip(chip, scheme, dead, ReadSpread.of(used, target), good.size - int(good.sum()))


def read_target(path: str | Path, measurement: Measurement) -> np.ndarray:
    """[rows, columns] what the cells of a measurement were programmed to, in its unit.

    Args:
        path: of a map in any unit that it states or that its size tells, else in that of the measurement.
        measurement: of the cells.

    Raises:
        InputError: not readable, or so far from what was measured that one of the two has another unit.
    """
    scheme: ConductanceScheme = "signed" if measurement.signed else "pair"
    stated = read_maps(path).unit
    try:
        target = Measurement.read(path, stated or (measurement.unit if measurement.signed else None), scheme=scheme)
    except InputError:
        target = Measurement.read(path, measurement.unit, scheme=scheme)
    here, there = (float(np.nanmedian(np.abs(m.mean[m.mean != 0]))) for m in (measurement, target))
    if not 1 / FAR < there / here < FAR:
        raise InputError(
            f"{path}: its median is {there / here:.3g} times that of {measurement.source}; write its unit into its "
            "first line, as in # G (uS)."
        )
    return target.mean


def _halves(
    values: np.ndarray, scheme: ConductanceScheme, reference_column: int, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """What is added and what is subtracted in each weight."""
    rows, columns = values.shape
    if scheme == "signed":
        return values, np.zeros_like(values)
    if scheme == "reference":
        if not -columns <= reference_column < columns:
            raise InputError(f"{source}: has no column {reference_column} among its {columns}.")
        others = np.delete(values, reference_column, axis=1)
        return others, np.broadcast_to(values[:, [reference_column]], others.shape)
    along = rows if scheme == "pair-rows" else columns
    if along % 2:
        what = "rows" if scheme == "pair-rows" else "columns"
        raise InputError(f"{source}: {along} {what} make no pairs; is the scheme right (--scheme)?")
    if scheme == "pair-rows":
        return values[0::2], values[1::2]
    if scheme == "pair-halves":
        return values[:, : columns // 2], values[:, columns // 2 :]
    return values[:, 0::2], values[:, 1::2]


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
