"""What an energy model reads of the edges of a part, and the derivatives of energies along them."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.chip.crossbar import Crossbar
from rgnn.graphs.graph import Graph
from rgnn.graphs.topology import Part
from rgnn.kernels.interface import Radial
from rgnn.models.parts.radial import Gaussians
from rgnn.models.reading import ChipReading

# Angstrom by which a length may be rounded.
ROUNDING = 1e-6
# Bytes of channels that are kept between the two passes over a graph: those of about 40,000 atoms.
KEPT = 1e9


@dataclass(frozen=True)
class Edges:
    """Where the edges i -> j out of the atoms of a part are.

    Attributes:
        part: the atoms, and the ends of the edges.
        direction: [out, 3] u.
        radial: their lengths d, the envelope fc, the Gaussians and the pairs of elements.
        neighbour: [out] row of the element of j.
    """

    part: Part
    direction: Tensor
    radial: Radial
    neighbour: Tensor

    @classmethod
    def of(cls, g: Graph, part: Part, gaussians: Gaussians, rows: Tensor, elements: int, cutoff: float) -> Self:
        """The edges of a part.

        Args:
            g: the graph.
            part: of it.
            gaussians: of distances.
            rows: [N] row of the element of each atom.
            elements: number of rows.
            cutoff: of the model, Angstrom.

        Raises:
            InputError: an edge is longer, where the envelope would rise again.
        """
        d = g.edge_length[part.out]
        if len(d) and (longest := float(d.max())) > cutoff + ROUNDING:
            raise InputError(
                f"an edge is {longest:.6g} Å long, but the model has a cutoff of {cutoff:g} Å; make graphs with that."
            )
        direction = (g.edge_vector[part.out] / d[:, None]).to(gaussians.mu.dtype)
        d = d.to(direction.dtype)
        phase = torch.pi / cutoff
        envelope = torch.stack([0.5 + 0.5 * torch.cos(phase * d), -0.5 * phase * torch.sin(phase * d)])
        i, j = rows[part.ends_out]
        return cls(part, direction, Radial(gaussians.mu, gaussians.s, d, envelope, i * elements + j), j)


@dataclass(frozen=True)
class Channels:
    """What the chip gives for the edges of a part.

    Attributes:
        edges: that were read.
        values: [out, K] phi.
        slopes: [out, K] d phi / dd, 1/Angstrom.
    """

    edges: Edges
    values: Tensor
    slopes: Tensor

    def moments(self, reading: ChipReading) -> Tensor:
        """[atoms, 9, K] sum over j of phi fc Y."""
        edges = self.edges
        return reading.kernels.edges.moments(edges.part, self.values, edges.direction, edges.radial.envelope[0])

    def gradients(self, b: Tensor, reading: ChipReading) -> Tensor:
        """[out, 3] d eps_i / d r_ij in eV/Angstrom, where d eps_i / d M_i is b [atoms, 9, K]; with gradients to b."""
        edges = self.edges
        geometry = edges.radial.d, edges.direction, edges.radial.envelope
        return reading.kernels.edges.gradients(edges.part, self.values, self.slopes, geometry, b)


class ChipEdges:
    """Reads the chip for the edges of parts, in a first pass and again in a second one.

    What was read is kept for the second pass while there is room for it; the rest is read again, with the same noise
    (a board is measured again, and fluctuates in between).

    Args:
        crossbar: of the moments; each edge drives the rows of the element of j by Gaussians of its length.
        gaussians: of distances.
        reading: of the pass.
    """

    def __init__(self, crossbar: Crossbar, gaussians: Gaussians, reading: ChipReading) -> None:
        self.crossbar, self.gaussians, self.reading = crossbar, gaussians, reading
        self._room = KEPT
        self._kept: dict[int, Channels] = {}
        self._noise: dict[int, Tensor] = {}

    @torch.no_grad()
    def first(self, edges: Edges) -> Channels:
        """What the chip gives for the edges of a part."""
        start, generator = edges.part.atoms.start, self.reading.generator
        if generator is not None:
            self._noise[start] = generator.get_state()
        channels = self._read(edges, self.reading)
        self._room -= 2 * channels.values.nbytes
        if self._room > 0:
            self._kept[start] = channels
        return channels

    @torch.no_grad()
    def again(self, edges: Edges) -> Channels:
        """The same for a part that has been read before."""
        start, generator = edges.part.atoms.start, self.reading.generator
        if start in self._kept:
            return self._kept.pop(start)
        uncounted = replace(self.reading, monitor=None)
        if generator is None:
            return self._read(edges, uncounted)
        after = generator.get_state()
        generator.set_state(self._noise[start])
        channels = self._read(edges, uncounted)
        generator.set_state(after)
        return channels

    def _read(self, edges: Edges, reading: ChipReading) -> Channels:
        return Channels(edges, *reading.of_gaussians(self.crossbar, self.gaussians, edges.radial.d, edges.neighbour))
