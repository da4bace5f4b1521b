"""Cells of a chip that is too small, read again in other orders of rows and columns.

A reservoir only needs fixed random weights, so an array may serve several matrices: each further use routes its
inputs and outputs through another permutation. Use k of an array W is P_k W Q_k with random permutations, so it has the
same values and singular values, and weights at one place of two uses are uncorrelated up to 1 / sqrt(n), n weights.
What is frozen in a cell is then in all matrices that use it; effects here are drawn for each matrix, so models of
reused cells refuse frozen effects and slow noise (`ForceField.read`). Reads at different times are independent.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rgnn.base.rng import torch_stream


@dataclass(frozen=True)
class Reuse:
    """How often cells are used, and how alike two uses are.

    Attributes:
        uses: weights of the model for each weight of the chip.
        correlation: largest correlation, in size, between weights at one place of two uses.
        expected: its standard deviation for unrelated weights, 1 / sqrt(n).
    """

    uses: float
    correlation: float
    expected: float

    def __str__(self) -> str:
        return (
            f"each cell is used {self.uses:.2g} times; two uses correlate by at most {self.correlation:.2g} "
            f"(unrelated weights: {self.expected:.2g})"
        )


def orders(n: int, needed: int, seed: int, member: int = 0) -> Tensor:
    """[needed] numbers of weights: all n in their order, then again and again in permuted rows and columns.

    Args:
        n: weights of the chip, seen as lines of a nearly square array.
        needed: weights of the model.
        seed: of the permutations.
        member: of a committee; a further one begins with a permuted use.
    """
    width = math.isqrt(n - 1) + 1
    grid = torch.full((-(-n // width) * width,), -1)
    grid[:n] = torch.arange(n)
    grid = grid.view(-1, width)
    found = []
    for use in range(-(-needed // n)):
        order = grid
        if use or member:
            stream = torch_stream(seed, "reused cells", member, use)
            rows, columns = torch.randperm(len(grid), generator=stream), torch.randperm(width, generator=stream)
            order = grid[rows][:, columns]
        flat = order.flatten()
        found.append(flat[flat >= 0])
    return torch.cat(found)[:needed]


def statistics(weights: Tensor, needed: int, seed: int) -> Reuse:
    """Of the uses of a chip's weights [n] for a model of `needed` weights."""
    n = len(weights)
    uses = weights[orders(n, needed, seed)].double().split(n)
    found = [
        abs(float(torch.corrcoef(torch.stack([a[: len(b)], b]))[0, 1]))
        for k, b in enumerate(uses)
        for a in uses[:k]
        if len(b) > 2
    ]
    return Reuse(needed / n, max(found, default=0.0), n**-0.5)
