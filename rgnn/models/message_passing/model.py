"""RGNN: forces from message passing whose first layers are fixed weights on a chip."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from rgnn.base.rng import torch_stream
from rgnn.chip.hardware import Hardware
from rgnn.graphs.graph import Graph
from rgnn.graphs.topology import Part
from rgnn.models.base import ChipCells, DirectForces, Locality, require_shapes
from rgnn.models.message_passing.layers import ForceHead, ReservoirLayer, TrainedLayer
from rgnn.models.message_passing.operations import message_passing_operations
from rgnn.models.operations import Operations, Workload
from rgnn.models.parts.envelope import envelope
from rgnn.models.parts.radial import Gaussians
from rgnn.models.reading import ChipReading
from rgnn.models.settings import MessagePassingSettings


class RGNN(DirectForces):
    """The reservoir graph neural network of Xu et al. 2025: reservoir layers, trained layers, and a force head.

    Args:
        settings: shape of the model.
        hardware: the hardware that the model is trained for.
        cells: six matrices for each reservoir layer, from `Chip.matrices`.
        seed: of the node embedding and of the trained weights.
        member: number among several models that share a training.
    """

    family = "message-passing"
    settings_class = MessagePassingSettings
    settings: MessagePassingSettings
    embedding: Tensor

    def __init__(
        self,
        settings: MessagePassingSettings,
        hardware: Hardware,
        cells: ChipCells = (),
        seed: int = 0,
        member: int = 0,
    ) -> None:
        super().__init__(settings, hardware)
        require_shapes(cells, self.matrices(settings))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_stream(seed, "weights").initial_seed())
            embedding = torch.randn(100, settings.n_features)
            embedding[0] = 0
            self.register_buffer("embedding", embedding)  # never trained
            self.radial = Gaussians(0.0, settings.cutoff - 0.5, settings.n_features, trained=True)
            reservoir = [ReservoirLayer(w, settings, number) for number, w in enumerate(cells)]
            trained = [TrainedLayer(settings) for _ in range(settings.trained_layers)]
            self.layers = nn.ModuleList([*reservoir, *trained])
            self.head = ForceHead(settings)
        self.finish_crossbars(member)

    @classmethod
    def matrices(cls, settings: MessagePassingSettings) -> list[list[tuple[int, int]]]:
        """The six matrices of each reservoir layer."""
        return [ReservoirLayer.shapes(settings) for _ in range(settings.reservoir_layers)]

    @classmethod
    def operations(cls, settings: MessagePassingSettings, workload: Workload, *, split: bool = True) -> Operations:
        """Exact counts of a forward pass."""
        return message_passing_operations(settings, workload, split=split)

    @property
    def locality(self) -> Locality:
        """(2 L + 1) cutoffs: a layer looks one cutoff farther at either end of an edge."""
        return Locality(self.settings.cutoff, (2 * len(self.layers) + 1) * self.settings.cutoff)

    def edge_forces(self, g: Graph, reading: ChipReading) -> Iterator[tuple[Part, Tensor]]:
        """m_ij fc u_ij from the features of the last layer."""
        *_, (_, e) = self.layer_features(g, reading)
        m, fc = self.head(e), self._envelope(g.edge_length.to(e.dtype))
        u = (g.edge_vector / g.edge_length[:, None]).to(e.dtype)
        yield g.whole, (m if fc is None else m * fc[:, None]) * u

    def layer_features(self, g: Graph, reading: ChipReading) -> Iterator[tuple[Tensor, Tensor]]:
        """Node features [N, F] and edge features [E, F] at the input and after each layer."""
        d = g.edge_length.to(self.dtype)
        n, e, fc = self.embedding[g.atomic_numbers], self.radial(d), self._envelope(d)
        yield n, e
        for layer in self.layers:
            n, e = layer(n, e, g, fc, reading)
            yield n, e

    def _envelope(self, d: Tensor) -> Tensor | None:
        return envelope(self.settings.envelope, d, self.settings.cutoff)
