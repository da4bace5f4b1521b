import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list
from ase.stress import voigt_6_to_full_3x3_stress
from hypothesis import given, settings
from hypothesis import strategies as st

from rgnn import Graph
from rgnn.base.errors import InputError
from rgnn.data.frames import Frame
from rgnn.data.sample import sample_frames
from rgnn.data.store.reader import GraphStore, require_cutoff
from rgnn.data.store.split import split_frames
from rgnn.data.store.summary import MotionSummary
from rgnn.data.store.writer import StoreWriter, write_store
from rgnn.graphs.neighbours import CLOSEST, edge_vectors, neighbour_list


def frame(seed: int, n: int = 12) -> Frame:
    rng = np.random.default_rng(seed)
    cell = np.diag([5.0, 5.5, 6.0]) + rng.normal(0, 0.3, (3, 3))
    pbc = np.array([True, True, seed % 2 == 0])
    while True:
        positions = rng.uniform(-3, 8, (n, 3))  # some atoms outside the cell
        edge_index, shift = neighbour_list(positions, cell, pbc, 3.0)
        if np.linalg.norm(edge_vectors(positions, cell, edge_index, shift), axis=1).min() > CLOSEST:
            break
    return Frame(
        rng.choice([3, 8, 15], n),
        positions,
        cell,
        pbc,
        rng.normal(size=(n, 3)),
        energy=None if seed % 3 == 0 else -float(seed),
        temperature=300.0 * (1 + seed % 2),
    )


FRAMES = [frame(seed, 10 + seed % 4) for seed in range(70)]  # more than one block


@pytest.fixture(scope="module", autouse=True)
def _small_blocks():
    """Several blocks in a small store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rgnn.data.store.writer.BLOCK_FRAMES", 25)
        yield


@pytest.fixture(scope="module")
def written(_small_blocks, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("store") / "s.zarr"
    write_store(FRAMES, path, cutoff=3.2)
    return path


@pytest.fixture
def path(written, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(written, tmp_path / "s.zarr"))


def test_frames_come_back(written) -> None:
    store = GraphStore(written)
    assert len(store) == 70
    for index in (0, 1, 33, 69):
        mine, back = FRAMES[index], store.frame(index)
        np.testing.assert_array_equal(back.numbers, mine.numbers)
        np.testing.assert_array_equal(back.positions, mine.positions)
        np.testing.assert_array_equal(back.cell, mine.cell)
        np.testing.assert_array_equal(back.pbc, mine.pbc)
        np.testing.assert_array_equal(back.forces, mine.forces)
        assert (back.energy, back.temperature) == (mine.energy, mine.temperature)


def test_graphs_have_the_edges_that_ase_finds(written) -> None:
    store = GraphStore(written)
    for index in (0, 1, 69):
        f, g = FRAMES[index], store.graph(index)
        i, d = primitive_neighbor_list("id", f.pbc, f.cell, f.positions, 3.2)
        assert g.n_edges == len(d)
        np.testing.assert_allclose(np.sort(g.edge_length.numpy()), np.sort(d))
        np.testing.assert_array_equal(np.bincount(g.edge_index[0]), np.bincount(i))
        np.testing.assert_allclose(g.forces.numpy(), f.forces, rtol=1e-6)


def test_graphs_carry_the_energy_and_the_stress_of_their_frames(tmp_path) -> None:
    """Stress in ASE's order and its sign; a frame without a label has none, and not-a-number in a batch."""
    stress = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    write_store([replace(frame(4), stress=stress), frame(6)], tmp_path / "s.zarr", cutoff=3.2)
    first, second = GraphStore(tmp_path / "s.zarr")
    assert first.labels.energy.tolist() == [-4.0] and second.labels.energy is None
    np.testing.assert_array_equal(first.labels.stress[0].numpy(), voigt_6_to_full_3x3_stress(stress))
    both = Graph.batch([second, first]).labels
    assert torch.isnan(both.energy[0]) and both.energy[1] == -4.0
    assert torch.isnan(both.stress[0]).all() and torch.equal(both.stress[1], first.labels.stress[0])


def test_reading_frame_by_frame_gives_the_same(written, monkeypatch) -> None:
    whole = GraphStore(written).graph(65)
    monkeypatch.setattr("rgnn.data.store.reader.IN_MEMORY", 0)
    part = GraphStore(written).graph(65)
    assert whole.edge_vector.equal(part.edge_vector)
    assert whole.forces.equal(part.forces)


