import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from springs import Springs, crystal

from rgnn import load_model, save_model
from rgnn.base.provenance import TrainingDomain
from rgnn.data.domain import density_of, training_domain
from rgnn.data.frames import EdgeFrame, Frame
from rgnn.data.store.writer import write_store
from rgnn.md import outside_training
from rgnn.training.run import RunSettings, TrainingRun


def frame(scale: float, pbc: bool = True, force: float = 1.0) -> Frame:
    atoms = crystal()
    atoms.set_cell(atoms.cell[:] * scale, scale_atoms=True)
    forces = np.zeros((8, 3))
    forces[3] = (0, force, 0)
    return Frame(atoms.numbers, atoms.positions, atoms.cell[:], np.full(3, pbc), forces)


@pytest.fixture
def store(tmp_path):
    frames = [frame(1 + 0.01 * (k % 5), force=k + 1) for k in range(40)]
    return write_store(frames, tmp_path / "a.zarr")


def test_density_is_that_of_the_handbook() -> None:
    copper = bulk("Cu", "fcc", a=3.6149)
    assert density_of(copper.numbers, copper.cell[:]) == pytest.approx(8.93, abs=0.01)


def test_a_training_set_spans_densities_distances_and_forces(store) -> None:
    seen = training_domain(store, range(40))
    dense = crystal()
    highest = density_of(dense.numbers, dense.cell[:])
    assert seen.density == pytest.approx((highest / 1.04**3, highest))
    pairs = {(c.first, c.second): c.distance for c in seen.closest}
    assert pairs == pytest.approx({(3, 3): 2.015 * 2**0.5, (3, 9): 2.015, (9, 9): 2.015 * 2**0.5})
    assert (seen.largest_force, seen.frames) == (40, 40)
    assert training_domain(store, [1, 6, 11]).largest_force == 12


def test_many_frames_are_looked_at_evenly(store, monkeypatch) -> None:
    monkeypatch.setattr("rgnn.data.domain.MOST_FRAMES", 5)
    seen = training_domain(store, range(40))
    assert (seen.frames, seen.largest_force) == (5, 40)


def test_open_frames_and_graphs_have_no_density(tmp_path) -> None:
    store = write_store([frame(1, pbc=False)] * 2, tmp_path / "open.zarr")
    assert training_domain(store, [0, 1]).density == ()
    vectors = np.array([[0, 0, 1.7], [0, 0, -1.7]])
    graph = EdgeFrame(np.array([3, 9]), np.array([[0, 1], [1, 0]]), vectors, np.ones((2, 3)))
    seen = training_domain(write_store([graph] * 2, tmp_path / "graphs.zarr"), [0, 1])
    assert seen.density == ()
    assert [(c.first, c.second, c.distance) for c in seen.closest] == [(3, 9, pytest.approx(1.7))]


def test_a_training_run_records_it_of_its_training_frames(store, tmp_path) -> None:
    run = TrainingRun.prepare(RunSettings(store=str(store.path)))
    seen = run.model.provenance.seen
    assert seen == training_domain(store, run.train)
    save_model(run.model, tmp_path / "model")
    assert load_model(tmp_path / "model").provenance.seen == seen


def test_what_lies_outside_is_said(store) -> None:
    model = Springs()
    assert outside_training(crystal(), model) == []  # nothing is known of this model
    model.provenance = model.provenance.override(seen=training_domain(store, range(40)))
    assert outside_training(crystal(), model) == []
    thin, tight = crystal(), crystal()
    thin.set_cell(thin.cell[:] * 1.2, scale_atoms=True)
    assert "density is 1.5" in outside_training(thin, model)[0]
    tight.positions[0] += (0.4, 0, 0)
    assert any("closest Li-F are 1.6" in said for said in outside_training(tight, model))
    open_cluster = Atoms("LiF", [[0, 0, 0], [2.0, 0, 0]])
    assert outside_training(open_cluster, model) == []
    assert TrainingDomain() == Springs().provenance.seen
