"""The kernels in plain torch: what every other form is tested against. Runs on any device, in any precision."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear

from rgnn.crossbar import AnalogProduct
from rgnn.triplets import TripletPlan, triplet_extremes, triplet_sum


def gate(x: Tensor) -> Tensor:
    """sigmoid(a) tanh(b) of the two halves (a, b) of the features."""
    a, b = x.unflatten(-1, (2, -1)).movedim(-2, 0).contiguous()  # contiguous halves vectorise, three times as fast
    return torch.sigmoid(a) * torch.tanh(b)


class Kernels(Protocol):
    """The parts of a forward pass that are worth a faster form. Analog products carry no gradient."""

    name: str

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


class Plain:
    """Torch operations, block by block."""

    name = "plain"

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
