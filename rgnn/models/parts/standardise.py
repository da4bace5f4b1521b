"""Standardisation of features by statistics of each element."""

import torch
from torch import Tensor, nn

# Batches after which the statistics follow a moving average instead of the mean of all.
AVERAGING_WINDOW = 1000


# A deviation is taken for at least this share of the root mean square: what hardly varies is hardly anything but noise.
LEAST_DEVIATION = 0.01


class PerElementNorm(nn.Module):
    """(x - mean) / deviation, for each group of rows, by statistics of all training batches before.

    Alike in training and after it. A batch norm would take the statistics of the batch, which tell the temperature of
    its frames, and hide it; and the parts of a divided batch would not be treated alike.

    Args:
        groups: of rows, such as elements.
        n: channels.
        centred: whether there is a mean; the components of a vector have none.

    Attributes:
        count: [groups] rows of the batch that was followed last.
    """

    mean: Tensor
    square: Tensor
    batches: Tensor
    count: Tensor

    def __init__(self, groups: int, n: int, *, centred: bool) -> None:
        super().__init__()
        self.centred = centred
        self.register_buffer("mean", torch.zeros(groups, n))
        self.register_buffer("square", torch.ones(groups, n))
        self.register_buffer("batches", torch.zeros(groups))
        self.register_buffer("count", torch.zeros(groups), persistent=False)

    def forward(self, x: Tensor, group: Tensor) -> Tensor:
        """[rows, components, n] and the group of each row -> the same; with gradients to x."""
        mean, deviation = self.statistics(x, group)
        return (x - mean[group][:, None]) / deviation[group][:, None]

    @torch.no_grad()
    def statistics(self, x: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
        """[groups, n] mean and deviation by which x [rows, components, n] is standardised; they follow it."""
        mean, square = self.mean, self.square
        if self.training:
            known, before = (self.batches > 0)[:, None], (mean.clone(), square.clone())
            self._follow(x, group)
            mean, square = (torch.where(known, old, new) for old, new in zip(before, (mean, square), strict=True))
        deviation = (square - mean.square()).clamp_min(0).sqrt()
        return mean, deviation.maximum(LEAST_DEVIATION * square.sqrt()).clamp_min(1e-12)

    def _follow(self, x: Tensor, group: Tensor) -> None:
        zeros = x.new_zeros(self.mean.shape)
        self.count.copy_(torch.bincount(group, minlength=len(self.count)))
        self.batches += self.count > 0
        pace = ((self.count > 0) / self.batches.clamp(1, AVERAGING_WINDOW))[:, None]
        rows = self.count.clamp_min(1)[:, None]
        if self.centred:
            self.mean.lerp_(zeros.index_add(0, group, x.mean(1)) / rows, pace)
        self.square.lerp_(zeros.index_add(0, group, x.square().mean(1)) / rows, pace)
