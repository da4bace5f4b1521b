"""Which atoms and edges a graph has, without where the atoms are: this part is kept while atoms move."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, Self

import torch
from torch import Tensor

from rgnn.graphs.triplets import TripletPlan

# Edges in one part of a large graph: [16384, 180] floats are 12 MB. A GPU needs more to be busy.
PART, PART_OF_GPU = 16384, 524288

Rows = slice | Tensor


def take(x: Tensor, rows: Rows) -> Tensor:
    """The rows of x [n, ...] that a slice or an int64 tensor of row numbers names."""
    return x[rows] if isinstance(rows, slice) else x.index_select(0, rows)


class Halo(Protocol):
    """The exchange with other processes, which own the last atoms and edges of a graph.

    Families whose features pass from atom to atom ask for the features of what others own (`nodes`, `edges`). A family
    whose `Locality` says `returns_forces` has no edges of others: its graph holds the edges out of own atoms, and after
    these the neighbours at their ends. It works out the energies of own atoms (those of `Topology.parts`, or the first
    `Topology.own_atoms`), and the forces of these energies on all atoms of the graph, [N, 3]. `return_nodes` then
    adds the forces on borrowed atoms to those of their owners. What its energies take from features of neighbours goes
    the same ways: `nodes` gets the features, and a `return_nodes` before that of the forces gives derivatives back.
    """

    @property
    def own_atoms(self) -> int:
        """The number of atoms of this process; they come first."""

    @property
    def own_edges(self) -> int:
        """The number of edges whose centre is an atom of this process; they come first."""

    def nodes(self, n: Tensor) -> Tensor:
        """Node features [N, F], with the rows that others own as those have computed them."""

    def edges(self, e: Tensor) -> Tensor:
        """Edge features [E, F], with the rows that others own as those have computed them."""

    def return_nodes(self, f: Tensor) -> Tensor:
        """[own, F] sums over all processes, on the owner of each node, of what they have for it in f [N, F].

        Processes must call in turn, each as often as the others with which it shares atoms.
        """


@dataclass(frozen=True)
class Arrivals:
    """Edges by the atoms at which they end.

    Attributes:
        atoms: [n] these atoms, rising.
        order: [out] the edges, those into one atom after those into the one before.
        first: [n + 1] where those into each atom start in the order, and where the last end.
    """

    atoms: Tensor
    order: Tensor
    first: Tensor

    @property
    def place(self) -> Tensor:
        """[out] place among the atoms of that at which each edge of the order ends."""
        places: Tensor = torch.arange(len(self.atoms), device=self.order.device).repeat_interleave(self.first.diff())
        return places


@dataclass(frozen=True)
class Part:
    """Some atoms j of a graph, the edges out of them and the edges into them.

    Every edge goes out of an atom of exactly one part, and into an atom of exactly one part (except edges that other
    processes own and compute). So all that happens at the middle atom j of triplets i -> j -> k, and at the centre of
    messages, happens within one part.

    Attributes:
        atoms: the atoms j, which are consecutive.
        out: the edges j -> k, which are consecutive and sorted by j.
        into: the edges i -> j.
        ends_out: [2, out] the atoms (j, k) of each edge out.
        ends_into: [2, into] the atoms (i, j) of each edge into.
    """

    atoms: slice
    out: slice
    into: Rows
    ends_out: Tensor
    ends_into: Tensor

    @classmethod
    def of(cls, edge_index: Tensor, atoms: slice, out: slice, into: Rows) -> Self:
        """The part with these atoms and edges of a graph whose edge index is [2, E]."""
        return cls(atoms, out, into, edge_index[:, out], edge_index[:, into])

    @property
    def centre(self) -> Tensor:
        """[out] int64 place of j among the atoms of the part."""
        place: Tensor = self.ends_out[0] - self.atoms.start
        return place

    @property
    def n_atoms(self) -> int:
        """The number of atoms in the part."""
        return int(self.atoms.stop - self.atoms.start)

    @cached_property
    def plan(self) -> TripletPlan:
        """The order in which the three-body sum visits the edges."""
        return TripletPlan.build(self.ends_into[1] - self.atoms.start, self.centre, self.n_atoms)

    @cached_property
    def first_out(self) -> Tensor:
        """[atoms + 1] int64: where the edges out of each atom start among those of the part, and where the last end."""
        counts = torch.bincount(self.centre, minlength=self.n_atoms)
        return torch.cat([counts.new_zeros(1), torch.cumsum(counts, 0)])

    @cached_property
    def arrivals(self) -> "Arrivals":
        """The edges out by the atoms at which they end."""
        order = torch.argsort(self.ends_out[1], stable=True)
        atoms, counts = torch.unique_consecutive(self.ends_out[1][order], return_counts=True)
        return Arrivals(atoms, order, torch.cat([counts.new_zeros(1), torch.cumsum(counts, 0)]))

    @cached_property
    def _slots(self) -> tuple[Tensor, int]:
        """[out] the place of each edge among those of its centre, and the largest number of neighbours."""
        centre = self.centre
        first = self.first_out
        slots = torch.arange(len(centre), device=first.device) - first[centre]
        return slots, int(first.diff().max())

    def sum_over_neighbours(self, messages: Tensor) -> Tensor:
        """The sum over k of what each edge (j, k) carries to its centre j: [out, F] -> [atoms, F].

        It is summed as a dense array [atoms, most neighbours, F]: the order of additions is then that of the published
        program, whose floor quantiser turns a different last bit into a different force.
        """
        slots, most = self._slots
        dense = messages.new_zeros((self.n_atoms, most, messages.shape[1]))
        summed: Tensor = dense.index_put((self.centre, slots), messages).sum(1)
        return summed


@dataclass(frozen=True)
class Topology:
    """The atoms and directed edges of one frame or of a batch of frames.

    What depends on these alone (parts, orders, triplets) is worked out once, when first asked for, and shared by all
    graphs with this topology.

    Attributes:
        atomic_numbers: [N] int64.
        edge_index: [2, E] int64, rows (i, j): i the centre, j its neighbour; sorted by i.
        atoms_per_frame: atoms in each frame, in order.
        halo: the exchange with other processes that own some of the atoms, or None where all are here.
    """

    atomic_numbers: Tensor
    edge_index: Tensor
    atoms_per_frame: tuple[int, ...]
    halo: Halo | None = None

    @property
    def n_atoms(self) -> int:
        """The number of atoms in all frames."""
        return self.atomic_numbers.shape[0]

    @property
    def n_edges(self) -> int:
        """The number of directed edges in all frames."""
        return self.edge_index.shape[1]

    @property
    def n_frames(self) -> int:
        """The number of frames."""
        return len(self.atoms_per_frame)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.edge_index.device

    @property
    def own_atoms(self) -> int:
        """The number of atoms that belong to this process, which come first; all where there is no halo."""
        return self.n_atoms if self.halo is None else self.halo.own_atoms

    @property
    def borrows_edges(self) -> bool:
        """Whether the last edges are of atoms that other processes own."""
        return self.halo is not None and self.halo.own_edges < self.n_edges

    @cached_property
    def frame_index(self) -> Tensor:
        """[N] int64 number of the frame of each atom."""
        counts = torch.tensor(self.atoms_per_frame, device=self.device)
        frames = torch.arange(len(counts), device=self.device)
        return torch.repeat_interleave(frames, counts, output_size=self.n_atoms)

    @cached_property
    def incoming(self) -> Tensor:
        """[E] int64 edges by their neighbour j, and by their own order for each j.

        Edges whose centre is owned by another process are left out. The sort is stable, so a sum over the edges into
        an atom runs in the same order every time.
        """
        owned = self.n_edges if self.halo is None else self.halo.own_edges
        return torch.argsort(self.edge_index[1, :owned], stable=True)

    @cached_property
    def whole(self) -> Part:
        """All atoms and edges as one part."""
        every = slice(0, self.n_edges)
        return Part.of(self.edge_index, slice(0, self.n_atoms), every, every)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The atoms, cut into consecutive parts with about `PART` edges each (on a GPU `PART_OF_GPU`).

        Where atoms are borrowed without their edges, the parts hold the own atoms only.
        """
        size = PART if self.device.type == "cpu" else PART_OF_GPU
        if self.n_edges <= size and self.halo is None:
            return (self.whole,)
        centre, neighbour = self.edge_index
        n_atoms = self.n_atoms if self.borrows_edges else self.own_atoms
        edges_before = torch.cumsum(torch.bincount(centre, minlength=n_atoms), 0)
        cuts = size * torch.arange(1, math.ceil(self.n_edges / size), device=self.device)
        ends = torch.searchsorted(edges_before, cuts, right=True)
        atoms = torch.unique(torch.cat([ends.new_tensor([0, n_atoms]), ends]))
        out = torch.cat([edges_before.new_zeros(1), edges_before])[atoms].tolist()
        into = torch.searchsorted(neighbour[self.incoming], atoms).tolist()
        starts = zip(atoms.tolist(), out, into, strict=True)
        parts = [
            Part.of(self.edge_index, slice(*a), slice(*o), self.incoming[slice(*i)])
            for a, o, i in (zip(*pair, strict=True) for pair in itertools.pairwise(starts))
        ]
        return tuple(parts)

    def to(self, device: torch.device | str) -> Self:
        """The topology on a device; itself where it is there already, with all that it has worked out."""
        if self.device == torch.device(device):
            return self
        return replace(self, atomic_numbers=self.atomic_numbers.to(device), edge_index=self.edge_index.to(device))

    @classmethod
    def batch(cls, topologies: Sequence[Self]) -> Self:
        """Several topologies as one, with atoms and edges in the order given; each must have all its atoms here."""
        starts = itertools.accumulate((t.n_atoms for t in topologies), initial=0)
        return cls(
            torch.cat([t.atomic_numbers for t in topologies]),
            torch.cat([t.edge_index + start for t, start in zip(topologies, starts, strict=False)], dim=1),
            tuple(n for t in topologies for n in t.atoms_per_frame),
        )
