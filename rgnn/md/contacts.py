"""Whether atoms of a run come closer to each other than a model can know about, or than atoms ever are."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from rgnn.base.choices import CloseContacts
from rgnn.base.provenance import TrainingDomain
from rgnn.data.domain import closest_pairs
from rgnn.graphs.neighbours import edge_vectors, neighbour_list

Pair = tuple[int, int]

# Shares of the closest distance in the training frames: below the first a run is warned about, below the second it has
# stopped to mean anything. Thermal motion hotter than the training data takes some per cent off.
WARN, STOP = 0.9, 0.8
# Share of the sum of two covalent radii (Cordero et al. 2008, doi 10.1039/b801115j, as ASE has them) that stands in
# where no training frame has the pair as neighbours. The shortest bonds that are known, quadruple ones between
# transition metals, have 0.60 of it; triple bonds of C, N and O have 0.77.
FUSED = 0.6


@dataclass(frozen=True)
class ContactLimits:
    """From which distance on two atoms are too close for a model's forces, or for any matter.

    Attributes:
        trained: closest distance of each pair of elements in the training frames, Angstrom; empty where it is not
            known.
    """

    trained: Mapping[Pair, float] = field(default_factory=dict)

    @classmethod
    def of(cls, domain: TrainingDomain) -> "ContactLimits":
        """Those of a training set."""
        return cls({(c.first, c.second): c.distance for c in domain.closest})

    def limit(self, pair: Pair) -> float:
        """Angstrom below which a pair of elements has stopped to mean anything."""
        if pair in self.trained:
            return STOP * self.trained[pair]
        return FUSED * float(covalent_radii[pair[0]] + covalent_radii[pair[1]])

    def alert(self, pair: Pair) -> float:
        """Angstrom below which a run is warned about a pair of elements."""
        return WARN * self.trained[pair] if pair in self.trained else self.limit(pair)

    def words(self, pair: Pair) -> str:
        """What a distance of this pair is compared with, beginning with a comma."""
        if pair in self.trained:
            return f", where the training set has {self.trained[pair]:.3g} at least"
        radii = float(covalent_radii[pair[0]] + covalent_radii[pair[1]])
        return f", less than {FUSED:g} of the sum of their covalent radii, {radii:.3g}"

    def reach(self, numbers: np.ndarray) -> float:
        """Angstrom within which the closest atoms of all pairs of elements of a structure are worth a look."""
        return max(self.alert(pair) for pair in pairs_of(numbers))

    def too_close(self, closest: Mapping[Pair, float]) -> Pair | None:
        """The pair that is farthest below its limit; None where all are above."""
        below = {pair: distance / self.limit(pair) for pair, distance in closest.items()}
        worst = min(below, key=below.__getitem__, default=None)
        return worst if worst is not None and below[worst] < 1 else None


def pairs_of(numbers: np.ndarray | Iterable[int]) -> list[Pair]:
    """All pairs of the elements of a structure, the lower atomic number first."""
    kinds = sorted({int(z) for z in numbers})
    return [(a, b) for k, a in enumerate(kinds) for b in kinds[k:]]


def pair_name(pair: Pair) -> str:
    """As "Li-O"."""
    return "-".join(chemical_symbols[z] for z in pair)


def closest_within(atoms: Atoms, reach: float) -> dict[Pair, float]:
    """The closest distance of each pair of elements that has atoms within a reach, both in Angstrom."""
    index, shift = neighbour_list(atoms.positions, atoms.cell[:], atoms.pbc, reach)
    lengths = np.linalg.norm(edge_vectors(atoms.positions, atoms.cell[:], index, shift), axis=1)
    return closest_pairs(atoms.numbers, index, lengths)


class ContactWatch:
    """Looks at the closest atoms of each pair of elements.

    Args:
        domain: what the training frames span.
        action: what to do below the limits of `ContactLimits`; "ignore" only measures. A model that has no record of
            its training is warned about only, whatever the action.
        warn: called with a sentence, once for each pair of elements.
        reach: distance up to which the closest atoms are measured, Angstrom; None is as far as a limit needs.

    Attributes:
        closest: distance of the closest atoms of each pair at the last look, Angstrom; pairs beyond the reach are not
            in it.
    """

    def __init__(
        self, domain: TrainingDomain, action: CloseContacts, warn: Callable[[str], None], reach: float | None = None
    ) -> None:
        self.action, self.warn, self.reach = action, warn, reach
        self.limits = ContactLimits.of(domain)
        self.closest: dict[Pair, float] = {}
        self._warned = set[Pair]()

    @property
    def ratio(self) -> float:
        """The smallest distance of the last look over that in training, of all pairs known there; NaN for none."""
        known = self.limits.trained
        return min((d / known[pair] for pair, d in self.closest.items() if pair in known), default=float("nan"))

    def look(self, step: int, atoms: Atoms) -> str | None:
        """At the atoms of a step; what has stopped to mean anything, in words that follow "at step N", or None."""
        self.closest = closest_within(atoms, max(self.reach or 0.0, self.limits.reach(atoms.numbers)))
        if self.action == "ignore":
            return None
        worst = self.limits.too_close(self.closest)
        if worst is not None and self.action == "stop" and self.limits.trained:
            return f"{self._words(worst)}: forces mean nothing there"
        for pair, distance in self.closest.items():
            if distance < self.limits.alert(pair) and pair not in self._warned:
                self._warned.add(pair)
                self.warn(f"at step {step} {self._words(pair)}: the run leaves what the model was trained on.")
        return None

    def _words(self, pair: Pair) -> str:
        return f"the closest {pair_name(pair)} are {self.closest[pair]:.3g} Angstrom apart{self.limits.words(pair)}"
