"""RGNN: forces from a message-passing network whose first layers are fixed weights on a chip."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from rgnn.analog import Counts
from rgnn.cells import Cells
from rgnn.config import ModelConfig, Settings, require
from rgnn.crossbar import Crossbar
from rgnn.errors import InputError
from rgnn.graphs import Graph, Part, take
from rgnn.hardware import Hardware
from rgnn.kernels import Kernels, gate, kernels_for
from rgnn.moments import MomentLayer, View, by_component, invariants
from rgnn.reading import Readout
from rgnn.readouts import NetworkReadout, RidgeReadout
from rgnn.streams import torch_stream

LN2 = 0.6931471805599453


class Radial(nn.Module):
    """e_g(d) = exp(-(d - mu_g)^2 / (2 s_g^2)): trained Gaussians, mu evenly from 0 to cutoff - 0.5 Angstrom.

    Those of moments are fixed, lie where atoms do, from 0.8 to cutoff - 0.2 Angstrom, and are twice as wide as they
    are apart: several see each distance, so that what few bits do to one of them is averaged.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        moments = config.moments > 0
        first, last = (0.8, config.cutoff - 0.2) if moments else (0, config.cutoff - 0.5)
        mu = torch.linspace(first, last, config.n_features)
        width = torch.full_like(mu, (2 if moments else 1) * float(mu[1] - mu[0]))
        self.mu, self.s = (nn.Parameter(values, requires_grad=not moments) for values in (mu, width))

    def forward(self, d: Tensor) -> Tensor:
        return torch.exp(-0.5 / self.s.square() * (d[:, None] - self.mu).square())


def needs_all_edges(layer: nn.Module) -> bool:
    """Whether a layer must see all edges at once: for the statistics of its norms, or to keep them for a gradient."""
    return layer.training or torch.is_grad_enabled()


def by_parts(parts: Sequence[Part], e: Tensor, edges_into: Callable[[Part], Tensor]) -> Tensor:
    """[E, F] new edge features, from those of the edges into each part."""
    if isinstance(parts[0].into, slice):  # all edges
        return edges_into(parts[0])
    new = torch.empty_like(e)
    for part in parts:
        assert isinstance(part.into, Tensor)
        new.index_copy_(0, part.into, edges_into(part))
    return new


def _three_body_columns(f: int) -> tuple[Tensor, Tensor]:
    """Columns of [n_i, n_j, n_k, e_ij, e_jk] that belong to the edge i -> j and to the edge j -> k."""
    n_i, n_j, n_k, e_ij, e_jk = torch.arange(5 * f).split(f)
    return torch.cat([n_i, n_j, e_ij]), torch.cat([n_k, e_jk])


