"""Energies from moments of neighbourhoods; their derivatives come from further reads of the same cells."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from rgnn.base.rng import torch_stream
from rgnn.chip.hardware import Hardware
from rgnn.graphs.graph import Graph
from rgnn.graphs.topology import Part
from rgnn.kernels import add_rows
from rgnn.models.base import ChipCells, ForceField, Locality, Prediction, require_shapes
from rgnn.models.energy.edges import read_edges
from rgnn.models.energy.operations import energy_operations
from rgnn.models.energy.pairs import PairPotential
from rgnn.models.energy.readout import ByElement, EnergyReadout
from rgnn.models.operations import Operations, Workload
from rgnn.models.parts.elements import ElementAxis, Elements
from rgnn.models.parts.moments import RANKS, MomentLayer, lengths, norm_axes
from rgnn.models.parts.radial import Gaussians
from rgnn.models.reading import ChipReading
from rgnn.models.settings import EnergySettings


class MomentEnergy(ForceField):
    """E = sum_i [eps(M_i; Z_i) + sum_j u(d_ij; Z_i Z_j) + e_{Z_i}]: moments from the chip in trained functions.

    The chip sees Gaussians of distances only, so that phi(d) = A(onehot(Z_j) x G(d)) has the slope
    A(onehot(Z_j) x G'(d)), two more reads of the same cells (`ChipReading.of_gaussians`). The digital part gives
    B_i = d eps_i / d M_i, and then

    g_ij = [(phi fc)' B_i . Y_ij + du/dd] u_ij + phi fc B_i . dY_ij / dr      F_i = sum_j g_ij - g_ji

    Without codes, output converters and read noise these are exact derivatives, frozen errors of cells included. Codes
    make the energy a fine staircase whose smooth form the forces follow; each read has noise for itself.

    Args:
        settings: shape of the model, with its elements.
        hardware: the hardware that the model is trained for.
        cells: of the matrix that `matrices` names.
        seed: of the trained weights.
        member: number among several models that share a training.

    Attributes:
        element_energies: [120] reference energies by atomic number, eV, found by least squares.
    """

    family = "energy"
    outputs = frozenset({"energy", "forces", "stress"})
    settings_class = EnergySettings
    settings: EnergySettings
    element_energies: Tensor

    def __init__(
        self, settings: EnergySettings, hardware: Hardware, cells: ChipCells, seed: int = 0, member: int = 0
    ) -> None:
        super().__init__(settings, hardware)
        require_shapes(cells, self.matrices(settings))
        s = len(settings.elements)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_stream(seed, "weights").initial_seed())
            self.gaussians = Gaussians(0.8, settings.cutoff - 0.2, settings.gaussians, width=2.0, trained=False)
            self.table = Elements(settings.elements)
            self.moments = MomentLayer(cells[0][0], self.table, settings.channels)
            self.readout = EnergyReadout(settings.channels, settings.mixtures, settings.widths, s)
            self.pairs = PairPotential(settings.gaussians, s)
        self.register_buffer("element_energies", torch.zeros(120))
        self.finish_crossbars(member)

    @classmethod
    def matrices(cls, settings: EnergySettings) -> list[list[tuple[int, int]]]:
        """The matrix of the moments."""
        settings.require_elements()
        return [[(settings.channels, len(settings.elements) * settings.gaussians)]]

    @classmethod
    def operations(cls, settings: EnergySettings, workload: Workload, *, split: bool = True) -> Operations:
        """Exact counts of a pass that gives energy, forces and stress."""
        return energy_operations(settings, workload)

    @property
    def reference(self) -> Tensor:
        """[120] reference energies by atomic number, eV."""
        return self.element_energies

    @property
    def locality(self) -> Locality:
        """One cutoff for the energies of atoms; forces on their neighbours belong to the owners of these."""
        cutoff = self.settings.cutoff
        return Locality(cutoff, 2 * cutoff, exchanges_features=False, returns_forces=True)

    def predict(self, g: Graph, reading: ChipReading) -> Prediction:
        """Energies of frames, forces and stress, part by part."""
        rows = self.table(g.atomic_numbers)
        forces = torch.zeros(g.n_atoms, 3, dtype=self.dtype, device=self.device)
        energy = g.edge_vector.new_zeros(g.topology.n_frames)
        strain = g.edge_vector.new_zeros(g.topology.n_frames, 3, 3)
        for part in self.moments.parts(g, reading):
            edges = read_edges(g, part, self.gaussians, self.moments.crossbar, rows, self.settings.cutoff, reading)
            eps, b = self.energies(edges.moments(reading), rows[part.atoms])
            i, j = part.ends_out
            pair_energy, pair_slope = self.pairs(edges, rows[i] * len(self.table) + rows[j], self.gaussians, reading)
            along = edges.gradients(b, reading) + pair_slope[:, None] * edges.direction
            add_rows(add_rows(forces, i, along), j, -along)
            add_rows(energy, g.frame_index[part.atoms], eps.to(energy.dtype))
            add_rows(energy, g.frame_index[i], pair_energy.to(energy.dtype))
            strain = strain + self._strain(g, part, along)
        return self._prediction(g, forces, energy, strain)

    @staticmethod
    def _strain(g: Graph, part: Part, along: Tensor) -> Tensor:
        """[frames, 3, 3] what the edges of a part bring to the derivative of the energies by a strain."""
        vectors, along = g.edge_vector[part.out], along.to(g.edge_vector.dtype)
        if g.topology.n_frames == 1:
            return (vectors.T @ along)[None]
        # The edges are sorted by their centres, and so by frames.
        counts = torch.bincount(g.frame_index[part.ends_out[0]], minlength=g.topology.n_frames).tolist()
        return torch.stack([v.T @ f for v, f in zip(vectors.split(counts), along.split(counts), strict=True)])

    def energies(self, moments: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """[N] eV of atoms without their reference, and its derivative by their moments [N, 9, K].

        The derivative carries gradients to the trained weights where there are any.
        """
        order = ByElement(rows, len(self.table))
        eps, b = self.readout(moments, order, *self.moments.statistics(moments, rows))
        return eps, b

    def _prediction(self, g: Graph, forces: Tensor, energy: Tensor, strain: Tensor) -> Prediction:
        """With the reference energies of own atoms added, and the stress from dE / d strain [frames, 3, 3].

        What the energies of own atoms do to those of other processes goes there.
        """
        own = slice(0, g.topology.own_atoms)
        reference = self.element_energies.to(energy.dtype)[g.atomic_numbers[own]]
        energy = add_rows(energy, g.frame_index[own], reference)
        stress = None
        if g.volume is not None:
            stress = 0.5 * (strain + strain.mT) / g.volume[:, None, None]
        return Prediction(g.return_nodes(forces), energy, stress)

    def without_edges(self, g: Graph) -> Prediction:
        """Energies of isolated atoms: what the digital part makes of no neighbours, and the reference."""
        rows = self.table(g.atomic_numbers)
        nothing = torch.zeros(g.n_atoms, 9, self.settings.channels, dtype=self.dtype, device=self.device)
        eps, _ = self.energies(nothing, rows)
        zeros = g.edge_vector.new_zeros(g.topology.n_frames)
        energy = add_rows(zeros.clone(), g.frame_index, eps.to(zeros.dtype))
        strain = zeros[:, None, None].expand(-1, 3, 3)
        return self._prediction(g, nothing.new_zeros(g.n_atoms, 3), energy, strain)

    @torch.no_grad()
    def atom_features(self, g: Graph, reading: ChipReading) -> Tensor:
        """[N, 3 K] lengths of the standardised moments."""
        rows, cutoff = self.table(g.atomic_numbers), self.settings.cutoff
        found = []
        for part in self.moments.parts(g, reading):
            edges = read_edges(g, part, self.gaussians, self.moments.crossbar, rows, cutoff, reading)
            found.append(lengths(self.moments.standardised(edges.moments(reading), rows[part.atoms])))
        return torch.cat(found)

    def layer_features(self, g: Graph, reading: ChipReading) -> Iterator[tuple[Tensor, Tensor]]:
        """The elements [N] and Gaussians [E, G]; then the standardised moments [N, 9 K] and the channels [E, K]."""
        rows = self.table(g.atomic_numbers)
        yield g.atomic_numbers, self.gaussians(g.edge_length.to(self.dtype))
        edges = read_edges(g, g.whole, self.gaussians, self.moments.crossbar, rows, self.settings.cutoff, reading)
        yield self.moments.standardised(edges.moments(reading), rows).flatten(1), edges.channels

    @property
    def element_axes(self) -> Mapping[str, ElementAxis]:
        """Statistics, mixtures and the last layer by element; the pair potential by pair."""
        own = {f"readout.{name}": ElementAxis(int(name == "mix")) for name in ("mix", "bias", "last", "linear")}
        return norm_axes() | own | {"pairs.weight": ElementAxis(pairs=True)}

    @torch.no_grad()
    def mixture_inputs(self, g: Graph, reading: ChipReading) -> list[Tensor]:
        """Standardised moments by rank and, within it, by element: every element mixes its own."""
        rows = self.table(g.atomic_numbers)
        edges = read_edges(g, g.whole, self.gaussians, self.moments.crossbar, rows, self.settings.cutoff, reading)
        moments = self.moments.standardised(edges.moments(reading), rows)
        return [moments[rows == z, rank].flatten(0, 1) for rank in RANKS for z in range(len(self.table))]

    @torch.no_grad()
    def change_mixtures(self, number: int, change: Tensor) -> None:
        """A set for each rank and element, as `mixture_inputs` lists them."""
        rank, z = divmod(number, len(self.table))
        mix = self.readout.mix[rank, z]
        mix.copy_(change.to(mix) @ mix)