def test_temperatures_are_those_of_velocities_where_no_other_is_named(tmp_path) -> None:
    kinetic = [None, 290.0, 310.0, 900.0]
    frames = [replace(f, temperature=None, kinetic_temperature=k) for f, k in zip(FRAMES[:4], kinetic, strict=True)]
    frames[3] = replace(frames[3], temperature=1000.0)
    summary = write_store(frames, tmp_path / "s.zarr", 3.2).summary()
    assert summary.velocities == MotionSummary(2, 290.0, 300.0, 310.0)
    assert summary.temperatures_kelvin == {1000.0: 1}
    assert summary.to_mapping()["velocities"]["mean_kelvin"] == 300.0


def test_attributes(written) -> None:
    store = GraphStore(written)
    assert store.elements == (3, 8, 15)
    assert store.cutoff == 3.2
    components = np.concatenate([f.forces.ravel() for f in FRAMES])
    assert store.force_rms == pytest.approx(np.sqrt(np.mean(components**2)))
    assert sum(store.element_counts.values()) == sum(len(f.numbers) for f in FRAMES)
    summary = store.summary()
    assert summary.temperatures_kelvin == {300.0: 35, 600.0: 35} and summary.elements.keys() == {"Li", "O", "P"}
    assert (summary.frames, summary.atoms) == (len(FRAMES), sum(len(f.numbers) for f in FRAMES))
    sizes = [len(f.numbers) for f in FRAMES]
    assert (summary.smallest_frame_atoms, summary.largest_frame_atoms) == (min(sizes), max(sizes))
    degrees = np.concatenate([np.bincount(g.edge_index[0], minlength=g.n_atoms) for g in store])
    assert (summary.fewest_neighbours, summary.most_neighbours) == (degrees.min(), degrees.max())
    assert summary.mean_neighbours == pytest.approx(degrees.mean()) and summary.edges == degrees.sum()
    assert not summary.unfinished and summary.left_out == {}
    store.verify()


def test_a_store_is_a_sequence_of_its_labelled_graphs(written) -> None:
    store = GraphStore(written)
    for index in (0, 41, -1):
        assert np.array_equal(store[index].edge_vector, store.graph(index).edge_vector)
        assert np.array_equal(store[index].forces, store.graph(index).forces)
    with pytest.raises(IndexError, match=f"frame {len(FRAMES)} of {len(FRAMES)}"):
        store[len(FRAMES)]
    assert [g.n_atoms for g in store] == [len(f.numbers) for f in FRAMES]
    assert repr(store) == f"GraphStore('{written}', 70 frames of Li O P, cutoff 3.2 Angstrom)"
    # Graphs of periodic frames know the volume of their cells.
    volumes = [abs(np.linalg.det(f.cell)) if f.pbc.all() else None for f in FRAMES]
    for g, volume in zip(store, volumes, strict=True):
        assert (g.volume is None) if volume is None else (g.volume.tolist() == [pytest.approx(volume)])


def test_append_equals_writing_at_once(written, tmp_path) -> None:
    path = tmp_path / "two.zarr"
    write_store(FRAMES[:30], path, cutoff=3.2)
    with StoreWriter(path, None, append=True) as writer:
        for f in FRAMES[30:]:
            writer.add(f)
    once, twice = GraphStore(written), GraphStore(path)
    assert once.checksum == twice.checksum
    assert once.force_rms == pytest.approx(twice.force_rms)
    twice.verify()


def test_a_reader_is_not_disturbed_by_an_append(path, monkeypatch) -> None:
    monkeypatch.setattr("rgnn.data.store.reader.IN_MEMORY", 0)
    reader, other = GraphStore(path), {}
    with StoreWriter(path, None, append=True) as writer:
        for k, f in enumerate(FRAMES):
            writer.add(replace(f, forces=f.forces + 1))
            other[k] = len(GraphStore(path))
            reader.graph(k)
    assert sorted(set(other.values())) == [70, 95, 120]  # whole blocks of the append, as they come
    reader.verify()
    assert len(reader) == 70 and len(GraphStore(path)) == 140