class ReservoirLayer(nn.Module):
    """Message passing through six fixed matrices on the chip; only batch norms are trained.

    No gradient enters the analog products (as published, "blocked"); it flows along the residual path, unless the
    kernels let it straight through.
    """

    arrays: Sequence[Crossbar]
    columns_ij: Tensor
    columns_jk: Tensor

    def __init__(self, weights: Sequence[Cells | Tensor], config: ModelConfig, number: int = 0) -> None:
        super().__init__()
        f = config.n_features
        arrays = [Crossbar(w, clean_offset=k == 1, place=(number, k)) for k, w in enumerate(weights)]
        self.arrays = nn.ModuleList(arrays)  # type: ignore[assignment]
        self.bn_node, self.bn_two, self.bn_three = (nn.BatchNorm1d(f) for _ in range(3))
        columns = _three_body_columns(f)
        self.register_buffer("columns_ij", columns[0], persistent=False)
        self.register_buffer("columns_jk", columns[1], persistent=False)

    @staticmethod
    def shapes(config: ModelConfig) -> list[tuple[int, int]]:
        """(out, in) of W0 to W5."""
        f = config.n_features
        return [(8 * f, 2 * f), (2 * f, 8 * f), (8 * f, 2 * f), (2 * f, 8 * f), (10 * f, 5 * f), (2 * f, 10 * f)]

    def forward(self, n: Tensor, e: Tensor, g: Graph, fc: Tensor | None, chip: Readout) -> tuple[Tensor, Tensor]:
        """N [N, F], e [E, F] -> the same; fc [E] is the cutoff envelope."""
        parts = g.parts if not needs_all_edges(self) and chip.hardware.treats_rows_alone else (g.whole,)
        with chip.gradient():
            n_sum = torch.cat([self.node_messages(n, e, part, fc, chip) for part in parts])
        n = g.exchange_nodes(torch.relu(n + self.bn_node(n_sum)))

        def edges_into(part: Part) -> Tensor:
            with chip.gradient():
                z, t_sum = self.edge_messages(n, e, part, fc, chip)
            return torch.relu(take(e, part.into) + self.bn_two(z) + self.bn_three(t_sum))

        return n, g.exchange_edges(by_parts(parts, e, edges_into))

    def node_messages(self, n: Tensor, e: Tensor, part: Part, fc: Tensor | None, chip: Readout) -> Tensor:
        w0, w1 = self.arrays[0], self.arrays[1]
        n_j, e_jk = n.index_select(0, part.ends_out[0]), take(e, part.out)
        y = gate(chip.product(w1, chip.product(w0, n_j, e_jk, relu=True)))
        return part.sum_over_neighbours(y if fc is None else y * fc[part.out, None])

    def edge_messages(
        self, n: Tensor, e: Tensor, part: Part, fc: Tensor | None, chip: Readout
    ) -> tuple[Tensor, Tensor]:
        """The two-body and the three-body sums of the edges i -> j into a part's atoms."""
        _, _, w2, w3, w4, w5 = self.arrays
        (i, j), (_, k) = part.ends_into, part.ends_out
        n_i, n_j, n_k = n.index_select(0, i), n.index_select(0, j), n.index_select(0, k)
        e_ij, e_jk = take(e, part.into), take(e, part.out)
        z = gate(chip.product(w3, chip.product(w2, n_i, n_j, relu=True)))
        first = chip.begin(w4, lambda: (n_i, e_ij))  # of all edges: every n_j and n_k is the n_i of another one
        p = chip.kernels.accumulate(first, torch.cat([n_i, n_j, e_ij], dim=1), self.columns_ij)
        q = chip.kernels.accumulate(first, torch.cat([n_k, e_jk], dim=1), self.columns_jk)
        second = chip.begin(w5, lambda: [first.finish(chip.kernels.extremes(part.plan, p, q)).relu_()])
        fc_jk = None if fc is None else fc[part.out]
        return z, chip.kernels.three_body(part.plan, p, q, fc_jk, first, second)


class TrainedLayer(nn.Module):
    """Message passing through ordinary linear layers."""

    columns_ij: Tensor
    columns_jk: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        f = config.n_features
        self.node = nn.Sequential(nn.Linear(2 * f, 2 * f), nn.ReLU(), nn.Linear(2 * f, 2 * f))
        self.two = nn.Sequential(nn.Linear(f, f), nn.ReLU(), nn.Linear(f, 2 * f))
        self.three_first, self.three_second = nn.Linear(5 * f, 2 * f), nn.Linear(2 * f, 2 * f)
        self.bn_node, self.bn_two, self.bn_three = (nn.BatchNorm1d(f) for _ in range(3))
        columns = _three_body_columns(f)
        self.register_buffer("columns_ij", columns[0], persistent=False)
        self.register_buffer("columns_jk", columns[1], persistent=False)

    def forward(self, n: Tensor, e: Tensor, g: Graph, fc: Tensor | None, chip: Readout) -> tuple[Tensor, Tensor]:
        """N [N, F], e [E, F] -> the same; fc [E] is the cutoff envelope. The chip is not used."""
        parts = (g.whole,) if needs_all_edges(self) else g.parts
        n_sum = torch.cat([self.node_messages(n, e, part, fc) for part in parts])
        n = g.exchange_nodes(torch.tanh(n + self.bn_node(n_sum)))

        def edges_into(part: Part) -> Tensor:
            z, t_sum = self.edge_messages(n, e, part, fc, chip.kernels)
            return torch.tanh(take(e, part.into) + self.bn_two(z) + self.bn_three(t_sum))

        return n, g.exchange_edges(by_parts(parts, e, edges_into))

    def node_messages(self, n: Tensor, e: Tensor, part: Part, fc: Tensor | None) -> Tensor:
        y = gate(self.node(torch.cat([n.index_select(0, part.ends_out[0]), take(e, part.out)], dim=1)))
        return part.sum_over_neighbours(y if fc is None else y * fc[part.out, None])

    def edge_messages(
        self, n: Tensor, e: Tensor, part: Part, fc: Tensor | None, kernels: Kernels
    ) -> tuple[Tensor, Tensor]:
        """The two-body and the three-body sums of the edges i -> j into a part's atoms."""
        (i, j), (_, k) = part.ends_into, part.ends_out
        # The gradient of n[i] would depend on the threads' race.
        n_i, n_j, n_k = n.index_select(0, i), n.index_select(0, j), n.index_select(0, k)
        e_ij, e_jk = take(e, part.into), take(e, part.out)
        z = gate(self.two(n_i * n_j))
        w, b = self.three_first.weight, self.three_first.bias
        p = linear(torch.cat([n_i, n_j, e_ij], dim=1), w[:, self.columns_ij], b)
        q = linear(torch.cat([n_k, e_jk], dim=1), w[:, self.columns_jk])
        fc_jk, last = None if fc is None else fc[part.out], self.three_second
        return z, kernels.trained_three_body(part.plan, p, q, fc_jk, last.weight, last.bias)


