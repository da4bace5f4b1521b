"""Constraints of a structure: which are kept in dynamics, and the degrees of freedom that they leave."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixBondLengths, FixCom, dict2constraint

from rgnn.base.errors import InputError

# They hold atoms in places, lines or planes of the cell, so the centre of mass is not free to move with the rest.
ANCHORS = ("FixAtoms", "FixCartesian", "FixedPlane", "FixedLine")
KEPT = (*ANCHORS, "FixBondLengths")

Plain = dict[str, Any]


def constraints_of(atoms: Atoms, where: str = "the structure") -> tuple[Plain, ...]:
    """The structure's constraints as plain values, from which `hold` makes the very same ones.

    A fixed centre of mass is left out: dynamics fixes it by itself where no atom is anchored.

    Raises:
        InputError: a constraint that is not kept in dynamics (Hookean and the like add forces that the model did not
            give; others have no right momenta), two on one atom, or none that leaves an atom free.
    """
    kept, anchored, bonded = [], np.zeros(len(atoms), int), np.zeros(len(atoms), bool)
    for constraint in atoms.constraints:
        if type(constraint) is FixCom:
            continue
        name = type(constraint).__name__
        if name not in KEPT:
            raise InputError(
                f"{where}: has the constraint {name}, but dynamics keeps {', '.join(KEPT)} only; remove it."
            )
        plain: Plain = constraint.todict()
        try:
            if isinstance(constraint, FixBondLengths):
                # ASE leaves the lengths out, and would measure them again at each restart.
                lengths = constraint.bondlengths
                lengths = constraint.initialize_bond_lengths(atoms) if lengths is None else lengths
                plain["kwargs"]["bondlengths"] = [float(d) for d in lengths]
                bonded[constraint.pairs] = True
            elif constraint.get_removed_dof(atoms) == 0:
                continue  # an extended XYZ file gives every atom a mask of what is fixed
            else:
                np.add.at(anchored, constraint.index, 1)
        except IndexError:
            raise InputError(
                f"{where}: the constraint {name} names an atom that is not there; mend the file."
            ) from None
        kept.append(plain)
    twice = np.flatnonzero((anchored > 1) | (bonded & (anchored > 0)))
    if len(twice):
        raise InputError(f"{where}: atom {twice[0]} is under two constraints at once; leave one of them.")
    trial = atoms.copy()
    hold(trial, kept)
    if trial.get_number_of_degrees_of_freedom() < 1:
        raise InputError(f"{where}: its constraints leave no atom to move; free some.")
    return tuple(kept)


def hold(atoms: Atoms, constraints: Sequence[Mapping[str, Any]]) -> None:
    """Put the constraints on the atoms, and a fixed centre of mass where none of them anchors an atom.

    Langevin's own `fixcm` does not sample the right distribution; with FixCom the temperature counts 3 N - 3.

    Raises:
        InputError: a constraint that is not among those kept.
    """
    made = []
    for plain in constraints:
        if plain.get("name") not in KEPT:
            raise InputError(f"the constraint {plain.get('name')} is none that dynamics keeps; start the run again.")
        made.append(dict2constraint(dict(plain)))
    anchored = any(plain["name"] in ANCHORS for plain in constraints)
    atoms.set_constraint(made if anchored else [*made, FixCom()])


def is_anchored(atoms: Atoms) -> bool:
    """Whether a constraint ties atoms to the cell: the centre of mass is then no frame that motion can be seen from."""
    return any(type(c).__name__ in ANCHORS and c.get_removed_dof(atoms) > 0 for c in atoms.constraints)


def has_fixed_bonds(atoms: Atoms) -> bool:
    """Whether bonds have a fixed length. They push and pull too, so the stress of a model is then not the pressure."""
    return any(isinstance(c, FixBondLengths) for c in atoms.constraints)


def freedom(atoms: Atoms) -> np.ndarray:
    """[N] degrees of freedom of each atom, so that equipartition gives it half of kT for each.

    A fixed centre of mass, there where no atom is anchored, takes 3 m / M from each atom, M the mass of all; a bond of
    fixed length takes one from its two atoms together, of each the part m' / (m + m') where m' is the other's mass
    (exact for bonds that share no atom).
    """
    masses, free = atoms.get_masses(), np.full(len(atoms), 3.0)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixBondLengths):
            a, b = np.asarray(constraint.pairs).T
            np.subtract.at(free, a, masses[b] / (masses[a] + masses[b]))
            np.subtract.at(free, b, masses[a] / (masses[a] + masses[b]))
        elif type(constraint).__name__ in ANCHORS and len(constraint.index):
            free[constraint.index] -= constraint.get_removed_dof(atoms) / len(constraint.index)
    return free if is_anchored(atoms) else free - 3 * masses / masses.sum()
