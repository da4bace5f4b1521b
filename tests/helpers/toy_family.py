"""A family of models that the program knows nothing of: pair forces from one matrix on the chip."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from rgnn import Graph, Hardware
from rgnn.base.rng import torch_stream
from rgnn.base.settings import Whole
from rgnn.chip.crossbar import Crossbar
from rgnn.graphs.topology import Part
from rgnn.models.base import DirectForces, Locality, require_shapes
from rgnn.models.families import register
from rgnn.models.operations import Elementwise, MatrixUse, Operations, Workload
from rgnn.models.parts.envelope import envelope
from rgnn.models.parts.radial import Gaussians
from rgnn.models.reading import ChipReading
from rgnn.models.settings import ModelSettings


class PairSettings(ModelSettings):
    """The shape of a model of pair forces."""

    family: Literal["pair"] = "pair"
    """Name of the family."""
    gaussians: Whole = 12
    """Number of Gaussians of a distance."""
    channels: Whole = 10
    """Number of channels read from the chip."""


@register
class PairForces(DirectForces):
    """F_i = sum_j w . tanh(A(gaussians(d_ij); W)) fc u_ij."""

    family, settings_class = "pair", PairSettings
    settings: PairSettings

    def __init__(self, settings: PairSettings, hardware: Hardware, cells, seed: int = 0, member: int = 0) -> None:
        super().__init__(settings, hardware)
        require_shapes(cells, self.matrices(settings))
        self.radial = Gaussians(0.8, settings.cutoff, settings.gaussians, trained=False)
        self.crossbar = Crossbar(cells[0][0])
        start = torch.randn(settings.channels, generator=torch_stream(seed, "weights"))
        self.weight = nn.Parameter(start / settings.channels)
        self.finish_crossbars(member)

    @classmethod
    def matrices(cls, settings: PairSettings) -> list[list[tuple[int, int]]]:
        return [[(settings.channels, settings.gaussians)]]

    @classmethod
    def operations(cls, settings: PairSettings, workload: Workload, *, split: bool = True) -> Operations:
        use = MatrixUse((0, "W"), workload.edges, settings.gaussians, settings.channels)
        return Operations((use,), (MatrixUse((1, "w"), workload.edges, settings.channels, 1),), Elementwise())

    @property
    def locality(self) -> Locality:
        return Locality(self.settings.cutoff, self.settings.cutoff, exchanges_features=False)

    def edge_forces(self, g: Graph, reading: ChipReading) -> Iterator[tuple[Part, Tensor]]:
        *_, (_, h) = self.layer_features(g, reading)
        u = (g.edge_vector / g.edge_length[:, None]).to(h.dtype)
        fc = envelope("cosine", g.edge_length.to(h.dtype), self.settings.cutoff)
        yield g.whole, (h @ self.weight * fc)[:, None] * u

    def layer_features(self, g: Graph, reading: ChipReading) -> Iterator[tuple[Tensor, Tensor]]:
        e = self.radial(g.edge_length.to(self.dtype))
        yield g.atomic_numbers, e
        with torch.no_grad():
            h = torch.tanh(reading.product(self.crossbar, e.clone()))
        yield g.whole.sum_over_neighbours(h), h
