"""Labelled frames: atoms with forces, or edges with forces where a data set gives no positions."""

import hashlib
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from ase import Atoms

from rgnn.base.errors import InputError

# A component above this is no force of matter near equilibrium, but a wrong unit or a broken calculation.
LARGEST_FORCE = 1000.0
# Positions are the same where they agree to this, Angstrom: files keep few digits.
SAME_PLACE = 0.01


class Unusable(InputError):  # noqa: N818 (said of a frame)
    """A frame that cannot be used.

    Args:
        message: the frame, what is wrong with it and the way out.
        reason: a few words under which a report counts such frames.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, reason)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])


def digest(*arrays: np.ndarray) -> int:
    """64 bits of BLAKE2b over arrays: two frames with the same digest are the same frame."""
    state = hashlib.blake2b(digest_size=8)
    for array in arrays:
        state.update(np.ascontiguousarray(array).data)
    return int.from_bytes(state.digest(), "little")


@dataclass(frozen=True)
class Frame:
    """A labelled structure.

    Attributes:
        numbers: [N] atomic numbers.
        positions: [N, 3] Angstrom.
        cell: [3, 3] Angstrom, rows are the cell vectors.
        pbc: [3] whether each cell vector is periodic.
        forces: [N, 3] eV/Angstrom.
        energy: eV, where known.
        temperature: K of the thermostat, where the file says so.
        time: fs since the run began, where the file says so.
        stress: [6] xx, yy, zz, yz, xz, xy in eV/Angstrom^3, positive under tension, where known.
        kinetic_temperature: K of the motion of the atoms, where the file has their velocities.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    forces: np.ndarray
    energy: float | None = None
    temperature: float | None = None
    time: float | None = None
    stress: np.ndarray | None = None
    kinetic_temperature: float | None = None

    def to_atoms(self) -> Atoms:
        """The structure for ASE, without its labels."""
        return Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)

    @property
    def digest(self) -> int:
        """Equal for frames with equal atoms and forces, and for no others."""
        reals = [np.asarray(x, np.float64) for x in (self.positions, self.cell, self.forces)]
        return digest(np.asarray(self.numbers, np.uint8), np.asarray(self.pbc, bool), *reals)

    @property
    def structure_digest(self) -> int:
        """Equal for the same atoms in the same places, to a hundredth of an Angstrom, whatever their forces."""
        places = [np.rint(np.asarray(x) / SAME_PLACE).astype(np.int64) for x in (self.positions, self.cell)]
        return digest(np.asarray(self.numbers, np.uint8), np.asarray(self.pbc, bool), *places)


@dataclass(frozen=True)
class EdgeFrame:
    """A labelled graph without positions.

    Attributes:
        numbers: [N] atomic numbers.
        edge_index: [2, E] rows (i, j), sorted by (i, j).
        edge_vector: [E, 3] r_j - r_i of the neighbour's image, Angstrom.
        forces: [N, 3] eV/Angstrom.
    """

    numbers: np.ndarray
    edge_index: np.ndarray
    edge_vector: np.ndarray
    forces: np.ndarray

    def within(self, cutoff: float) -> Self:
        """Without the edges that are not shorter than the cutoff, in Angstrom."""
        near = np.linalg.norm(self.edge_vector, axis=1) < cutoff
        return (
            self
            if near.all()
            else replace(self, edge_index=self.edge_index[:, near], edge_vector=self.edge_vector[near])
        )

    @property
    def digest(self) -> int:
        """Equal for equal graphs and forces, and for no others."""
        index = np.asarray(self.edge_index, np.int32)
        reals = [np.asarray(x, np.float64) for x in (self.edge_vector, self.forces)]
        return digest(np.asarray(self.numbers, np.uint8), index, *reals)

    @property
    def structure_digest(self) -> int:
        """Equal for graphs with the same edges, to a hundredth of an Angstrom, whatever their forces."""
        index = np.asarray(self.edge_index, np.int32)
        return digest(
            np.asarray(self.numbers, np.uint8), index, np.rint(self.edge_vector / SAME_PLACE).astype(np.int64)
        )


def check_forces(forces: np.ndarray, n_atoms: int, where: str) -> np.ndarray:
    """[N, 3] float64 forces that can be learned from.

    Raises:
        Unusable: another shape, not finite, or absurdly large.
    """
    forces = np.asarray(forces, dtype=np.float64)
    if forces.shape != (n_atoms, 3):
        raise Unusable(
            f"{where}: its forces are {list(forces.shape)}, expected [{n_atoms}, 3]; mend the file.", "shape"
        )
    bad = np.flatnonzero(~np.isfinite(forces).all(axis=1))
    if len(bad):
        raise Unusable(f"{where}: the force of atom {bad[0]} is {forces[bad[0]].tolist()}.", "forces not finite")
    worst = int(np.abs(forces).max(axis=1).argmax())
    if np.abs(forces[worst]).max() > LARGEST_FORCE:
        raise Unusable(
            f"{where}: the force on atom {worst} is {np.abs(forces[worst]).max():.6g} eV/Angstrom, above "
            f"{LARGEST_FORCE:g}; check the unit of the file.",
            "absurd forces",
        )
    return forces
