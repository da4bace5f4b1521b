"""Trainings that begin with a trained model: the same predictions, other cells, more elements, what is remembered."""

from pathlib import Path

import numpy as np
import pytest
import torch
from listeners import Asked

from rgnn import EnergySettings, GraphStore, Hardware, MessagePassingSettings, MomentSettings, load_model
from rgnn.base.errors import InputError, Interrupted
from rgnn.chip.chip import Chip
from rgnn.data.frames import Frame
from rgnn.data.replay import ReplayedFrames
from rgnn.data.store.split import read_partition
from rgnn.data.store.writer import write_store
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import fingerprint
from rgnn.models.settings import RidgeSettings
from rgnn.training.request import TrainingRequest
from rgnn.training.run import RunSettings, TrainingRun
from rgnn.training.settings import TrainingSettings
from rgnn.training.start import begun, replay_of
from rgnn.training.validation import validate

SHAPES = {
    "message passing": MessagePassingSettings(n_features=4, reservoir_layers=1, repulsion="zbl"),
    "digital": MessagePassingSettings(n_features=4, reservoir_layers=0, trained_layers=1),
    "moments": MomentSettings(channels=16, gaussians=8, repulsion="zbl"),
    "energy": EnergySettings(channels=16, gaussians=8, mixtures=6, widths=(12, 8), repulsion="zbl"),
}
# Strength of the bonds of an element, by atomic number.
STRENGTH = {3: 1.0, 6: 1.6, 8: 2.2}
TRAINING = TrainingSettings(
    epochs=12, batch_size=2, learning_rate=1e-2, average=0.9, rate_schedule="cosine", seed=1, validation=0.2
)


def frames(cluster, elements: tuple[int, ...], n: int, seed: int) -> list[Frame]:
    """Clusters with the forces and energies of pairs that repel each other by their elements."""
    made = []
    for k in range(n):
        _, positions = cluster(8, seed + k)
        numbers = np.resize(elements, 8)
        strength = np.array([STRENGTH[z] for z in numbers])
        r = positions[:, None] - positions[None]
        d = np.linalg.norm(r, axis=-1) + 10 * np.eye(8)
        each = 4 * strength[:, None] * strength[None] * np.exp(-d)
        forces = (each[..., None] * r / d[..., None]).sum(1)
        energy = 0.5 * each.sum() - strength.sum()
        made.append(Frame(numbers, positions, np.zeros((3, 3)), np.zeros(3, bool), forces, energy=float(energy)))
    return made


@pytest.fixture(scope="module")
def stores(cluster, tmp_path_factory) -> dict[str, Path]:
    """Clusters of two elements, others of the same, and some with a third element between these."""
    folder = tmp_path_factory.mktemp("stores")
    wanted = {"old": ((3, 8), 24, 0), "other": ((8, 8, 3), 12, 100), "more": ((3, 6, 8), 12, 200)}
    for name, (elements, n, seed) in wanted.items():
        write_store(frames(cluster, elements, n, seed), folder / f"{name}.zarr", source=name)
    return {name: folder / f"{name}.zarr" for name in wanted}


@pytest.fixture(scope="module", params=SHAPES)
def trained(request, stores, tmp_path_factory) -> Path:
    """A trained model of each kind."""
    config = RunSettings(
        store=str(stores["old"]), model=SHAPES[request.param], hardware=Hardware(bits=6, noise=0.02), training=TRAINING
    )
    out = tmp_path_factory.mktemp("trained") / "run"
    TrainingRun.prepare(config).run(out)
    return out


@pytest.fixture(scope="module")
def energy(stores, tmp_path_factory) -> Path:
    """A trained energy on an ideal chip."""
    hardware = Hardware(bits=None, noise=None)
    config = RunSettings(store=str(stores["old"]), model=SHAPES["energy"], hardware=hardware, training=TRAINING)
    out = tmp_path_factory.mktemp("energy") / "run"
    TrainingRun.prepare(config).run(out)
    return out


def begin(model: Path, store: Path, **changes) -> TrainingRun:
    request = TrainingRequest(store, from_model=model, training={"seed": 1, "epochs": 4, "batch_size": 2} | changes)
    return TrainingRun.prepare(request.settings(lambda: store))


def error_of(run: TrainingRun) -> float:
    """Relative force error of the model of a run on its validation frames."""
    return validate(run.model.eval(), run.validation_store, run.validation, run.config.training.seed).relative


def forces(model: ForceField, store: Path) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model.eval()(GraphStore(store).graph(k)).forces for k in range(6)])


