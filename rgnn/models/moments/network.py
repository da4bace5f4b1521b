"""Network."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from rgnn.models.parts.moments import RANKS, View
from rgnn.models.reading import Readout
from rgnn.models.settings import ModelConfig


class NetworkReadout(nn.Module):
    """A small trained perceptron with one output for each pair of elements.

    Its first layer is linear in x_ij, and x_ij in the moments: h_ij = W x_ij = W_g gaussians + Y_ij.(A M_i) +
    Y_ji.(B M_j). So the weights meet the moments of atoms, not each of their edges, for a fraction of the products.

    Attributes:
        centre, neighbour: [3, K, H] A and B, for each rank.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        pairs, hidden = len(config.elements) ** 2, config.widths[0]
        self.first = nn.Embedding(pairs, hidden)  # a bias for each pair
        nn.init.zeros_(self.first.weight)
        self.gaussians = nn.Linear(config.n_features, hidden, bias=False)
        shape, bound = (len(RANKS), config.moments, hidden), config.invariants**-0.5
        self.centre, self.neighbour = (nn.Parameter(torch.empty(shape)) for _ in range(2))
        for weight in (self.gaussians.weight, self.centre, self.neighbour):  # as one layer of X inputs
            nn.init.uniform_(weight, -bound, bound)
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise([*config.widths, pairs])])

    def shown(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """What atoms show to the edges out of and into them: A M and B M [N, 9, H]."""
        centre, neighbour = (
            torch.cat([moments[:, rank] @ w for rank, w in zip(RANKS, weight, strict=True)], dim=1)
            for weight in (self.centre, self.neighbour)
        )
        return centre, neighbour

    def forward(self, view: View, chip: Readout) -> Tensor:
        """[out, 1]. The chip is not used."""
        h = chip.kernels.along_edges(view.part, view.harmonics, view.centre, view.neighbour)
        h = h + self.gaussians(view.gaussians) + self.first(view.pair)
        for layer in self.layers:
            h = layer(silu(h))
        return h.gather(1, view.pair[:, None])