class ForceHead(nn.Module):
    """m_ij = w2 . ssp(W1 e_ij + b1) + b2, with the shifted softplus ssp(x) = softplus(x) - ln 2."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        f = config.n_features
        self.first, self.second = nn.Linear(f, f // 2), nn.Linear(f // 2, 1)

    def forward(self, e: Tensor) -> Tensor:
        # In float64: a row of so narrow a product in float32 is rounded differently among other rows.
        w1, b1, w2, b2 = (x.double() for x in (*self.first.parameters(), *self.second.parameters()))
        return linear(softplus(linear(e.double(), w1, b1)) - LN2, w2, b2).to(e.dtype)


@dataclass(frozen=True)
class Closest(Settings):
    """The smallest distance in Angstrom between atoms of two elements, by atomic number, `first` <= `second`."""

    first: int = 0
    second: int = 0
    distance: float = 0.0


@dataclass(frozen=True)
class TrainingRange(Settings):
    """What a training set spans, so that a structure outside of it can be told.

    Attributes:
        density: lowest and highest in g/cm3; empty where no frame is periodic in all directions.
        closest: of each pair of elements that are neighbours in some frame.
        largest_force: eV/Angstrom, of one atom; 0 where nothing is known.
        frames: that were looked at.
    """

    density: tuple[float, ...] = ()
    closest: tuple[Closest, ...] = ()
    largest_force: float = 0.0
    frames: int = 0

    def joined(self, other: "TrainingRange") -> "TrainingRange":
        """What two training sets span together."""
        if not (self.frames and other.frames):
            return self if self.frames else other
        nearest = {(c.first, c.second): c for c in sorted([*self.closest, *other.closest], key=lambda c: -c.distance)}
        density = sorted([*self.density, *other.density])
        return TrainingRange(
            (density[0], density[-1]) if density else (),
            tuple(nearest[pair] for pair in sorted(nearest)),
            max(self.largest_force, other.largest_force),
            self.frames + other.frames,
        )


@dataclass(frozen=True)
class Provenance(Settings):
    """Where a model comes from.

    Attributes:
        elements: atomic numbers it was trained on; empty where that is not known.
        chip: the source of its reservoir weights.
        chip_is_measured: they were measured, not made.
        data, data_checksum: the store it was trained on.
        validation, split, seed: the split of that store, see `split_frames`.
        rgnn: version of the program that trained or imported it.
        seen: what the training set spans; empty in models imported, or trained before this was recorded.
    """

    elements: tuple[int, ...] = ()
    chip: str = "unknown"
    chip_is_measured: bool = False
    data: str = "unknown"
    data_checksum: str = ""
    validation: float = 0.0
    split: Literal["blocks", "random"] = "blocks"
    seed: int = 0
    rgnn: str = "unknown"
    seen: TrainingRange = TrainingRange()


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
    def n_reservoir(self) -> int:
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
