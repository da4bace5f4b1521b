"""The digital pair potential of an energy model: what is stiff between two atoms is not read from the chip."""

import torch
from torch import Tensor, nn

from rgnn.models.parts.radial import Gaussians
from rgnn.models.reading import ChipReading


class PairPotential(nn.Module):
    """u_ij = c_{Z_i Z_j} . G(d_ij) fc(d_ij) in eV, trained; a part of the energy of atom i for each of its edges.

    Bonds pull and push an atom with forces far larger than their sum. Read from the chip, each would bring noise in
    proportion to itself.

    Args:
        gaussians: number of Gaussians.
        elements: number S of elements.
    """

    def __init__(self, gaussians: int, elements: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(elements**2, gaussians))

    def table(self, gaussians: Gaussians, reach: float, reading: ChipReading) -> Tensor:
        """The functions of all pairs up to a distance in Angstrom, in the form of the kernels."""
        mu, s = gaussians.mu.detach(), gaussians.s.detach()
        return reading.kernels.edges.radial(mu, s, self.weight.T, reach)
