"""From the invariants x_ij of an edge to its force m_ij in eV/Angstrom, with weights for each pair of elements."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from rgnn.cells import Cells
from rgnn.config import ModelConfig
from rgnn.crossbar import Crossbar
from rgnn.reading import Readout

# Standardised invariants are cut here, so that the codes are spent on what occurs.
CUT = 3.0
# Deviation of the argument of tanh, and of its bias: found on validation frames, see docs/learning.md.
GAIN, BIAS = 0.5, 0.5


class RidgeReadout(nn.Module):
    """m_ij = w . [x_ij, tanh(c A(x_ij; W) + b)]: fixed random features, in which the force is linear.

    The array is driven by x and by -x where they are positive, one after the other: A(x+) - A(x-). An input near zero
    then drives nothing; a code for it in the middle of a range would be read with the noise of half the range.

    Attributes:
        weight: [S, S, X + D] for each element of the centre and of the neighbour; solved for in `rgnn.ridge`.
    """

    gain: Tensor
    bias: Tensor

    def __init__(self, weights: Sequence[Cells | Tensor], config: ModelConfig) -> None:
        super().__init__()
        (cells,) = weights
        self.array = Crossbar(cells, place=(1, 0))
        d, x = cells.shape
        self.register_buffer("gain", GAIN / (cells_deviation(cells) * x**0.5))
        self.register_buffer("bias", BIAS * torch.randn(d))
        s = len(config.elements)
        self.weight = nn.Parameter(torch.zeros(s, s, x + d))

    def features(self, x: Tensor, chip: Readout) -> Tensor:
        """[E, X] -> [E, X + D]."""
        x = x.clamp(-CUT, CUT)
        plus, minus = chip.product(self.array, torch.cat([x.relu(), (-x).relu()])).chunk(2)
        return torch.cat([x, torch.tanh(self.gain * (plus - minus) + self.bias)], dim=1)

    def forward(self, x: Tensor, pair: Tensor, chip: Readout) -> Tensor:
        """[E, X] and the number of each edge's pair of elements -> [E, 1]."""
        return self.weighted(self.features(x, chip), pair)

    def weighted(self, h: Tensor, pair: Tensor) -> Tensor:
        """Features [E, X + D] times the weights of their pair of elements, [E, 1]."""
        return (h @ self.weight.flatten(0, 1).T).gather(1, pair[:, None])


def cells_deviation(cells: Cells | Tensor) -> Tensor:
    """Standard deviation of the weights, 1 where they are all alike (as in a model about to be loaded)."""
    deviation = (cells.weight if isinstance(cells, Cells) else cells).std()
    return torch.where(deviation > 0, deviation, torch.ones_like(deviation))


class NetworkReadout(nn.Module):
    """A small trained perceptron with one output for each pair of elements."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        pairs = len(config.elements) ** 2
        self.first = nn.Embedding(pairs, config.widths[0])  # a bias for each pair
        nn.init.zeros_(self.first.weight)
        sizes = [config.invariants, *config.widths, pairs]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])

    def forward(self, x: Tensor, pair: Tensor, chip: Readout) -> Tensor:
        """[E, X] and the number of each edge's pair of elements -> [E, 1]. The chip is not used."""
        h = self.layers[0](x.clamp(-5, 5)) + self.first(pair)
        for layer in itertools.islice(self.layers, 1, None):
            h = layer(silu(h))
        return h.gather(1, pair[:, None])
