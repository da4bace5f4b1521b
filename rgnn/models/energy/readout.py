"""The digital part of an energy model: from standardised moments of an atom to its energy."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from rgnn.models.parts.moments import RANKS


class EnergyReadout(nn.Module):
    """Energies eps_i in eV of atoms, from rotation invariants of linear mixtures of their moments.

    A^l  = M^l U^l_Z                                               l = 0, 1, 2; K -> H, one set for each element
    x    = [A^0, |A^1|^2/3 - 1, |A^2|^2/5 - 1, A^1.A^2.A^1 / 3]    4 H invariants
    eps  = MLP(x; Z) + w_Z . x                                     output and bias of the first layer for each element

    Args:
        channels: number K of channels.
        mixtures: number H of mixtures of them.
        widths: hidden layers of the perceptron.
        elements: number S of elements.
    """

    def __init__(self, channels: int, mixtures: int, widths: Sequence[int], elements: int) -> None:
        super().__init__()
        invariants = 4 * mixtures
        self.mix = nn.Parameter(torch.randn(len(RANKS), elements, channels, mixtures) / channels**0.5)
        self.first = nn.Linear(invariants, widths[0], bias=False)
        self.bias = nn.Parameter(torch.zeros(elements, widths[0]))
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(widths)])
        self.last = nn.Parameter(torch.randn(elements, widths[-1]) / widths[-1] ** 0.5)
        self.linear = nn.Parameter(torch.zeros(elements, invariants))

    def forward(self, moments: Tensor, order: "ByElement") -> Tensor:
        """[N] energies of atoms of an order, from their moments [N, 9, K] in that order."""
        vectors = [self._mixed(moments[:, rank], u, order) for rank, u in zip(RANKS, self.mix, strict=True)]
        x = invariants(*vectors)
        h = self.first(x) + self.bias[order.rows]
        for layer in self.layers:
            h = layer(silu(h))
        return (silu(h) * self.last[order.rows]).sum(1) + (x * self.linear[order.rows]).sum(1)

    @staticmethod
    def _mixed(moments: Tensor, u: Tensor, order: "ByElement") -> Tensor:
        """[N, M, H] moments of a rank [N, M, K], mixed by the matrix [K, H] of each element."""
        return torch.cat([x @ w for x, w in zip(moments.split(order.counts), u, strict=True)])


class ByElement:
    """Atoms sorted by the row of their element, so that each element's matrix meets its atoms at once.

    Attributes:
        order: [N] the atoms in this order.
        rows: [N] their rows, rising.
        counts: atoms of each row.
    """

    def __init__(self, rows: Tensor, elements: int) -> None:
        self.order = torch.argsort(rows, stable=True)
        self.rows = rows[self.order]
        self.counts: list[int] = torch.bincount(rows, minlength=elements).tolist()

    def restored(self, x: Tensor) -> Tensor:
        """Rows of x in the order of the atoms."""
        return torch.empty_like(x).index_copy_(0, self.order, x)


def invariants(scalar: Tensor, vector: Tensor, tensor: Tensor) -> Tensor:
    """[N, 4 H] of mixtures of rank 0 [N, 1, H], 1 [N, 3, H] and 2 [N, 5, H], of about unit size."""
    a, b, c, d, e = tensor.unbind(1)
    x, y, z = vector.unbind(1)
    root = 2**0.5
    # The traceless symmetric matrix whose components along the harmonics are those of the tensor, between two vectors.
    twisted = root * (a * x * y + b * y * z + c * z * x) + d * (x * x - y * y) / root
    twisted = twisted + e * (2 * z * z - x * x - y * y) / 6**0.5
    found = [scalar[:, 0], vector.square().sum(1) / 3 - 1, tensor.square().sum(1) / 5 - 1, twisted / 3]
    return torch.cat(found, dim=1)
