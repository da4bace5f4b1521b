"""Frames of an earlier training among those of a new one, so that a model that learns the new does not forget."""

from collections.abc import Sequence

import torch

from rgnn.base.estimate import evenly
from rgnn.base.rng import torch_stream
from rgnn.data.store.reader import GraphStore
from rgnn.graphs.graph import Graph


class ReplayedFrames:
    """The frames of a store, followed by some of an earlier one, of which each epoch takes others.

    Args:
        new: the store that is learned.
        old: the earlier store.
        replayed: numbers of its frames that may be taken.
        share: of the frames of an epoch that come from there.
    """

    def __init__(self, new: GraphStore, old: GraphStore, replayed: Sequence[int], share: float) -> None:
        self.new, self.old, self.replayed, self.share = new, old, list(replayed), share

    def graph(self, index: int) -> Graph:
        """The labelled graph of a frame; those of the earlier store count on from the end of the new one."""
        n = len(self.new)
        return self.new.graph(index) if index < n else self.old.graph(index - n)

    def number(self, old: int) -> int:
        """The number here of a frame of the earlier store."""
        return len(self.new) + old

    def is_replayed(self, index: int) -> bool:
        """Whether a frame is one of the earlier store."""
        return index >= len(self.new)

    def drawn(self, train: Sequence[int], seed: int, epoch: int) -> list[int]:
        """The frames of an epoch in their order: all training frames, and a draw of the earlier ones."""
        n = self.in_epoch(len(train))
        old = [self.number(self.replayed[k]) for k in self._cycled(n, seed, epoch)]
        both = [*train, *old]
        return [both[k] for k in torch_permutation(len(both), seed, "order", epoch)]

    def in_epoch(self, train: int) -> int:
        """Number of earlier frames in an epoch, beside so many training frames."""
        return max(1, round(train * self.share / (1 - self.share)))

    def _cycled(self, n: int, seed: int, epoch: int) -> list[int]:
        """So many of the earlier frames, which come round one after the other, in another order each time."""
        size, first = len(self.replayed), epoch * n
        rounds: dict[int, list[int]] = {}
        found = []
        for place in range(first, first + n):
            turn, k = divmod(place, size)
            if turn not in rounds:
                rounds[turn] = torch_permutation(size, seed, "replay", turn)
            found.append(rounds[turn][k])
        return found

    def sample(self, train: Sequence[int], most: int) -> list[int]:
        """So many frames, evenly chosen, with the share of the earlier ones."""
        old = min(len(self.replayed), max(1, round(most * self.share)))
        return evenly(train, most - old) + [self.number(k) for k in evenly(self.replayed, old)]


def torch_permutation(n: int, seed: int, *stream: str | int) -> list[int]:
    """0 to n - 1 in a random order."""
    order: list[int] = torch.randperm(n, generator=torch_stream(seed, *stream)).tolist()
    return order
