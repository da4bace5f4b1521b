"""Forces on one rank's atoms and its share of energy and stress, from these atoms and their ghosts."""

from dataclasses import dataclass, replace
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
from rgnn.models.inference import Arrays, predict

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
        volume: of the cell, Angstrom^3; None where no stress is wanted.
    """

    n_own: int
    tags: np.ndarray
    atomic_numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    volume: float | None = None


class RankForces:
    """Forces on own atoms, at each step, and this rank's share of energy and stress where the model has them.

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
        refuse_what_ranks_cannot_share(model, hardware, ghosts)
        self.model, self.hardware, self.seed, self.world = model, hardware, seed, world
        self.deep = ghosts == "deep"
        self.reach = model.locality.reach if self.deep else model.settings.cutoff
        self.isolated = np.zeros(0, dtype=bool)
        self._neighbours, self._directory = SkinList(model.settings.cutoff), Directory()

    def __call__(self, atoms: Atoms, step: int) -> Arrays:
        """Forces [own, 3] in eV/Angstrom, nothing removed, and the share as of `Prediction`; all ranks must call.

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
            own_edges = OwnEdges(tags, centre, neighbour, vector)
            borrows = not self.model.locality.returns_forces
            graph = shared_graph(self.world, self._directory, own_edges, atoms.volume, borrows_edges=borrows)
        back = row[: atoms.n_own]
        self.isolated = (np.bincount(centre, minlength=atoms.n_own)[: atoms.n_own] == 0)[back]
        noise = torch_stream(self.seed, "md noise", self.world.rank, step)
        # One chip for all ranks: what fluctuates slowly is the same in all of them.
        reading = self.model.read(self.hardware, noise, moment=Moment(self.seed, step))
        found = predict(self.model, graph, reading)
        return replace(found, forces=found.forces[: atoms.n_own][back])

    def _edges(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not len(positions):
            return np.empty((2, 0), np.int64), np.empty((0, 3))
        return self._neighbours.edges(positions, NO_CELL, OPEN)


def refuse_what_ranks_cannot_share(model: ForceField, hardware: Hardware, ghosts: str = "exchange") -> None:
    """Raise InputError where a force depends on more than the atoms within the receptive field, or on who reads it.

    With deep ghosts an energy would be worked out by each rank that needs it: with read noise each would read another
    one, and its messages with it.
    """
    if ghosts == "deep" and model.locality.returns_forces:
        raise InputError(
            "ghosts are 'deep', but the model has an energy, which two processes would read from the chip as two "
            "different ones; leave --ghosts out: the processes then exchange messages and forces."
        )
    if model.uses_chip and not hardware.rows_are_independent:
        raise InputError(
            f"the hardware has range '{hardware.range}' and noise_sharing '{hardware.noise_sharing}', so that each "
            "product depends on all atoms at once and cannot be shared by ranks; use calibrated ranges and noise "
            "that is new at each read (or none), or run without --engine lammps."
        )
