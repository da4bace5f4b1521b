"""What of a model follows its training batches, ranges of converters and statistics of norms, over parts of a batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rgnn.chip.crossbar import Crossbar
from rgnn.models.parts.standardise import PerElementNorm
from rgnn.training.distributed import Processes


class RunningStatistics:
    """Brings together what the parts of a batch make of ranges and statistics.

    All parts begin with what was before the batch. Of the ranges that they leave the widest is kept, of the statistics
    the mean by the rows they were taken over: atoms of an element, or edges. For the ranges of inputs and for
    `PerElementNorm` this is what the undivided batch leaves, to rounding. A batch norm follows the mean variance within
    parts, as it normalises by them.
    """

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        self._arrays = [m for m in modules if isinstance(m, Crossbar)]
        self._standardised = [m for m in modules if isinstance(m, PerElementNorm)]
        self._batch_norms = [m for m in modules if isinstance(m, nn.BatchNorm1d)]

    @property
    def begun(self) -> bool:
        """Whether they have followed any batch so far."""
        ranges = any(not bool(low.isnan().any()) for low in self._lows)
        return ranges or any(bool(count.any()) for count in self._counts)

    def begin(self) -> None:
        """A batch."""
        self._before = flat(self._means), self._extremes()
        self._moved = self._before[0].new_zeros((2, len(self._before[0])))  # what was added, and rows
        self._widest = torch.full_like(self._before[1], torch.nan)

    @contextmanager
    def part(self, edges: int) -> Iterator[None]:
        """Around the pass of a part with so many edges."""
        self._set(*self._before)
        yield
        rows = self._rows(edges)
        self._moved[0] += rows * (flat(self._means) - self._before[0])
        self._moved[1] += rows
        self._widest = torch.fmin(self._widest, self._extremes())

    def end(self, processes: Processes) -> None:
        """Of the batch: all processes take up what all parts have left. All must call."""
        means, extremes = self._before
        moved = processes.all_reduce_sum_(self._moved)
        widest = processes.all_reduce_min_(torch.where(self._widest.isnan(), torch.inf, self._widest))
        self._set(means + moved[0] / moved[1].clamp_min(1), torch.where(widest.isinf(), extremes, widest))

    @property
    def _means(self) -> list[Tensor]:
        ours = [x for m in self._standardised for x in (m.mean, m.square)]
        return ours + [x for m in self._batch_norms for x in (m.running_mean, m.running_var) if x is not None]

    def _rows(self, edges: int) -> Tensor:
        """That each of the means was taken over in a part."""
        each = [m.count[:, None].expand_as(m.mean) for m in self._standardised for _ in range(2)]
        return flat(each + [torch.full_like(x, edges) for x in self._means[len(each) :]])

    @property
    def _counts(self) -> list[Tensor]:
        tracked = [m.num_batches_tracked for m in self._batch_norms if m.num_batches_tracked is not None]
        return [m.batches for m in self._standardised] + tracked

    @property
    def _lows(self) -> list[Tensor]:
        return [x for m in self._arrays for x in (m.low, m.adc_low) if x is not None]

    @property
    def _highs(self) -> list[Tensor]:
        return [x for m in self._arrays for x in (m.high, m.adc_high) if x is not None] + self._counts

    def _extremes(self) -> Tensor:
        """Lows and negative highs: of each the smallest is the widest."""
        return flat([*self._lows, *(-x for x in self._highs)])

    def _set(self, means: Tensor, extremes: Tensor) -> None:
        fill(self._means, means)
        n = sum(x.numel() for x in self._lows)
        fill([*self._lows, *self._highs], torch.cat([extremes[:n], -extremes[n:]]))


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers one after the other."""
    numbers = [x.flatten() if x.is_floating_point() else x.flatten().float() for x in tensors]
    return torch.cat(numbers) if numbers else torch.zeros(0)


@torch.no_grad()
def fill(tensors: Sequence[Tensor], numbers: Tensor) -> None:
    """Tensors of what `flat` has made of such tensors."""
    for x, piece in zip(tensors, numbers.split([x.numel() for x in tensors]), strict=True):
        x.copy_(piece.view_as(x))
