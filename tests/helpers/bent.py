"""Clusters with pair forces and forces that depend on angles: what a small ridge readout can learn."""

import copy
from pathlib import Path

import numpy as np
from listeners import Asked

from rgnn import Graph, GraphStore
from rgnn.data.frames import Frame
from rgnn.data.store.writer import write_store
from rgnn.training.linear import LinearFit
from rgnn.training.settings import TrainingSettings

TRAIN, VALIDATION = range(24), range(24, 30)
CUTOFF = 3.8
CONFIG = TrainingSettings(seed=3)


class Bent:
    """So many clusters of ten atoms; frame k is always the same."""

    def __init__(self, cluster, n: int = 30) -> None:
        self.frames = [self._frame(*cluster(10, seed)) for seed in range(n)]
        self.graphs = [
            Graph.from_positions(f.numbers, f.positions, f.cell, f.pbc, CUTOFF, f.forces) for f in self.frames
        ]

    @staticmethod
    def _frame(numbers: np.ndarray, positions: np.ndarray) -> Frame:
        r = positions[:, None] - positions[None]
        d = np.linalg.norm(r, axis=-1) + 10 * np.eye(len(r))
        u = r / d[..., None]
        near = np.exp(-((d / 1.8) ** 2))
        polar = (near[..., None] * u).sum(1)
        pull = 2 * near + near * (u * polar[:, None]).sum(-1)
        return Frame(numbers, positions, np.zeros((3, 3)), np.zeros(3, bool), (pull[..., None] * u).sum(1))

    def graph(self, index: int) -> Graph:
        return self.graphs[index]

    def store(self, path: Path) -> GraphStore:
        """The same in a store."""
        return write_store(self.frames, path, cutoff=CUTOFF)


def solved(
    untrained, frames, out=None, train=TRAIN, validation=VALIDATION, stop=lambda: False, start=None
) -> LinearFit:
    """A copy of a model with its weights solved for, on frames added to those of the run `start` where it is given."""
    ridge = LinearFit(copy.deepcopy(untrained), CONFIG, out)
    if start is not None:
        ridge.add_to(start)
    ridge.run(frames, train, validation, Asked(stop))
    return ridge
