"""A short-range repulsion between nuclei: digital, and zero at all distances that a training set has labelled.

No frame of a trajectory has two atoms on top of each other, so nothing that is learned from it keeps them apart. The
screened Coulomb repulsion of Ziegler, Biersack and Littmark (The Stopping and Range of Ions in Solids, 1985)

    V(d) = k Z_i Z_j / d  phi(d / a)  S(d)        a = 0.46850 A / (Z_i^0.23 + Z_j^0.23)
    phi(x) = 0.18175 exp(-3.1998 x) + 0.50986 exp(-0.94229 x) + 0.28022 exp(-0.4029 x) + 0.02817 exp(-0.20162 x)

does, with k = e^2 / (4 pi eps_0). S falls from 1 to 0, with two continuous derivatives, between shares of the closest
labelled distance of the two elements. Forces on labelled frames are then as they were.

Between light nuclei, which ions hold far apart, that is soft: 0.5 eV for two lithium atoms at 0.8 of the 2.3 A that
they have in a sulphide. Such pairs get a second term, a prior that keeps a learned potential where it was learned (as
in Wang et al., ACS Cent. Sci. 5, 755, 2019, doi 10.1021/acscentsci.8b00913):

    H S'(d)        H = (5 eV - V(0.8 of the closest distance)) / S'(0.8 of it), or 0 where V is higher there

S' begins to rise where S does, and is 1 below 0.65 of the closest distance, so the forces of V alone are left there.
"""

from typing import Any

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from rgnn.base.provenance import TrainingDomain
from rgnn.graphs.graph import Graph
from rgnn.kernels import add_rows

# e^2 / (4 pi eps_0) in eV Angstrom (CODATA 2018), and the terms of the universal screening function.
COULOMB = 14.3996455
TERMS = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
# Where the switch begins and ends, as shares of the closest labelled distance.
INNER, OUTER = 0.75, 0.97
# Where the second term is at its full height, and the energy in eV that both reach at a share of that distance.
FLAT, WALL, WALL_AT = 0.65, 5.0, 0.8
# Two elements that were never neighbours have no such distance; bonds are hardly shorter than this share of the sum of
# their covalent radii (Cordero et al. 2008, as in ASE).
BONDED = 0.8


class Repulsion(nn.Module):
    """The repulsion, with an outer distance for each pair of elements.

    Attributes:
        outer: [120, 120] Angstrom, by atomic numbers; 0, where nothing is repelled, until `fit` has set it.
        height: [120, 120] of the second term, eV; None in a model from before there was one, which stays as it is.
    """

    outer: Tensor
    height: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("outer", torch.zeros(120, 120))
        self.register_buffer("height", torch.zeros(120, 120))

    @torch.no_grad()
    def fit(self, domain: TrainingDomain, elements: tuple[int, ...]) -> None:
        """Set the distances from what a training set spans.

        Args:
            domain: with the closest distance of each pair of elements.
            elements: atomic numbers of the training set.
        """
        closest = {(c.first, c.second): c.distance for c in domain.closest}
        for a in elements:
            for b in elements:
                bonded = BONDED * float(covalent_radii[a] + covalent_radii[b])
                self.outer[a, b] = OUTER * closest.get((min(a, b), max(a, b)), bonded)
                if self.height is not None:
                    self.height[a, b] = missing_height(a, b, self.outer[a, b])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if f"{prefix}height" not in state_dict:
            self.height = None
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, g: Graph) -> tuple[Tensor, Tensor, Tensor]:
        """Forces [N, 3] in eV/Angstrom, energies [frames] in eV and their derivative by strain [frames, 3, 3] in eV."""
        i, j = g.edge_index
        z = g.atomic_numbers
        forces = g.edge_vector.new_zeros(g.n_atoms, 3)
        energy, strain = forces.new_zeros(g.topology.n_frames), forces.new_zeros(g.topology.n_frames, 9)
        near = (g.edge_length < float(self.outer.max())).nonzero()[:, 0]
        outer = self.outer.double()[z[i[near]], z[j[near]]]
        inside = g.edge_length[near] < outer
        near, outer = near[inside], outer[inside]
        if len(near):
            d, vector, i, frame = g.edge_length[near], g.edge_vector[near], i[near], g.frame_index[i[near]]
            first, second = z[i], z[j[near]]
            value, slope = repulsion(d, first.double(), second.double(), outer)
            if self.height is not None:
                high = self.height.double()[first, second]
                share, of_share = switch(d, FLAT / OUTER * outer, outer)
                value, slope = value + high * share, slope + high * of_share
            along = (slope / d)[:, None] * vector
            # Every pair has two edges, each with half of its energy; that from i to j has all of the force on i.
            add_rows(forces, i, along)
            add_rows(energy, frame, 0.5 * value)
            add_rows(strain, frame, 0.5 * (vector[:, :, None] * along[:, None]).flatten(1))
        return forces, energy, strain.view(-1, 3, 3)


def repulsion(d: Tensor, first: Tensor, second: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
    """V in eV and dV/dd in eV/Angstrom of distances d, between nuclei of charges `first` and `second`."""
    a = 0.46850 / (first**0.23 + second**0.23)
    terms = [(c * torch.exp(-b * d / a), -b / a) for c, b in TERMS]
    screening, of_screening = sum(t for t, _ in terms), sum(t * rate for t, rate in terms)
    coulomb = COULOMB * first * second / d
    share, of_share = switch(d, INNER / OUTER * outer, outer)
    bare, of_bare = coulomb * screening, coulomb * (of_screening - screening / d)
    return bare * share, of_bare * share + bare * of_share


def switch(d: Tensor, inner: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
    """From 1 at `inner` to 0 at `outer` with two continuous derivatives, and its slope, 1/Angstrom."""
    t = ((d - inner) / (outer - inner)).clamp(0, 1)
    return 1 - t**3 * (10 - 15 * t + 6 * t * t), -30 * t * t * (1 - t) ** 2 / (outer - inner)


def missing_height(first: int, second: int, outer: Tensor) -> Tensor:
    """Of the second term between nuclei of these charges, eV."""
    end = outer.double()
    d, a, b = WALL_AT / OUTER * end, end.new_tensor(first), end.new_tensor(second)
    return ((WALL - repulsion(d, a, b, end)[0]) / switch(d, FLAT / OUTER * end, end)[0]).clamp(min=0)
