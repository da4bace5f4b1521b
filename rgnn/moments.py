"""Moments of each atom's neighbourhood in random channels: elements and angles, at the cost of edges.

    phi_ij = A(onehot(Z_j) x gaussians(d_ij); W) fc(d_ij)              K channels, the only analog product
    M_i    = sum_j phi_ij (1, u_ij, Y_ij)                              moments rho, V, T of rank 0, 1 and 2
    x_ij   = [gaussians_ij, rho_i, rho_j, V_i.u_ij, -V_j.u_ij, T_i.Y_ij, T_j.Y_ij]

Y(u) are the five quadratic harmonics with Y(u).Y(v) = (u.v)^2 - 1/3, so that V_i.u_ij = sum_k phi_ik cos(jik) and
T_i.Y_ij = sum_k phi_ik (cos^2(jik) - 1/3): angles without a loop over triplets, as in moment tensor potentials
(Shapeev 2016, 10.1137/15M1054183) and the atomic cluster expansion (Drautz 2019, 10.1103/PhysRevB.99.014104). All
rows but those of Z_j get zero, and a row that is not driven adds no noise.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rgnn.cells import Cells
from rgnn.config import ModelConfig
from rgnn.crossbar import Crossbar
from rgnn.errors import InputError
from rgnn.graphs import Graph, Part
from rgnn.reading import Readout

# Frames after which the statistics follow a moving average instead of the mean of all.
STEADY = 1000
# Where the harmonics of rank 0, 1 and 2 lie among nine, and their sign at -u.
RANKS = ((slice(0, 1), 1), (slice(1, 4), -1), (slice(4, 9), 1))


def harmonics(u: Tensor) -> Tensor:
    """[E, 9]: 1, u and Y(u) for unit vectors [E, 3]."""
    x, y, z = u.unbind(1)
    root = 2**0.5
    quadratic = [root * x * y, root * y * z, root * z * x, (x * x - y * y) / root, (3 * z * z - 1) / 6**0.5]
    return torch.stack([torch.ones_like(x), x, y, z, *quadratic], dim=1)


class Standardised(nn.Module):
    """(x - mean) / deviation by statistics of all training batches before, alike in training and after it.

    A batch norm would take those of the batch, which tell the temperature of its frames, and hide it; and the parts
    of a divided batch would not be treated alike.
    """

    mean: Tensor
    square: Tensor
    batches: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("square", torch.ones(n))
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        first = self.training and not self.batches  # then there is nothing before
        if first:
            self._follow(x)
        y = (x - self.mean) / (self.square - self.mean.square()).clamp_min(1e-12).sqrt()
        if self.training and not first:
            self._follow(x)
        return y

    def _follow(self, x: Tensor) -> None:
        self.batches += 1
        pace = 1 / min(int(self.batches), STEADY)
        self.mean.lerp_(x.mean(0), pace)
        self.square.lerp_(x.square().mean(0), pace)


class MomentLayer(nn.Module):
    """The moments of atoms, and what edges see of them; nothing in it is trained."""

    element: Tensor

    def __init__(self, weights: Sequence[Cells | Tensor], config: ModelConfig) -> None:
        super().__init__()
        (weight,) = weights
        self.array, self.elements, self.channels = Crossbar(weight), config.elements, config.moments
        self.norm = Standardised(config.invariants)
        element = torch.full((120,), -1)
        element[list(config.elements)] = torch.arange(len(config.elements))
        self.register_buffer("element", element, persistent=False)

    @staticmethod
    def shapes(config: ModelConfig) -> list[tuple[int, int]]:
        """(out, in) of W."""
        return [(config.moments, len(config.elements) * config.n_features)]

    def kinds(self, g: Graph) -> Tensor:
        """[N] the place of each atom's element among those of the model.

        Raises:
            InputError: an element that the model has no rows for.
        """
        kinds = self.element[g.atomic_numbers]
        if bool((kinds < 0).any()):
            strange = sorted(set(g.atomic_numbers[kinds < 0].tolist()))
            raise InputError(f"atomic numbers {strange} are not among those the model has rows for: {self.elements}.")
        return kinds

    def forward(self, n: Tensor, e: Tensor, g: Graph, fc: Tensor | None, chip: Readout) -> tuple[Tensor, Tensor]:
        """Moments [N, 9 K] and invariants [E, X] from the Gaussians e [E, G]; n is not used, fc [E] is the envelope."""
        moments = self.all_moments(e, g, fc, chip)
        return moments.flatten(1), torch.cat([self.invariants(e, moments, g, part) for part in self.parts(g, chip)])

    def parts(self, g: Graph, chip: Readout) -> Sequence[Part]:
        """Those of a graph that may be worked on one after the other."""
        return g.parts if chip.hardware.treats_rows_alone and not self.training else (g.whole,)

    @torch.no_grad()
    def all_moments(self, e: Tensor, g: Graph, fc: Tensor | None, chip: Readout) -> Tensor:
        """[N, 9, K] of all atoms."""
        own = torch.cat([self._moments(e, g, part, fc, chip) for part in self.parts(g, chip)])
        # Other processes' atoms as their owners read them: with noise, one read of an atom serves all who see it.
        return g.exchange_nodes(own.flatten(1)).view_as(own)

    def _moments(self, e: Tensor, g: Graph, part: Part, fc: Tensor | None, chip: Readout) -> Tensor:
        (i, j), kinds = part.ends_out, self.kinds(g)
        gaussians, every = e[part.out], torch.arange(len(i), device=i.device)
        placed = gaussians.new_zeros((len(i), len(self.elements), gaussians.shape[1]))
        placed[every, kinds[j]] = gaussians
        phi = chip.product(self.array, placed.flatten(1))
        if fc is not None:
            phi = phi * fc[part.out, None]
        terms = harmonics(unit_vectors(g, part, e.dtype))[:, :, None] * phi[:, None, :]
        zeros = terms.new_zeros((part.n_atoms, *terms.shape[1:]))
        return zeros.index_add_(0, i - part.atoms.start, terms)

    @torch.no_grad()
    def invariants(self, e: Tensor, moments: Tensor, g: Graph, part: Part) -> Tensor:
        """[out, X] standardised x_ij of the edges out of the atoms of a part, from the moments of all atoms."""
        y = harmonics(unit_vectors(g, part, e.dtype))
        terms = moments.movedim(
            1, 0
        ).contiguous()  # whole rows at a time: many times faster than sums over an inner axis

        def seen(atoms: Tensor, rank: slice) -> Tensor:
            total = e.new_zeros(())
            for m, weight in zip(terms[rank], y[:, rank].unbind(1), strict=True):
                total = total + m.index_select(0, atoms) * weight[:, None]
            return total

        i, j = part.ends_out
        found = [e[part.out]]
        for rank, sign in RANKS:
            found += [seen(i, rank), sign * seen(j, rank)]
        return self.norm(torch.cat(found, dim=1))

    def pairs(self, g: Graph, part: Part) -> Tensor:
        """[out] the number of the pair of elements (centre, neighbour) of the edges out of the atoms of a part."""
        i, j = self.kinds(g)[part.ends_out]
        return i * len(self.elements) + j


def unit_vectors(g: Graph, part: Part, dtype: torch.dtype) -> Tensor:
    """[out, 3] from the atoms of a part to their neighbours."""
    return (g.edge_vector[part.out] / g.edge_length[part.out, None]).to(dtype)
