"""Minimisation by forces alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from rgnn.base.errors import BrokenRunError, Interrupted

# The values of the paper, steps in units of ASE's FIRE: sqrt(Angstrom^2 amu / eV) with unit masses.
FIRST_STEP, LONGEST_STEP, FARTHEST = 0.1, 1.0, 0.2
GROW, SHRINK, MIXING, LESS_MIXING, PATIENCE = 1.1, 0.5, 0.1, 0.99, 5


@dataclass(frozen=True)
class Minimised:
    """What a minimisation came to: evaluations of the forces, and the largest force before and after, eV/Angstrom."""

    steps: int
    before: float
    after: float
    converged: bool


def minimise(
    atoms: Atoms, largest_force: float, most_steps: int, stop: Callable[[], bool] = lambda: False
) -> Minimised:
    """Move atoms downhill until no force is larger than `largest_force`, by FIRE, which asks for no energy.

    Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006). Forces that are no gradient may have no minimum to find, so
    the way ends after `most_steps` at the latest. Constraints hold.

    Args:
        atoms: with a calculator; moved in place.
        largest_force: eV/Angstrom.
        most_steps: evaluations at most.
        stop: asked before each step; True raises Interrupted.

    Raises:
        BrokenRunError: a force that is not finite.
        Interrupted: `stop` said so.
    """
    velocity, step, mixing, downhill = np.zeros((len(atoms), 3)), FIRST_STEP, MIXING, 0
    before = 0.0
    for number in range(1, most_steps + 1):
        if stop():
            raise Interrupted("stopped while minimising, so there is nothing to resume; start again.")
        forces = atoms.get_forces()
        largest = float(np.linalg.norm(forces, axis=1).max())
        if not np.isfinite(largest):
            raise BrokenRunError(
                "minimisation met forces that are not finite; check the structure for atoms too close."
            )
        before = before or largest
        if largest <= largest_force:
            return Minimised(number, before, largest, True)
        if number == most_steps:
            break
        if (forces * velocity).sum() > 0:
            velocity = (1 - mixing) * velocity + mixing * forces * np.linalg.norm(velocity) / np.linalg.norm(forces)
            downhill += 1
            if downhill > PATIENCE:
                step, mixing = min(step * GROW, LONGEST_STEP), mixing * LESS_MIXING
        else:
            velocity, step, mixing, downhill = np.zeros_like(forces), step * SHRINK, MIXING, 0
        velocity = velocity + step * forces
        move = step * velocity
        farthest = np.linalg.norm(move, axis=1).max()
        atoms.set_positions(atoms.positions + move * min(1.0, FARTHEST / farthest))
    return Minimised(most_steps, before, largest, False)