def test_only_one_may_write(path) -> None:
    with (
        StoreWriter(path, None, append=True) as writer,
        pytest.raises(InputError, match="another rgnn"),
        StoreWriter(path, None, append=True),
    ):
        pass
    assert writer.new_blocks == []


def test_a_failed_append_leaves_the_store_as_it_was(path) -> None:
    before = GraphStore(path).checksum

    def interrupted() -> None:
        with StoreWriter(path, None, append=True) as writer:
            for f in FRAMES:
                writer.add(f)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert GraphStore(path).checksum == before
    assert [p.name for p in path.parent.iterdir()] == ["s.zarr"]


def test_a_write_that_is_cut_off_leaves_no_store_and_is_no_obstacle(tmp_path) -> None:
    writer = StoreWriter(tmp_path / "s.zarr", 3.2)
    writer.__enter__()
    for f in FRAMES:
        writer.add(f)
    del writer  # as a kill would leave it
    assert not (tmp_path / "s.zarr").exists()
    assert len(write_store(FRAMES[:3], tmp_path / "s.zarr", 3.2)) == 3


def test_what_lies_beside_a_store_is_left_alone(path) -> None:
    (path.parent / "s.zarr.old").mkdir()
    with StoreWriter(path, 3.2, overwrite=True) as writer:
        writer.add(FRAMES[0])
    assert sorted(p.name for p in path.parent.iterdir()) == ["s.zarr", "s.zarr.old"]
    (path.parent / "s.zarr.partial").mkdir()
    (path.parent / "s.zarr.partial" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="exists but is not a graph store"), StoreWriter(path, 3.2, overwrite=True):
        pass
    assert (path.parent / "s.zarr.partial" / "thesis.txt").exists()


def test_arrays_of_zeros_are_not_missing(tmp_path) -> None:
    """A molecule has no shifts, and Zarr writes no chunk of zeros unless told to."""
    pair = Frame(
        np.array([3, 8]), np.array([[0.0, 0, 0], [2, 0, 0]]), np.zeros((3, 3)), np.zeros(3, bool), np.zeros((2, 3))
    )
    store = write_store([pair] * 3, tmp_path / "s.zarr")
    store.verify()
    assert store.graph(2).n_edges == 2


@pytest.mark.parametrize("cutoff", [0.0, -1.0, float("nan"), float("inf")])
def test_cutoffs_that_make_no_sense(tmp_path, cutoff: float) -> None:
    with pytest.raises(InputError, match=r"between .* and 20"):
        write_store(FRAMES[:1], tmp_path / "s.zarr", cutoff)


def test_a_missing_block_is_noticed_at_once(path) -> None:
    shutil.rmtree(path / "00000")
    with pytest.raises(InputError, match="block 00000 is missing"):
        GraphStore(path)


def test_a_missing_chunk_is_noticed_when_it_is_read(path) -> None:
    chunk = next(p for p in (path / "00000" / "positions").rglob("*") if p.is_file() and p.name != "zarr.json")
    chunk.unlink()
    with pytest.raises(InputError, match="positions"):
        GraphStore(path).frame(0)


def test_atoms_on_top_of_each_other_are_refused(tmp_path) -> None:
    doubled = replace(FRAMES[0], positions=FRAMES[0].positions.copy())
    doubled.positions[1] = doubled.positions[0]
    with pytest.raises(InputError, match=r"frame 0: atoms \d+ and \d+ are 0 Angstrom apart"):
        write_store([doubled], tmp_path / "s.zarr")


def refuses(path: Path) -> str:
    with pytest.raises(InputError) as error:
        GraphStore(path).verify()
    assert str(path) in str(error.value)
    return str(error.value)


