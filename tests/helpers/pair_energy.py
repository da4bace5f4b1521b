"""A family of models with an energy that tests know all about: Morse pairs, and a little of the chip on top."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from rgnn import Chip, Graph, Hardware
from rgnn.base.provenance import Provenance
from rgnn.base.rng import torch_stream
from rgnn.base.settings import Number, Whole
from rgnn.chip.crossbar import Crossbar
from rgnn.models.base import ForceField, Locality, Prediction, require_shapes
from rgnn.models.families import register
from rgnn.models.operations import Elementwise, MatrixUse, Operations, Workload
from rgnn.models.parts.radial import Gaussians
from rgnn.models.reading import ChipReading
from rgnn.models.settings import ModelSettings


class PairEnergySettings(ModelSettings):
    """The shape of a model of pair energies."""

    family: Literal["pair-energy"] = "pair-energy"
    """Name of the family."""
    cutoff: Number = 3.8
    """Largest distance of two atoms that feel each other, Angstrom."""
    depth: Number = 0.4
    """Depth of the well of a pair, eV."""
    distance: Number = 2.0
    """Distance of its bottom, Angstrom."""
    stiffness: Number = 1.5
    """Its exponent, 1/Angstrom."""
    shift: Number = 0.0
    """Energy of an atom on its own, eV."""
    share: Number = 0.02
    """Weight of the chip in the energy of a pair, eV; 0 leaves a model without noise."""
    gaussians: Whole = 12
    """Number of Gaussians of a distance."""
    channels: Whole = 6
    """Number of channels read from the chip."""


@register
class PairEnergy(ForceField):
    """E = sum_i shift + sum_ij e(d_ij) / 2, e = [D ((1 - exp(-a (d - d0)))^2 - 1) + share w . A(G(d); W)] fc(d).

    Forces and stress are the derivatives of the same formula: the chip is read for G, for G'+ and for G'-. Elements
    play no part. Everything is in float64 apart from what the chip gives.
    """

    family, outputs, settings_class = "pair-energy", frozenset({"energy", "forces", "stress"}), PairEnergySettings
    settings: PairEnergySettings

    def __init__(self, settings: PairEnergySettings, hardware: Hardware, cells, seed: int = 0, member: int = 0) -> None:
        super().__init__(settings, hardware)
        require_shapes(cells, self.matrices(settings))
        self.radial = Gaussians(0.8, settings.cutoff, settings.gaussians, trained=False)
        self.crossbar = Crossbar(cells[0][0])
        self.weight = nn.Parameter(torch.randn(settings.channels, generator=torch_stream(seed, "weights")))
        self.finish_crossbars(member)

    @classmethod
    def matrices(cls, settings: PairEnergySettings) -> list[list[tuple[int, int]]]:
        return [[(settings.channels, settings.gaussians)]]

    @classmethod
    def operations(cls, settings: PairEnergySettings, workload: Workload, *, split: bool = True) -> Operations:
        use = MatrixUse((0, "W"), 3 * workload.edges, settings.gaussians, settings.channels)
        return Operations((use,), (MatrixUse((1, "w"), workload.edges, settings.channels, 1),), Elementwise())

    @property
    def locality(self) -> Locality:
        return Locality(self.settings.cutoff, self.settings.cutoff, exchanges_features=False, returns_forces=True)

    def predict(self, g: Graph, reading: ChipReading) -> Prediction:
        s, d = self.settings, g.edge_length
        tail = torch.exp(-s.stiffness * (d - s.distance))
        chip, slope = self._chip(d, reading)
        well = s.depth * ((1 - tail).square() - 1) + s.share * chip
        steep = 2 * s.depth * s.stiffness * tail * (1 - tail) + s.share * slope
        fc = 0.5 * (1 + torch.cos(torch.pi * d / s.cutoff))
        fall = -0.5 * torch.pi / s.cutoff * torch.sin(torch.pi * d / s.cutoff)
        along = (0.5 * (steep * fc + well * fall) / d)[:, None] * g.edge_vector
        i, j = g.edge_index
        forces = torch.zeros(g.n_atoms, 3, dtype=d.dtype, device=d.device)
        forces = forces.index_add(0, i, along).index_add(0, j, -along)
        frames = g.topology.n_frames
        energy = d.new_zeros(frames).index_add(0, g.frame_index[i], 0.5 * well * fc)
        virial = (g.edge_vector[:, :, None] * along[:, None]).flatten(1)
        strain = d.new_zeros(frames, 9).index_add(0, g.frame_index[i], virial).view(-1, 3, 3)
        stress = None if g.volume is None else 0.5 * (strain + strain.mT) / g.volume[:, None, None]
        return Prediction(g.return_nodes(forces), energy + self._alone(g), stress)

    def _alone(self, g: Graph) -> Tensor:
        own = g.frame_index[: g.topology.own_atoms]
        return self.settings.shift * torch.bincount(own, minlength=g.topology.n_frames).double()

    def _chip(self, d: Tensor, reading: ChipReading) -> tuple[Tensor, Tensor]:
        """w . A(G) and w . dA/dd [E]."""
        if not self.settings.share:
            return torch.zeros_like(d), torch.zeros_like(d)
        x = d.to(self.dtype)
        values = self.radial(x)
        steepest = 1 / (self.radial.s * 1.6487)  # 1.6487 is sqrt(e); inputs of all three reads span 0 to 1
        slopes = values * (self.radial.mu - x[:, None]) / self.radial.s.square() / steepest.max()
        with torch.no_grad():
            reads = [reading.product(self.crossbar, each) for each in (values, slopes.relu(), (-slopes).relu())]
        chip, up, down = (self.weight @ read.mT for read in reads)
        return chip.to(d.dtype), ((up - down) * steepest.max()).to(d.dtype)

    def without_edges(self, g: Graph) -> Prediction:
        forces = torch.zeros(g.n_atoms, 3, dtype=torch.float64, device=self.device)
        stress = None if g.volume is None else torch.zeros(g.topology.n_frames, 3, 3, dtype=torch.float64)
        return Prediction(forces, self._alone(g), stress)

    def layer_features(self, g: Graph, reading: ChipReading) -> Iterator[tuple[Tensor, Tensor]]:
        e = self.radial(g.edge_length.to(self.dtype))
        yield g.atomic_numbers, e
        with torch.no_grad():
            h = reading.product(self.crossbar, e)
        yield g.whole.sum_over_neighbours(h), h


def pair_energy(*frames: Graph, hardware: Hardware | None = None, seed: int = 0, **shape) -> PairEnergy:
    """A model that is ready to predict, with the input ranges that `frames` need."""
    settings = PairEnergySettings(**shape)
    cells = Chip.synthetic(seed).matrices(PairEnergy.matrices(settings))
    model = PairEnergy(settings, hardware or Hardware(), cells, seed)
    model.provenance = Provenance(elements=(3, 8, 9, 15))
    with torch.no_grad():
        for g in frames:
            model.train()(g)
    return model.eval()
