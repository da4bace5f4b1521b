"""How far held-out frames are from those trained on, and how far another trajectory would be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.base.estimate import evenly
from rgnn.data.displacements import Placed
from rgnn.data.store.correlation import trajectories
from rgnn.data.store.reader import GraphStore
from rgnn.graphs.graph import Graph

# Frames that displacements are taken between, and frames whose neighbourhoods are compared, evenly chosen.
MOST_HELD, MOST_TRAINED, COMPARED_HELD, COMPARED_TRAINED = 40, 2000, 12, 240
# Training frames that are compared besides: the next of the store on either side, and those about the nearest found.
BESIDE, ABOUT = 2, 100
# Frames of another store are of the same trajectories where they lie this share of unrelated ones from the nearest.
RELATED = 0.5
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
    """Compare held-out frames of a store with its training frames; three seconds for frames of 192 atoms.

    The nearest training frame is looked for among frames evenly chosen, then about the best of these, and always among
    those next to the held-out frame, which are the nearest of most trajectories however long they are.
    """
    pieces, ordered = trajectories(store), np.sort(np.asarray(train))
    some = evenly(list(held), MOST_HELD)
    beside = {k: _beside(ordered, k) for k in some}
    displacement, unrelated = None, None
    try:
        placed = _Placements(store)
        found = [_nearest_frame(placed.of(k), placed, ordered, beside[k]) for k in some]
        for k, (_, frame) in zip(some, found, strict=True):
            beside[k] = sorted({*beside[k], *frame})
        known = [distance for distance, frame in found if frame]
        displacement = float(np.mean(known)) if known else None
        unrelated = _unrelated(placed, train, pieces)
    except InputError:  # graphs without positions
        pass
    near, elsewhere = _neighbourhoods(store, train, beside, pieces)
    return Nearness(displacement, unrelated, near, elsewhere)


def _beside(ordered: np.ndarray, k: int) -> list[int]:
    """The training frames next to frame k of the store, on either side; the training frames [n] rise."""
    at = int(np.searchsorted(ordered, k))
    return ordered[max(0, at - BESIDE) : at + BESIDE].tolist()


class _Placements:
    """Where the atoms of frames of a store are; each frame is read once."""

    def __init__(self, store: GraphStore) -> None:
        self.store, self.known = store, dict[int, Placed]()

    def of(self, k: int) -> Placed:
        """Of frame k."""
        if k not in self.known:
            self.known[k] = Placed.of(self.store.frame(k))
        return self.known[k]


def _unrelated(placed: _Placements, train: Sequence[int], pieces: np.ndarray) -> float | None:
    """Displacement between training frames that have nothing to do with each other, Angstrom; None without any."""
    apart = evenly(_apart(evenly(list(train), MOST_TRAINED), pieces), MOST_HELD)
    far = [d for a, b in apart if (d := placed.of(a).displacement(placed.of(b))) is not None]
    return float(np.median(far)) if far else None


def related(store: GraphStore, other: GraphStore) -> tuple[float, float] | None:
    """How far frames of another store lie from the nearest of one, and unrelated frames of that from each other.

    Both are root mean square displacements of an atom, Angstrom. None where the former are not so near that they are
    of the same trajectories, or where it cannot be told.
    """
    try:
        placed, theirs, ordered = _Placements(store), _Placements(other), np.arange(len(store))
        some = evenly(range(len(other)), MOST_HELD)
        found = [d for k in some if np.isfinite(d := _nearest_frame(theirs.of(k), placed, ordered, [])[0])]
        unrelated = _unrelated(placed, ordered.tolist(), trajectories(store))
    except InputError:  # graphs without positions
        return None
    if unrelated is None or not found or (near := float(np.median(found))) > RELATED * unrelated:
        return None
    return near, unrelated


def _nearest_frame(
    mine: Placed, placed: _Placements, ordered: np.ndarray, beside: list[int]
) -> tuple[float, list[int]]:
    """Displacement to the nearest training frame found, Angstrom, and its number; infinite and none without any."""

    def nearest(frames: Iterable[int]) -> tuple[float, int]:
        displaced = ((mine.displacement(placed.of(each)), each) for each in frames)
        return min(((d, each) for d, each in displaced if d is not None), default=(np.inf, -1))

    places = evenly(range(len(ordered)), MOST_TRAINED)
    best = nearest(ordered[places].tolist())
    if best[1] >= 0 and len(places) < len(ordered):
        at = places.index(int(np.searchsorted(ordered, best[1])))
        about = range(places[max(0, at - 1)], places[min(len(places) - 1, at + 1)] + 1)
        best = min(best, nearest(ordered[evenly(about, ABOUT)].tolist()))
    distance, frame = min(best, nearest(beside))
    return distance, [] if frame < 0 else [frame]


def _apart(frames: Sequence[int], pieces: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of frames that have nothing to do with each other, as far as the store tells."""
    half = len(frames) // 2
    pairs = list(zip(frames[:half], frames[half:], strict=False))
    others = [(a, b) for a, b in pairs if pieces[a] != pieces[b]]
    return others or pairs


def _neighbourhoods(
    store: GraphStore, train: Sequence[int], beside: Mapping[int, list[int]], pieces: np.ndarray
) -> tuple[float, float]:
    """Mean distances of neighbourhoods: of held-out atoms, and of those of another trajectory or stretch.

    Args:
        store: of the frames.
        train: numbers of the training frames, of which some are compared.
        beside: held-out frames, with training frames that each is compared with besides.
        pieces: [frames] number of the trajectory of each.
    """
    trained, some = evenly(list(train), COMPARED_TRAINED), evenly(list(beside), COMPARED_HELD)
    made = {k: _described(store.graph(k), store) for k in {*trained, *some, *(j for k in some for j in beside[k])}}
    z = torch.cat([made[k][0] for k in trained])
    x = torch.cat([made[k][1] for k in trained])
    frame = torch.cat([torch.full((len(made[k][0]),), k) for k in trained])
    near, far = list[Tensor](), list[Tensor]()
    for element in z.unique().tolist():
        mine = z == element
        mean, deviation = x[mine].mean(0), x[mine].std(0, correction=0).clamp_min(1e-3)
        known, of = (x[mine] - mean) / deviation, frame[mine]
        for k in some:
            asked, *others = ((made[j][1][made[j][0] == element] - mean) / deviation for j in (k, *beside[k]))
            near.append(_nearest(asked, torch.cat([known, *others])))
        for frames, allowed in _elsewhere(trained, pieces):
            there = torch.isin(of, torch.tensor(allowed))
            for k in frames:
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
