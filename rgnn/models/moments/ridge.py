"""The ridge readout: fixed random features on the chip, in which forces are linear."""

import torch
from torch import Tensor, nn

from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.models.parts.moments import EdgeInputs, by_component, invariants
from rgnn.models.reading import ChipReading

# Invariants are clipped here, so that the codes are spent on what occurs.
INVARIANT_CLIP = 3.0
# Deviation of the argument of tanh, and of its bias: found on validation frames, see docs/learning.md.
GAIN, BIAS = 0.5, 0.5


class RidgeReadout(nn.Module):
    """m_ij = w . [x_ij, tanh(c A(x_ij; W) + b)] in eV/Angstrom, with weights for each pair of elements.

    The array is driven by x and by -x where they are positive, one after the other: A(x+) - A(x-). An input near zero
    then drives nothing; a code for it in the middle of a range would be read with the noise of half the range.

    Args:
        cells: of W, [D, X].
        elements: number S of elements.

    Attributes:
        weight: [S, S, X + D] for each element of the centre and of the neighbour; solved for by `rgnn.training.linear`.
    """

    gain: Tensor
    bias: Tensor

    def __init__(self, cells: Cells | Tensor, elements: int) -> None:
        super().__init__()
        self.crossbar = Crossbar(cells, place=(1, 0))
        d, x = cells.shape
        self.register_buffer("gain", GAIN / (cells_deviation(cells) * x**0.5))
        self.register_buffer("bias", BIAS * torch.randn(d))
        self.weight = nn.Parameter(torch.zeros(elements, elements, x + d))

    def projected(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """What atoms project onto the edges out of and into them: their moments [9, N, K]."""
        components = by_component(moments)
        return components, components

    def features(self, inputs: EdgeInputs, reading: ChipReading) -> Tensor:
        """[out, X + D]."""
        x = invariants(inputs).clamp(-INVARIANT_CLIP, INVARIANT_CLIP)
        plus, minus = reading.product(self.crossbar, torch.cat([x.relu(), (-x).relu()])).chunk(2)
        return torch.cat([x, torch.tanh(self.gain * (plus - minus) + self.bias)], dim=1)

    def forward(self, inputs: EdgeInputs, reading: ChipReading) -> Tensor:
        """[out, 1] m_ij."""
        return self.weighted(self.features(inputs, reading), inputs.pair)

    def weighted(self, h: Tensor, pair: Tensor) -> Tensor:
        """[out, 1] features h [out, X + D] times the weights of their pair of elements."""
        return (h @ self.weight.flatten(0, 1).T).gather(1, pair[:, None])


def cells_deviation(cells: Cells | Tensor) -> Tensor:
    """Standard deviation of the weights; 1 where they are all alike (as in a model about to be loaded)."""
    deviation = (cells.weight if isinstance(cells, Cells) else cells).std()
    return torch.where(deviation > 0, deviation, torch.ones_like(deviation))
