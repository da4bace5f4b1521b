"""The digital part of an energy model: from standardised moments of an atom to its energy."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from rgnn.models.parts.moments import RANKS
from rgnn.models.parts.radial import Gaussians
from rgnn.models.reading import ChipReading

# By which sums of messages are divided, so that they are of about unit size.
MESSAGES = 3.0


class EnergyReadout(nn.Module):
    """Energies in eV of atoms, from invariants of mixtures of their moments and of what their neighbours send them.

    A^l  = (M^l - mean^l_Z) U^l_Z / deviation^l_Z                  l = 0, 1, 2; K -> H, one set for each element
    x    = [A^0, |A^1|^2/3 - 1, |A^2|^2/5 - 1, A^1.A^2.A^1 / 3]    4 H invariants
    h    = the last hidden layer of MLP(x; Z)
    S    = [h V^0 + c_Z, A^1 V^1_Z, A^2 V^2_Z]                     sent to the neighbours: F features of each rank
    N_i  = sum_j w(d_ij) (S_j . Y_ij) Y_ij / 3                     w = G(d) R fc(d), F functions
    E    = w_Z . h + v_Z . x + MLP'(h, N^0, |N^1|^2/3, |N^2|^2/5; Z)

    Both perceptrons have a bias of the first layer and an output for each element. Messages that depend on directions
    let an atom see how those around its neighbours lie, as in equivariant networks (Batzner et al. 2022,
    10.1038/s41467-022-29939-5; Batatia et al. 2022, arXiv 2206.07697).

    Args:
        channels: number K of channels.
        mixtures: number H of mixtures of them.
        widths: hidden layers of the perceptron.
        features: number F of features of a message, for each rank.
        gaussians: number of Gaussians G.
        elements: number S of elements.
    """

    def __init__(
        self, channels: int, mixtures: int, widths: Sequence[int], features: int, gaussians: int, elements: int
    ) -> None:
        super().__init__()
        invariants, last = 4 * mixtures, widths[-1]
        self.mix = nn.Parameter(torch.randn(len(RANKS), elements, channels, mixtures) / channels**0.5)
        self.first = nn.Linear(invariants, widths[0], bias=False)
        self.bias = nn.Parameter(torch.zeros(elements, widths[0]))
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(widths)])
        self.last = nn.Parameter(torch.randn(elements, last) / last**0.5)
        self.linear = nn.Parameter(torch.zeros(elements, invariants))
        self.send = nn.Linear(last, features, bias=False)
        self.send_bias = nn.Parameter(torch.randn(elements, features))
        self.send_mix = nn.Parameter(torch.randn(len(RANKS) - 1, elements, mixtures, features) / mixtures**0.5)
        self.radial = nn.Parameter(torch.randn(gaussians, features) / gaussians**0.5)
        self.second = nn.Linear(last + len(RANKS) * features, last, bias=False)
        self.second_bias = nn.Parameter(torch.zeros(elements, last))
        self.second_last = nn.Parameter(torch.zeros(elements, last))

    def describe(self, moments: Tensor, order: "ByElement", mean: Tensor, deviation: Tensor) -> "Described":
        """What moments [N, 9, K] tell about atoms.

        Args:
            moments: of the atoms.
            order: of the atoms.
            mean: [S, K] of the moments of rank 0 of each element.
            deviation: [ranks, S, K] of all moments.
        """
        scaled = self.mix / deviation[..., None]
        matrices = _by_component(scaled, RANKS)  # [9, S, K, H]
        a = order.times(order.sorted(moments, 0).movedim(1, 0), matrices)
        scalar = a[0] - torch.einsum("sk,skh->sh", mean, scaled[0])[order.rows]
        with torch.enable_grad():
            a = torch.cat([scalar[None], a[1:]]).requires_grad_()
            x = invariants(a)
            h = self.first(x) + self.bias[order.rows]
            for layer in self.layers:
                h = layer(silu(h))
            h = silu(h)
            energy = (h * self.last[order.rows]).sum(1) + (x * self.linear[order.rows]).sum(1)
            scalars = self.send(h) + self.send_bias[order.rows]
            turning = order.times(a[1:], _by_component(self.send_mix, RANKS[1:]))
            sent = order.restored(torch.cat([scalars[None], turning]), 1).movedim(1, 0)
        return Described(order, matrices, a, h, energy, sent)

    def table(self, gaussians: Gaussians, reach: float, reading: ChipReading) -> Tensor:
        """The functions w up to a distance in Angstrom, in the form of the kernels."""
        return reading.kernels.edges.radial(gaussians.mu.detach(), gaussians.s.detach(), self.radial, reach)

    def told(self, atoms: "Described", sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energies [N] of what neighbours have sent, by sums N of messages [N, 9, F]; and their derivatives.

        These are by the sums [N, 9, F] and by the hidden layer h, in the order of `Described`. They carry gradients
        where gradients are wanted.
        """
        trains, order = torch.is_grad_enabled(), atoms.order
        with torch.enable_grad():
            # Views, so that the derivatives are at fixed h and N, whatever N was made of.
            h, n = (x.view_as(x) if trains else x.detach().requires_grad_() for x in (atoms.hidden, sums / MESSAGES))
            scalar, *turning = (order.sorted(n[:, rank], 0) for rank in RANKS)
            squares = [x.square().sum(1) / x.shape[1] for x in turning]
            y = self.second(torch.cat([h, scalar.squeeze(1), *squares], dim=1)) + self.second_bias[order.rows]
            energy = (silu(y) * self.second_last[order.rows]).sum(1)
            by_sums, by_hidden = torch.autograd.grad(energy.sum(), [n, h], create_graph=trains)
        return energy if trains else energy.detach(), by_sums / MESSAGES, by_hidden


@dataclass(frozen=True)
class Described:
    """Atoms by their moments; in the order `order`, except for what is sent.

    Attributes:
        order: of the atoms.
        matrices: [9, S, K, H] from moments to mixtures.
        mixtures: [9, N, H] A.
        hidden: [N, widths[-1]] h.
        energy: [N] of the moments alone, eV.
        sent: [N, 9, F] S, for the neighbours.
    """

    order: "ByElement"
    matrices: Tensor
    mixtures: Tensor
    hidden: Tensor
    energy: Tensor
    sent: Tensor

    def derivative(self, by_hidden: Tensor, by_sent: Tensor) -> Tensor:
        """[N, 9, K] of all energies by the moments, from their derivatives by h in this order and by S.

        It carries gradients to the weights where gradients are wanted.
        """
        of = [self.energy, self.hidden, self.sent]
        given = [torch.ones_like(self.energy), by_hidden, by_sent]
        (slope,) = torch.autograd.grad(of, self.mixtures, given, create_graph=torch.is_grad_enabled())
        return self.order.restored(self.order.times(slope, self.matrices.mT), 1).movedim(1, 0)


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


def _by_component(matrices: Tensor, ranks: Sequence[slice]) -> Tensor:
    """[components, ...] of matrices [ranks, ...]: those of a rank serve all of its components."""
    counts = torch.tensor([rank.stop - rank.start for rank in ranks], device=matrices.device)
    return matrices.repeat_interleave(counts, dim=0)


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
