"""Graphs: a topology with where its atoms are, as vectors of its edges, and with the labels of its frames."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.graphs.neighbours import edge_vectors, neighbour_list
from rgnn.graphs.topology import Part, Topology


@dataclass(frozen=True)
class Labels:
    """What a calculator of reference has computed for the frames of a graph, each part None where none is known.

    Attributes:
        forces: [N, 3] float32, eV/Angstrom; of all atoms or of none.
        energy: [frames] float64, eV; not-a-number for a frame whose energy is unknown.
        stress: [frames, 3, 3] float64, eV/Angstrom^3, with the sign of ASE (positive under tension); not-a-number
            for a frame whose stress is unknown.
    """

    forces: Tensor | None = None
    energy: Tensor | None = None
    stress: Tensor | None = None

    def to(self, device: torch.device | str) -> Self:
        """The labels on a device."""
        return type(self)(
            None if self.forces is None else self.forces.to(device),
            None if self.energy is None else self.energy.to(device),
            None if self.stress is None else self.stress.to(device),
        )

    @classmethod
    def of_frame(cls, forces: np.ndarray | None, energy: float | None = None, stress: np.ndarray | None = None) -> Self:
        """The labels of one frame, as far as they are known.

        Args:
            forces: [N, 3], eV/Angstrom.
            energy: eV.
            stress: [6] xx, yy, zz, yz, xz, xy in eV/Angstrom^3, of ASE's sign.
        """
        full = None if stress is None else np.asarray(stress, np.float64)[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(1, 3, 3)
        return cls(
            None if forces is None else torch.as_tensor(np.asarray(forces, dtype=np.float32)),
            None if energy is None else torch.tensor([energy], dtype=torch.float64),
            None if full is None else torch.as_tensor(full),
        )

    @classmethod
    def batch(cls, labels: Sequence[Self], n_frames: Sequence[int]) -> Self:
        """The labels of several graphs as those of one; `n_frames` gives the number of frames of each graph.

        Raises:
            InputError: some of the graphs have forces and others have none.
        """
        forces = [one.forces for one in labels if one.forces is not None]
        if forces and len(forces) != len(labels):
            raise InputError("a batch mixes frames with and without forces; label all of them or none.")
        return cls(
            torch.cat(forces) if forces else None,
            _by_frame([one.energy for one in labels], n_frames, ()),
            _by_frame([one.stress for one in labels], n_frames, (3, 3)),
        )


@dataclass(frozen=True)
class Graph:
    """One frame or a batch of frames.

    Attributes:
        topology: its atoms and directed edges.
        edge_vector: [E, 3] float64 r_j - r_i + shift . cell, in Angstrom.
        labels: reference forces, energies and stresses, as far as they are known.
        volume: [frames] float64 of the cell, Angstrom^3, not-a-number for a frame that is not periodic along all
            three cell vectors or whose cell is unknown; None where that holds for all frames.
    """

    topology: Topology
    edge_vector: Tensor
    labels: Labels = Labels()
    volume: Tensor | None = None

    @property
    def n_atoms(self) -> int:
        """The number of atoms in all frames."""
        return self.topology.n_atoms

    @property
    def n_edges(self) -> int:
        """The number of directed edges in all frames."""
        return self.topology.n_edges

    @property
    def atomic_numbers(self) -> Tensor:
        """[N] int64."""
        return self.topology.atomic_numbers

    @property
    def edge_index(self) -> Tensor:
        """[2, E] int64 atoms (i, j) of each edge, sorted by i."""
        return self.topology.edge_index

    @property
    def atoms_per_frame(self) -> tuple[int, ...]:
        """Atoms in each frame, in order."""
        return self.topology.atoms_per_frame

    @property
    def frame_index(self) -> Tensor:
        """[N] int64 number of the frame of each atom."""
        return self.topology.frame_index

    @property
    def whole(self) -> Part:
        """All atoms and edges as one part."""
        return self.topology.whole

    @property
    def parts(self) -> tuple[Part, ...]:
        """The atoms, cut into consecutive parts with about `topology.PART` edges each; see `Topology.parts`."""
        return self.topology.parts

    @property
    def forces(self) -> Tensor | None:
        """[N, 3] float32 reference forces in eV/Angstrom, or None where there are none."""
        return self.labels.forces

    @cached_property
    def edge_length(self) -> Tensor:
        """[E] float64 length of each edge, in Angstrom."""
        length: Tensor = torch.linalg.vector_norm(self.edge_vector, dim=1)
        return length

    def exchange_nodes(self, n: Tensor) -> Tensor:
        """Node features [N, F], with the rows that other processes own as those have computed them."""
        halo = self.topology.halo
        return n if halo is None else halo.nodes(n)

    def exchange_edges(self, e: Tensor) -> Tensor:
        """Edge features [E, F], with the rows that other processes own as those have computed them."""
        halo = self.topology.halo
        return e if halo is None else halo.edges(e)

    def return_nodes(self, f: Tensor) -> Tensor:
        """[own, F] of what is known here of nodes [N, F], with what other processes have for own nodes added."""
        halo = self.topology.halo
        return f if halo is None else halo.return_nodes(f)

    def moved(self, edge_vector: np.ndarray | Tensor, volume: np.ndarray | Tensor | float | None = None) -> Self:
        """The same topology with other edge vectors [E, 3] and cell volumes [frames], without labels.

        The labels are those of the places that the atoms have left, and so is the old volume, since the cell may have
        changed too.
        """
        return type(self)(
            self.topology,
            torch.as_tensor(edge_vector),
            volume=None if volume is None else torch.as_tensor(volume, dtype=torch.float64).reshape(-1),
        )

    def to(self, device: torch.device | str) -> Self:
        """The graph on a device; itself where it is there already, with all that its topology has worked out."""
        if self.topology.device == torch.device(device):
            return self
        return replace(
            self,
            topology=self.topology.to(device),
            edge_vector=self.edge_vector.to(device),
            labels=self.labels.to(device),
            volume=None if self.volume is None else self.volume.to(device),
        )

    @classmethod
    def from_arrays(
        cls,
        atomic_numbers: np.ndarray,
        edge_index: np.ndarray,
        edge_vector: np.ndarray,
        forces: np.ndarray | None = None,
        volume: float | None = None,
        energy: float | None = None,
        stress: np.ndarray | None = None,
    ) -> Self:
        """A single frame from NumPy arrays whose edges are already sorted by their centre.

        Args:
            atomic_numbers: [N].
            edge_index: [2, E] atoms (i, j) of each edge.
            edge_vector: [E, 3] r_j - r_i + shift . cell, in Angstrom.
            forces: [N, 3] labels in eV/Angstrom.
            volume: of the cell, in Angstrom^3, where the frame is periodic along all three cell vectors.
            energy: label in eV.
            stress: label [6] in eV/Angstrom^3, see `Labels.of_frame`.
        """
        topology = Topology(
            torch.as_tensor(np.asarray(atomic_numbers, dtype=np.int64)),
            torch.as_tensor(np.asarray(edge_index, dtype=np.int64)),
            (len(atomic_numbers),),
        )
        return cls(
            topology,
            torch.as_tensor(np.asarray(edge_vector, dtype=np.float64)),
            Labels.of_frame(forces, energy, stress),
            None if volume is None else torch.tensor([volume], dtype=torch.float64),
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
        """A single frame, whose neighbours are searched.

        Args:
            atomic_numbers: [N].
            positions: [N, 3], in Angstrom.
            cell: [3, 3] cell vectors as rows, in Angstrom.
            pbc: [3] whether the frame is periodic along each cell vector.
            cutoff: largest length of an edge, in Angstrom.
            forces: [N, 3] labels in eV/Angstrom.

        Raises:
            InputError: as `neighbour_list`.
        """
        edge_index, shift = neighbour_list(positions, cell, pbc, cutoff)
        vector = edge_vectors(positions, cell, edge_index, shift)
        return cls.from_arrays(atomic_numbers, edge_index, vector, forces, cell_volume(cell, pbc))

    @classmethod
    def batch(cls, graphs: Sequence[Self]) -> Self:
        """Several graphs as one, with atoms and edges in the order given.

        Raises:
            InputError: some of the graphs have forces and others have none.
        """
        if len(graphs) == 1:
            return graphs[0]
        n_frames = [g.topology.n_frames for g in graphs]
        return cls(
            Topology.batch([g.topology for g in graphs]),
            torch.cat([g.edge_vector for g in graphs]),
            Labels.batch([g.labels for g in graphs], n_frames),
            _by_frame([g.volume for g in graphs], n_frames, ()),
        )


class LabelledFrames(Protocol):
    """Labelled graphs by number, such as a GraphStore."""

    def graph(self, index: int) -> Graph:
        """The labelled graph of one frame."""


def cell_volume(cell: np.ndarray, pbc: np.ndarray) -> float | None:
    """The volume of a cell [3, 3] in Angstrom^3, or None where the frame is not periodic along all of its vectors."""
    return float(abs(np.linalg.det(np.asarray(cell, dtype=np.float64)))) if np.all(pbc) else None


def voigt(stress: np.ndarray) -> np.ndarray:
    """[6] xx, yy, zz, yz, xz, xy of a stress [3, 3]."""
    return stress[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)]


def _by_frame(values: Sequence[Tensor | None], n_frames: Sequence[int], shape: tuple[int, ...]) -> Tensor | None:
    """Values of the frames of several graphs as one tensor, not-a-number where unknown; None where all are."""
    known = next((value for value in values if value is not None), None)
    if known is None:
        return None
    filled = [
        known.new_full((n, *shape), float("nan")) if value is None else value
        for value, n in zip(values, n_frames, strict=True)
    ]
    return torch.cat(filled)
