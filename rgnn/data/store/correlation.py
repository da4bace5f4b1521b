"""Trajectories in a store, and how long their frames stay correlated."""

import itertools
import re
from collections.abc import Sequence

import numpy as np
from ase.geometry import complete_cell
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rgnn.base.errors import InputError
from rgnn.data.displacements import Placed
from rgnn.data.store.reader import GraphStore

# Frames of each trajectory that are looked at, one after the other, and trajectories.
MOST_FRAMES, MOST_PIECES = 400, 8
# Steps of a trajectory from its last frame to the first of the next file, in time or in what atoms move, at most where
# this goes on with it; and what atoms move then, as shares of what they move from end to end: surely, and at most.
LONGEST_STEP, NEAR, RELATED = 2.0, 0.5, 0.75


def trajectories(store: GraphStore) -> np.ndarray:
    """[frames] number of the trajectory of each frame.

    A trajectory ends where the number of atoms changes, and with its file or where time does not go on, unless the next
    frames go on where it ends: in time, or since atoms have hardly moved. Files of one frame each are one trajectory,
    as far as anybody can tell.
    """
    n = len(store)
    names, counts = [source.name for source in store.sources], [source.frames for source in store.sources]
    source = np.repeat(np.arange(len(counts)), counts) if sum(counts) == n else np.zeros(n, dtype=int)
    atoms, time = store.column("n_atoms"), store.column("time")
    ends = np.flatnonzero((np.diff(source) != 0) | (np.diff(atoms) != 0) | (np.diff(time) <= 0))
    pieces = [range(a, b) for a, b in zip([0, *(ends + 1)], [*(ends + 1), n], strict=True)]
    # Those that follow each other in the store, and in the order of their files' names, where 2 comes before 10.
    named = sorted(pieces, key=lambda piece: _natural(names[source[piece[0]]] if counts else ""))
    joints = _Joints(store, atoms, time)
    number = {piece[0]: k for k, piece in enumerate(pieces)}
    pairs = {(number[p[0]], number[q[0]]) for each in (pieces, named) for p, q in itertools.pairwise(each)}
    joined = [(p, q) for p, q in sorted(pairs) if joints.goes_on(pieces[p], pieces[q])]
    links = coo_array((np.ones(len(joined)), np.array(joined, dtype=int).reshape(-1, 2).T), shape=2 * [len(pieces)])
    _, label = connected_components(links, directed=False)
    return np.repeat(label.astype(int), [len(piece) for piece in pieces])


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names with numbers as people do."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


class _Joints:
    """Whether one piece of a store goes on with another."""

    def __init__(self, store: GraphStore, atoms: np.ndarray, time: np.ndarray) -> None:
        self.store, self.atoms, self.time, self.known = store, atoms, time, dict[int, Placed]()

    def goes_on(self, p: range, q: range) -> bool:
        """Whether the frames q are those that come after the frames p."""
        if self.atoms[p[0]] != self.atoms[q[0]]:
            return False
        if len(p) == len(q) == 1:
            return True
        gap = self.time[q[0]] - self.time[p[-1]]
        spacing = np.concatenate([np.diff(self.time[p.start : p.stop]), np.diff(self.time[q.start : q.stop])])
        if 0 < gap <= LONGEST_STEP * np.median(spacing):
            return True
        moved = self._moved(p[-1], q[0])
        inside = [self._moved(a, b) for a, b in ((p[-2:][0], p[-1]), (q[0], q[:2][-1]))]
        far = np.nanmax([self._moved(p[0], p[-1]), self._moved(q[0], q[-1]), self._moved(p[0], q[-1])])
        return bool(moved <= NEAR * far or (moved <= LONGEST_STEP * np.nanmax(inside) and moved <= RELATED * far))

    def _moved(self, a: int, b: int) -> float:
        """Displacement of the atoms between two frames, Angstrom; NaN where they are other atoms."""
        found = self._of(a).displacement(self._of(b))
        return np.nan if found is None else found

    def _of(self, k: int) -> Placed:
        if k not in self.known:
            try:
                self.known[k] = Placed.of(self.store.frame(k))
            except InputError:  # a graph without positions, of which the forces tell how near it is to others
                g = self.store.graph(k)
                self.known[k] = Placed(g.atomic_numbers.numpy(), np.zeros(3, bool), None, g.forces.numpy())  # type: ignore[union-attr]
        return self.known[k]


def correlation_length(store: GraphStore, pieces: np.ndarray) -> int:
    """Frames over which a trajectory stays correlated, along the order of the store; 1 where it does not at all.

    That of the distances of neighbours and of the forces on them, whichever stay correlated for longer: twice the
    integral of the autocorrelation up to where it has fallen below 1 / e, over the trajectories with ten frames or more
    that are looked at, and at most a third of one.

    Args:
        store: of the frames.
        pieces: [frames] number of the trajectory of each.
    """
    numbers, sizes = np.unique(pieces, return_counts=True)
    long = [int(p) for p in numbers[np.argsort(-sizes, kind="stable")][:MOST_PIECES] if (pieces == p).sum() >= 10]
    found = [1]
    for piece in long:
        mine = np.flatnonzero(pieces == piece)[:MOST_FRAMES]
        lengths = [_length(series) for series in _series(store, mine.tolist())]
        found.append(min(max(lengths, default=1), len(mine) // 3))
    return max(found)


def _series(store: GraphStore, frames: Sequence[int]) -> list[np.ndarray]:
    """[frames, numbers] series of one trajectory: forces, and positions in units of the cell where it has one."""
    try:
        found = [store.frame(k) for k in frames]
    except InputError:  # graphs without positions
        return [np.stack([store.graph(k).forces.numpy().ravel() for k in frames])]  # type: ignore[union-attr]
    steps, periodic = np.diff(np.stack([frame.positions for frame in found]), axis=0), found[0].pbc
    if periodic.any():  # an atom that crosses the cell has not moved by it
        cells = np.stack([complete_cell(frame.cell) for frame in found[:-1]])
        scaled = np.einsum("tni,tij->tnj", steps, np.linalg.inv(cells))
        steps = np.einsum("tni,tij->tnj", scaled - periodic * np.round(scaled), cells)
    path = np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps, axis=0)])
    path = path - path.mean(axis=1, keepdims=True)
    return [np.stack([frame.forces.ravel() for frame in found]), path.reshape(len(frames), -1)]


def _length(x: np.ndarray) -> int:
    """Frames over which series [frames, numbers] stay correlated on average."""
    x = x - x.mean(axis=0)
    variance = float(np.square(x).mean())
    if variance <= 0:
        return 1
    total = 1.0
    for lag in range(1, len(x) // 2):
        correlation = float((x[:-lag] * x[lag:]).mean()) / variance
        if correlation < np.exp(-1):
            break
        total += 2 * correlation
    return max(1, round(total))
