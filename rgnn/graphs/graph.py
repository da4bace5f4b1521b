"""Graphs: atoms and directed edges of one frame, or of a batch of frames, as tensors."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.graphs.neighbours import edge_vectors, neighbour_list
from rgnn.graphs.topology import PART, Halo, Part


@dataclass(frozen=True)
class Graph:
    """One frame or a batch of frames.

    Attributes:
        atomic_numbers: [N] int64.
        edge_index: [2, E] int64, rows (i, j): i the centre, j its neighbour; sorted by i.
        edge_vector: [E, 3] float64 r_j - r_i + shift . cell, in Angstrom.
        atoms_per_frame: atoms in each frame, in order.
        forces: [N, 3] float32 labels in eV/Angstrom, or None where there are none.
        halo: what belongs to other processes, or None where all of the graph is here.
    """

    atomic_numbers: Tensor
    edge_index: Tensor
    edge_vector: Tensor
    atoms_per_frame: tuple[int, ...]
    forces: Tensor | None = field(default=None)
    halo: Halo | None = field(default=None)

    @property
    def n_atoms(self) -> int:
        return self.atomic_numbers.shape[0]

    @property
    def n_edges(self) -> int:
        return self.edge_index.shape[1]

    @cached_property
    def edge_length(self) -> Tensor:
        """[E] float64, in Angstrom."""
        return torch.linalg.vector_norm(self.edge_vector, dim=1)

    @cached_property
    def whole(self) -> "Part":
        """All atoms and edges."""
        every = slice(0, self.n_edges)
        return Part.of(self.edge_index, slice(0, self.n_atoms), every, every)

    @cached_property
    def parts(self) -> tuple["Part", ...]:
        """The atoms in runs with about `PART` edges each."""
        if self.n_edges <= PART and self.halo is None:
            return (self.whole,)
        updated = self.n_edges if self.halo is None else self.halo.own_edges
        centre, neighbour = self.edge_index
        edges_before = torch.cumsum(torch.bincount(centre, minlength=self.n_atoms), 0)
        ends = torch.searchsorted(edges_before, torch.arange(1, math.ceil(self.n_edges / PART)) * PART, right=True)
        atoms = torch.unique(torch.cat([ends.new_tensor([0, self.n_atoms]), ends]))
        out = torch.cat([edges_before.new_zeros(1), edges_before])[atoms].tolist()
        by_neighbour = torch.argsort(neighbour[:updated], stable=True)
        into = torch.searchsorted(neighbour[by_neighbour], atoms).tolist()
        starts = zip(atoms.tolist(), out, into, strict=True)
        parts = [
            Part.of(self.edge_index, slice(*a), slice(*o), by_neighbour[slice(*i)])
            for a, o, i in (zip(*pair, strict=True) for pair in itertools.pairwise(starts))
        ]
        return tuple(parts)

    @cached_property
    def frame_index(self) -> Tensor:
        """[N] the frame of each atom."""
        counts = torch.tensor(self.atoms_per_frame, device=self.edge_index.device)
        return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)

    def exchange_nodes(self, n: Tensor) -> Tensor:
        """Node features [N, F], those of the halo as its owners have computed them."""
        return n if self.halo is None else self.halo.nodes(n)

    def exchange_edges(self, e: Tensor) -> Tensor:
        """The same for edge features [E, F]."""
        return e if self.halo is None else self.halo.edges(e)

    def moved(self, edge_vector: np.ndarray) -> Self:
        """The same edges with other vectors [E, 3]: nothing that depends on the edges alone is worked out again."""
        moved = replace(self, edge_vector=torch.as_tensor(edge_vector))
        for name in ("whole", "parts", "frame_index"):
            if name in self.__dict__:
                moved.__dict__[name] = self.__dict__[name]
        return moved

    def to(self, device: torch.device | str) -> Self:
        """The graph on a device; itself where it is there already, with all that it has worked out."""
        if self.edge_index.device == torch.device(device):
            return self
        return replace(
            self,
            atomic_numbers=self.atomic_numbers.to(device),
            edge_index=self.edge_index.to(device),
            edge_vector=self.edge_vector.to(device),
            forces=None if self.forces is None else self.forces.to(device),
        )

    @classmethod
    def from_arrays(
        cls,
        atomic_numbers: np.ndarray,
        edge_index: np.ndarray,
        edge_vector: np.ndarray,
        forces: np.ndarray | None = None,
    ) -> Self:
        """A single frame from NumPy arrays whose edges are already sorted by centre."""
        return cls(
            torch.as_tensor(np.asarray(atomic_numbers, dtype=np.int64)),
            torch.as_tensor(np.asarray(edge_index, dtype=np.int64)),
            torch.as_tensor(np.asarray(edge_vector, dtype=np.float64)),
            (len(atomic_numbers),),
            None if forces is None else torch.as_tensor(np.asarray(forces, dtype=np.float32)),
        )

    @classmethod
    def from_positions(
        cls,
        atomic_numbers: np.ndarray,
        positions: np.ndarray,
        cell: np.ndarray,
        pbc: np.ndarray,
        cutoff: float,
        forces: np.ndarray | None = None,
    ) -> Self:
        """A single frame with its neighbours searched; positions and cell in Angstrom."""
        edge_index, shift = neighbour_list(positions, cell, pbc, cutoff)
        vector = edge_vectors(positions, cell, edge_index, shift)
        return cls.from_arrays(atomic_numbers, edge_index, vector, forces)

    @classmethod
    def batch(cls, graphs: Sequence[Self]) -> Self:
        """Several graphs as one, with atoms and edges in the order given."""
        if len(graphs) == 1:
            return graphs[0]
        starts = np.cumsum([0] + [g.n_atoms for g in graphs[:-1]])
        labels = [g.forces for g in graphs if g.forces is not None]
        if labels and len(labels) != len(graphs):
            raise InputError("a batch mixes frames with and without forces; label all of them or none.")
        return cls(
            torch.cat([g.atomic_numbers for g in graphs]),
            torch.cat([g.edge_index + int(s) for g, s in zip(graphs, starts, strict=True)], dim=1),
            torch.cat([g.edge_vector for g in graphs]),
            tuple(n for g in graphs for n in g.atoms_per_frame),
            torch.cat(labels) if labels else None,
        )
