"""Frames in training order, made ready before they are needed, in bounded memory.

A store that stays in memory is shuffled as a whole. Of a larger one, random blocks are read, `WINDOW` at a time, and
the frames of a window are shuffled: every frame still comes once an epoch, and every block is read once. Frames that
are replayed are read so from their own store, at the same time. The order depends on the seed and the epoch alone, so a
resumed epoch continues where it was.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from rgnn.base.estimate import evenly
from rgnn.base.rng import torch_stream
from rgnn.data.heldout import ValidatedElsewhere
from rgnn.data.replay import ReplayedFrames
from rgnn.data.store.reader import WINDOW, GraphStore

AHEAD = 8  # items that are made before they are asked for
WORKERS = 1  # threads that make them; see docs/data.md for what one of them can do

Item = TypeVar("Item")
Made = TypeVar("Made")


def epoch_order(frames: object, train: Sequence[int], seed: int, epoch: int) -> list[int]:
    """The numbers of the training frames in the order of an epoch."""
    frames = frames.training if isinstance(frames, ValidatedElsewhere) else frames
    if isinstance(frames, ReplayedFrames):
        return _replayed_order(frames, train, seed, epoch)
    generator = torch_stream(seed, "order", epoch)
    if not isinstance(frames, GraphStore) or frames.in_memory:
        return [train[k] for k in torch.randperm(len(train), generator=generator).tolist()]
    chosen = np.asarray(train)
    block = np.searchsorted(frames.first, chosen, side="right") - 1
    blocks = torch.randperm(len(frames.first) - 1, generator=generator).numpy()
    window = np.empty_like(blocks)
    window[blocks] = np.arange(len(blocks)) // WINDOW
    shuffled = torch.randperm(len(chosen), generator=generator).numpy()
    by_window = np.argsort(window[block[shuffled]], kind="stable")
    return chosen[shuffled[by_window]].tolist()


def sampled(frames: object, train: Sequence[int], most: int) -> list[int]:
    """The numbers of so many of the frames that are learned, evenly chosen, with the share of replayed ones."""
    frames = frames.training if isinstance(frames, ValidatedElsewhere) else frames
    return frames.sample(train, most) if isinstance(frames, ReplayedFrames) else evenly(train, most)


def _replayed_order(frames: ReplayedFrames, train: Sequence[int], seed: int, epoch: int) -> list[int]:
    """The frames of both stores mixed, each store that is large block by block."""
    drawn = frames.drawn(train, seed, epoch)
    if frames.new.in_memory and frames.old.in_memory:
        return drawn
    order, generator = np.asarray(drawn), torch_stream(seed, "order of blocks", epoch)
    when = torch.rand(len(order), generator=generator).numpy()  # in units of the epoch
    first = len(frames.new)
    for store, mine, numbers in ((frames.new, order < first, order), (frames.old, order >= first, order - first)):
        if not store.in_memory:
            block = np.searchsorted(store.first, numbers[mine], side="right") - 1
            blocks = torch.randperm(len(store.first) - 1, generator=generator).numpy()
            place = np.empty_like(blocks)
            place[blocks] = np.arange(len(blocks))
            when[mine] = (place[block] // WINDOW + when[mine]) / -(-len(blocks) // WINDOW)
    return order[np.argsort(when, kind="stable")].tolist()


def prefetched(
    make: Callable[[Item], Made], items: Iterable[Item], workers: int = WORKERS, ahead: int = AHEAD
) -> Iterator[Made]:
    """What `make` makes of the items, in their order, made by threads some items ahead."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
    waiting: deque[Future[Made]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
