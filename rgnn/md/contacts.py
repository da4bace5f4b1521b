"""Whether atoms of a run come closer to each other than a model can know about."""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from rgnn.base.choices import CloseContacts
from rgnn.base.provenance import TrainingDomain
from rgnn.data.domain import closest_pairs
from rgnn.graphs.neighbours import edge_vectors, neighbour_list

# Shares of the closest distance in the training frames: below the first a run is warned about, below the second it has
# stopped to mean anything. Thermal motion hotter than the training data takes some per cent off.
WARN, STOP = 0.9, 0.8


class ContactWatch:
    """Looks at the closest atoms of each pair of elements that the training frames have as neighbours.

    Args:
        domain: what the training frames span; where it knows no distances, nothing is looked at.
        action: what to do below `STOP`; "ignore" does not look at all.
        warn: called with a sentence, once for each pair of elements.
    """

    def __init__(self, domain: TrainingDomain, action: CloseContacts, warn: Callable[[str], None]) -> None:
        self.action, self.warn = action, warn
        self.known = {} if action == "ignore" else {(c.first, c.second): c.distance for c in domain.closest}
        self._warned = set[tuple[int, int]]()

    def look(self, step: int, atoms: Atoms) -> str | None:
        """At the atoms of a step; what has stopped to mean anything, in words that follow "at step N", or None."""
        if not self.known:
            return None
        reach = WARN * max(self.known.values())
        index, shift = neighbour_list(atoms.positions, atoms.cell[:], atoms.pbc, reach)
        lengths = np.linalg.norm(edge_vectors(atoms.positions, atoms.cell[:], index, shift), axis=1)
        found = closest_pairs(atoms.numbers, index, lengths)
        shares = {pair: d / self.known[pair] for pair, d in found.items() if pair in self.known}
        near = [pair for pair, share in shares.items() if share < WARN]
        words = {pair: self._words(pair, found[pair]) for pair in near}
        if near and self.action == "stop" and shares[worst := min(near, key=shares.__getitem__)] < STOP:
            return f"{words[worst]}: forces mean nothing there"
        for pair in near:
            if pair not in self._warned:
                self._warned.add(pair)
                self.warn(f"at step {step} {words[pair]}: the run leaves what the model was trained on.")
        return None

    def _words(self, pair: tuple[int, int], distance: float) -> str:
        symbols = "-".join(chemical_symbols[z] for z in pair)
        return (
            f"the closest {symbols} are {distance:.3g} Angstrom apart, where the training set has "
            f"{self.known[pair]:.3g} at least"
        )