def test_damage_is_noticed(written, tmp_path) -> None:
    files = sorted(p.relative_to(written) for p in written.rglob("*") if p.is_file())
    assert len(files) > 20
    for number, file in enumerate(files):
        for how in ("lost", "cut"):
            path = Path(shutil.copytree(written, tmp_path / f"{number}{how}.zarr"))
            if how == "lost":
                (path / file).unlink()
            else:
                content = (path / file).read_bytes()
                (path / file).write_bytes(content[: len(content) // 2])
            refuses(path)


def test_what_is_no_store(tmp_path) -> None:
    assert "no such store" in refuses(tmp_path / "none.zarr")
    (tmp_path / "x.zarr").mkdir()
    assert "not a graph store" in refuses(tmp_path / "x.zarr")
    import zarr

    zarr.create_group(tmp_path / "other.zarr")
    assert "another program" in refuses(tmp_path / "other.zarr")


def test_nothing_is_replaced_unless_asked(path) -> None:
    with pytest.raises(InputError, match="already exists"):
        StoreWriter(path)
    with pytest.raises(InputError, match="cutoff"):
        StoreWriter(path, 4.0, append=True)
    with pytest.raises(InputError, match="not a graph store"):
        StoreWriter(path.parent, overwrite=True)
    with StoreWriter(path, 3.2, overwrite=True) as writer:
        writer.add(FRAMES[0])
    assert len(GraphStore(path)) == 1


def test_frames_without_neighbours_are_refused(tmp_path) -> None:
    lonely = Frame(
        np.array([3, 3]), np.array([[0.0, 0, 0], [9, 9, 9]]), np.eye(3) * 30, np.ones(3, bool), np.zeros((2, 3))
    )
    with pytest.raises(InputError, match="--cutoff"):
        write_store([FRAMES[0], lonely], tmp_path / "s.zarr")
    assert list(tmp_path.iterdir()) == []


def test_another_cutoff_is_refused(written) -> None:
    require_cutoff(GraphStore(written), 3.2)
    with pytest.raises(InputError, match=r"--cutoff 3\.8"):
        require_cutoff(GraphStore(written), 3.8)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 500), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_split_divides_all_frames_into_blocks(n, validation, seed) -> None:
    train, held = split_frames(n, validation, seed)
    assert train
    assert held
    assert sorted(train + held) == list(range(n))
    assert (train, held) == split_frames(n, validation, seed)
    if n >= 200:
        assert abs(len(held) / n - validation) <= 10 / n + 0.05


def test_a_random_split_holds_out_single_frames() -> None:
    train, held = split_frames(1000, 0.1, 0, how="random")
    assert sorted(train + held) == list(range(1000)) and len(held) == 100
    assert (np.diff(held) == 1).mean() < 0.3 < (np.diff(split_frames(1000, 0.1, 0)[1]) == 1).mean()


def test_a_single_frame_cannot_be_split() -> None:
    with pytest.raises(InputError, match="at least two"):
        split_frames(1, 0.5, 0)


def test_the_packaged_sample() -> None:
    frames = list(sample_frames())
    assert len(frames) == 270
    temperatures = np.array([f.temperature for f in frames])
    assert {t: int((temperatures == t).sum()) for t in (300, 600, 1000, 1500, 2200)} == dict.fromkeys(
        (300, 600, 1000, 1500, 2200), 54
    )
    for f in frames:
        atoms = Atoms(f.numbers, f.positions, cell=f.cell, pbc=f.pbc)
        assert atoms.get_chemical_formula() == "Li72O96P24"
        density = atoms.get_masses().sum() / atoms.get_volume() * 1.66053907  # u/A^3 -> g/cm3
        assert density == pytest.approx(2.35, abs=0.01)
        assert np.abs(f.forces.sum(axis=0)).max() < 0.05  # labels of an energy model: no net force


def test_the_sample_agrees_with_the_files_it_was_made_from() -> None:
    source = Path(__file__).parents[3] / "shared" / "data" / "lipo_chgnet_train_a.xyz"
    if not source.exists():
        pytest.skip("needs the training files")
    import ase.io

    first, last = next(sample_frames()), list(sample_frames())[134]
    for mine, index in ((first, 0), (last, 349)):
        theirs = ase.io.read(source, index)
        np.testing.assert_allclose(mine.positions, theirs.positions, atol=6e-6)
        np.testing.assert_allclose(mine.forces, theirs.get_forces(), atol=6e-5)


def test_foreign_files_in_a_store_are_not_replaced_with_it(tmp_path) -> None:
    frames = list(itertools.islice(sample_frames(), 2))
    store = write_store(iter(frames), tmp_path / "s.zarr", 3.8)
    (store.path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"holds 'thesis.tex', which is no part of the store"):
        StoreWriter(store.path, 3.8, overwrite=True)
    (store.path / "thesis.tex").unlink()
    StoreWriter(store.path, 3.8, overwrite=True)
