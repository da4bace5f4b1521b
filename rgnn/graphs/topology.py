"""Topology."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import torch
from torch import Tensor

from rgnn.graphs.triplets import TripletPlan

# Edges in one part of a large graph: [16384, 180] floats are 12 MB.
PART = 16384


Rows = slice | Tensor


def take(x: Tensor, rows: Rows) -> Tensor:
    """Rows of x."""
    return x[rows] if isinstance(rows, slice) else x.index_select(0, rows)


class Halo(Protocol):
    """The last atoms and edges of a graph are those of other processes, which compute their features."""

    @property
    def own_edges(self) -> int:
        """Edges whose centre is an atom of this process; they come first."""

    def nodes(self, n: Tensor) -> Tensor:
        """[N, F] with the rows of the others as they have them."""

    def edges(self, e: Tensor) -> Tensor:
        """[E, F] with the rows of the others as they have them."""


@dataclass(frozen=True)
class Part:
    """Some atoms j of a graph, the edges out of them and the edges into them.

    The edges out of the atoms of all parts are all edges, and so are the edges into them (but for edges of other
    processes, which these compute): what happens at the middle atom j of triplets i -> j -> k, and at the centre of
    messages, happens within one part.

    Attributes:
        atoms: the atoms, consecutive.
        out: the edges j -> k, consecutive, sorted by j.
        into: the edges i -> j.
        ends_out, ends_into: [2, ...] their atoms (j, k) and (i, j).
    """

    atoms: slice
    out: slice
    into: Rows
    ends_out: Tensor
    ends_into: Tensor

    @classmethod
    def of(cls, edge_index: Tensor, atoms: slice, out: slice, into: Rows) -> Self:
        """From the edges of the graph."""
        return cls(atoms, out, into, edge_index[:, out], edge_index[:, into])

    @property
    def centre(self) -> Tensor:
        """[out] place of j among the atoms."""
        return self.ends_out[0] - self.atoms.start

    @property
    def n_atoms(self) -> int:
        return int(self.atoms.stop - self.atoms.start)

    @cached_property
    def plan(self) -> TripletPlan:
        """The order in which the three-body sum visits the edges."""
        return TripletPlan.build(self.ends_into[1] - self.atoms.start, self.centre, self.n_atoms)

    @cached_property
    def first_out(self) -> Tensor:
        """[atoms + 1] where the edges out of each atom start among those of the part, and their end."""
        counts = torch.bincount(self.centre, minlength=self.n_atoms)
        return torch.cat([counts.new_zeros(1), torch.cumsum(counts, 0)])

    @cached_property
    def _slots(self) -> tuple[Tensor, int]:
        """[out] the place of each edge among those of its centre, and the largest number of neighbours."""
        centre = self.centre
        first = self.first_out
        slots = torch.arange(len(centre), device=first.device) - first[centre]
        return slots, int(first.diff().max())

    def sum_over_neighbours(self, messages: Tensor) -> Tensor:
        """[out, F] -> [atoms, F]: the sum over k of what each edge (j, k) carries to its centre j.

        Summed as a dense array [atoms, most neighbours, F]: the order of additions is then that of the published
        program, whose floor quantiser turns a different last bit into a different force.
        """
        slots, most = self._slots
        dense = messages.new_zeros((self.n_atoms, most, messages.shape[1]))
        return dense.index_put((self.centre, slots), messages).sum(1)
