"""Which frames are chosen for labels."""

import numpy as np
import pytest
from ase.build import bulk

from rgnn import Chip, Graph, Hardware, MomentForces
from rgnn.data.frames import Frame
from rgnn.data.store.writer import write_store
from rgnn.learning.choose import farthest_frames, random_frames
from rgnn.models.settings import MomentSettings, NetworkSettings


def rattled(amplitude: float, seed: int, stretch: float = 1.0):
    atoms = bulk("LiF", "rocksalt", a=4.03, cubic=True)
    atoms.set_cell(atoms.cell * stretch, scale_atoms=True)
    atoms.positions += np.random.default_rng(seed).normal(0, amplitude, (len(atoms), 3))
    return atoms


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A store of slightly rattled crystals, and a model with their statistics."""
    frames = [
        Frame(a.numbers, a.positions, a.cell[:], a.pbc, np.zeros((len(a), 3)))
        for a in (rattled(0.05, seed) for seed in range(8))
    ]
    store = write_store(frames, tmp_path_factory.mktemp("store") / "s.zarr", cutoff=4.0)
    settings = MomentSettings(elements=(3, 9), channels=6, cutoff=4.0, readout=NetworkSettings())
    model = MomentForces(settings, Hardware(), Chip.synthetic(0).matrices(MomentForces.matrices(settings)), 0)
    model.train()(Graph.batch([store.graph(k) for k in range(8)]))
    return model.eval(), store


def test_the_farthest_come_first_and_none_twice(known) -> None:
    model, store = known
    candidates = [rattled(0.05, 100 + k) for k in range(6)]
    candidates[2], candidates[4] = rattled(0.25, 7), rattled(0.05, 8, stretch=1.1)
    first = farthest_frames(model, store, range(8), candidates, 2)
    assert set(first) == {2, 4}
    assert sorted(farthest_frames(model, store, range(8), candidates, 6)) == list(range(6))


def test_of_twins_only_one_is_chosen(known) -> None:
    model, store = known
    far = rattled(0.25, 7)
    candidates = [far, far.copy(), far.copy(), rattled(0.12, 9), rattled(0.05, 10)]
    assert set(farthest_frames(model, store, range(8), candidates, 2)) == {0, 3}


def test_frames_of_training_are_last(known) -> None:
    model, store = known
    candidates = [store.frame(3).to_atoms(), rattled(0.06, 20), rattled(0.06, 21)]
    assert 0 not in farthest_frames(model, store, range(8), candidates, 2)


def test_random_frames_differ_by_round_and_repeat() -> None:
    assert random_frames(50, 5, 1, 2) == random_frames(50, 5, 1, 2) != random_frames(50, 5, 1, 3)
    assert len(set(random_frames(50, 5, 1, 2))) == 5
    assert sorted(random_frames(3, 5, 0, 0)) == [0, 1, 2]
