"""Which frames of a run are worth a label: those farthest from all that has one, and from each other."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from rgnn.base.estimate import evenly
from rgnn.base.rng import numpy_stream
from rgnn.data.store.reader import GraphStore
from rgnn.graphs.graph import Graph
from rgnn.models.base import ForceField
from rgnn.models.feature_space import FeatureSpace

# Labelled atoms of an element that distances are taken to, evenly chosen, and frames of a store they come from.
MOST_ATOMS, MOST_FRAMES = 20_000, 500

# Coordinates of the atoms of a frame, by atomic number.
Places = dict[int, Tensor]


def farthest_frames(
    model: ForceField, store: GraphStore, trained: Sequence[int], candidates: Sequence[Atoms], n: int
) -> list[int]:
    """Numbers of `n` candidates, the farthest first: each time the one farthest from labelled and chosen frames.

    The distance of a frame is the root mean square over its atoms of that to the nearest atom of the same element, in
    what the model knows of their surroundings on a chip without noise (`rgnn.models.feature_space`).

    Args:
        model: whose features are compared.
        store: the labelled frames.
        trained: numbers of those that the space is scaled by.
        candidates: structures with a neighbour inside the cutoff for some atom.
        n: number of them to choose.
    """
    if len(candidates) <= n:
        return list(range(len(candidates)))
    space = FeatureSpace.from_features(_features(model, (store.graph(k) for k in evenly(trained, MOST_FRAMES))))
    known = _joined(_places(model, space, (store.graph(k) for k in evenly(range(len(store)), MOST_FRAMES))))
    places = list(_places(model, space, (_graph(atoms, model) for atoms in candidates)))
    nearest = [
        {z: _squares(x, known[z]) if z in known else torch.full((len(x),), torch.inf) for z, x in each.items()}
        for each in places
    ]
    chosen: list[int] = []
    while len(chosen) < n:
        scores = [-1.0 if k in chosen else _mean(each) for k, each in enumerate(nearest)]
        best = int(np.argmax(scores))
        chosen.append(best)
        for each, mine in zip(nearest, places, strict=True):
            for z, x in mine.items():
                if z in places[best]:
                    each[z] = torch.minimum(each[z], _squares(x, places[best][z]))
    return chosen


def random_frames(candidates: int, n: int, seed: int, number: int) -> list[int]:
    """Numbers of `n` of so many candidates, at random; the same for a seed and the number of the round."""
    return numpy_stream(seed, "random frames", number).permutation(candidates)[:n].tolist()


def _mean(squares: Places) -> float:
    return float(torch.cat(list(squares.values())).mean())


def _graph(atoms: Atoms, model: ForceField) -> Graph:
    return Graph.from_positions(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, model.settings.cutoff)


@torch.no_grad()
def _features(model: ForceField, graphs: Iterable[Graph]) -> Iterable[tuple[Tensor, Tensor]]:
    for g in graphs:
        g = g.to(model.device)
        yield g.atomic_numbers, model.atom_features(g, model.read())


def _places(model: ForceField, space: FeatureSpace, graphs: Iterable[Graph]) -> Iterable[Places]:
    for numbers, features in _features(model, graphs):
        x = space.coordinates(features, numbers).cpu()
        yield {z: x[numbers.cpu() == z] for z in numbers.unique().tolist()}


def _joined(places: Iterable[Places]) -> Places:
    """All atoms of each element, of many as many as `MOST_ATOMS`."""
    found: dict[int, list[Tensor]] = {}
    for each in places:
        for z, x in each.items():
            found.setdefault(z, []).append(x)
    joined = {z: torch.cat(parts) for z, parts in found.items()}
    return {z: x[torch.linspace(0, len(x) - 1, min(len(x), MOST_ATOMS)).long()] for z, x in joined.items()}


def _squares(x: Tensor, others: Tensor) -> Tensor:
    """[N] mean square per dimension of the difference between each row and the nearest of the others; an element that
    no training atom had is infinitely far.
    """
    return (torch.cdist(x, others).amin(1).square() / max(1, x.shape[1])).nan_to_num(nan=torch.inf)
