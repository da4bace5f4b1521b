"""The digital part of an energy model: from standardised moments of an atom to its energy."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from rgnn.models.parts.moments import RANKS

# Components of each rank among nine.
COMPONENTS = [rank.stop - rank.start for rank in RANKS]


class EnergyReadout(nn.Module):
    """Energies eps_i in eV of atoms, from rotation invariants of linear mixtures of their moments.

    A^l  = (M^l - mean^l_Z) U^l_Z / deviation^l_Z                  l = 0, 1, 2; K -> H, one set for each element
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

    def forward(self, moments: Tensor, order: "ByElement", mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        """[N] energies of atoms, and their derivative [N, 9, K] by the moments.

        The derivative carries gradients to the weights where gradients are wanted.

        Args:
            moments: [N, 9, K] of the atoms.
            order: of the atoms.
            mean: [S, K] of the moments of rank 0 of each element.
            deviation: [ranks, S, K] of all moments.
        """
        trains = torch.is_grad_enabled()
        scaled = self.mix / deviation[..., None]
        matrices = scaled.repeat_interleave(torch.tensor(COMPONENTS, device=scaled.device), dim=0)  # [9, S, K, H]
        a = order.times(order.sorted(moments, 0).movedim(1, 0), matrices)
        scalar = a[0] - torch.einsum("sk,skh->sh", mean, scaled[0])[order.rows]
        with torch.enable_grad():
            a = torch.cat([scalar[None], a[1:]]).requires_grad_()
            eps = self.energies(a, order)
            (slope,) = torch.autograd.grad(eps.sum(), a, create_graph=trains)
        b = order.restored(order.times(slope, matrices.mT), 1).movedim(1, 0)
        return order.restored(eps if trains else eps.detach(), 0), b

    def energies(self, a: Tensor, order: "ByElement") -> Tensor:
        """[N] energies of atoms in an order, from their mixtures A [9, N, H] in that order."""
        x = invariants(a)
        h = self.first(x) + self.bias[order.rows]
        for layer in self.layers:
            h = layer(silu(h))
        return (silu(h) * self.last[order.rows]).sum(1) + (x * self.linear[order.rows]).sum(1)


class ByElement:
    """Atoms sorted by the row of their element, so that each element's matrix meets its atoms at once.

    Attributes:
        order: [N] the atoms in this order.
        inverse: [N] places of the atoms in it.
        rows: [N] their rows, rising.
        counts: atoms of each row.
    """

    def __init__(self, rows: Tensor, elements: int) -> None:
        self.order = torch.argsort(rows, stable=True)
        self.inverse = torch.argsort(self.order)
        self.rows = rows[self.order]
        self.counts: list[int] = torch.bincount(rows, minlength=elements).tolist()

    def sorted(self, x: Tensor, dim: int) -> Tensor:
        """What x holds for atoms, along `dim`, in this order."""
        return x.index_select(dim, self.order)

    def restored(self, x: Tensor, dim: int) -> Tensor:
        """The same in the order of the atoms again."""
        return x.index_select(dim, self.inverse)

    def times(self, x: Tensor, matrices: Tensor) -> Tensor:
        """[M, N, H] of x [M, N, K] in this order times the matrices [M, S, K, H] of the elements."""
        return torch.cat([a @ w for a, w in zip(x.split(self.counts, dim=1), matrices.unbind(1), strict=True)], dim=1)


def invariants(mixtures: Tensor) -> Tensor:
    """[N, 4 H] of mixtures [9, N, H] of rank 0, 1 and 2, of about unit size."""
    scalar, x, y, z, a, b, c, d, e = mixtures.unbind(0)
    vector, tensor = (mixtures[rank] for rank in RANKS[1:])
    root = 2**0.5
    # The traceless symmetric matrix whose components along the harmonics are those of the tensor, between two vectors.
    twisted = root * (a * x * y + b * y * z + c * z * x) + d * (x * x - y * y) / root
    twisted = twisted + e * (2 * z * z - x * x - y * y) / 6**0.5
    found = [scalar, vector.square().sum(0) / 3 - 1, tensor.square().sum(0) / 5 - 1, twisted / 3]
    return torch.cat(found, dim=1)
