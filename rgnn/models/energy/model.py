"""Energies from moments of neighbourhoods and messages; derivatives come from further reads of the same cells."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rgnn.base.rng import torch_stream
from rgnn.chip.hardware import Hardware
from rgnn.graphs.graph import Graph
from rgnn.graphs.topology import Part
from rgnn.kernels import add_rows
from rgnn.models.base import ChipCells, ForceField, Locality, Prediction, require_shapes
from rgnn.models.energy.edges import Channels, ChipEdges, Edges
from rgnn.models.energy.operations import energy_operations
from rgnn.models.energy.pairs import PairPotential
from rgnn.models.energy.readout import ByElement, Described, EnergyReadout
from rgnn.models.operations import Operations, Workload
from rgnn.models.parts.elements import ElementAxis, Elements
from rgnn.models.parts.moments import RANKS, MomentLayer, lengths, norm_axes
from rgnn.models.parts.radial import Gaussians
from rgnn.models.reading import ChipReading
from rgnn.models.settings import EnergySettings


@dataclass(frozen=True)
class Told:
    """Energies of moments and messages, and what messages do to their derivatives.

    Attributes:
        energy: [frames] eV.
        by_hidden: for each part, derivatives by the hidden layers of its atoms.
        by_edges: for each part [out, 3], derivatives by its edges, eV/Angstrom.
        by_sent: [own, 9, F] derivatives by what own atoms send.
    """

    energy: Tensor
    by_hidden: list[Tensor]
    by_edges: list[Tensor]
    by_sent: Tensor


class MomentEnergy(ForceField):
    """E = sum_i [eps(M_i, N_i; Z_i) + sum_j u(d_ij; Z_i Z_j) + e_{Z_i}]: moments from the chip in trained functions.

    The chip sees Gaussians of distances only, so that phi(d) = A(onehot(Z_j) x G(d)) has the slope
    A(onehot(Z_j) x G'(d)), two more reads of the same cells (`ChipReading.of_gaussians`). The digital part describes
    atoms by their moments, passes messages between them and sums these, N_i = sum_j w(d_ij) (S_j . Y_ij) Y_ij with
    S_j = S(M_j) (`EnergyReadout`). With B_i = dE / d M_i, messages included,

    g_ij = [(phi fc)' B_i . Y_ij + du/dd] u_ij + phi fc B_i . dY_ij / dr + dN_i / dr_ij . dE / dN_i

    F_i = sum_j g_ij - g_ji

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
            self.readout = EnergyReadout(
                settings.channels, settings.mixtures, settings.widths, settings.features, settings.gaussians, s
            )
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
        """One cutoff for moments and one for messages; forces on the neighbours of atoms belong to their owners."""
        cutoff = self.settings.cutoff
        return Locality(cutoff, 4 * cutoff, returns_forces=True)

    def predict(self, g: Graph, reading: ChipReading) -> Prediction:
        """Energies of frames, forces and stress, part by part."""
        rows = self.table(g.atomic_numbers)
        parts = [self._edges(g, part, rows) for part in self.moments.parts(g, reading)]
        chip = ChipEdges(self.moments.crossbar, self.gaussians, reading)
        atoms = [self.describe(chip.first(edges).moments(reading), rows[edges.part.atoms]) for edges in parts]
        sent = self._of_all(g, [some.sent for some in atoms])
        told = self._told(g, parts, atoms, sent, reading)
        strain = g.edge_vector.new_zeros(g.topology.n_frames, 3, 3)
        forces = g.edge_vector.new_zeros(g.n_atoms, 3).to(self.dtype)
        pairs = self.pairs.table(self.gaussians, self.settings.cutoff, reading)
        for edges, some, hidden, along in zip(parts, atoms, told.by_hidden, told.by_edges, strict=True):
            i, j = edges.part.ends_out
            b = some.derivative(hidden, told.by_sent[edges.part.atoms])
            pair_energy, pair_slope = reading.kernels.edges.pair_terms(edges.radial, pairs)
            along = along + chip.again(edges).gradients(b, reading) + pair_slope[:, None] * edges.direction
            add_rows(add_rows(forces, i, along), j, -along)
            add_rows(told.energy, g.frame_index[i], pair_energy.to(told.energy.dtype))
            strain = strain + self._strain(g, edges.part, along)
        return self._prediction(g, forces, told.energy, strain)

    def _edges(self, g: Graph, part: Part, rows: Tensor) -> Edges:
        return Edges.of(g, part, self.gaussians, rows, len(self.table), self.settings.cutoff)

    def describe(self, moments: Tensor, rows: Tensor) -> Described:
        """What moments [N, 9, K] tell about atoms whose elements have these rows."""
        order = ByElement(rows, len(self.table))
        return self.readout.describe(moments, order, *self.moments.statistics(moments, rows))

    def _told(
        self, g: Graph, parts: Sequence[Edges], atoms: Sequence[Described], sent: Tensor, reading: ChipReading
    ) -> "Told":
        """What messages between the atoms of all parts do."""
        kernels, table = reading.kernels.edges, self.readout.table(self.gaussians, self.settings.cutoff, reading)
        energy, by_sent = g.edge_vector.new_zeros(g.topology.n_frames), torch.zeros_like(sent)
        by_hidden, by_edges = [], []
        for edges, some in zip(parts, atoms, strict=True):
            given = edges.part, edges.radial, edges.direction, table, sent
            told, by_sums, hidden = self.readout.told(some, kernels.messages(*given))
            along, back = kernels.message_gradients(*given, by_sums)
            by_sent = add_rows(by_sent, edges.part.arrivals.atoms, back)
            by_hidden.append(hidden)
            by_edges.append(along)
            found = some.order.restored(some.energy + told, 0)
            add_rows(energy, g.frame_index[edges.part.atoms], found.to(energy.dtype))
        return Told(energy, by_hidden, by_edges, g.return_nodes(by_sent.flatten(1)).view(-1, *sent.shape[1:]))

    @staticmethod
    def _of_all(g: Graph, sent: list[Tensor]) -> Tensor:
        """[N, 9, F] what all atoms send, those of other processes included."""
        own = torch.cat(sent) if len(sent) > 1 else sent[0]
        borrowed = own.new_zeros((g.n_atoms - len(own), *own.shape[1:]))
        known = torch.cat([own, borrowed]) if len(borrowed) else own
        return g.exchange_nodes(known.flatten(1)).view_as(known)

    @staticmethod
    def _strain(g: Graph, part: Part, along: Tensor) -> Tensor:
        """[frames, 3, 3] what the edges of a part bring to the derivative of the energies by a strain."""
        vectors, along = g.edge_vector[part.out], along.to(g.edge_vector.dtype)
        if g.topology.n_frames == 1:
            return (vectors.T @ along)[None]
        # The edges are sorted by their centres, and so by frames.
        counts = torch.bincount(g.frame_index[part.ends_out[0]], minlength=g.topology.n_frames).tolist()
        return torch.stack([v.T @ f for v, f in zip(vectors.split(counts), along.split(counts), strict=True)])

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
        atoms = self.describe(nothing, rows)
        told, _, _ = self.readout.told(atoms, torch.zeros_like(atoms.sent).requires_grad_())
        zeros = g.edge_vector.new_zeros(g.topology.n_frames)
        energy = add_rows(zeros.clone(), g.frame_index, atoms.order.restored(atoms.energy + told, 0).to(zeros.dtype))
        strain = zeros[:, None, None].expand(-1, 3, 3)
        return self._prediction(g, nothing.new_zeros(g.n_atoms, 3), energy, strain)

    def _read(self, g: Graph, part: Part, rows: Tensor, reading: ChipReading) -> Channels:
        """What the chip gives for the edges of a part."""
        return ChipEdges(self.moments.crossbar, self.gaussians, reading).first(self._edges(g, part, rows))

    @torch.no_grad()
    def atom_features(self, g: Graph, reading: ChipReading) -> Tensor:
        """[N, 3 K] lengths of the standardised moments."""
        rows = self.table(g.atomic_numbers)
        found = []
        for part in self.moments.parts(g, reading):
            moments = self._read(g, part, rows, reading).moments(reading)
            found.append(lengths(self.moments.standardised(moments, rows[part.atoms])))
        return torch.cat(found)

    def layer_features(self, g: Graph, reading: ChipReading) -> Iterator[tuple[Tensor, Tensor]]:
        """The elements [N] and Gaussians [E, G]; then the standardised moments [N, 9 K] and the channels [E, K]."""
        rows = self.table(g.atomic_numbers)
        yield g.atomic_numbers, self.gaussians(g.edge_length.to(self.dtype))
        channels = self._read(g, g.whole, rows, reading)
        yield self.moments.standardised(channels.moments(reading), rows).flatten(1), channels.values

    @property
    def element_axes(self) -> Mapping[str, ElementAxis]:
        """Statistics, mixtures and the ends of perceptrons by element; the pair potential by pair."""
        rows = ("bias", "last", "linear", "send_bias", "second_bias", "second_last")
        own = {f"readout.{name}": ElementAxis() for name in rows}
        own |= {f"readout.{name}": ElementAxis(1) for name in ("mix", "send_mix")}
        return norm_axes() | own | {"pairs.weight": ElementAxis(pairs=True)}

    @torch.no_grad()
    def mixture_inputs(self, g: Graph, reading: ChipReading) -> list[Tensor]:
        """Standardised moments by rank and, within it, by element: every element mixes its own."""
        rows = self.table(g.atomic_numbers)
        moments = self.moments.standardised(self._read(g, g.whole, rows, reading).moments(reading), rows)
        return [moments[rows == z, rank].flatten(0, 1) for rank in RANKS for z in range(len(self.table))]

    @torch.no_grad()
    def change_mixtures(self, number: int, change: Tensor) -> None:
        """A set for each rank and element, as `mixture_inputs` lists them."""
        rank, z = divmod(number, len(self.table))
        mix = self.readout.mix[rank, z]
        mix.copy_(change.to(mix) @ mix)
