import threading
import time

import numpy as np
import pytest

from rgnn.data.loader import epoch_order, prefetched
from rgnn.data.replay import ReplayedFrames
from rgnn.data.sample import sample_frames
from rgnn.data.store.reader import GraphStore
from rgnn.data.store.writer import write_store


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """60 frames in 15 blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rgnn.data.store.writer.BLOCK_FRAMES", 4)
        frames = [frame for frame, _ in zip(sample_frames(), range(60), strict=False)]
        return write_store(frames, tmp_path_factory.mktemp("loader") / "s.zarr").path


@pytest.fixture
def large(path, monkeypatch) -> GraphStore:
    """The store as one that does not fit into memory."""
    monkeypatch.setattr("rgnn.data.store.reader.IN_MEMORY", 0)
    return GraphStore(path)


@pytest.mark.parametrize("size", ["small", "large"])
def test_every_frame_comes_once_an_epoch_in_an_order_of_the_seed(path, request, size) -> None:
    store = GraphStore(path) if size == "small" else request.getfixturevalue("large")
    train = list(range(5, 60, 2))
    orders = [epoch_order(store, train, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == train for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] == epoch_order(store, train, 0, 0)


def test_an_epoch_reads_each_block_once(large, monkeypatch) -> None:
    read = []
    load = GraphStore.load_block
    monkeypatch.setattr(GraphStore, "load_block", lambda self, number: read.append(number) or load(self, number))
    for index in epoch_order(large, range(60), 0, 0):
        large.graph(index)
    assert sorted(read) == list(range(15))
    assert read != sorted(read)
    assert len(large._blocks) <= 10


@pytest.mark.parametrize("new", ["small", "large"])
def test_replayed_frames_are_read_block_by_block(path, large, monkeypatch, tmp_path, new) -> None:
    """Of a store that does not fit into memory, each block once an epoch; frames of both stores are mixed."""
    monkeypatch.setattr("rgnn.data.store.reader.IN_MEMORY", 1 << 40 if new == "small" else 0)
    frames = ReplayedFrames(GraphStore(path), large, range(60), 0.5)
    assert frames.new.in_memory == (new == "small")
    order = epoch_order(frames, range(60), 0, 0)
    assert sorted(order) == list(range(120))
    assert order == epoch_order(frames, range(60), 0, 0) != epoch_order(frames, range(60), 0, 1)
    replayed = np.array([frames.is_replayed(k) for k in order])
    assert 20 < replayed[:60].sum() < 40 and (np.diff(replayed.astype(int)) != 0).mean() > 0.35
    load, read = GraphStore.load_block, []
    monkeypatch.setattr(
        GraphStore, "load_block", lambda self, number: read.append((self is large, number)) or load(self, number)
    )
    for k in order:
        frames.graph(k)
    assert sorted(read) == [(old, number) for old in (False, True) for number in range(15)]


def test_frames_of_a_window_are_mixed(large) -> None:
    order = np.array(epoch_order(large, range(60), 0, 0)) // 4
    assert (np.diff(order) != 0).mean() > 0.7


def test_what_is_made_ahead_comes_in_order() -> None:
    def slow(k: int) -> int:
        time.sleep(0.002 * (k % 3))
        return k

    assert list(prefetched(slow, range(40), workers=4)) == list(range(40))


def test_no_more_than_asked_is_made_ahead() -> None:
    made = []
    items = prefetched(made.append, range(100), ahead=5)
    next(items)
    time.sleep(0.1)
    assert len(made) <= 7
    items.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("loader")]


def test_an_error_comes_out_where_it_was_made() -> None:
    items = prefetched(lambda k: 1 // (3 - k), range(10))
    assert [next(items), next(items), next(items)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(items)
