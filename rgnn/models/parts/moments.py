"""Moments of each atom's neighbourhood in random channels: elements and angles, at the cost of edges.

    phi_ij = A(onehot(Z_j) x gaussians(d_ij); W) fc(d_ij)              K channels, the only analog product
    M_i    = sum_j phi_ij (1, u_ij, Y_ij)                              moments rho, V, T of rank 0, 1 and 2
    x_ij   = [gaussians_ij, rho_i, rho_j, V_i.u_ij, -V_j.u_ij, T_i.Y_ij, T_j.Y_ij]

Y(u) are the five quadratic harmonics with Y(u).Y(v) = (u.v)^2 - 1/3, so that V_i.u_ij = sum_k phi_ik cos(jik) and
T_i.Y_ij = sum_k phi_ik (cos^2(jik) - 1/3): angles without a loop over triplets, as in moment tensor potentials
(Shapeev 2016, 10.1137/15M1054183) and the atomic cluster expansion (Drautz 2019, 10.1103/PhysRevB.99.014104). All
rows other than those of Z_j get zero, and a row that is not driven adds no noise.

Moments are standardised for each element of the centre: what tells two atoms of phosphorus apart is small beside what
tells phosphorus from lithium.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.graphs.graph import Graph
from rgnn.graphs.topology import Part
from rgnn.kernels.plain import PARITY, harmonics
from rgnn.models.parts.elements import ElementAxis, Elements
from rgnn.models.parts.standardise import PerElementNorm
from rgnn.models.reading import ChipReading

# Gaussians lie between 0 and 1, and are mostly small; among standardised moments they count as much when so enlarged.
GAUSSIAN_SCALE = 3.0
# Where the harmonics of rank 0, 1 and 2 lie among nine.
RANKS = (slice(0, 1), slice(1, 4), slice(4, 9))


@dataclass(frozen=True)
class EdgeInputs:
    """What is known of the edges i -> j out of the atoms of a part.

    Attributes:
        gaussians: [out, G] of the lengths, enlarged by `GAUSSIAN_SCALE`.
        harmonics: [out, 9] of the directions.
        centre, neighbour: what the atoms i and j project onto the harmonics, see the readouts.
        part: the atoms, and the ends of the edges.
        pair: [out] number of each edge's pair of elements (centre, neighbour).
        weighted_direction: [out, 3] fc u.
    """

    gaussians: Tensor
    harmonics: Tensor
    centre: Tensor
    neighbour: Tensor
    part: Part
    pair: Tensor
    weighted_direction: Tensor


class MomentLayer(nn.Module):
    """The moments of atoms; nothing in it is trained.

    Args:
        cells: of W, [channels, elements x Gaussians].
        elements: that the model tells apart.
        channels: number K of channels.
    """

    def __init__(self, cells: Cells | Tensor, elements: Elements, channels: int) -> None:
        super().__init__()
        self.crossbar, self.elements = Crossbar(cells), elements
        norms = [PerElementNorm(len(elements), channels, centred=rank == 0) for rank in range(len(RANKS))]
        self.norms = nn.ModuleList(norms)

    @property
    def ready(self) -> bool:
        """Whether the statistics have been set."""
        return any(bool(norm.batches.any()) for norm in self.norms if isinstance(norm, PerElementNorm))

    def parts(self, g: Graph, reading: ChipReading) -> Sequence[Part]:
        """Parts of a graph that may be worked on one after the other."""
        return g.parts if reading.hardware.rows_are_independent and not self.training else (g.whole,)

    @torch.no_grad()
    def forward(self, e: Tensor, g: Graph, fc: Tensor | None, reading: ChipReading) -> Tensor:
        """Standardised moments [N, 9, K] of all atoms, from the Gaussians e [E, G] and the envelope fc [E]."""
        rows = self.elements(g.atomic_numbers)
        own = torch.cat([self._moments(e, g, part, fc, rows, reading) for part in self.parts(g, reading)])
        # Other processes' atoms as their owners read them: with noise, one read of an atom serves all who see it.
        moments = g.exchange_nodes(own.flatten(1)).view_as(own)
        return self.standardised(moments, rows)

    def standardised(self, moments: Tensor, rows: Tensor) -> Tensor:
        """Moments [N, 9, K] of atoms with these rows, standardised for each element."""
        ranks = [norm(moments[:, rank], rows) for norm, rank in zip(self.norms, RANKS, strict=True)]
        return torch.cat(ranks, dim=1)

    def statistics(self, moments: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """By what moments [N, 9, K] of atoms with these rows are standardised: means [S, K] of rank 0, as others have
        none, and deviations [ranks, S, K] of each rank.
        """
        means, deviations = zip(
            *[
                norm.statistics(moments[:, rank], rows)  # type: ignore[operator]
                for norm, rank in zip(self.norms, RANKS, strict=True)
            ],
            strict=True,
        )
        return means[0], torch.stack(deviations)

    def _moments(
        self, e: Tensor, g: Graph, part: Part, fc: Tensor | None, rows: Tensor, reading: ChipReading
    ) -> Tensor:
        """[atoms, 9, K] before they are standardised."""
        j, gaussians = part.ends_out[1], e[part.out]
        placed = gaussians.new_zeros((len(j), len(self.elements), gaussians.shape[1]))
        placed[torch.arange(len(j), device=j.device), rows[j]] = gaussians
        phi = reading.product(self.crossbar, placed.flatten(1))
        u = unit_vectors(g, part, e.dtype)
        return reading.kernels.edges.moments(part, phi, u, None if fc is None else fc[part.out])


def norm_axes() -> dict[str, ElementAxis]:
    """The axes of elements in the statistics of a `MomentLayer` named moments."""
    names = [f"moments.norms.{rank}.{name}" for rank in range(len(RANKS)) for name in ("mean", "square", "batches")]
    return {name: ElementAxis() for name in names}


def edge_inputs(
    e: Tensor, g: Graph, part: Part, fc: Tensor | None, elements: Elements, projected: tuple[Tensor, Tensor]
) -> EdgeInputs:
    """What is known of the edges out of a part, where atoms project `projected` = (centre, neighbour) onto them."""
    i, j = elements(g.atomic_numbers)[part.ends_out]
    u = unit_vectors(g, part, e.dtype)
    weighted = u if fc is None else u * fc[part.out, None]
    return EdgeInputs(GAUSSIAN_SCALE * e[part.out], harmonics(u), *projected, part, i * len(elements) + j, weighted)


def by_component(moments: Tensor) -> Tensor:
    """[9, N, K] of [N, 9, K]: sums over whole rows are many times faster than over an inner axis."""
    return moments.movedim(1, 0).contiguous()


def lengths(moments: Tensor) -> Tensor:
    """[N, 3 K] of moments [N, 9, K] what turning leaves alike: rank 0, and the lengths of ranks 1 and 2."""
    return torch.cat([moments[:, 0], *(moments[:, rank].norm(dim=1) for rank in RANKS[1:])], dim=1)


def unit_vectors(g: Graph, part: Part, dtype: torch.dtype) -> Tensor:
    """[out, 3] from the atoms of a part to their neighbours."""
    return (g.edge_vector[part.out] / g.edge_length[part.out, None]).to(dtype)


@torch.no_grad()
def invariants(inputs: EdgeInputs) -> Tensor:
    """[out, X] x_ij, where atoms project their moments `by_component`."""
    directions = inputs.harmonics, inputs.harmonics * inputs.harmonics.new_tensor(PARITY)
    ends = list(zip((inputs.centre, inputs.neighbour), inputs.part.ends_out, directions, strict=True))
    found = [inputs.gaussians]
    for rank in RANKS:
        for end, atoms, y in ends:
            terms = zip(end[rank], y[:, rank].unbind(1), strict=True)
            found.append(sum(m.index_select(0, atoms) * factor[:, None] for m, factor in terms))
    return torch.cat(found, dim=1)
