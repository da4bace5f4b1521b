"""What a training makes of frames that a model has met: replay, held-out frames, uncertainty, chips, a resume."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rgnn import EnergySettings, GraphStore, Hardware, MomentSettings
from rgnn.base.errors import InputError
from rgnn.base.events import Listener
from rgnn.chip.board.settings import BoardSettings
from rgnn.chip.chip import Chip
from rgnn.data.frames import Frame
from rgnn.data.store.split import Partition, read_partition
from rgnn.data.store.writer import write_store
from rgnn.evaluation.plan import plan
from rgnn.models import checkpoints
from rgnn.models.checkpoints import load_model
from rgnn.models.settings import ModelSettings, NetworkSettings, RidgeSettings
from rgnn.models.uncertainty import chosen_uncertainty
from rgnn.training.request import TrainingRequest
from rgnn.training.run import RunSettings, TrainingRun
from rgnn.training.settings import TrainingSettings

SMALL = MomentSettings(channels=4, gaussians=8, readout=NetworkSettings(widths=(6, 4)))
ENERGY = EnergySettings(channels=8, gaussians=8, mixtures=4, widths=(6, 4))
ONE = TrainingSettings(epochs=1, batch_size=4, validation=0.2, seed=1)
OLD = Partition(list(range(14)), [16, 17, 18], [22, 23])  # the others are left out between these


def frame(number: int, elements: tuple[int, ...] = (3, 8)) -> Frame:
    rng = np.random.default_rng(number)
    positions = np.array([[x, y, 0.0] for x in (0.0, 1.8) for y in (0.0, 1.8)]) + rng.normal(0, 0.1, (4, 3))
    return Frame(
        np.resize(elements, 4), positions, np.zeros((3, 3)), np.zeros(3, bool), rng.normal(0, 0.3, (4, 3)), energy=-1.0
    )


def stored(path: Path, numbers: list[int] | range, elements: tuple[int, ...] = (3, 8)) -> Path:
    write_store([frame(k, elements) for k in numbers], path)
    return path


def trained(store: Path, out: Path, model: ModelSettings = SMALL, **changes) -> Path:
    hardware = Hardware(bits=None, noise=None)
    config = RunSettings(store=str(store), model=model, hardware=hardware, training=ONE).override(**changes)
    TrainingRun.prepare(config).run(out)
    return out


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    """A store of frames 0 to 23, and beside it a model of a split with frames of each kind."""
    folder = tmp_path_factory.mktemp("old")
    OLD.save(folder / "split.yaml")
    store = stored(folder / "old.zarr", range(24))
    trained(store, folder / "run", split_file=str(folder / "split.yaml"))
    return store


def begin(model: Path, store: Path, **changes) -> TrainingRun:
    request = TrainingRequest(store, from_model=model, training={"seed": 1, "epochs": 1, "batch_size": 4}, **changes)
    return TrainingRun.prepare(request.settings(lambda: store))


class Hearing(Listener):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def numbers_of(store: GraphStore, old: Path) -> dict[int, int]:
    """The number in the old store of each frame of a store that this has."""
    digests = {int(d): k for k, d in enumerate(GraphStore(old).column("digest"))}
    return {k: digests[int(d)] for k, d in enumerate(store.column("digest")) if int(d) in digests}


def test_only_frames_that_were_trained_on_are_replayed(old, tmp_path) -> None:
    """Not those held out to validate or to test, nor those left out between them."""
    run = begin(old.parent / "run", stored(tmp_path / "new.zarr", range(100, 112)))
    assert run.memory.replayed == OLD.train
    assert run.memory.held_out == [*OLD.validation, *OLD.test]


def test_no_frame_of_a_new_store_with_some_of_the_old_is_replayed(old, tmp_path) -> None:
    new = stored(tmp_path / "new.zarr", [*range(6, 24), *range(100, 106)])
    run = begin(old.parent / "run", new)
    there = numbers_of(run.store, old)
    validates, tests, trains = (
        {there[k] for k in part if k in there} for part in (run.validation, run.parts.test, run.train)
    )
    assert validates == set(OLD.validation) and tests == set(OLD.test)
    assert trains == {k for k in OLD.train if k >= 6}
    assert run.memory.replayed == list(range(6))
    assert not set(run.memory.held_out) & trains


def test_remembered_frames_that_a_split_file_trains_on_are_not_asked(old, tmp_path) -> None:
    new = stored(tmp_path / "new.zarr", [16, 17, *range(100, 110)])
    (tmp_path / "mine.yaml").write_text("validation: 5-7\n")
    request = TrainingRequest(new, from_model=old.parent / "run", training={"split": str(tmp_path / "mine.yaml")})
    run = TrainingRun.prepare(request.settings(lambda: new))
    assert run.memory.held_out == [18, *OLD.test]


def test_frames_of_a_validation_store_are_not_replayed(old, tmp_path) -> None:
    new, other = stored(tmp_path / "new.zarr", range(100, 108)), stored(tmp_path / "other.zarr", [0, 3, 200])
    run, heard = begin(old.parent / "run", new, validation_store=other), Hearing()
    assert set(run.memory.replayed) == set(OLD.train) - {0, 3}
    run.run(tmp_path / "run", listener=heard)
    (said,) = heard.warnings
    assert "was trained on 2 of the 3 validation frames" in said


def test_what_a_chain_of_trainings_has_met_is_known(old, tmp_path) -> None:
    """The frames of the first training, from a run two trainings later, and those that the second replayed."""
    begin(old.parent / "run", stored(tmp_path / "new.zarr", range(100, 108))).run(tmp_path / "second")
    run = begin(tmp_path / "second", old)
    assert (run.train, run.validation, run.parts.test) == (OLD.train, OLD.validation, OLD.test)
    assert not run.doubt


def test_the_same_store_validates_on_what_was_held_out(old) -> None:
    run = begin(old.parent / "run", old)
    assert (run.train, run.validation, run.parts.test) == (OLD.train, OLD.validation, OLD.test)
    assert not run.doubt


def test_frames_in_both_stores_do_not_validate(old, tmp_path) -> None:
    other = stored(tmp_path / "other.zarr", [3, 4, 200])
    config = RunSettings(store=str(old), validation_store=str(other), model=SMALL, training=ONE)
    with pytest.raises(InputError, match=r"other.zarr: 2 of its 3 frames, .* are in .*old.zarr, which is trained on"):
        TrainingRun.prepare(config)


def test_frames_are_not_added_twice_to_a_solved_run(old, tmp_path) -> None:
    ridge = MomentSettings(channels=4, gaussians=8, readout=RidgeSettings(random_features=8))
    run = trained(old, tmp_path / "ridge", ridge)
    store = stored(tmp_path / "more.zarr", [3, *range(100, 110)])
    with pytest.raises(InputError, match=r"1 of its 11 frames are in .*ridge already"):
        TrainingRun.prepare(TrainingRequest(store, adds_to=run).settings(lambda: store))


def test_forces_on_elements_of_replayed_frames_have_an_uncertainty(tmp_path) -> None:
    old, new = stored(tmp_path / "old.zarr", range(10), (3, 6, 8)), stored(tmp_path / "new.zarr", range(20, 30), (3, 8))
    start = trained(old, tmp_path / "start")
    begin(start, new).run(tmp_path / "run")
    model = load_model(tmp_path / "run")
    _, sigma = chosen_uncertainty(tmp_path / "run", model)(model, GraphStore(old).graph(0))
    assert sigma.isfinite().all()


def test_elements_of_replayed_frames_move_to_another_chip(tmp_path) -> None:
    """What an element mixes of other cells comes from frames with it; where there is none, nothing could."""
    old, new = stored(tmp_path / "old.zarr", range(10), (3, 6, 8)), stored(tmp_path / "new.zarr", range(20, 30), (3, 8))
    start = trained(old, tmp_path / "start", ENERGY)
    Chip.synthetic(9).save(tmp_path / "chip")
    with pytest.raises(InputError, match=r"new.zarr: has no C, which .*start knows.*--replay STORE"):
        begin(start, new, chip=tmp_path / "chip", replay="none")
    run = begin(start, new, chip=tmp_path / "chip")
    assert run.memory.elements == (3, 6, 8)
    assert (run.model.readout.mix.flatten(2).norm(dim=2) > 1e-3).all()  # of each rank and element
    rare = tmp_path / "rare.zarr"  # carbon in a few frames, which are not among those evenly chosen
    write_store([frame(k, (3, 6, 8) if 63 < k - 300 < 67 else (3, 8)) for k in range(300, 1300)], rare)
    before, mix = (
        load_model(start).readout.mix,
        begin(start, rare, chip=tmp_path / "chip", replay="none").model.readout.mix,
    )
    assert (mix.flatten(2).norm(dim=2) > 1e-3).all()
    assert not any(torch.allclose(mix[:, z], before[:, z]) for z in range(3))


def test_the_length_of_a_training_counts_replayed_frames(old, tmp_path) -> None:
    new = stored(tmp_path / "new.zarr", range(100, 110))
    config = RunSettings.beginning_with(old.parent / "run", new)
    config = config.override(training=ONE.override(epochs=10, batch_size=1, least_atoms=4 * 100))
    replaying = config.override(replay=str(old), replay_share=0.5)
    assert TrainingRun.prepare(config).config.training.steps == 100  # 8 frames of 4 atoms, 10 times, are too few
    assert TrainingRun.prepare(replaying).config.training.steps is None  # 16 are enough


def test_the_model_to_begin_with_is_read_once(old, tmp_path, monkeypatch) -> None:
    read, calls = checkpoints.read_tensors, []
    monkeypatch.setattr(checkpoints, "read_tensors", lambda *x: calls.append(x) or read(*x))
    begin(old.parent / "run", stored(tmp_path / "new.zarr", range(100, 110)))
    assert len(calls) == 1


def test_a_run_does_not_go_on_with_another_split(old, tmp_path) -> None:
    split, out = tmp_path / "mine.yaml", tmp_path / "run"
    split.write_text("validation: 5-7\n")
    config = RunSettings(store=str(old), model=SMALL, training=ONE, split_file=str(split))
    TrainingRun.prepare(config).run(out)
    split.write_text("validation: 15-17\n")
    before = (out / "config.yaml").read_bytes()
    with pytest.raises(InputError, match=r"other training and validation frames than now.*split file"):
        TrainingRun.prepare(config.override(training=ONE.override(epochs=2))).run(out, resume=True)
    assert (out / "config.yaml").read_bytes() == before
    assert read_partition(out / "split.yaml", 24).validation == [5, 6, 7]
    split.write_text("validation: 5-7\n")
    assert (
        TrainingRun.prepare(config.override(training=ONE.override(epochs=2))).run(out, resume=True).history[-1].epoch
        == 2
    )


@pytest.mark.parametrize("solved", [False, True])
def test_a_run_does_not_go_on_with_another_validation_store(old, tmp_path, solved) -> None:
    ridge = MomentSettings(channels=4, gaussians=8, readout=RidgeSettings(random_features=8))
    other = stored(tmp_path / "other.zarr", range(200, 206))
    config = RunSettings(store=str(old), model=ridge if solved else SMALL, training=ONE, validation_store=str(other))
    TrainingRun.prepare(config).run(tmp_path / "run")
    other.rename(tmp_path / "away.zarr")
    stored(other, range(300, 306))
    with pytest.raises(InputError, match=r"started with (another set of )?other.frames"):
        TrainingRun.prepare(config).run(tmp_path / "run", resume=True)


def test_what_would_have_no_effect_is_refused(old, tmp_path) -> None:
    run, store = old.parent / "run", stored(tmp_path / "new.zarr", range(100, 110))
    with pytest.raises(InputError, match="has the one chip of that; leave chips out"):
        TrainingRequest(store, from_model=run, chips=2)
    with pytest.raises(InputError, match="has the one chip of that; leave chips out"):
        RunSettings(from_model=str(run), chips=2)
    with pytest.raises(InputError, match="leave the share out"):
        TrainingRequest(store, from_model=run, replay="none", replay_share=0.5)
    with pytest.raises(InputError, match="nothing to replay"):
        TrainingRequest(old, from_model=run, replay_share=0.5).settings(lambda: old)
    with pytest.raises(InputError, match=r"old.zarr: has no frame to replay"):
        begin(run, old, replay=str(old))
    with pytest.raises(InputError, match="leave split out, or the validation store"):
        TrainingRequest(store, validation_store=old, training={"split": "random"}).settings(lambda: store)
    with pytest.raises(InputError, match="no use for average, epochs"):
        TrainingRequest(store, "ridge", training={"epochs": 2, "average": 0.5}).settings(lambda: store)
    for asked in ({"hardware_changes": {"noise": 0.1}}, {"hardware": "ideal"}, {"chip": tmp_path}):
        with pytest.raises(InputError, match="all digital and has no use for"):
            TrainingRequest(store, "gnnff", **asked).settings(lambda: store)
    with pytest.raises(InputError, match="narrow is for a measured chip"):
        TrainingRequest(store, narrow=True).settings(lambda: store)
    board = BoardSettings(driver="simulator")
    with pytest.raises(InputError, match="a board reads with its own noise"):
        TrainingRequest(store, hardware_changes={"noise": 0.1}, board=board).settings(lambda: store)
    with pytest.raises(InputError, match="stress_weight is for models with an energy"):
        RunSettings(model=SMALL, training=ONE.override(stress_weight=1.0))
    training = ONE.override(energy_weight=1.0, stress_weight=1.0)
    with pytest.raises(InputError, match="stress_weight is 1, but no training frame has stress labels"):
        TrainingRun.prepare(RunSettings(store=str(store), model=ENERGY, training=training))
    with pytest.raises(InputError, match="cells of the run"):
        TrainingRequest(store, adds_to=run, reuse_cells=True)


def test_an_evaluation_says_what_the_model_was_trained_on(old, tmp_path) -> None:
    store = stored(tmp_path / "mixed.zarr", [1, 2, 16, 100])
    assert plan(old.parent / "run", store).why == "all 4, 2 of which it was trained on"
    assert plan(old.parent / "run", old).why == "the 2 held out of its training"


def test_a_committee_is_no_start(old, tmp_path) -> None:
    run = trained(old, tmp_path / "two", chips=2)
    with pytest.raises(InputError, match=r"two: is a committee of 2 models.*without --chips"):
        begin(run, old)
