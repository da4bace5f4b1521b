"""Several models on different cells as one: the prediction is their mean, and their spread says how sure it is."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from rgnn.graphs.graph import Graph
from rgnn.models.base import ForceField, LinearReadout, Locality, Prediction
from rgnn.models.reading import ChipReading


class Committee(ForceField):
    """The mean of several models of the same settings, each with a chip.

    Args:
        members: the models, two or more.
    """

    def __init__(self, members: Sequence[ForceField]) -> None:
        super().__init__(members[0].settings, members[0].hardware)
        self.repulsion = None  # each member has its own
        self.outputs = members[0].outputs  # type: ignore[misc]  # of all members, and so of their mean
        self._members = nn.ModuleList(members)

    @property
    def members(self) -> Sequence[ForceField]:
        """The models."""
        return tuple(self._members)  # type: ignore[arg-type]

    @property
    def locality(self) -> Locality:
        """That of each member."""
        return self.members[0].locality

    @property
    def linear(self) -> LinearReadout | None:
        """The weights of the first member; each member has its own."""
        return self.members[0].linear

    @property
    def kind(self) -> str:
        """What the members are, in words."""
        return f"{super().kind}; the mean of {len(self._members)}, on different chips"

    def predict(self, g: Graph, reading: ChipReading) -> Prediction:
        """The mean over members, each of which reads its own chip; the first is monitored."""
        return mean_prediction(self.each(g, reading))

    def without_edges(self, g: Graph) -> Prediction:
        """The mean over members."""
        return mean_prediction([member.without_edges(g) for member in self.members])

    def each(self, g: Graph, reading: ChipReading) -> list[Prediction]:
        """The prediction of each member."""
        unwatched = replace(reading, monitor=None)
        return [member(g, unwatched if number else reading) for number, member in enumerate(self.members)]

    def atom_features(self, g: Graph, reading: ChipReading) -> Tensor:
        """Features of the first member."""
        return self.members[0].atom_features(g, reading)

    def layer_features(self, g: Graph, reading: ChipReading) -> Iterator[tuple[Tensor, Tensor]]:
        """Features of the first member."""
        return self.members[0].layer_features(g, reading)


def mean_prediction(found: Sequence[Prediction]) -> Prediction:
    """The mean of several predictions for one graph."""
    energies, stresses = [p.energy for p in found], [p.stress for p in found]
    return Prediction(_mean([p.forces for p in found]), _mean_if_known(energies), _mean_if_known(stresses))


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(tensors)).mean(0)


def _mean_if_known(tensors: Sequence[Tensor | None]) -> Tensor | None:
    known = [t for t in tensors if t is not None]
    return _mean(known) if len(known) == len(tensors) else None
