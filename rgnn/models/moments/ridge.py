"""From what an edge sees to its force m_ij in eV/Angstrom, with weights for each pair of elements."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.models.parts.moments import View, by_component, invariants
from rgnn.models.reading import Readout
from rgnn.models.settings import ModelConfig

# Invariants are cut here, so that the codes are spent on what occurs.
CUT = 3.0
# Deviation of the argument of tanh, and of its bias: found on validation frames, see docs/learning.md.
GAIN, BIAS = 0.5, 0.5


class RidgeReadout(nn.Module):
    """m_ij = w . [x_ij, tanh(c A(x_ij; W) + b)]: fixed random features, in which the force is linear.

    The array is driven by x and by -x where they are positive, one after the other: A(x+) - A(x-). An input near zero
    then drives nothing; a code for it in the middle of a range would be read with the noise of half the range.

    Attributes:
        weight: [S, S, X + D] for each element of the centre and of the neighbour; solved for in `rgnn.training.linear`.
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

    def shown(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """What atoms show to the edges out of and into them: their moments [9, N, K]."""
        shown = by_component(moments)
        return shown, shown

    def features(self, view: View, chip: Readout) -> Tensor:
        """[out, X + D]."""
        x = invariants(view).clamp(-CUT, CUT)
        plus, minus = chip.product(self.array, torch.cat([x.relu(), (-x).relu()])).chunk(2)
        return torch.cat([x, torch.tanh(self.gain * (plus - minus) + self.bias)], dim=1)

    def forward(self, view: View, chip: Readout) -> Tensor:
        """[out, 1]."""
        return self.weighted(self.features(view, chip), view.pair)

    def weighted(self, h: Tensor, pair: Tensor) -> Tensor:
        """Features [out, X + D] times the weights of their pair of elements, [out, 1]."""
        return (h @ self.weight.flatten(0, 1).T).gather(1, pair[:, None])


def cells_deviation(cells: Cells | Tensor) -> Tensor:
    """Standard deviation of the weights, 1 where they are all alike (as in a model about to be loaded)."""
    deviation = (cells.weight if isinstance(cells, Cells) else cells).std()
    return torch.where(deviation > 0, deviation, torch.ones_like(deviation))
