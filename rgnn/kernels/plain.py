"""The kernels in plain torch: what every other form is tested against. Runs on any device, in any precision."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from rgnn.chip.product import AnalogProduct
from rgnn.graphs.topology import Part
from rgnn.graphs.triplets import TripletPlan, triplet_extremes, triplet_sum

# Signs of the harmonics of rank 0, 1 and 2 in the opposite direction.
PARITY = (1, -1, -1, -1, 1, 1, 1, 1, 1)
# Rows, whatever their width, that fill whole vectors of any processor.
WHOLE_VECTORS = 32


def gate(x: Tensor) -> Tensor:
    """sigmoid(a) tanh(b) of the two halves (a, b) of the features [rows, 2 F]."""
    # Contiguous halves vectorise, three times as fast. torch rounds what is left after the last whole vector
    # otherwise, so rows are added: a row is then the same among any others.
    a, b = pad(x.unflatten(-1, (2, -1)).movedim(-2, 0), (0, 0, 0, -len(x) % WHOLE_VECTORS)).contiguous()
    return (torch.sigmoid(a) * torch.tanh(b))[: len(x)]


class Kernels(Protocol):
    """The parts of a forward pass that are worth a faster form.

    Attributes:
        carries_gradient: whether analog products have one (`StraightThrough`); else there is none to be had.
    """

    name: str
    carries_gradient: bool

    def product(self, call: AnalogProduct, x: Tensor, *, relu: bool = False) -> Tensor:
        """A(x; W) of [rows, in], or relu of it; may overwrite x."""

    def accumulate(self, call: AnalogProduct, x: Tensor, columns: Tensor) -> Tensor:
        """[rows, out] sums in code units on these columns of W, noise included; may overwrite x."""

    def extremes(self, plan: TripletPlan, p: Tensor, q: Tensor) -> Tensor:
        """[2 M, H] values that span p_ij + q_jk in every feature over all triplets."""

    def three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, first: AnalogProduct, second: AnalogProduct
    ) -> Tensor:
        """[E, F]: sum over k of fc_jk gate(A2(relu(A1))), with A1 from the accumulated sums p_ij + q_jk."""

    def trained_three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, weight: Tensor, bias: Tensor
    ) -> Tensor:
        """[E, F]: sum over k of fc_jk gate(relu(p_ij + q_jk) W^T + b), with gradients to p, q, W and b."""

    def moments(self, part: Part, phi: Tensor, y: Tensor) -> Tensor:
        """[atoms, M, K]: sum over j of y_ij phi_ij, of the harmonics [out, M] and channels [out, K] of edges i -> j."""

    def along_edges(self, part: Part, y: Tensor, centre: Tensor, neighbour: Tensor) -> Tensor:
        """[out, H]: y_ij . centre_i + y_ji . neighbour_j, of harmonics [out, 9] and what atoms show [N, 9, H].

        With gradients to what they show.
        """


class Plain:
    """Torch operations, block by block."""

    name = "plain"
    carries_gradient = False

    def product(self, call: AnalogProduct, x: Tensor, *, relu: bool = False) -> Tensor:
        y = call(x)
        return y.relu_() if relu else y

    def accumulate(self, call: AnalogProduct, x: Tensor, columns: Tensor) -> Tensor:
        return call.accumulate(x, columns)

    def extremes(self, plan: TripletPlan, p: Tensor, q: Tensor) -> Tensor:
        return triplet_extremes(plan, p, q)

    def three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, first: AnalogProduct, second: AnalogProduct
    ) -> Tensor:
        key, every = second.key(), slice(None)

        def message(h: Tensor, number: int) -> Tensor:
            return gate(second.finish(second.accumulate(first.finish(h).relu_(), every, key, number)))

        return triplet_sum(plan, p, q, fc, message)

    def trained_three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, weight: Tensor, bias: Tensor
    ) -> Tensor:
        return triplet_sum(plan, p, q, fc, lambda h, _: gate(linear(h.relu(), weight, bias)))

    def moments(self, part: Part, phi: Tensor, y: Tensor) -> Tensor:
        sums = phi.new_zeros((part.n_atoms, y.shape[1], phi.shape[1]))
        return sums.index_add_(0, part.centre, y[:, :, None] * phi[:, None, :])

    def along_edges(self, part: Part, y: Tensor, centre: Tensor, neighbour: Tensor) -> Tensor:
        (i, j), opposite = part.ends_out, y * y.new_tensor(PARITY)
        terms = [
            shown[:, m].index_select(0, atoms) * factor[:, m, None]
            for shown, atoms, factor in ((centre, i, y), (neighbour, j, opposite))
            for m in range(y.shape[1])
        ]
        return torch.stack(terms).sum(0)


class StraightThrough(Plain):
    """Plain kernels whose quantisers pass the gradient as if they were not there, where they do not clip.

    Forward, the result is that of the analog product; backward, dx = dy W (Bengio et al. 2013, arXiv 1308.3432).
    """

    name = "straight-through"
    carries_gradient = True

    def product(self, call: AnalogProduct, x: Tensor, *, relu: bool = False) -> Tensor:
        y = _straight(call(x.detach().clone()), _passed(call, x), call.noise.weight)
        return y.relu() if relu else y

    def accumulate(self, call: AnalogProduct, x: Tensor, columns: Tensor) -> Tensor:
        per_code = 1.0 if call.converter.levels is None else call.converter.levels / call.converter.divisor
        sums = call.accumulate(x.detach().clone(), columns)
        return _straight(sums, _passed(call, x), call.noise.weight[:, columns] * per_code)

    def extremes(self, plan: TripletPlan, p: Tensor, q: Tensor) -> Tensor:
        return triplet_extremes(plan, p.detach(), q.detach())

    def three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, first: AnalogProduct, second: AnalogProduct
    ) -> Tensor:
        key, every = second.key(), slice(None)

        def message(h: Tensor, number: int) -> Tensor:
            h = first.finish(h.clone()).relu()
            y = second.finish(second.accumulate(h.detach().clone(), every, key, number))
            return gate(_straight(y, _passed(second, h), second.noise.weight))

        return triplet_sum(plan, p, q, fc, message)


def _passed(call: AnalogProduct, x: Tensor) -> Tensor:
    """What the converter lets through: all of x, or what lies in its range."""
    return (
        x if call.converter.levels is None else x.clamp(call.converter.low, call.converter.low + call.converter.width)
    )


def _straight(y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """The value y with the gradient of x W^T."""
    linear_part = linear(x, weight)
    return y + (linear_part - linear_part.detach())
