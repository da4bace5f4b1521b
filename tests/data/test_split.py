"""Which frames are held out: whole trajectories, blocks as long as frames stay correlated, split files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from rgnn import GraphStore
from rgnn.base.errors import InputError
from rgnn.base.provenance import Provenance, ranges_of
from rgnn.data.frames import EdgeFrame, Frame
from rgnn.data.met import held_out_frames
from rgnn.data.nearness import nearness, related
from rgnn.data.store.correlation import correlation_length, trajectories
from rgnn.data.store.ledger import Source
from rgnn.data.store.split import partition, read_partition, split_frames
from rgnn.data.store.writer import StoreWriter
from rgnn.graphs.neighbours import edge_vectors, neighbour_list

CELL = 8.0 * np.eye(3)
REST = np.stack(np.meshgrid(*[np.arange(4) * 2.0] * 3), axis=-1).reshape(-1, 3)
NUMBERS = np.resize([3, 8], len(REST))


def walk(
    n: int, memory: float, seed: int, kelvin: float | None = None, sites: int = 0, wrap: bool = True
) -> list[Frame]:
    """Atoms that move about their sites as an autoregressive process: the correlation falls by `memory` each frame."""
    rng = np.random.default_rng(seed)
    rest = REST + np.random.default_rng(1000 + sites).normal(0, 0.15, REST.shape) if sites else REST
    x, frames = rng.normal(size=REST.shape), []
    for _ in range(n):
        x = memory * x + np.sqrt(1 - memory**2) * rng.normal(size=x.shape)
        positions = (rest + 0.1 * x) % 8.0 if wrap else rest + 0.1 * x
        frames.append(Frame(NUMBERS, positions, CELL, np.ones(3, bool), -x, temperature=kelvin))
    return frames


def stored(path: Path, *files: list[Frame]) -> GraphStore:
    for k, frames in enumerate(files):
        with StoreWriter(path, 3.0, append=k > 0, sources=[Source(f"{k}.xyz")]) as writer:
            for number, frame in enumerate(frames):
                writer.add(frame, f"{k}: {number}")
    return GraphStore(path)


@pytest.mark.parametrize("memory", [0.0, 0.6, 0.9])
def test_correlation_is_that_of_the_process(tmp_path, memory: float) -> None:
    """1 + 2 sum of memory^k while that is above 1 / e."""
    store = stored(tmp_path / "s.zarr", walk(300, memory, 0))
    lags = np.arange(1, 300)
    expected = 1 + 2 * (memory**lags)[memory**lags >= np.exp(-1)].sum() if memory else 1
    assert correlation_length(store, trajectories(store)) == pytest.approx(expected, rel=0.25)


def test_correlation_reads_each_frame_once(tmp_path, monkeypatch) -> None:
    store, read = stored(tmp_path / "s.zarr", walk(50, 0.5, 0)), []
    pieces, frame = trajectories(store), GraphStore.frame
    monkeypatch.setattr(GraphStore, "frame", lambda self, k: read.append(k) or frame(self, k))
    correlation_length(store, pieces)
    assert read == list(range(50))


def test_correlation_of_a_slab_is_that_of_its_atoms(tmp_path) -> None:
    """Periodic along two directions, across which atoms are wrapped: a wrapped atom has not moved by a cell."""
    cell, pbc, lengths = CELL * [1, 1, 0], np.array([True, True, False]), []
    for wrap in (False, True):
        frames = walk(300, 0.9, 0, wrap=wrap)
        for f, free in zip(frames, walk(300, 0.9, 0, wrap=False), strict=True):
            f.positions[:, 2] = free.positions[:, 2]
        slab = [replace(f, cell=cell, pbc=pbc, forces=0 * f.forces) for f in frames]
        store = stored(tmp_path / f"{wrap}.zarr", slab)
        lengths.append(correlation_length(store, trajectories(store)))
    assert lengths[0] == lengths[1] > 10


def test_blocks_are_as_long_as_frames_stay_correlated(tmp_path) -> None:
    store = stored(tmp_path / "s.zarr", walk(400, 0.9, 1))
    length = correlation_length(store, trajectories(store))
    found = partition(store, 0.1, 0, "auto")
    runs = ranges_of(found.validation)
    assert min(b - a + 1 for a, b in runs) >= length
    assert 0.05 <= len(found.validation) / 400 <= 0.15
    for a, b in runs:  # nothing trains right beside a block
        assert not set(found.train) & {a - 2, a - 1, b + 1, b + 2}
    assert len(found.train) + len(found.validation) >= 0.9 * 400
    assert found == partition(store, 0.1, 0, "auto")
    assert found.validation != partition(store, 0.1, 1, "auto").validation


def test_each_temperature_is_validated(tmp_path) -> None:
    frames = [frame for k in (300.0, 600.0, 900.0) for frame in walk(60, 0.8, int(k), k)]
    store = stored(tmp_path / "s.zarr", frames)
    found = partition(store, 0.1, 0, "auto")
    assert len(found.validation) <= 0.2 * len(store)
    kelvin = store.column("temperature")[partition(store, 0.1, 0, "auto").validation]
    assert set(kelvin) == {300.0, 600.0, 900.0}


def test_whole_trajectories_are_held_out_where_there_are_several(tmp_path) -> None:
    store = stored(tmp_path / "s.zarr", *(walk(20, 0.9, k) for k in range(8)))
    pieces = trajectories(store)
    assert len(np.unique(pieces)) == 8
    found = partition(store, 0.2, 0, "auto")
    assert found.whole
    assert not set(pieces[found.train]) & set(pieces[found.validation])
    assert len(set(pieces[found.validation])) == 2


def cut(frames: list[Frame], n: int, spacing: float | None = None) -> list[list[Frame]]:
    """A trajectory in n files of equal length, with the times of its frames where a spacing is given, in fs."""
    timed = [replace(f, time=None if spacing is None else k * spacing) for k, f in enumerate(frames)]
    size = len(frames) // n
    return [timed[k * size : (k + 1) * size] for k in range(n)]


@pytest.mark.parametrize("spacing", [None, 2.0])
def test_a_trajectory_in_several_files_is_one(tmp_path, spacing) -> None:
    """Frames on either side of a cut are next to each other in time: none of the files is another trajectory."""
    files = cut(walk(160, 0.95, 0), 8, spacing)
    store = stored(tmp_path / "s.zarr", *files)
    assert len(np.unique(trajectories(store))) == 1
    assert not partition(store, 0.2, 0, "auto").whole


def test_files_that_a_shell_has_sorted_are_one_trajectory(tmp_path) -> None:
    """0, 1, 10, 11, 2, 3: a file goes on where the one that its name comes after has ended."""
    files = cut(walk(240, 0.95, 0), 12)
    order = sorted(range(12), key=str)
    path = tmp_path / "s.zarr"
    for k in order:
        with StoreWriter(path, 3.0, append=k != order[0], sources=[Source(f"part-{k}.xyz")]) as writer:
            for number, frame in enumerate(files[k]):
                writer.add(frame, f"{k}: {number}")
    assert len(np.unique(trajectories(GraphStore(path)))) == 1


def test_a_run_that_begins_again_with_its_time_goes_on(tmp_path) -> None:
    """As programs write it after a restart: times begin at nought in each file."""
    files = [[replace(f, time=2.0 * k) for k, f in enumerate(part)] for part in cut(walk(160, 0.95, 0), 8)]
    assert len(np.unique(trajectories(stored(tmp_path / "one.zarr", *files)))) == 1
    others = [[replace(f, time=2.0 * k) for k, f in enumerate(walk(20, 0.95, seed))] for seed in range(6)]
    assert len(np.unique(trajectories(stored(tmp_path / "six.zarr", *others)))) == 6


def test_files_of_one_frame_are_no_trajectories(tmp_path) -> None:
    store = stored(tmp_path / "s.zarr", *cut(walk(30, 0.9, 0), 30))
    assert len(np.unique(trajectories(store))) == 1
    assert not partition(store, 0.2, 0, "auto").whole


def test_frames_of_several_systems_in_turn_are_no_trajectories(tmp_path) -> None:
    """As shuffled data sets have them: the frames next in time to one held out are some places further on."""
    frames = walk(60, 0.9, 0)
    smaller = [
        Frame(f.numbers[k % 2 :], f.positions[k % 2 :], CELL, f.pbc, f.forces[k % 2 :]) for k, f in enumerate(frames)
    ]
    assert not partition(stored(tmp_path / "s.zarr", smaller), 0.2, 0, "auto").whole


def test_graphs_of_a_trajectory_in_several_files_are_one(tmp_path) -> None:
    """Without positions, of which forces tell how near they are."""

    def graphs(frames: list[Frame]) -> list[EdgeFrame]:
        found = [(f, *neighbour_list(f.positions, f.cell, f.pbc, 3.0)) for f in frames]
        return [EdgeFrame(f.numbers, i, edge_vectors(f.positions, f.cell, i, s), f.forces) for f, i, s in found]

    one = stored(tmp_path / "one.zarr", *map(graphs, cut(walk(120, 0.95, 0), 6)))
    assert len(np.unique(trajectories(one))) == 1
    six = stored(tmp_path / "six.zarr", *(graphs(walk(20, 0.95, seed)) for seed in range(6)))
    assert len(np.unique(trajectories(six))) == 6


def test_a_temperature_of_one_trajectory_is_not_held_out_whole(tmp_path) -> None:
    store = stored(tmp_path / "s.zarr", *(walk(30, 0.5, k, 300.0 * (k + 1)) for k in range(6)))
    found = partition(store, 0.1, 0, "auto")
    assert not found.whole
    assert len(set(store.column("temperature")[found.validation])) == 6


def test_few_frames_are_split_as_ever(tmp_path) -> None:
    store = stored(tmp_path / "s.zarr", walk(15, 0.9, 0))
    found = partition(store, 0.1, 3, "auto")
    assert (found.train, found.validation) == split_frames(15, 0.1, 3)


def test_a_split_file_says_it_all(tmp_path) -> None:
    store = stored(tmp_path / "s.zarr", walk(30, 0.5, 0))
    file = tmp_path / "mine.yaml"
    file.write_text("validation: 0-4, 7\ntest: [20, 21]\n")
    found = partition(store, 0.5, 0, str(file))
    assert (found.validation, found.test) == ([0, 1, 2, 3, 4, 7], [20, 21])
    assert found.train == [5, 6, *range(8, 20), *range(22, 30)]
    found.save(tmp_path / "again.yaml")
    again = read_partition(tmp_path / "again.yaml", 30)
    assert (again.train, again.validation, again.test) == (found.train, found.validation, found.test)
    assert yaml.safe_load((tmp_path / "again.yaml").read_text())["train"] == "5-6, 8-19, 22-29"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("validation: 0-40", "has 30 frames"),
        ("validation: 29-10", r"validation has '29-10', which ends before it begins; write 10-29"),
        ("validation: 0-99999999999", r"validation has '0-99999999999', but the store has 30 frames"),
        ("validation: " + "0-29, " * 2, "names more frames than the 30"),
        ("validation: 3\ntest: 3", "frame 3 is named twice"),
        ("train: 0-29", "30 training and 0 validation"),
        ("validation: all", "write frame numbers"),
        ("validation: -3", "write frame numbers"),
        ("validation: [1.5]", "write frame numbers"),
        ("valid: 1", "keys train, validation and test"),
        ("[1, 2]", "keys train, validation and test"),
        ("a: [", "neither auto, blocks or random nor a split file"),
    ],
)
def test_split_files_that_cannot_be_used(tmp_path, text: str, said: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        read_partition(tmp_path / "s.yaml", 30)


def test_held_out_frames_are_those_of_the_provenance(tmp_path) -> None:
    store = stored(tmp_path / "s.zarr", walk(30, 0.5, 0))
    known = Provenance(data_checksum=store.checksum, validation=0.1, held_out=((2, 4), (9, 9)))
    assert held_out_frames(known, store) == [2, 3, 4, 9]
    assert held_out_frames(known.override(held_out=()), store) == split_frames(30, 0.1, 0)[1]
    assert held_out_frames(known.override(held_out=(), validation_data="other.zarr"), store) is None
    assert held_out_frames(known.override(data_checksum="0"), store) is None


def test_frames_that_were_added_are_held_out_with_those_of_before(tmp_path) -> None:
    """Not evaluated with the frames that were trained on, since the store is no longer the same."""
    store = stored(tmp_path / "s.zarr", walk(30, 0.5, 0))
    known = Provenance(data=str(store.path), data_checksum=store.checksum, held_out=((2, 4),))
    with StoreWriter(store.path, 3.0, append=True, sources=[Source("1.xyz")]) as writer:
        for k, frame in enumerate(walk(5, 0.5, 1)):
            writer.add(frame, f"1: {k}")
    assert held_out_frames(known, GraphStore(store.path)) == [2, 3, 4, *range(30, 35)]


def test_training_frames_in_another_store_are_not_held_out(tmp_path) -> None:
    old, new = walk(30, 0.5, 0), walk(10, 0.5, 1)
    store = stored(tmp_path / "old.zarr", old)
    known = Provenance(data=str(store.path), data_checksum=store.checksum, held_out=((2, 4),))
    merged = stored(tmp_path / "merged.zarr", new, old)
    assert held_out_frames(known, merged) == [*range(10), 12, 13, 14]
    # Of a store with some of the frames alone, all are evaluated, and rgnn eval says how many were trained on.
    assert held_out_frames(known, stored(tmp_path / "some.zarr", new, old[:10])) is None
    assert held_out_frames(known, stored(tmp_path / "new.zarr", new)) is None


def test_distances_are_those_of_the_displacements(tmp_path) -> None:
    """Independent displacements of sigma 0.1 in each of three directions, of both frames: sqrt(6) sigma, moved as one
    or wrapped or not; other sites are farther."""
    frames = walk(120, 0.0, 5)
    moved = [Frame(f.numbers, (f.positions + 0.3 * k) % 8.0, f.cell, f.pbc, f.forces) for k, f in enumerate(frames)]
    store = stored(tmp_path / "s.zarr", moved)
    found = nearness(store, range(100), range(100, 120))
    assert found.unrelated == pytest.approx(0.1 * np.sqrt(6), rel=0.03)
    assert found.displacement == pytest.approx(found.unrelated, rel=0.12)  # the nearest of a hundred
    assert found.ratio == pytest.approx(1, abs=0.1)


def test_other_trajectories_are_farther_than_frames_between_others(tmp_path) -> None:
    store = stored(tmp_path / "s.zarr", walk(80, 0.97, 6, sites=1), walk(80, 0.97, 7, sites=2))
    every = [k for k in range(160) if k % 8 == 4]
    found = nearness(store, [k for k in range(160) if k not in every], every)
    assert found.displacement < 0.5 * found.unrelated
    assert found.ratio > 1.5


def test_in_a_longer_trajectory_held_out_frames_are_no_farther(tmp_path, monkeypatch) -> None:
    """The frames beside them train, however few of the others are looked at."""
    monkeypatch.setattr("rgnn.data.nearness.COMPARED_TRAINED", 60)
    monkeypatch.setattr("rgnn.data.nearness.MOST_TRAINED", 60)
    found = []
    for n in (80, 800):
        store = stored(tmp_path / f"{n}.zarr", walk(n, 0.97, 6))
        every = range(4, n, 8)
        found.append(nearness(store, [k for k in range(n) if k not in every], every))
    short, long = found
    assert long.displacement == pytest.approx(short.displacement, rel=0.1)
    assert long.ratio > 0.9 * short.ratio > 1.3


def test_another_store_of_the_same_trajectory_is_related(tmp_path) -> None:
    """Its frames lie between those that train; those of another trajectory do not."""
    frames = walk(120, 0.95, 6)
    store = stored(tmp_path / "a.zarr", [f for k, f in enumerate(frames) if k % 4])
    near, far = related(store, stored(tmp_path / "b.zarr", frames[::4]))
    assert near < 0.5 * far and far == pytest.approx(0.1 * np.sqrt(6), rel=0.1)
    assert related(store, stored(tmp_path / "c.zarr", walk(30, 0.95, 7))) is None


def test_a_twin_is_found_wherever_it_is(tmp_path, monkeypatch) -> None:
    """A held-out frame that is like some training frames far away, of which few are looked at first."""
    monkeypatch.setattr("rgnn.data.nearness.MOST_TRAINED", 40)
    frames = walk(400, 0.98, 3)
    twin = Frame(NUMBERS, (frames[123].positions + 1e-3) % 8.0, CELL, np.ones(3, bool), frames[123].forces)
    store = stored(tmp_path / "s.zarr", [*frames, twin])
    assert nearness(store, range(350), [400]).displacement == pytest.approx(0, abs=1e-6)


def test_atoms_of_a_slab_that_cross_the_cell_have_not_moved_by_it(tmp_path) -> None:
    """Periodic along two directions, without a vector along the third."""
    cell, pbc = CELL * [1, 1, 0], np.array([True, True, False])
    frames = [Frame(NUMBERS, (REST + shift) % [8.0, 8.0, 99.0], cell, pbc, 0 * REST) for shift in (0.0, 0.5, 3.0)]
    store = stored(tmp_path / "s.zarr", frames)
    assert nearness(store, [0, 1], [2]).displacement == pytest.approx(0, abs=1e-6)


def test_molecules_may_turn(tmp_path) -> None:
    rng = np.random.default_rng(0)
    positions, frames = rng.uniform(0, 3, (6, 3)) * 1.5, []
    for _ in range(30):
        q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        q *= np.sign(np.linalg.det(q))
        frames.append(Frame(np.full(6, 8), positions @ q, np.zeros((3, 3)), np.zeros(3, bool), rng.normal(size=(6, 3))))
    store = stored(tmp_path / "s.zarr", frames)
    assert nearness(store, range(20), range(20, 30)).displacement == pytest.approx(0, abs=1e-6)
