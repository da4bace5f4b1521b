"""Measured conductance maps -> a chip: units, schemes of signed weights, dead lines, repeated reads."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from rgnn.base.choices import ConductanceScheme, ConductanceUnit
from rgnn.base.errors import InputError
from rgnn.chip.chip import WEIGHT_DEVIATION, Chip
from rgnn.chip.maps import read_maps

SIEMENS: dict[str, float] = {"S": 1.0, "mS": 1e-3, "uS": 1e-6, "nS": 1e-9}
# Medians of a map that can only be meant in siemens or in microsiemens: cells of resistive memories conduct
# 10 nS to 1 mS (Yu, Proc. IEEE 106, 260 (2018)), whatever else a number this small or large might be.
CERTAINLY: dict[ConductanceUnit, tuple[float, float]] = {"S": (1e-8, 1e-3), "uS": (0.5, 1000.0)}
# A cell is dead where it conducts less than this share of the median, a line where most of its cells are.
DEAD_CELL, DEAD_LINE = 0.01, 0.5


@dataclass(frozen=True)
class Measurement:
    """Repeated reads of one array.

    Attributes:
        reads: [reads, rows, columns] conductances in siemens, or signed numbers where `unit` is None.
        source: in words.
        unit: the unit of the file, or None for signed weights without one.
        unit_was_given: not recognised by its size.
    """

    reads: np.ndarray
    source: str
    unit: ConductanceUnit | None
    unit_was_given: bool

    @classmethod
    def read(cls, path: str | Path, unit: ConductanceUnit | None = None, name: str | None = None) -> "Measurement":
        """From a file of one map or a stack of reads, or from a folder of one map a file.

        Args:
            path: CSV, TSV, text, NPY, NPZ, MAT or HDF5, or a folder of those.
            unit: of the numbers; None recognises siemens and microsiemens by their size.
            name: of the array in a file that has several.

        Raises:
            InputError: not readable, maps of different sizes, or a unit that cannot be recognised.
        """
        reads = read_maps(path, name)
        values = reads[np.isfinite(reads)]
        if not values.size:
            raise InputError(f"{path}: does not hold a finite number; export the map again.")
        if unit is not None:
            return cls(SIEMENS[unit] * reads, Path(path).name, unit, True)
        if (values < 0).any():
            return cls(reads, Path(path).name, None, False)
        found = _recognised(float(np.median(values)), path)
        return cls(SIEMENS[found] * reads, Path(path).name, found, False)

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


def _recognised(median: float, path: str | Path) -> ConductanceUnit:
    for unit, (low, high) in CERTAINLY.items():
        if low <= median <= high:
            return unit
    raise InputError(
        f"{path}: the median is {median:.3g}, which no unit is certain for; say it with --unit S, mS, uS or nS."
    )


@dataclass(frozen=True)
class DeadLines:
    """Cells that do not conduct.

    Attributes:
        cells: dead cells in all, those of dead lines included.
        unread: cells without a finite read.
        rows, columns: of which most cells are dead; they are left out of the chip.
    """

    cells: int
    unread: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @classmethod
    def of(cls, mean: np.ndarray) -> "DeadLines":
        """From a map [rows, columns]."""
        size = np.abs(mean)
        unread = ~np.isfinite(mean)
        # The median of what conducts at all, so that a map of mostly dead lines does not make them the rule.
        typical = float(np.median(size[~unread & (size > 0)])) if (size[~unread] > 0).any() else 0.0
        # Signed weights lie around 0, so there only nothing at all is dead.
        dead = unread | (size <= (0.0 if (mean[~unread] < 0).any() else DEAD_CELL * typical))
        rows = tuple(np.flatnonzero(dead.mean(1) > DEAD_LINE).tolist())
        alive = np.delete(dead, rows, axis=0)
        columns = tuple(np.flatnonzero(alive.mean(0) > DEAD_LINE).tolist()) if len(alive) else ()
        return cls(int(dead.sum()), int(unread.sum()), rows, columns)


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
        """Variance of averages = programming^2 + read^2 / reads; both are unbiased estimates."""
        mean, deviation = measurement.mean, measurement.read_deviation
        good = np.isfinite(mean) if deviation is None else np.isfinite(mean) & np.isfinite(deviation)
        about = mean[good] - (mean[good].mean() if target is None else target[good])
        variance = float(np.square(about).sum() / max(1, good.sum() - (target is None)))
        read = 0.0 if deviation is None else float(np.square(deviation[good]).mean())
        left = read / measurement.n_reads
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
        target: [rows, columns] what the cells were programmed to, in siemens.

    Raises:
        InputError: the map does not fit the scheme, or nothing of it conducts.
    """
    mean, deviation = measurement.mean, measurement.read_deviation
    if target is not None and target.shape != mean.shape:
        raise InputError(f"the target is {target.shape}, but the map of {measurement.source} is {mean.shape}.")
    signed = bool((mean[np.isfinite(mean)] < 0).any())
    scheme = scheme or ("signed" if signed else "pair")
    if signed and scheme != "signed":
        raise InputError(
            f"{measurement.source}: has negative conductances, so they cannot be those of cells; use --scheme signed."
        )
    dead = DeadLines.of(mean)
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
    spread = None
    if deviation is not None:
        a, b = _halves(deviation, scheme, reference_column, measurement.source)
        spread = np.where(np.isfinite(a + b), np.hypot(a, b), 0.0)[good]
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
