"""How far atoms are moved from one frame to another, and which frame is the nearest."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from ase.geometry import complete_cell

from rgnn.data.frames import Frame


@dataclass(frozen=True)
class Placed:
    """The atoms of a frame, made ready to be compared with those of others.

    Attributes:
        numbers: [N] atomic numbers.
        pbc: [3] whether each cell vector is periodic.
        cell: [3, 3] Angstrom, with vectors of any length where it has none; None of a structure without periodicity.
        places: [N, 3] in units of the cell, from the first atom; Angstrom from the middle of the atoms without a cell.
    """

    numbers: np.ndarray
    pbc: np.ndarray
    cell: np.ndarray | None
    places: np.ndarray

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """Of a frame."""
        if not frame.pbc.any():
            return cls(frame.numbers, frame.pbc, None, frame.positions - frame.positions.mean(0))
        cell = complete_cell(frame.cell)
        scaled = frame.positions @ np.linalg.inv(cell)
        return cls(frame.numbers, frame.pbc, cell, scaled - scaled[0])

    def displacement(self, other: Self) -> float | None:
        """Root mean square displacement of an atom, Angstrom, without what the whole structure has moved.

        None where the other frame has other atoms, or another periodicity.
        """
        if not np.array_equal(self.numbers, other.numbers) or not np.array_equal(self.pbc, other.pbc):
            return None
        if self.cell is None or other.cell is None:
            moved = _superposed(self.places, other.places)
        else:
            scaled = self.places - other.places
            scaled -= self.pbc * np.round(scaled)  # relative to one atom, which lets the mean be taken within a cell
            scaled -= scaled.mean(axis=0)
            moved = (scaled - self.pbc * np.round(scaled)) @ (0.5 * (self.cell + other.cell))
        return float(np.sqrt(np.square(moved).sum(1).mean()))


def _superposed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N, 3] a less the rotation of b that is closest to it (Kabsch 1976)."""
    u, _, v = np.linalg.svd(b.T @ a)
    u[:, -1] *= np.sign(np.linalg.det(u @ v))
    return a - b @ (u @ v)
