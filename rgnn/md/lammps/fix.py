"""`fix external`: LAMMPS asks for forces at each step, and a model gives them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rgnn.base.errors import BrokenRunError
from rgnn.data.frames import LARGEST_FORCE
from rgnn.graphs.skin import SKIN
from rgnn.md.lammps.forces import Atoms, RankForces
from rgnn.md.lammps.world import World
from rgnn.models.inference import Arrays


def rows(lmp: Any, name: str, n: int | None = None) -> np.ndarray:
    """LAMMPS' own array of a rank's atoms and, where it has them, their ghosts; the first n."""
    array = lmp.numpy.extract_atom(name)[:n]
    return array.reshape(-1, 3) if name in ("x", "v") else array  # an empty one has lost its shape


def cell_of(lmp: Any) -> np.ndarray:
    """[3, 3] cell vectors as rows, in Angstrom."""
    low, high, xy, yz, xz = lmp.extract_box()[:5]
    cell = np.diag(np.subtract(high, low))
    cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
    return cell


class ForceFix:
    """The forces of a model in LAMMPS, and its energy and virial where it has them, so that thermo counts them.

    The net force of direct forces is removed.

    Args:
        lmp: with its box, atoms and masses; units metal.
        forces: of this rank.
        atomic_numbers: [types] of the LAMMPS types 1, 2, ...
        failed: what to do with an error, since LAMMPS continues whatever its callback raises.

    Attributes:
        net_force: size of the sum of all forces before its removal, in eV/Angstrom.
        net_forces, calls: sum of these, and how many there were.
        model_forces: [own, 3] of the last call.
        energy: of all atoms in the last call, eV; None without one.
        virial: [3, 3] of all atoms in the last call, minus stress times volume, in LAMMPS' axes, eV; None without one.
        work: done on own atoms since the first call by the forces (trapezoidal), in eV.
    """

    def __init__(
        self,
        lmp: Any,
        forces: RankForces,
        world: World,
        atomic_numbers: np.ndarray,
        failed: Callable[[BaseException], None],
    ) -> None:
        self.lmp, self.forces, self.world, self.failed = lmp, forces, world, failed
        self.net_force = self.net_forces = self.work = 0.0
        self.calls = 0
        self.model_forces = np.empty((0, 3))
        self.energy: float | None = None
        self.virial: np.ndarray | None = None
        self._number_of_type = np.concatenate([[0], atomic_numbers])
        self._alone: np.ndarray | None = None
        # Ghosts reach as far as needed until an atom has gone half of the skin, when LAMMPS chooses them again.
        lmp.command(f"neighbor {SKIN} bin")
        lmp.command("neigh_modify delay 0 every 1 check yes")
        lmp.command(f"comm_modify cutoff {forces.reach + SKIN!r}")
        lmp.command("fix rgnn all external pf/callback 1 1")
        lmp.set_fix_external_callback("rgnn", self._fill)

    def _fill(self, caller: object, step: int, n: int, tag: np.ndarray, x: np.ndarray, f: np.ndarray) -> None:
        """Put forces into f [n, 3], which holds those of the step before."""
        try:
            before = f.copy()
            share = self.forces(atoms := self._atoms(n), step)
            found = share.forces
            total = self.world.sum(np.array([*found.sum(axis=0), self.forces.isolated.sum()]))
            self._check(step, tag, found, total)
            self.net_force = float(np.linalg.norm(total[:3]))
            self.net_forces, self.calls = self.net_forces + self.net_force, self.calls + 1
            f[:] = found
            if share.energy is None:
                f -= total[:3] / self.lmp.get_natoms()
            else:
                self._set_energy(share, atoms)
            if self.calls > 1:  # velocities are those half a step ago: they have moved the atoms here
                moved = rows(self.lmp, "v", n) * self.lmp.extract_global("dt")
                self.work += 0.5 * float(((before + f) * moved).sum())
            self.model_forces = f.copy()
        except BaseException as error:
            f[:] = 0
            self.failed(error)

    def _set_energy(self, share: Arrays, atoms: Atoms) -> None:
        """Give LAMMPS energy and virial of all ranks."""
        assert share.energy is not None and share.stress is not None and atoms.volume is not None
        total = self.world.sum(np.concatenate([share.energy, -atoms.volume * share.stress[0].ravel()]))
        self.energy, self.virial = float(total[0]), total[1:].reshape(3, 3)
        self.lmp.fix_external_set_energy_global("rgnn", self.energy)
        self.lmp.fix_external_set_virial_global("rgnn", self.virial.ravel()[[0, 4, 8, 1, 2, 5]].tolist())

    def _atoms(self, n: int) -> Atoms:
        tags = rows(self.lmp, "id").astype(np.int64)
        numbers = self._number_of_type[rows(self.lmp, "type")]
        cell = cell_of(self.lmp)
        # Where the box is not periodic its volume is arbitrary, and leaves the virial again as it came.
        return Atoms(n, tags, numbers, rows(self.lmp, "x"), cell, float(np.linalg.det(cell)))

    def _check(self, step: int, tag: np.ndarray, forces: np.ndarray, total: np.ndarray) -> None:
        """Raise BrokenRunError, on all ranks alike, where the run has stopped to mean anything."""
        largest = np.nan_to_num(np.abs(forces), nan=np.inf).max(axis=1, initial=0)
        absurd = ~(largest <= LARGEST_FORCE)
        if self.world.sum(np.array([absurd.sum()]))[0]:
            atoms = self._everywhere(np.stack([tag[absurd], largest[absurd]], axis=1).astype(float))
            worst = atoms[atoms[:, 1].argmax()]
            raise BrokenRunError(
                f"at step {step} the force on atom {worst[0] - 1:.0f} is {worst[1]:.4g} eV/Angstrom; start again with "
                "a smaller timestep or a lower temperature, or train the model further on frames like these."
            )
        alone = np.empty(0, np.int64)
        if total[3]:
            alone = self._everywhere(tag[self.forces.isolated].astype(np.int64))
        lost = np.setdiff1d(alone, alone if self._alone is None else self._alone)
        self._alone = alone
        if len(lost):
            raise BrokenRunError(
                f"at step {step} atom {lost[0] - 1} lost its last neighbour; start again with a smaller timestep or a "
                "lower temperature, or train the model further on frames like these."
            )

    def _everywhere(self, values: np.ndarray) -> np.ndarray:
        """The rows of all ranks, on each of them."""
        return np.concatenate(self.world.all_to_all([values] * self.world.size))
