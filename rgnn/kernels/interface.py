"""What kernels compute: the parts of a forward pass that are worth a faster form than plain torch."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from rgnn.chip.product import AnalogProduct
from rgnn.graphs.topology import Part
from rgnn.graphs.triplets import TripletPlan


class Products(Protocol):
    """Analog products, without gradients: those are `AnalogProduct.with_gradient`'s."""

    def product(self, call: AnalogProduct, x: Tensor, *, relu: bool = False) -> Tensor:
        """A(x; W) [rows, out] of x [rows, in], or relu of it; may overwrite x."""

    def accumulate(self, call: AnalogProduct, x: Tensor, columns: Tensor) -> Tensor:
        """[rows, out] sums in code units of x [rows, k] on these columns of W, noise included; may overwrite x."""

    def of_gaussians(
        self, call: AnalogProduct, mu: Tensor, s: Tensor, d: Tensor, block: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A(onehot(block) x G(d); W) [rows, out] of Gaussians with centres mu and widths s [k], and its slope in d.

        The slope is steepest (A(x+) - A(x-)) of G'(d) / steepest = x+ - x-, with the largest slope of any Gaussian.
        Row r drives block[r] of the blocks of k columns. Its value has the noise of row r, its slope that of n + r.
        """


class TripletSums(Protocol):
    """Sums over the triplets of a plan, of what is known of edges i -> j and j -> k."""

    def extremes(self, plan: TripletPlan, p: Tensor, q: Tensor) -> Tensor:
        """[2 M, H] values that span p_ij + q_jk in every feature over all triplets, without gradients."""

    def three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, first: AnalogProduct, second: AnalogProduct
    ) -> Tensor:
        """[E, F] sum over k of fc_jk gate(A2(relu(A1))), with A1 from the accumulated sums p_ij + q_jk.

        With gradients to p and q [E, H] where the second call passes them.
        """

    def trained_three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, weight: Tensor, bias: Tensor
    ) -> Tensor:
        """[E, F] sum over k of fc_jk gate(relu(p_ij + q_jk) W^T + b), with gradients to p, q, W and b."""


@dataclass(frozen=True)
class Radial:
    """What radial functions of edges are made of: Gaussians G(d) times an envelope fc(d), and the pair of elements.

    Attributes:
        mu, s: [k] centres and widths of the Gaussians, Angstrom.
        d: [E] distances, Angstrom.
        envelope: [2, E] fc and its derivative by d.
        pair: [E] number of the pair of elements.
    """

    mu: Tensor
    s: Tensor
    d: Tensor
    envelope: Tensor
    pair: Tensor


class EdgeSums(Protocol):
    """Sums over the edges of a part of a graph, for models of moments."""

    def moments(self, part: Part, phi: Tensor, u: Tensor, fc: Tensor | None) -> Tensor:
        """[atoms, 9, K] sum over j of phi fc (1, u, Y(u)), of channels [out, K] and directions [out, 3] of i -> j.

        fc [out] is the envelope; None is 1.
        """

    def along_edges(self, part: Part, y: Tensor, centre: Tensor, neighbour: Tensor) -> Tensor:
        """[out, H] y_ij . centre_i + y_ji . neighbour_j, of harmonics [out, 9] and projections of atoms [N, 9, H].

        With gradients to the projections.
        """

    def gradients(
        self, part: Part, phi: Tensor, slope: Tensor, geometry: tuple[Tensor, Tensor, Tensor], b: Tensor
    ) -> Tensor:
        """[out, 3] of edges r = d u: the derivative by r of b_i . M_ij, M_ij = fc(d) phi(d) Y(u); gradients to b.

        Args:
            part: the atoms i.
            phi: [out, K] channels.
            slope: [out, K] their derivative by d.
            geometry: d [out], u [out, 3], and fc with its derivative [2, out].
            b: [atoms, 9, K].
        """

    def radial(self, mu: Tensor, s: Tensor, weight: Tensor, reach: float) -> Tensor:
        """The table, in a form of the kernels, of radial functions G(d) . weight [k, F] up to a distance.

        With gradients to the weights. G has centres mu and widths s [k]; the reach is in Angstrom.
        """

    def pair_terms(self, radial: Radial, table: Tensor) -> tuple[Tensor, Tensor]:
        """[E] u = f(d) fc(d) with a function of the table for each pair, and du/dd; with gradients to the table."""

    def messages(self, part: Part, radial: Radial, u: Tensor, table: Tensor, sent: Tensor) -> Tensor:
        """[atoms, 9, F] sum over j of w (S_j . Y(u)) Y(u), w = f(d) fc(d), with gradients to the table and to S.

        Args:
            part: the atoms i.
            radial: of its edges.
            u: [out, 3] directions.
            table: of F functions f.
            sent: [N, 9, F] S of all atoms.
        """

    def message_gradients(
        self, part: Part, radial: Radial, u: Tensor, table: Tensor, sent: Tensor, b: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Derivatives of sum_ij b_i . N_ij, where `messages` sums N_ij, by r_ij [out, 3] and by S [n, 9, F].

        The n rows are those of `Part.arrivals`: the atoms at which edges end. With gradients to the table, to S and to
        b [atoms, 9, F].
        """


@dataclass(frozen=True)
class Kernels:
    """One form of everything that kernels compute.

    Attributes:
        name: "plain", "compiled" or "triton".
        products: analog products.
        triplets: sums over triplets.
        edges: sums over edges.
    """

    name: str
    products: Products
    triplets: TripletSums
    edges: EdgeSums