def test_with_more_elements_the_old_ones_are_predicted_as_before(trained, stores) -> None:
    old, run = load_model(trained), begin(trained, stores["more"])
    assert (old.elements, run.model.elements, run.new_elements) == ((3, 8), (3, 6, 8), (6,))
    # To rounding: products of matrices that have become wider are summed in another order.
    torch.testing.assert_close(forces(run.model, stores["old"]), forces(old, stores["old"]), rtol=1e-5, atol=2e-6)
    if old.reference is not None:
        energies = [m(GraphStore(stores["old"]).graph(0)).energy for m in (old, run.model)]
        torch.testing.assert_close(*energies, rtol=1e-6, atol=1e-5)
    assert forces(run.model, stores["more"]).isfinite().all()


def test_weights_of_new_elements_are_trained(trained, stores, tmp_path) -> None:
    """From a model with more elements to another: rows lie where their elements do, whatever their order."""
    run = begin(trained, stores["more"], epochs=8)
    before = error_of(run)
    assert run.run(tmp_path / "a").best.relative_error < before
    again = begin(tmp_path / "a", stores["old"])
    assert again.model.elements == (3, 6, 8)
    expected = forces(load_model(tmp_path / "a"), stores["old"])
    torch.testing.assert_close(forces(again.model, stores["old"]), expected, rtol=1e-5, atol=2e-6)


def test_a_trained_start_beats_none_in_the_same_steps(trained, stores, tmp_path) -> None:
    run = begin(trained, stores["other"])
    settings = run.config.override(from_model=None, replay=None, model=load_model(trained).settings)
    scratch = TrainingRun.prepare(settings).run(tmp_path / "scratch")
    begun_from = run.run(tmp_path / "begun")
    assert begun_from.best.relative_error < 0.8 * scratch.best.relative_error
    assert load_model(tmp_path / "begun").provenance.started_from == str(trained)


def test_references_are_refit_before_the_first_step(energy, cluster, tmp_path) -> None:
    """Labels of another zero of energies: the first validation already has it."""
    moved = [Frame(**{**vars(f), "energy": f.energy + 50.0 * 8}) for f in frames(cluster, (8, 3), 12, 300)]
    store = write_store(moved, tmp_path / "moved.zarr")
    result = begin(energy, store.path, epochs=1, learning_rate=1e-6).run(tmp_path / "run")
    assert result.history[0].epoch == 0
    assert result.history[0].energy_error < 1.0  # eV/atom, of 50


def test_a_start_is_kept_that_no_epoch_improves(energy, stores, tmp_path) -> None:
    """On the frames that it was trained on, at a rate that ruins it."""
    run = begin(energy, stores["old"], epochs=2, learning_rate=0.5)
    before = error_of(run)
    result = run.run(tmp_path / "run")
    assert result.best.epoch == 0
    assert result.best.relative_error == pytest.approx(before, rel=0.02)
    assert result.history[-1].relative_error > result.best.relative_error
    assert torch.equal(forces(result.model, stores["old"]), forces(load_model(energy), stores["old"]))
    assert fingerprint(load_model(tmp_path / "run")) == fingerprint(result.model)


def test_on_another_chip_mixtures_are_matched(energy, stores, tmp_path) -> None:
    """As many channels as there are Gaussians of two elements: others cells can show the same, and do."""
    chip, store, old = Chip.synthetic(9), GraphStore(stores["old"]), load_model(energy)
    moved = begun(str(energy), old.settings, old.hardware, chip, store, range(24), 0, False)
    expected = forces(old, stores["old"])
    assert not torch.equal(moved.crossbars[0].weight, old.crossbars[0].weight)
    error = (forces(moved, stores["old"]) - expected).abs().sum() / expected.abs().sum()
    assert error < 0.05
    moved.readout.mix.data.copy_(old.readout.mix)  # what the weights alone would do
    assert (forces(moved, stores["old"]) - expected).abs().sum() / expected.abs().sum() > 10 * error


def test_the_same_cells_of_a_named_chip_are_taken_as_they_are(stores, tmp_path) -> None:
    Chip.synthetic(4).save(tmp_path / "chip")
    config = RunSettings(
        store=str(stores["old"]), model=SHAPES["moments"], training=TRAINING.override(epochs=2),
        chip=str(tmp_path / "chip"),
    )  # fmt: skip
    TrainingRun.prepare(config).run(tmp_path / "run")
    request = TrainingRequest(
        stores["other"], from_model=tmp_path / "run", chip=tmp_path / "chip", training={"seed": 1, "epochs": 1}
    )
    run = TrainingRun.prepare(request.settings(lambda: stores["other"]))
    assert torch.equal(forces(run.model, stores["old"]), forces(load_model(tmp_path / "run"), stores["old"]))


