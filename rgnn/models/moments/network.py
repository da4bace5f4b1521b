"""The network readout: a small trained perceptron over what edges see."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from rgnn.models.parts.moments import RANKS, EdgeInputs
from rgnn.models.reading import ChipReading


class NetworkReadout(nn.Module):
    """m_ij in eV/Angstrom from a small trained perceptron with one output for each pair of elements.

    Its first layer is linear in x_ij, and x_ij in the moments: h_ij = W x_ij = W_g gaussians + Y_ij.(A M_i) +
    Y_ji.(B M_j). So the weights meet the moments of atoms, not each of their edges, for a fraction of the products.

    Args:
        gaussians, channels: numbers G and K.
        invariants: number X of what is known of an edge.
        widths: hidden layers.
        elements: number S of elements.

    Attributes:
        centre, neighbour: [3, K, H] A and B, for each rank.
    """

    def __init__(self, gaussians: int, channels: int, invariants: int, widths: Sequence[int], elements: int) -> None:
        super().__init__()
        pairs, hidden = elements**2, widths[0]
        self.first = nn.Embedding(pairs, hidden)  # a bias for each pair
        nn.init.zeros_(self.first.weight)
        self.gaussians = nn.Linear(gaussians, hidden, bias=False)
        shape, bound = (len(RANKS), channels, hidden), invariants**-0.5
        self.centre, self.neighbour = (nn.Parameter(torch.empty(shape)) for _ in range(2))
        for weight in (self.gaussians.weight, self.centre, self.neighbour):  # as one layer of X inputs
            nn.init.uniform_(weight, -bound, bound)
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise([*widths, pairs])])

    def projected(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """What atoms project onto the edges out of and into them: A M and B M [N, 9, H]."""
        centre, neighbour = (
            torch.cat([moments[:, rank] @ w for rank, w in zip(RANKS, weight, strict=True)], dim=1)
            for weight in (self.centre, self.neighbour)
        )
        return centre, neighbour

    def forward(self, inputs: EdgeInputs, reading: ChipReading) -> Tensor:
        """[out, 1] m_ij. The chip is not read."""
        h: Tensor = reading.kernels.edges.along_edges(inputs.part, inputs.harmonics, inputs.centre, inputs.neighbour)
        h = h + self.gaussians(inputs.gaussians) + self.first(inputs.pair)
        for layer in self.layers:
            h = layer(silu(h))
        return h.gather(1, inputs.pair[:, None])
