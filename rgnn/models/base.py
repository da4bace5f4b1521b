"""RGNN: forces from a message-passing network whose first layers are fixed weights on a chip."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from rgnn.base.errors import InputError
from rgnn.base.provenance import Provenance
from rgnn.base.rng import torch_stream
from rgnn.base.settings import require
from rgnn.chip.cells import Cells
from rgnn.chip.converters import Counts
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.hardware import Hardware
from rgnn.graphs.graph import Graph
from rgnn.kernels import kernels_for
from rgnn.models.message_passing.layers import ForceHead, ReservoirLayer, TrainedLayer
from rgnn.models.moments.network import NetworkReadout
from rgnn.models.moments.ridge import RidgeReadout
from rgnn.models.parts.moments import MomentLayer, View, by_component, invariants
from rgnn.models.parts.radial import Radial
from rgnn.models.reading import Readout
from rgnn.models.settings import ModelConfig


class RGNN(nn.Module):
    """The force field: reservoir layers on the chip, trained layers, and a force head.

    Args:
        config: shape of the model.
        hardware: the hardware it is trained for, used unless a call says otherwise.
        weights: six matrices for each reservoir layer, from `Chip.matrices`.
        seed: of the node embedding and of the trained weights.
    """

    embedding: Tensor

    def __init__(
        self,
        config: ModelConfig,
        hardware: Hardware,
        weights: Sequence[Sequence[Cells | Tensor]] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config, self.hardware, self.provenance = config, hardware, Provenance()
        expected = self.shapes(config)
        found = [[tuple(w.shape) for w in layer] for layer in weights]
        if found != expected:
            raise InputError(f"the chip gives matrices of shapes {found}, but the model needs {expected}.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_stream(seed, "weights").initial_seed())
            embedding = torch.randn(100, config.n_features)
            embedding[0] = 0
            self.register_buffer("embedding", embedding)  # never trained
            self.radial = Radial(config)
            if config.moments:
                self.layers = nn.ModuleList([MomentLayer(weights[0], config)])
                ridge = config.readout == "ridge"
                self.head: ForceHead | RidgeReadout | NetworkReadout = (
                    RidgeReadout(weights[1], config) if ridge else NetworkReadout(config)
                )
            else:
                reservoir = [ReservoirLayer(w, config, number) for number, w in enumerate(weights)]
                trained = [TrainedLayer(config) for _ in range(config.trained_layers)]
                self.layers = nn.ModuleList([*reservoir, *trained])
                self.head = ForceHead(config)
        if hardware.adc_bits is not None and hardware.adc_range == "calibrated":
            for array in self.arrays:
                array.expect_output_converters()

    @property
    def arrays(self) -> list[Crossbar]:
        """The matrices on the chip, layer by layer."""
        return [module for module in self.modules() if isinstance(module, Crossbar)]

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers the model was trained on; empty where that is not known."""
        return self.provenance.elements

    @property
    def n_trained(self) -> int:
        """Weights that training changes."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    @property
    def n_fixed(self) -> int:
        """Weights fixed on the chip."""
        return sum(array.weight.numel() for array in self.arrays)

    @staticmethod
    def shapes(config: ModelConfig) -> list[list[tuple[int, int]]]:
        """(out, in) of the six matrices of each reservoir layer; of one for moments and one for a ridge readout."""
        if config.moments:
            require(bool(config.elements), "elements", config.elements, "known to a model with moments")
            random = [[(config.random_features, config.invariants)]] if config.readout == "ridge" else []
            return [MomentLayer.shapes(config), *random]
        return [ReservoirLayer.shapes(config) for _ in range(config.reservoir_layers)]

    def forward(
        self,
        g: Graph,
        hardware: Hardware | None = None,
        generator: torch.Generator | None = None,
        monitor: dict[tuple[int, int], Counts] | None = None,
    ) -> Tensor:
        """Forces [N, 3] in eV/Angstrom.

        Args:
            g: one frame or a batch, with the model's cutoff.
            hardware: None is `self.hardware`.
            generator: stream of this pass's read noise; None reads the chip without noise.
            monitor: what each array clips is counted in it.
        """
        if g.n_edges == 0:
            return self.embedding.new_zeros((g.n_atoms, 3))
        if self.config.moments:
            chip = self.chip(hardware, generator, monitor)
            return torch.cat([v.part.sum_over_neighbours(self.head(v, chip) * v.arm) for v in self.views(g, chip)])
        *_, (_, e) = self.features(g, hardware, generator, monitor)
        m, fc = self.head(e), self.envelope(g.edge_length.to(e.dtype))
        u = (g.edge_vector / g.edge_length[:, None]).to(e.dtype)
        return g.whole.sum_over_neighbours((m if fc is None else m * fc[:, None]) * u)

    def features(
        self,
        g: Graph,
        hardware: Hardware | None = None,
        generator: torch.Generator | None = None,
        monitor: dict[tuple[int, int], Counts] | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Node features [N, F] and edge features [E, F] at the input and after each layer; arguments as of a call.

        The features of a model with moments are these moments [N, 9 K], and the invariants [E, X] that edges see.
        """
        chip = self.chip(hardware, generator, monitor)
        d = g.edge_length.to(self.embedding.dtype)
        n, e, fc = self.embedding[g.atomic_numbers], self.radial(d), self.envelope(d)
        yield n, e
        if self.config.moments:
            (layer,) = self.layers
            assert isinstance(layer, MomentLayer)
            moments = layer(e, g, fc, chip)
            shown = by_component(moments)
            yield moments.flatten(1), invariants(layer.view(e, g, g.whole, fc, layer.kinds(g), (shown, shown)))
            return
        for layer in self.layers:
            n, e = layer(n, e, g, fc, chip)
            yield n, e

    def views(self, g: Graph, chip: Readout) -> Iterator[View]:
        """Of a model with moments, part by part: what edges see."""
        (layer,) = self.layers
        assert isinstance(layer, MomentLayer) and not isinstance(self.head, ForceHead)
        d = g.edge_length.to(self.embedding.dtype)
        e, fc = self.radial(d), self.envelope(d)
        shown, kinds = self.head.shown(layer(e, g, fc, chip)), layer.kinds(g)
        for part in layer.parts(g, chip):
            yield layer.view(e, g, part, fc, kinds, shown)

    def chip(
        self,
        hardware: Hardware | None,
        generator: torch.Generator | None,
        monitor: dict[tuple[int, int], Counts] | None = None,
    ) -> Readout:
        """How a pass reads the chip; arguments as of `features`."""
        kernels = kernels_for(self.embedding.device, self.embedding.dtype)
        return Readout(self._accepted(hardware or self.hardware), generator, kernels, monitor)

    def _accepted(self, hardware: Hardware) -> Hardware:
        if hardware.programming_noise is not None and self.provenance.chip_is_measured:
            raise InputError(
                f"programming_noise is {hardware.programming_noise:g}, but the chip ({self.provenance.chip}) was "
                "measured: what programming did to it is in its conductances; leave programming_noise out."
            )
        return hardware

    def envelope(self, d: Tensor) -> Tensor | None:
        """(1 + cos(pi d / cutoff)) / 2 for each edge [E], or None where the model has no envelope."""
        if self.config.envelope == "none":
            return None
        return 0.5 * (1 + torch.cos(torch.pi * d / self.config.cutoff))
