"""How far held-out frames are from those trained on, and how far another trajectory would be."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.base.estimate import evenly
from rgnn.data.frames import Frame
from rgnn.data.store.correlation import trajectories
from rgnn.data.store.reader import GraphStore
from rgnn.graphs.graph import Graph

# Frames that displacements are taken between, and frames whose neighbourhoods are compared, evenly chosen.
MOST_HELD, MOST_TRAINED, COMPARED_HELD, COMPARED_TRAINED = 40, 2000, 12, 240
# Gaussians of the distance of a neighbour that describe a neighbourhood.
RADIAL = 8


@dataclass(frozen=True)
class Nearness:
    """How far held-out frames are from training frames.

    Attributes:
        displacement: root mean square displacement of an atom to the nearest training frame, Angstrom, mean over
            held-out frames; None where no training frame has the same atoms.
        unrelated: the same between training frames far from each other in the store or of different trajectories.
        neighbourhood: mean distance of the neighbourhood of a held-out atom to the nearest one in training, in
            standard deviations of a training neighbourhood of its element.
        elsewhere: that of an atom in another trajectory of the training set, or in another stretch of the same one.
    """

    displacement: float | None
    unrelated: float | None
    neighbourhood: float
    elsewhere: float

    @property
    def ratio(self) -> float:
        """How many times as far as held-out frames another trajectory is, 1 at least."""
        return max(1.0, self.elsewhere / max(self.neighbourhood, 1e-9))


def nearness(store: GraphStore, train: Sequence[int], held: Sequence[int]) -> Nearness:
    """Compare held-out frames of a store with its training frames; two seconds for frames of 192 atoms."""
    pieces = trajectories(store)
    some, candidates = evenly(list(held), MOST_HELD), evenly(list(train), MOST_TRAINED)
    displacement, unrelated = None, None
    try:
        trained = [store.frame(k) for k in candidates]
        nearest = [min(_displacements(store.frame(k), trained), default=np.inf) for k in some]
        known = [d for d in nearest if np.isfinite(d)]
        displacement = float(np.mean(known)) if known else None
        apart = evenly(_apart(candidates, pieces), MOST_HELD)
        far = [d for a, b in apart for d in _displacements(store.frame(a), [store.frame(b)])]
        unrelated = float(np.median(far)) if far else None
    except InputError:  # graphs without positions
        pass
    near, elsewhere = _neighbourhoods(store, train, held, pieces)
    return Nearness(displacement, unrelated, near, elsewhere)


def _apart(frames: Sequence[int], pieces: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of frames that have nothing to do with each other, as far as the store tells."""
    half = len(frames) // 2
    pairs = list(zip(frames[:half], frames[half:], strict=False))
    others = [(a, b) for a, b in pairs if pieces[a] != pieces[b]]
    return others or pairs


def _displacements(frame: Frame, others: Sequence[Frame]) -> list[float]:
    """Angstrom, to those of the others that have the same atoms; without what the whole structure has moved."""
    return [_displacement(frame, other) for other in others if np.array_equal(frame.numbers, other.numbers)]


def _displacement(a: Frame, b: Frame) -> float:
    if a.pbc.all() and b.pbc.all():
        scaled = a.positions @ np.linalg.inv(a.cell) - b.positions @ np.linalg.inv(b.cell)
        scaled -= scaled[0]  # of all relative to one atom, which lets the mean be taken within a cell
        scaled -= np.round(scaled)
        scaled -= scaled.mean(axis=0)
        moved = (scaled - np.round(scaled)) @ (0.5 * (a.cell + b.cell))
    else:
        moved = _superposed(a.positions - a.positions.mean(0), b.positions - b.positions.mean(0))
    return float(np.sqrt(np.square(moved).sum(1).mean()))


