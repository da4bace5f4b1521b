"""Trajectories in a store, and how long their frames stay correlated."""

from collections.abc import Sequence

import numpy as np

from rgnn.base.errors import InputError
from rgnn.data.store.reader import GraphStore

# Frames of each trajectory that are looked at, one after the other, and trajectories.
MOST_FRAMES, MOST_PIECES = 400, 8


def trajectories(store: GraphStore) -> np.ndarray:
    """[frames] number of the trajectory of each frame.

    A trajectory ends with its file, and where the number of atoms changes or time does not go on.
    """
    n = len(store)
    counts = [source.frames for source in store.sources]
    source = np.repeat(np.arange(len(counts)), counts) if sum(counts) == n else np.zeros(n, dtype=int)
    atoms, time = store.column("n_atoms"), store.column("time")
    ends = (np.diff(source) != 0) | (np.diff(atoms) != 0) | (np.diff(time) <= 0)
    return np.concatenate([[0], np.cumsum(ends)])


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
    forces, places = [], []
    try:
        for frame in map(store.frame, frames):
            forces.append(frame.forces.ravel())
            places.append(frame.positions)
    except InputError:  # graphs without positions
        return [np.stack([store.graph(k).forces.numpy().ravel() for k in frames])]  # type: ignore[union-attr]
    cells = np.stack([store.frame(k).cell for k in frames])
    steps = np.diff(np.stack(places), axis=0)
    if bool(store.frame(frames[0]).pbc.all()):  # an atom that crosses the cell has not moved by it
        inverse = np.linalg.inv(cells[:-1])
        scaled = np.einsum("tni,tij->tnj", steps, inverse)
        steps = np.einsum("tni,tij->tnj", scaled - np.round(scaled), cells[:-1])
    path = np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps, axis=0)])
    path = path - path.mean(axis=1, keepdims=True)
    return [np.stack(forces), path.reshape(len(frames), -1)]


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
