"""Whether dynamics notices that it leaves what its model was trained on: the packaged sample, below 700 K."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from listeners import Heard
from springs import StopAt, assert_same

from rgnn import RGNN
from rgnn.base.errors import InputError, Interrupted
from rgnn.data.sample import sample_frames
from rgnn.data.store.writer import write_store
from rgnn.md import MDSettings, read_log, run_atoms, run_batch
from rgnn.md.domain_watch import UncertaintyMonitor
from rgnn.md.lammps.run import _require_supported
from rgnn.models.checkpoints import load_model
from rgnn.models.settings import RidgeSettings
from rgnn.models.uncertainty import Calibration, Scale, Uncertainty, load_uncertainties
from rgnn.training.run import RunSettings, TrainingRun
from rgnn.training.settings import TrainingSettings

CONFIG = MDSettings(steps=12, temperature=300, write_every=3, restart_every=5, seed=1, timestep=2)
SLOW = CONFIG.override(steps=6, timestep=0.1, close_contacts="ignore")  # where atoms are too close to fly apart


@pytest.fixture(scope="module")
def frames():
    return list(sample_frames())


@pytest.fixture(scope="module")
def trained(frames, tmp_path_factory) -> tuple[RGNN, dict[str, Uncertainty]]:
    """A small committee of two that has seen nothing hotter than 600 K."""
    folder = tmp_path_factory.mktemp("cold")
    cold = [frame for frame in frames if frame.temperature <= 600][::2]
    store = write_store(cold, folder / "cold.zarr")
    shape = RunSettings.preset("ridge").model.override(channels=6, readout=RidgeSettings(random_features=48))
    config = RunSettings(
        store=str(store.path), chips=2, model=shape, training=TrainingSettings(validation=0.3, split="random")
    )
    TrainingRun.prepare(config).run(folder / "run")
    model = load_model(folder / "run")
    return model, load_uncertainties(folder / "run", model)


@pytest.fixture
def structure(frames) -> Atoms:
    frame = next(f for f in frames if f.temperature == 300)
    return Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)


def watched(structure, trained, config, out, method="posterior", stop=lambda: False, **options):
    said = []
    model, known = trained
    heard = Heard(stop, warn=said.append)
    result = run_atoms(structure, model, config, out, uncertainty=known[method], listener=heard, **options)
    return result, said, read_log(out)


def test_an_atom_that_nothing_is_known_of_is_outside() -> None:
    """Of an element that training frames lack the deviation is no number."""
    said: list[str] = []
    known = Uncertainty(Calibration(scales=(Scale(element=3, limit=1.0), Scale(element=8, limit=1.0))))
    watch = UncertaintyMonitor(known, np.array([3, 8]), said.append)
    assert watch.ratio(np.array([0.5, np.nan])) == np.inf
    watch.look(7, np.array([0.5, np.nan]))
    assert len(said) == 1 and "step 7" in said[0] and "(O)" in said[0]


@pytest.mark.parametrize("method", ["posterior", "committee"])
def test_a_run_like_its_training_is_inside(structure, trained, tmp_path, method: str) -> None:
    result, said, log = watched(structure, trained, CONFIG, tmp_path / "run", method)
    assert not said
    assert (result.uncertainty_outside, result.uncertainty_checks) == (0, 5)
    assert (log["uncertainty_ratio"] > 0).all() and (log["uncertainty_ratio"] < 1).all()
    written = ase.io.read(tmp_path / "run/trajectory.xyz", ":")
    limits = trained[1][method].calibration.limits(structure.numbers)
    ratios = [(frame.arrays["uncertainty"] / limits).max() for frame in written]
    np.testing.assert_allclose(ratios, log["uncertainty_ratio"], rtol=1e-5)


def test_a_structure_rattled_far_beyond_its_training_is_told_of(structure, trained, tmp_path) -> None:
    structure.rattle(0.2, seed=3)
    result, said, log = watched(structure, trained, SLOW, tmp_path / "run")
    assert "at step 0 the force on atom" in said[0]
    assert "leaves what the model was trained on" in said[0]
    assert result.uncertainty_outside > 1
    assert len(said) == len(set(said)) <= 3  # once for each element
    assert log["uncertainty_ratio"][0] > 1


def test_compression_is_told_of(structure, trained, tmp_path) -> None:
    structure.set_cell(structure.cell[:] * 0.85, scale_atoms=True)
    _, said, log = watched(structure, trained, SLOW.override(steps=1), tmp_path / "run")
    assert said and log["uncertainty_ratio"][0] > 1


def test_forces_do_not_depend_on_being_watched(structure, trained, tmp_path) -> None:
    for method in (None, "posterior", "committee"):
        known = trained[1].get(method)
        run_atoms(structure, trained[0], CONFIG, tmp_path / str(method), uncertainty=known)
    last = [(tmp_path / name / "final.xyz").read_text() for name in ("None", "posterior", "committee")]
    assert last[0] == last[1] == last[2]
    assert "uncertainty_ratio" not in read_log(tmp_path / "None")


@pytest.mark.parametrize("step", [0, 4, 6])
def test_a_resumed_run_equals_an_unbroken_one(structure, trained, tmp_path, step: int) -> None:
    watched(structure, trained, CONFIG, tmp_path / "whole")
    with pytest.raises(Interrupted):
        watched(structure, trained, CONFIG, tmp_path / "cut", stop=StopAt(step))
    result, _, log = watched(None, trained, CONFIG, tmp_path / "cut", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "cut")
    assert result.uncertainty_checks == 5 == len(log["step"])


def test_runs_of_a_batch_are_watched_each_on_its_own(structure, trained, tmp_path) -> None:
    wild, said = structure.copy(), []
    wild.rattle(0.2, seed=3)
    model, known = trained
    config = SLOW.override(noise=0.0)
    results = run_batch(
        [structure, wild], model, [config, config], [tmp_path / "tame", tmp_path / "wild"],
        uncertainty=known["posterior"], listener=Heard(warn=said.append),
    )  # fmt: skip
    assert results[0].uncertainty_outside == 0 < results[1].uncertainty_outside
    assert said and all(message.startswith("wild: at step") for message in said)
    _, _, log = watched(structure, trained, config, tmp_path / "alone")
    np.testing.assert_allclose(read_log(tmp_path / "tame")["uncertainty_ratio"], log["uncertainty_ratio"], rtol=1e-3)


def test_the_worst_atom_of_each_element_is_named_once() -> None:
    calibration = Calibration(scales=(Scale(element=3, limit=1.0), Scale(element=8, limit=2.0)), frames=1)
    said = []
    watch = UncertaintyMonitor(Uncertainty(calibration), np.array([3, 3, 8]), said.append)
    watch.look(0, np.array([0.9, 0.5, 1.9]))
    assert not said
    assert watch.ratio(np.array([0.9, 0.5, 1.9])) == pytest.approx(0.95)
    watch.look(10, np.array([1.1, 1.2, 1.9]))
    watch.look(20, np.array([1.5, 1.2, 2.5]))
    assert len(said) == 2
    assert "at step 10 the force on atom 1 (Li) is uncertain by 1.2 eV/Angstrom" in said[0]
    assert "limit at 1:" in said[0]
    assert "at step 20 the force on atom 2 (O)" in said[1]


def test_lammps_refuses_to_estimate() -> None:
    _require_supported(CONFIG)
    with pytest.raises(InputError, match="the engine lammps does not do the uncertainty of forces"):
        _require_supported(CONFIG.override(uncertainty="posterior"))
