"""The graph of one rank: its own atoms, and what it borrows from the ranks of their neighbours.

Own atoms come first. For families whose features pass from atom to atom come then the neighbours of own atoms that
others own (their edges are needed, as e_jk of triplets i -> j -> k), and then the neighbours of these (their features
only). An atom is one node, however many of its periodic images are near. The owner of an atom hands out its edges, so
all ranks have the same edges in the same order: sums then run in one order everywhere, and the same bits come to the
quantisers, which turn a different last bit into a different code.

A family whose features need no edges of others borrows none: after the own atoms come their neighbours, and forces on
these go back to their owners.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from rgnn.base.errors import BrokenRunError
from rgnn.graphs.graph import Graph
from rgnn.graphs.topology import Topology
from rgnn.graphs.triplets import ranges
from rgnn.md.lammps.world import World


@dataclass
class Directory:
    """Who owns which atom, by its tag, and which element it is; kept while no atom changes its owner."""

    tags: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    owner: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    atomic_numbers: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def update(self, world: World, tags: np.ndarray, atomic_numbers: np.ndarray) -> None:
        """Learn of the own atoms; all ranks must call."""
        moved = not np.array_equal(tags, self.tags)
        if world.sum(np.array([moved], np.int64))[0] == 0:
            return
        self.tags = tags
        everywhere = world.all_to_all([np.stack([tags, atomic_numbers], axis=1)] * world.size)
        n_tags = 1 + max(int(rows[:, 0].max(initial=0)) for rows in everywhere)
        self.owner, self.atomic_numbers = np.full(n_tags, -1, np.int32), np.zeros(n_tags, np.int64)
        for rank, rows in enumerate(everywhere):
            self.owner[rows[:, 0]], self.atomic_numbers[rows[:, 0]] = rank, rows[:, 1]

    def by_owner(self, world: World, tags: np.ndarray) -> list[np.ndarray]:
        """These tags, each once and sorted, for each rank."""
        tags = np.unique(tags)
        owner = self.owner[tags]
        return [tags[owner == rank] for rank in range(world.size)]


@dataclass(frozen=True)
class OwnEdges:
    """The edges out of a rank's own atoms, in an order that does not depend on the rank.

    Attributes:
        tags: [n] of the own atoms, rising.
        centre: [E] row of i among them, rising.
        neighbour: [E] tag of j; rising for each i, its images in the order of `sorted_edges`.
        vector: [E, 3] r_j - r_i, in Angstrom.
    """

    tags: np.ndarray
    centre: np.ndarray
    neighbour: np.ndarray
    vector: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """[n + 1] the first edge of each atom."""
        return np.searchsorted(self.centre, np.arange(len(self.tags) + 1))


def sorted_edges(centre: np.ndarray, neighbour: np.ndarray, vector: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """What sorts edges by centre, tag of the neighbour and, for its images, whole cell vectors between them.

    This is the order of `neighbour_list`, for tags that count as its atoms do.
    """
    order = np.lexsort((neighbour, centre))
    c, n = centre[order], neighbour[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (c[1:] != c[:-1]) | (n[1:] != n[:-1])
    if fresh.all():
        return order
    first = np.flatnonzero(fresh)[np.cumsum(fresh) - 1]
    between = np.rint((vector[order] - vector[order[first]]) @ np.linalg.inv(cell)).astype(np.int64)
    return order[np.lexsort((*between.T[::-1], n, c))]


@dataclass(frozen=True)
class RankHalo:
    """Which rows go to which rank and come from it.

    Attributes:
        own_atoms: own nodes; they come first.
        own_edges: edges of own atoms; they come first.
        nodes_out, nodes_in: [ranks] rows of the nodes that each rank is sent, and that it sends.
        edges_out: [ranks] rows of the edges that each rank is sent; those it sends come one rank after the other.
        edges_in: [ranks] how many it sends.
    """

    world: World
    own_atoms: int
    own_edges: int
    nodes_out: list[Tensor]
    nodes_in: list[Tensor]
    edges_out: list[Tensor]
    edges_in: list[int]

    def nodes(self, n: Tensor) -> Tensor:
        """[N, F] with the rows of the others as they have them."""
        received = self._swap(n, self.nodes_out, [len(rows) for rows in self.nodes_in])
        return n.index_copy(0, torch.cat(self.nodes_in).to(n.device), received)

    def edges(self, e: Tensor) -> Tensor:
        """[E, F] with the rows of the others as they have them."""
        e[self.own_edges :] = self._swap(e, self.edges_out, self.edges_in)
        return e

    def return_nodes(self, f: Tensor) -> Tensor:
        """[own, F] of f [N, F], with what the others have for own nodes added, one rank after the other."""
        received = self._swap(f, self.nodes_in, [len(rows) for rows in self.nodes_out])
        return f[: self.own_atoms].index_add(0, torch.cat(self.nodes_out).to(f.device), received)

    def _swap(self, x: Tensor, out: list[Tensor], expected: list[int]) -> Tensor:
        sent = [x.index_select(0, rows.to(x.device)).cpu().numpy() for rows in out]
        return torch.from_numpy(np.concatenate(self.world.all_to_all(sent, expected))).to(x.device)


def shared_graph(
    world: World, directory: Directory, own: OwnEdges, volume: float | None = None, *, borrows_edges: bool = True
) -> Graph:
    """The graph of this rank, with what it borrows; all ranks must call.

    Args:
        world: the ranks.
        directory: who owns which atom.
        own: edges out of own atoms.
        volume: of the whole cell, Angstrom^3; None where it is not periodic in three directions.
        borrows_edges: features pass from atom to atom, so that edges of borrowed atoms are needed.

    Raises:
        BrokenRunError: another rank asks for an atom that is not here.
    """
    starts = own.starts
    if not borrows_edges:
        return _graph_of_own_edges(world, directory, own, volume)
    # The edges of neighbours that others own.
    halo = directory.by_owner(world, np.setdiff1d(own.neighbour, own.tags))
    asked = world.all_to_all(halo)
    rows = [_rows(own.tags, tags) for tags in asked]
    degree = np.diff(starts)
    edges_out = [ranges(degree[r], starts[r]) for r in rows]
    degrees = world.all_to_all([degree[r] for r in rows], [len(tags) for tags in halo])
    edges_in = [int(counts.sum()) for counts in degrees]
    ends = world.all_to_all([own.neighbour[e] for e in edges_out], edges_in)
    vectors = world.all_to_all([own.vector[e] for e in edges_out], edges_in)
    # The features of what these edges end at.
    known = np.concatenate([own.tags, *halo])
    further = directory.by_owner(world, np.setdiff1d(np.concatenate(ends), known))
    wanted = world.all_to_all(further)
    nodes = np.concatenate([known, *further])
    by_tag = np.argsort(nodes)

    def row(tags: np.ndarray) -> np.ndarray:
        return by_tag[np.searchsorted(nodes, tags, sorter=by_tag)]

    centre = np.repeat(np.arange(len(own.tags), len(known)), np.concatenate(degrees))
    edge_index = np.stack([np.concatenate([own.centre, centre]), row(np.concatenate([own.neighbour, *ends]))])
    nodes_out = [np.concatenate([r, _rows(own.tags, tags)]) for r, tags in zip(rows, wanted, strict=True)]
    nodes_in = [row(np.concatenate(pair)) for pair in zip(halo, further, strict=True)]
    links = RankHalo(
        world, len(own.tags), len(own.centre), _tensors(nodes_out), _tensors(nodes_in), _tensors(edges_out), edges_in
    )
    return _graph(directory, nodes, edge_index, np.concatenate([own.vector, *vectors]), links, volume)


def _graph_of_own_edges(world: World, directory: Directory, own: OwnEdges, volume: float | None) -> Graph:
    """Own atoms with their edges, and the neighbours that others own, with none."""
    borrowed = directory.by_owner(world, np.setdiff1d(own.neighbour, own.tags))
    nodes_out = [_rows(own.tags, tags) for tags in world.all_to_all(borrowed)]
    ends = np.cumsum([len(own.tags), *(len(tags) for tags in borrowed)])
    nodes_in = [np.arange(first, end) for first, end in itertools.pairwise(ends)]
    nodes = np.concatenate([own.tags, *borrowed])
    by_tag = np.argsort(nodes)
    edge_index = np.stack([own.centre, by_tag[np.searchsorted(nodes, own.neighbour, sorter=by_tag)]])
    nothing = [torch.empty(0, dtype=torch.int64)] * world.size
    halo = RankHalo(
        world, len(own.tags), len(own.centre), _tensors(nodes_out), _tensors(nodes_in), nothing, [0] * world.size
    )
    return _graph(directory, nodes, edge_index, own.vector, halo, volume)


def _graph(
    directory: Directory,
    nodes: np.ndarray,
    edge_index: np.ndarray,
    vector: np.ndarray,
    halo: RankHalo,
    volume: float | None,
) -> Graph:
    topology = Topology(
        torch.from_numpy(directory.atomic_numbers[nodes]),
        torch.from_numpy(edge_index),
        (len(nodes),),
        halo=halo if halo.world.size > 1 else None,
    )
    cell = None if volume is None else torch.tensor([volume], dtype=torch.float64)
    return Graph(topology, torch.from_numpy(vector), volume=cell)


def _rows(tags: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Places of the asked tags among these rising ones."""
    rows = np.searchsorted(tags, asked)
    here = rows < len(tags)
    if not (here.all() and np.array_equal(tags[rows], asked)):
        lost = asked[~here] if not here.all() else asked[tags[rows] != asked]
        raise BrokenRunError(f"another process asks for atom {lost[0]}, which is not here; please report this.")
    return rows


def _tensors(arrays: Sequence[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(np.asarray(array, dtype=np.int64)) for array in arrays]