def _superposed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N, 3] a less the rotation of b that is closest to it (Kabsch 1976)."""
    u, _, v = np.linalg.svd(b.T @ a)
    u[:, -1] *= np.sign(np.linalg.det(u @ v))
    return a - b @ (u @ v)


def _neighbourhoods(
    store: GraphStore, train: Sequence[int], held: Sequence[int], pieces: np.ndarray
) -> tuple[float, float]:
    """Mean distances of neighbourhoods: of held-out atoms, and of those of another trajectory or stretch."""
    trained, some = evenly(list(train), COMPARED_TRAINED), evenly(list(held), COMPARED_HELD)
    made = {k: _described(store.graph(k), store) for k in {*trained, *some}}
    z = torch.cat([made[k][0] for k in trained])
    x = torch.cat([made[k][1] for k in trained])
    frame = torch.cat([torch.full((len(made[k][0]),), k) for k in trained])
    near, far = list[Tensor](), list[Tensor]()
    for element in z.unique().tolist():
        mine = z == element
        mean, deviation = x[mine].mean(0), x[mine].std(0).clamp_min(1e-3)
        known, of = (x[mine] - mean) / deviation, frame[mine]
        for k in some:
            near.append(_nearest((made[k][1][made[k][0] == element] - mean) / deviation, known))
        for asked, allowed in _elsewhere(trained, pieces):
            there = torch.isin(of, torch.tensor(allowed))
            for k in asked:
                far.append(_nearest(known[of == k], known[there]))
    held_out, other = torch.cat(near), torch.cat(far) if far else torch.cat(near)
    return float(held_out.mean()), float(other.mean())


def _elsewhere(trained: Sequence[int], pieces: np.ndarray) -> list[tuple[list[int], list[int]]]:
    """Frames to ask for, and frames to compare them with: of other trajectories, or else of other stretches."""
    own = np.asarray(trained)
    piece = pieces[own]
    numbers = np.unique(piece)
    if len(numbers) > 1:
        return [
            (evenly(own[piece == p].tolist(), COMPARED_HELD // 2), own[piece != p].tolist())
            for p in evenly(numbers.tolist(), 4)
        ]
    n = len(own)
    late, early = own[3 * n // 4 :].tolist(), own[: n // 2].tolist()
    back, front = own[: n // 4].tolist(), own[n // 2 :].tolist()
    return [(evenly(a, COMPARED_HELD // 2), b) for a, b in ((late, early), (back, front)) if a and b]


def _nearest(asked: Tensor, known: Tensor) -> Tensor:
    """[asked] distance to the nearest of the known [known, numbers], per number."""
    if not len(asked) or not len(known):
        return asked.new_zeros(0)
    return torch.cdist(asked, known).amin(1) / asked.shape[1] ** 0.5


def _described(g: Graph, store: GraphStore) -> tuple[Tensor, Tensor]:
    """Elements [N] and neighbourhoods [N, numbers]: radial densities by element of the neighbour, and their dipoles."""
    elements = torch.tensor(store.elements)
    i, j = g.edge_index
    d = g.edge_length.float()
    centres = torch.linspace(0.8, store.cutoff, RADIAL)
    width = float(centres[1] - centres[0])
    envelope = 0.5 + 0.5 * torch.cos(torch.pi * d / store.cutoff)
    radial = torch.exp(-0.5 * ((d[:, None] - centres) / width) ** 2) * envelope[:, None]
    row = i * len(elements) + torch.searchsorted(elements, g.atomic_numbers)[j]
    unit = (g.edge_vector / g.edge_length[:, None]).float()
    terms = torch.cat([radial, *(radial * unit[:, axis, None] for axis in range(3))], dim=1)
    sums = terms.new_zeros(g.n_atoms * len(elements), 4 * RADIAL).index_add_(0, row, terms)
    dipole = sums[:, RADIAL:].view(-1, 3, RADIAL).norm(dim=1)
    return g.atomic_numbers, torch.cat([sums[:, :RADIAL], dipole], dim=1).view(g.n_atoms, -1)
