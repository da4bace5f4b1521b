"""What a user should be told of a file of which each frame can be used, and which looks like a mistake as a whole."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase.geometry import complete_cell

from rgnn.data.frames import EdgeFrame, Frame

# Frames that are compared with the frame before them, and atoms of a frame at most: those of a file are alike.
COMPARED, MOST_ATOMS = 20, 1000
# Atoms lie in another order where half of them are further away than this, Angstrom, but another atom of their element
# is much nearer to where they were.
MOVED, REPLACED = 0.5, 0.25
# Pairs of frames that tell energies from forces, how well the two have to agree on what happens (or how badly, since
# gradients are no forces), and the ratios that the trapezium rule explains.
PAIRS, AGREED, RATIOS = 6, 0.9, (0.6, 1.6)
# Less room than this along each cell vector, Angstrom, and more atoms than these: no molecule in a box.
ROOM, FEW_ATOMS = 3.0, 8


class Doubts:
    """Looks at the frames of a source as they are read.

    Args:
        path: of the source.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.frames = path, 0
        self.still, self.open = list[int](), list[int]()
        self.reordered: tuple[int, int] | None = None
        self.work = list[tuple[float, float]]()
        self._before: tuple[int, Frame] | None = None

    def look(self, index: int, frame: Frame | EdgeFrame) -> None:
        """At a frame, in the order of the file."""
        self.frames += 1
        if not np.any(frame.forces):
            self.still.append(index)
        if isinstance(frame, EdgeFrame):
            return
        if _is_open(frame):
            self.open.append(index)
        if self._before is not None and self.frames <= COMPARED and len(frame.numbers) <= MOST_ATOMS:
            self._compare(*self._before, index, frame)
        self._before = index, frame

    def _compare(self, before: int, a: Frame, index: int, b: Frame) -> None:
        if len(a.numbers) != len(b.numbers) or not np.array_equal(a.pbc, b.pbc):
            return
        if not np.array_equal(a.numbers, b.numbers):
            if np.array_equal(np.sort(a.numbers), np.sort(b.numbers)):
                self.reordered = self.reordered or (before, index)
            return
        moved = _between(a.positions, b.positions, b)
        if _is_reordered(moved, a, b):
            self.reordered = self.reordered or (before, index)
        elif a.energy is not None and b.energy is not None:
            self.work.append((b.energy - a.energy, -0.5 * float(((a.forces + b.forces) * moved).sum())))

    def say(self, warn: Callable[[str], None]) -> None:
        """All that there is to say, each in a sentence."""
        if self.still:
            warn(
                f"{self.path}: {len(self.still)} of {self.frames} frames have no force on any atom, the first of them "
                f"frame {self.still[0]}, as if their forces had not been computed; leave them out if that is so."
            )
        if self.open:
            warn(
                f"{self.path}: {len(self.open)} of {self.frames} frames, the first of them frame {self.open[0]}, fill "
                'their cell but are not periodic along all of it; write pbc="T T T" if they are crystals, glasses or '
                "liquids."
            )
        if self.reordered is not None:
            warn(
                f"{self.path}: atoms lie in another order in frame {self.reordered[1]} than in frame "
                f"{self.reordered[0]}, so nobody can tell how long frames stay correlated and which to hold out; sort "
                "the atoms of each frame, in LAMMPS by dump_modify ID sort id."
            )
        if (ratio := self._ratio()) is not None and not RATIOS[0] <= ratio <= RATIOS[1]:
            warn(
                f"{self.path}: energies change by {ratio:.3g} times the work of the forces from frame to frame, as if "
                "energies, forces or positions were in different units; give --units, or name the arrays with --energy "
                "and --forces."
            )

    def _ratio(self) -> float | None:
        """Of the changes of the energy to the work of the forces; None where these do not agree on what happens."""
        change, work = np.array(self.work).reshape(-1, 2).T
        if len(change) < PAIRS or not np.any(change) or not np.any(work):
            return None
        together = float(change @ work)
        agreed = together / float(np.linalg.norm(change) * np.linalg.norm(work))
        return together / float(work @ work) if abs(agreed) >= AGREED else None


def _is_open(frame: Frame) -> bool:
    """Whether atoms fill a cell along which they are not periodic."""
    lengths = np.linalg.norm(frame.cell, axis=1)
    if frame.pbc.all() or not lengths.all() or len(frame.numbers) <= FEW_ATOMS:
        return False
    span = np.ptp(frame.positions @ np.linalg.pinv(frame.cell), axis=0)
    return bool(((1 - span) * lengths < ROOM).all() and (span <= 1)[~frame.pbc].all())


def _between(a: np.ndarray, b: np.ndarray, frame: Frame) -> np.ndarray:
    """[..., 3] b - a by the shortest way through the cell of a frame, Angstrom."""
    if not frame.pbc.any():
        return b - a
    cell = complete_cell(frame.cell)
    scaled = (b - a) @ np.linalg.inv(cell)
    return (scaled - frame.pbc * np.round(scaled)) @ cell


def _is_reordered(moved: np.ndarray, a: Frame, b: Frame) -> bool:
    """Whether atoms [N, 3] have not moved, but are named in another order."""
    typical = float(np.median(np.linalg.norm(moved, axis=1)))
    if typical < MOVED:
        return False
    nearest = np.full(len(a.numbers), np.inf)
    for z in np.unique(a.numbers):
        mine = a.numbers == z
        apart = _between(a.positions[mine][:, None], b.positions[mine][None], b)
        nearest[mine] = np.linalg.norm(apart, axis=2).min(axis=1)
    return float(np.median(nearest)) <= REPLACED * typical
