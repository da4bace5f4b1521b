"""What an energy model reads of the edges of a part, and the derivatives of energies along them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rgnn.chip.crossbar import Crossbar
from rgnn.graphs.graph import Graph
from rgnn.graphs.topology import Part
from rgnn.models.parts.radial import Gaussians
from rgnn.models.reading import ChipReading


@dataclass(frozen=True)
class Edges:
    """The edges i -> j out of the atoms of a part.

    Attributes:
        part: the atoms, and the ends of the edges.
        length: [out] d, in Angstrom.
        direction: [out, 3] u.
        envelope: [2, out] fc and its slope, 1/Angstrom.
        channels: [out, K] phi, as read from the chip.
        slopes: [out, K] d phi / dd, as read from the chip, 1/Angstrom.
    """

    part: Part
    length: Tensor
    direction: Tensor
    envelope: Tensor
    channels: Tensor
    slopes: Tensor

    def moments(self, reading: ChipReading) -> Tensor:
        """[atoms, 9, K] sum over j of phi fc Y."""
        return reading.kernels.edges.moments(self.part, self.channels, self.direction, self.envelope[0])

    def gradients(self, b: Tensor, reading: ChipReading) -> Tensor:
        """[out, 3] d eps_i / d r_ij in eV/Angstrom, where d eps_i / d M_i is b [atoms, 9, K]; with gradients to b."""
        geometry = self.length, self.direction, self.envelope
        return reading.kernels.edges.gradients(self.part, self.channels, self.slopes, geometry, b)


@torch.no_grad()
def read_edges(
    g: Graph, part: Part, gaussians: Gaussians, crossbar: Crossbar, rows: Tensor, cutoff: float, reading: ChipReading
) -> Edges:
    """Read the chip for the edges of a part.

    Args:
        g: the graph.
        part: of it.
        gaussians: of distances; they drive the rows of the element of j.
        crossbar: of the moments.
        rows: [N] row of the element of each atom.
        cutoff: of the model, Angstrom.
        reading: of the pass.
    """
    d = g.edge_length[part.out]
    direction = (g.edge_vector[part.out] / d[:, None]).to(gaussians.mu.dtype)
    d = d.to(direction.dtype)
    phase = torch.pi / cutoff
    envelope = torch.stack([0.5 + 0.5 * torch.cos(phase * d), -0.5 * phase * torch.sin(phase * d)])
    channels, slopes = reading.of_gaussians(crossbar, gaussians, d, rows[part.ends_out[1]])
    return Edges(part, d, direction, envelope, channels, slopes)
