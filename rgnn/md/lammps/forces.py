"""Forces of one rank's atoms, from these and their ghosts."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.chip.hardware import Hardware
from rgnn.chip.slow import Moment
from rgnn.graphs.graph import Graph
from rgnn.graphs.skin import SkinList
from rgnn.md.lammps.halo import Directory, OwnEdges, shared_graph, sorted_edges
from rgnn.md.lammps.world import World
from rgnn.models.base import ForceField
from rgnn.models.inference import predict

NO_CELL, OPEN = np.zeros((3, 3)), np.zeros(3, dtype=bool)


@dataclass(frozen=True)
class Atoms:
    """The atoms of one rank: its own and then their ghosts, periodic images among them.

    Attributes:
        n_own: how many are its own.
        tags: [own + ghosts] the same for all images of an atom.
        atomic_numbers: [own + ghosts].
        positions: [own + ghosts, 3] in Angstrom.
        cell: [3, 3] of the whole system, in Angstrom.
    """

    n_own: int
    tags: np.ndarray
    atomic_numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray


class RankForces:
    """Forces of own atoms, at each step.

    Args:
        model: in evaluation mode, on the device to compute on.
        hardware: see `refuse_what_ranks_cannot_share`.
        seed: of the read noise, which is drawn for each rank and step.
        ghosts: "exchange" asks for ghosts within one cutoff, and ranks exchange features after each layer; "deep" for
            ghosts within the receptive field, of which each rank computes all features itself.

    Attributes:
        reach: how far ghosts must reach, in Angstrom.
        isolated: [own] atoms that had no neighbour in the last call.
    """

    def __init__(
        self, model: ForceField, hardware: Hardware, seed: int, ghosts: Literal["exchange", "deep"], world: World
    ) -> None:
        refuse_what_ranks_cannot_share(model, hardware)
        self.model, self.hardware, self.seed, self.world = model, hardware, seed, world
        self.deep = ghosts == "deep"
        self.reach = model.locality.reach if self.deep else model.settings.cutoff
        self.isolated = np.zeros(0, dtype=bool)
        self._neighbours, self._directory = SkinList(model.settings.cutoff), Directory()

    def __call__(self, atoms: Atoms, step: int) -> np.ndarray:
        """[own, 3] in eV/Angstrom, nothing removed; all ranks must call.

        Raises:
            InputError: a position that is not a number.
        """
        # Own atoms by their tags, whatever their order here, and then the ghosts.
        order = np.concatenate([np.argsort(atoms.tags[: atoms.n_own]), np.arange(atoms.n_own, len(atoms.tags))])
        row = np.argsort(order)
        index, vector = self._edges(atoms.positions)
        if not self.deep:
            own = index[0] < atoms.n_own
            index, vector = index[:, own], vector[own]
        centre, neighbour = row[index[0]], atoms.tags[index[1]]
        by_tag = sorted_edges(centre, neighbour, vector, atoms.cell)
        centre, neighbour, vector = centre[by_tag], neighbour[by_tag], vector[by_tag]
        numbers = atoms.atomic_numbers[order]
        if self.deep:
            graph = Graph.from_arrays(numbers, np.stack([centre, row[index[1]][by_tag]]), vector)
        else:
            tags = atoms.tags[order[: atoms.n_own]]
            self._directory.update(self.world, tags, numbers[: atoms.n_own])
            graph = shared_graph(self.world, self._directory, OwnEdges(tags, centre, neighbour, vector))
        back = row[: atoms.n_own]
        self.isolated = (np.bincount(centre, minlength=atoms.n_own)[: atoms.n_own] == 0)[back]
        noise = torch_stream(self.seed, "md noise", self.world.rank, step)
        # One chip for all ranks: what fluctuates slowly is the same in all of them.
        reading = self.model.read(self.hardware, noise, moment=Moment(self.seed, step))
        return predict(self.model, graph, reading).forces[: atoms.n_own][back]

    def _edges(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not len(positions):
            return np.empty((2, 0), np.int64), np.empty((0, 3))
        return self._neighbours.edges(positions, NO_CELL, OPEN)


def refuse_what_ranks_cannot_share(model: ForceField, hardware: Hardware) -> None:
    """Raise InputError where a force depends on more than the atoms within the receptive field."""
    if model.uses_chip and not hardware.rows_are_independent:
        raise InputError(
            f"the hardware has range '{hardware.range}' and noise_sharing '{hardware.noise_sharing}', so that each "
            "product depends on all atoms at once and cannot be shared by ranks; use calibrated ranges and noise "
            "that is new at each read (or none), or run without --engine lammps."
        )
