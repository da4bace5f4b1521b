"""A cheap reference for tests of learning: Morse pairs of two elements, as an ASE calculator."""

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

DEPTH, STIFFNESS, CUTOFF = 0.5, 1.6, 5.0
# Bottom of the well of each pair of elements, Angstrom: two atoms of copper, of gold, one of each.
BOTTOM = {(29, 29): 2.6, (29, 79): 2.7, (79, 79): 2.9}


class Wells(Calculator):
    """E = sum over pairs of D ((1 - exp(-a (d - d0)))^2 - 1) (1 - (d / cutoff)^2)^2, its forces and its stress."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        i, j, d, vectors = neighbor_list("ijdD", self.atoms, CUTOFF)
        z = np.sort(self.atoms.numbers[np.stack([i, j])], axis=0)
        bottom = np.array([BOTTOM[pair] for pair in map(tuple, z.T.tolist())])
        decay = np.exp(-STIFFNESS * (d - bottom))
        well, slope = DEPTH * ((1 - decay) ** 2 - 1), 2 * DEPTH * STIFFNESS * decay * (1 - decay)
        cut, cut_slope = (1 - (d / CUTOFF) ** 2) ** 2, -4 * d / CUTOFF**2 * (1 - (d / CUTOFF) ** 2)
        along = ((slope * cut + well * cut_slope) / d)[:, None] * vectors
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, along)
        self.results = {"energy": 0.5 * float((well * cut).sum()), "forces": forces}
        if self.atoms.pbc.all():
            virial = 0.5 * vectors.T @ along
            self.results["stress"] = virial.ravel()[[0, 4, 8, 5, 2, 1]] / self.atoms.get_volume()


class Failing(Wells):
    """The same, unless some atom has gone far to the side."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        raise RuntimeError("no convergence after 60 steps")


def alloy() -> Atoms:
    """Eight atoms of copper and gold in a cubic cell."""
    atoms = bulk("Cu", "fcc", a=3.8, cubic=True).repeat((2, 1, 1))
    atoms.numbers[::3] = 79
    return atoms