def test_other_hardware_gets_the_ranges_that_it_needs(energy, stores, tmp_path) -> None:
    request = TrainingRequest(
        stores["other"], from_model=energy, hardware_changes={"bits": 6, "noise": 0.02, "adc_bits": 8},
        training={"epochs": 1},
    )  # fmt: skip
    run = TrainingRun.prepare(request.settings(lambda: stores["other"]))
    assert error_of(run) < 1
    assert run.run(tmp_path / "run").model.hardware.adc_bits == 8


def test_frames_of_before_come_round(stores) -> None:
    old, new = GraphStore(stores["old"]), GraphStore(stores["other"])
    replayed = ReplayedFrames(new, old, range(3, 20), share=0.25)
    epochs = [replayed.drawn(range(9), 5, epoch) for epoch in range(12)]
    assert all(sorted(k for k in each if k < len(new)) == list(range(9)) for each in epochs)
    seen = [k - len(new) for each in epochs for k in each if k >= len(new)]
    assert len(seen) == 3 * len(epochs)  # a quarter of 12
    assert set(seen) == set(range(3, 20))
    assert epochs[3] == replayed.drawn(range(9), 5, 3)
    assert torch.equal(replayed.graph(len(new) + 4).forces, old.graph(4).forces)
    assert sum(k >= len(new) for k in replayed.sample(range(9), 8)) == 2


def test_replay_is_of_the_training_frames_of_the_model(energy, stores) -> None:
    """Those that it held out tell what was forgotten; a store that holds all frames of before needs no replay."""
    run, own = begin(energy, stores["more"]), read_partition(energy / "split.yaml", 24)
    assert run.config.replay == str(stores["old"])
    assert (run.memory.replayed, run.memory.held_out) == (own.train, own.validation)
    assert replay_of(energy, GraphStore(stores["old"])) is None


def test_replay_remembers(energy, cluster, tmp_path) -> None:
    """Frames that contradict those of before, learned with half of these among them and with none."""
    contrary = [Frame(**{**vars(f), "forces": -f.forces, "energy": None}) for f in frames(cluster, (3, 8), 12, 400)]
    store = write_store(contrary, tmp_path / "contrary.zarr")
    kept = {}
    for share in (0.0, 0.7):
        request = TrainingRequest(
            store.path, from_model=energy, replay_share=share,
            training={"epochs": 6, "batch_size": 2, "learning_rate": 5e-3},
        )  # fmt: skip
        run = TrainingRun.prepare(request.settings(lambda: store.path))
        before = run.remembered(run.model)
        kept[share] = run.remembered(run.run(tmp_path / f"run-{share}").model)
        assert before < 0.3
    assert kept[0.7] < 0.7 * kept[0.0]


def test_a_stopped_run_continues_to_the_same_model(energy, stores, tmp_path) -> None:
    whole = begin(energy, stores["more"]).run(tmp_path / "whole")
    left = iter([False] * 7)
    with pytest.raises(Interrupted):
        begin(energy, stores["more"]).run(tmp_path / "cut", listener=Asked(lambda: next(left, True)))
    config = RunSettings.read(tmp_path / "cut/config.yaml")
    resumed = TrainingRun.prepare(config).run(tmp_path / "cut", resume=True)
    assert fingerprint(resumed.model) == fingerprint(whole.model)


def test_what_cannot_begin_is_refused(energy, stores, tmp_path) -> None:
    shape = MomentSettings(channels=4, gaussians=8, readout=RidgeSettings(random_features=8))
    TrainingRun.prepare(RunSettings(store=str(stores["old"]), model=shape)).run(tmp_path / "ridge")
    with pytest.raises(InputError, match=r"solved for in one pass.*--add-to"):
        begin(tmp_path / "ridge", stores["other"])
    Chip.synthetic(4).save(tmp_path / "chip")
    request = TrainingRequest(stores["more"], from_model=energy, chip=tmp_path / "chip")
    with pytest.raises(InputError, match="another chip is named"):
        TrainingRun.prepare(request.settings(lambda: stores["more"]))
    with pytest.raises(InputError, match="replay is for a training that begins with a model"):
        TrainingRequest(stores["old"], replay="none")
    with pytest.raises(InputError, match="give one"):
        TrainingRequest(stores["old"], preset="energy", from_model=energy)
    request = TrainingRequest(stores["old"], from_model=energy, replay=str(stores["more"]))
    with pytest.raises(InputError, match=r"elements \[6\]"):
        TrainingRun.prepare(request.settings(lambda: stores["old"]))
