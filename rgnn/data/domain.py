"""What a training set spans: densities, distances, forces."""

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_masses

from rgnn.base.estimate import evenly
from rgnn.base.provenance import Closest, TrainingDomain
from rgnn.data.frames import EdgeFrame
from rgnn.data.store.reader import GraphStore, graph_of

# Frames that are looked at, evenly chosen.
MOST_FRAMES = 300
# g/cm3 of one atomic mass unit in a cubic Angstrom (CODATA 2018).
AMU_PER_CUBIC_ANGSTROM = 1.66053906660

Pair = tuple[int, int]


def density_of(numbers: np.ndarray, cell: np.ndarray) -> float:
    """g/cm3 of these elements, of their usual masses, in a cell (Angstrom)."""
    return AMU_PER_CUBIC_ANGSTROM * float(atomic_masses[numbers].sum() / abs(np.linalg.det(cell)))


def closest_pairs(numbers: np.ndarray, edge_index: np.ndarray, lengths: np.ndarray) -> dict[Pair, float]:
    """The shortest edge, in Angstrom, of each pair of elements (atomic numbers, the lower first)."""
    first, second = np.sort(np.asarray(numbers)[np.asarray(edge_index)], axis=0)
    code = first * 1000 + second
    kinds, place = np.unique(code, return_inverse=True)
    shortest = np.full(len(kinds), np.inf)
    np.minimum.at(shortest, place, lengths)
    return {(int(k) // 1000, int(k) % 1000): float(d) for k, d in zip(kinds, shortest, strict=True)}


def training_domain(store: GraphStore, frames: Sequence[int]) -> TrainingDomain:
    """What these frames of a store span; of more than `MOST_FRAMES` as many are looked at, evenly chosen.

    So a lone outlier may be missed, which is as well: the model has hardly learned of it. One block of the store is in
    memory at a time.
    """
    chosen = evenly(frames, MOST_FRAMES)
    densities: list[float] = []
    closest: dict[Pair, float] = {}
    largest, number, block = 0.0, -1, None
    for index in sorted(chosen):
        home, k = store.place(index)
        if home != number or block is None:
            number, block = home, store.load_block(home)
        frame, g = block.frame(k), graph_of(block, k)
        largest = max(largest, float(np.linalg.norm(frame.forces, axis=1).max()))
        for pair, distance in closest_pairs(frame.numbers, g.edge_index.numpy(), g.edge_length.numpy()).items():
            closest[pair] = min(distance, closest.get(pair, distance))
        if not isinstance(frame, EdgeFrame) and frame.pbc.all():
            densities.append(density_of(frame.numbers, frame.cell))
    return TrainingDomain(
        density=(min(densities), max(densities)) if densities else (),
        closest=tuple(Closest(first=a, second=b, distance=d) for (a, b), d in sorted(closest.items())),
        largest_force=largest,
        frames=len(chosen),
    )
