"""Forces from moments of neighbourhoods: one product on the chip for each edge, and no triplets."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rgnn.base.rng import torch_stream
from rgnn.chip.hardware import Hardware
from rgnn.graphs.graph import Graph
from rgnn.graphs.topology import Part
from rgnn.kernels import add_rows
from rgnn.models.base import ChipCells, DirectForces, Locality, require_shapes
from rgnn.models.moments.network import NetworkReadout
from rgnn.models.moments.operations import moment_operations
from rgnn.models.moments.ridge import RidgeReadout
from rgnn.models.operations import Operations, Workload
from rgnn.models.parts.elements import ElementAxis, Elements
from rgnn.models.parts.envelope import envelope
from rgnn.models.parts.moments import (
    RANKS,
    EdgeInputs,
    MomentLayer,
    by_component,
    edge_inputs,
    invariants,
    lengths,
    norm_axes,
)
from rgnn.models.parts.radial import Gaussians
from rgnn.models.reading import ChipReading
from rgnn.models.settings import MomentSettings, NetworkSettings, RidgeSettings

if TYPE_CHECKING:
    from rgnn.models.base import LinearReadout


class MomentForces(DirectForces):
    """F_i = sum_j m(x_ij) fc u_ij: moments of atoms from the chip, and a readout of what edges see of them.

    Args:
        settings: shape of the model, with its elements.
        hardware: the hardware that the model is trained for.
        cells: of the matrices that `matrices` lists.
        seed: of the trained weights.
        member: number among several models that share a training.
    """

    family = "moments"
    settings_class = MomentSettings
    settings: MomentSettings

    def __init__(
        self, settings: MomentSettings, hardware: Hardware, cells: ChipCells, seed: int = 0, member: int = 0
    ) -> None:
        super().__init__(settings, hardware)
        require_shapes(cells, self.matrices(settings))
        s, r = len(settings.elements), settings.readout
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_stream(seed, "weights").initial_seed())
            torch.randn(100, settings.gaussians)  # keeps the weights that a seed has given so far
            # They lie where atoms do, and several see each distance: what few bits do to one of them is averaged.
            self.gaussians = Gaussians(0.8, settings.cutoff - 0.2, settings.gaussians, width=2.0, trained=False)
            self.table = Elements(settings.elements)
            self.moments = MomentLayer(cells[0][0], self.table, settings.channels)
            self.readout: RidgeReadout | NetworkReadout
            if isinstance(r, RidgeSettings):
                self.readout = RidgeReadout(cells[1][0], s)
            else:
                assert isinstance(r, NetworkSettings)
                shape = settings.gaussians, settings.channels, settings.invariants
                self.readout = NetworkReadout(*shape, r.widths, s)
        self.finish_crossbars(member)

    @classmethod
    def matrices(cls, settings: MomentSettings) -> list[list[tuple[int, int]]]:
        """One matrix for the moments, and one for the random features of a ridge readout."""
        settings.require_elements()
        moments = [(settings.channels, len(settings.elements) * settings.gaussians)]
        r = settings.readout
        return [moments, [(r.random_features, settings.invariants)]] if isinstance(r, RidgeSettings) else [moments]

    @classmethod
    def operations(cls, settings: MomentSettings, workload: Workload, *, split: bool = True) -> Operations:
        """Exact counts of a forward pass, which has nothing to split."""
        return moment_operations(settings, workload)

    @property
    def locality(self) -> Locality:
        """Two cutoffs: an edge sees the moments of its neighbour."""
        return Locality(self.settings.cutoff, 2 * self.settings.cutoff)

    @property
    def linear(self) -> "LinearReadout | None":
        """The weights of a ridge readout; None with a network."""
        return LinearMoments(self, self.readout) if isinstance(self.readout, RidgeReadout) else None

    def edge_forces(self, g: Graph, reading: ChipReading) -> Iterator[tuple[Part, Tensor]]:
        """m_ij fc u_ij, part by part."""
        for inputs in self.edge_inputs(g, reading):
            yield inputs.part, self.readout(inputs, reading) * inputs.weighted_direction

    def edge_inputs(self, g: Graph, reading: ChipReading) -> Iterator[EdgeInputs]:
        """What is known of the edges, part by part, from one read of the moments."""
        e, fc = self._edges(g)
        projected = self.readout.projected(self.moments(e, g, fc, reading))
        for part in self.moments.parts(g, reading):
            yield edge_inputs(e, g, part, fc, self.table, projected)

    @torch.no_grad()
    def atom_features(self, g: Graph, reading: ChipReading) -> Tensor:
        """[N, 3 K] lengths of the standardised moments."""
        e, fc = self._edges(g)
        return lengths(self.moments(e, g, fc, reading))

    def layer_features(self, g: Graph, reading: ChipReading) -> Iterator[tuple[Tensor, Tensor]]:
        """The elements [N] and Gaussians [E, G]; then the moments [N, 9 K] and the invariants [E, X]."""
        e, fc = self._edges(g)
        yield g.atomic_numbers, e
        moments = self.moments(e, g, fc, reading)
        components = by_component(moments)
        yield moments.flatten(1), invariants(edge_inputs(e, g, g.whole, fc, self.table, (components, components)))

    @property
    def element_axes(self) -> Mapping[str, ElementAxis]:
        """Statistics by element; biases and outputs of a network by pair."""
        pair, last = ElementAxis(pairs=True), len(getattr(self.readout, "layers", ())) - 1
        names = "readout.first.weight", f"readout.layers.{last}.weight", f"readout.layers.{last}.bias"
        return norm_axes() | dict.fromkeys(names, pair)

    @torch.no_grad()
    def mixture_inputs(self, g: Graph, reading: ChipReading) -> list[Tensor]:
        """Moments by rank, which the first layer of a network mixes."""
        e, fc = self._edges(g)
        moments = self.moments(e, g, fc, reading)
        return [moments[:, rank].flatten(0, 1) for rank in RANKS]

    @torch.no_grad()
    def change_mixtures(self, number: int, change: Tensor) -> None:
        """A set for each rank, at either end of an edge."""
        assert isinstance(self.readout, NetworkReadout)
        for weight in (self.readout.centre[number], self.readout.neighbour[number]):
            weight.copy_(change.to(weight) @ weight)

    def _edges(self, g: Graph) -> tuple[Tensor, Tensor | None]:
        """Gaussians [E, G] and envelope [E] of the edges."""
        d = g.edge_length.to(self.dtype)
        return self.gaussians(d), envelope(self.settings.envelope, d, self.settings.cutoff)


class LinearMoments:
    """The weights of a ridge readout, to be solved for: F_i = P_i w, with w of the element of i.

    Args:
        model: with this readout.
        readout: the readout.
    """

    def __init__(self, model: MomentForces, readout: RidgeReadout) -> None:
        self.model, self.readout = model, readout

    @property
    def weight(self) -> Tensor:
        """[S, n], n = S (X + D): for each element of the neighbour, invariants and random features."""
        return self.readout.weight.detach().flatten(1)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers of the rows."""
        return self.model.settings.elements

    @property
    def ready(self) -> bool:
        """Whether the statistics of the moments have been set."""
        return self.model.moments.ready

    def element_index(self, g: Graph) -> Tensor:
        """[N] the row of each atom."""
        index: Tensor = self.model.table(g.atomic_numbers)
        return index

    @torch.no_grad()
    def design(self, g: Graph, reading: ChipReading) -> Tensor:
        """[N, 3, n] the force on each atom for a weight of 1 on each feature and element of the neighbour."""
        s, parts = len(self.elements), []
        for inputs in self.model.edge_inputs(g, reading):
            h, part = self.readout.features(inputs, reading), inputs.part
            row = (part.ends_out[0] - part.atoms.start) * s + inputs.pair % s
            sums = h.new_zeros((3, part.n_atoms * s, h.shape[1]))
            for axis in range(3):
                add_rows(sums[axis], row, h * inputs.weighted_direction[:, axis, None])
            parts.append(sums.view(3, part.n_atoms, -1).movedim(0, 1))
        return torch.cat(parts)

    @torch.no_grad()
    def spread(self, g: Graph, reading: ChipReading, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Forces [N, 3], and their mean square [N] over draws [S, n, K] of weights, from one read of the chip."""
        of_pair = draws.view(-1, self.readout.weight.shape[-1], draws.shape[-1])
        forces, variance = [], []
        for inputs in self.model.edge_inputs(g, reading):
            h, part, pair = self.readout.features(inputs, reading), inputs.part, inputs.pair
            arm = inputs.weighted_direction
            forces.append(part.sum_over_neighbours(self.readout.weighted(h, pair) * arm))
            m = h.new_empty(len(h), draws.shape[-1])
            for k, w in enumerate(of_pair):
                mine = (pair == k).nonzero()[:, 0]
                m[mine] = h[mine] @ w
            axes = [part.sum_over_neighbours(m * arm[:, axis, None]) for axis in range(3)]
            variance.append(torch.stack(axes).square().mean((0, 2)))
        return torch.cat(forces), torch.cat(variance)
