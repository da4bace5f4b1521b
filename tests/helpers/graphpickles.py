"""Pickles of the shape of the published one."""

import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rgnn.data.frames import Frame
from rgnn.graphs.neighbours import edge_vectors, neighbour_list


def published_graph(frame: Frame, index: int, cutoff: float = 3.8, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """One graph as the published program writes it: rows padded to the most neighbours, -1 where there is none."""
    (i, j), shift = neighbour_list(frame.positions, frame.cell, frame.pbc, cutoff)
    vector = edge_vectors(frame.positions, frame.cell, np.stack([i, j]), shift)
    length = np.linalg.norm(vector, axis=1)
    counts = np.bincount(i, minlength=len(frame.numbers))
    rows, slot = (len(counts), counts.max()), np.arange(len(i)) - (np.cumsum(counts) - counts)[i]
    neighbours = np.full(rows, -1)
    offset, distances, unit = np.zeros((*rows, 3), dtype), np.zeros(rows, dtype), np.zeros((*rows, 3), dtype)
    neighbours[i, slot], offset[i, slot] = j, shift
    distances[i, slot], unit[i, slot] = length, vector / length[:, None]
    return {
        "forces": frame.forces.astype(dtype),
        "_atomic_numbers": frame.numbers.astype(np.int64),
        "_n_atoms": np.array([len(frame.numbers)]),
        "_neighbors": neighbours,
        "_cell_offset": offset,
        "_distances": distances,
        "_unit_vecs": unit,
        "_idx": np.array([index]),
    }


def write_graph_pickle(frames: Iterable[Frame], path: Path, protocol: int = 4, **options) -> Path:
    """A list of graphs."""
    graphs = [published_graph(frame, index, **options) for index, frame in enumerate(frames)]
    path.write_bytes(pickle.dumps(graphs, protocol=protocol))
    return path
