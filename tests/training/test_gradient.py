import copy
import math
import os
from itertools import pairwise

import numpy as np
import pytest
import torch
from listeners import Asked
from scipy.stats import kstest

from rgnn import RGNN, Chip, Graph, Hardware, fit, load_model
from rgnn.base.errors import BrokenRunError, InputError, Interrupted
from rgnn.models.checkpoints import fingerprint
from rgnn.models.settings import MessagePassingSettings
from rgnn.training.gradient import GradientFit
from rgnn.training.log import read_epochs
from rgnn.training.schedule import hardware_of_step
from rgnn.training.settings import TrainingSettings

CONFIG = TrainingSettings(epochs=4, batch_size=2, learning_rate=0.01, seed=3)
TRAIN, VALIDATION = range(8), range(8, 10)


class Pairs:
    """Clusters with the forces of a short pair repulsion: something that can be learned."""

    def __init__(self, cluster, n: int = 10) -> None:
        self.graphs = []
        for seed in range(n):
            numbers, positions = cluster(8, seed)
            r = positions[:, None] - positions[None]
            d = np.linalg.norm(r, axis=-1) + 10 * np.eye(len(r))
            forces = (np.exp(-d)[..., None] * r / d[..., None] * 8).sum(1)
            self.graphs.append(
                Graph.from_positions(numbers, positions, np.zeros((3, 3)), np.zeros(3, dtype=bool), 3.8, forces)
            )

    def graph(self, index: int) -> Graph:
        return self.graphs[index]


@pytest.fixture(scope="module")
def untrained() -> RGNN:
    config = MessagePassingSettings(n_features=4, reservoir_layers=1)
    return RGNN(config, Hardware(bits=4, noise=0.05), Chip.synthetic().matrices(RGNN.matrices(config)), seed=3)


@pytest.fixture
def model(untrained) -> RGNN:
    return copy.deepcopy(untrained)


@pytest.fixture
def frames(cluster) -> Pairs:
    return Pairs(cluster)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_it_learns(model, frames, loss) -> None:
    result = fit(model, frames, TRAIN, VALIDATION, CONFIG.override(epochs=25, loss=loss, average=0.9))
    assert result.best.relative_error < 0.6 * result.history[0].relative_error
    assert result.best.relative_error < 0.75  # no forces at all would be 1
    weights = model.state_dict()
    assert torch.equal(weights["layers.0.crossbars.0.weight"], result.model.state_dict()["layers.0.crossbars.0.weight"])


@pytest.mark.parametrize("settings", [{"noise_schedule": "ramp"}, {"noise_schedule": "range"}])
def test_schedules_of_noise(model, frames, settings) -> None:
    """What each step trains with; the model itself keeps the hardware it is for."""
    config = CONFIG.override(noise_ramp=10, fewest_bits=3, **settings)
    hardware = [hardware_of_step(model.hardware, config, step) for step in range(200)]
    strengths, bits = [h.noise or 0.0 for h in hardware], [h.bits for h in hardware]
    if settings["noise_schedule"] == "ramp":
        np.testing.assert_allclose(strengths[:12], 0.05 * np.array([*range(11), 10]) / 10, atol=1e-12)
    else:
        assert kstest(strengths, "uniform", (0, 0.2)).pvalue > 1e-3
        assert set(bits) == {3, 4}
        assert 75 < bits.count(3) < 125
    fit(model, frames, TRAIN, VALIDATION, CONFIG.override(epochs=1, **settings))
    assert model.hardware == Hardware(bits=4, noise=0.05)


def test_a_straight_through_gradient_trains_what_lies_before_the_chip(model, frames) -> None:
    """As published, the radial basis learns through the residual path alone."""
    blocked = copy.deepcopy(model)
    for each, gradient in ((blocked, "blocked"), (model, "straight_through")):
        GradientFit(each, CONFIG.override(gradient=gradient), None).step(frames.graph(0))
    assert not torch.equal(model.radial.mu, blocked.radial.mu)
    result = fit(model, frames, TRAIN, VALIDATION, CONFIG.override(epochs=6, gradient="straight_through"))
    assert result.best.relative_error < result.history[0].relative_error


def test_losses_are_what_they_are_called() -> None:
    predicted, target = torch.tensor([[0.0, 3.0]]), torch.tensor([[0.1, 1.0]])
    values = {
        loss: float(CONFIG.override(loss=loss).loss_function(predicted, target)) for loss in ("mse", "mae", "huber")
    }
    assert values["mse"] == pytest.approx((0.01 + 4) / 2)
    assert values["mae"] == pytest.approx((0.1 + 2) / 2)
    assert values["huber"] == pytest.approx((0.5 * 0.01 + 0.2 * (2 - 0.1)) / 2)


class StopAt:
    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("stop_at", [0, 1, 4, 7])
def test_a_resumed_run_ends_as_an_unbroken_one(untrained, frames, tmp_path, stop_at: int) -> None:
    """Stopped before the first step, within an epoch, and at its end: the same tensors and the same log."""
    whole = fit(copy.deepcopy(untrained), frames, TRAIN, VALIDATION, CONFIG, tmp_path / "whole")
    with pytest.raises(Interrupted, match="state is saved") as stopped:
        fit(
            copy.deepcopy(untrained),
            frames,
            TRAIN,
            VALIDATION,
            CONFIG,
            tmp_path / "cut",
            listener=Asked(StopAt(stop_at)),
        )
    assert (stopped.value.work, stopped.value.resume_from) == ("training", tmp_path / "cut")
    resumed = fit(copy.deepcopy(untrained), frames, TRAIN, VALIDATION, CONFIG, tmp_path / "cut", resume=True)
    assert fingerprint(resumed.model) == fingerprint(whole.model)
    for part in ("best", "last"):
        assert fingerprint(load_model(tmp_path / f"cut/{part}")) == fingerprint(load_model(tmp_path / f"whole/{part}"))
    for a, b in zip(whole.history, resumed.history, strict=True):
        assert (a.loss, a.mae, a.rmse, a.relative_error) == (b.loss, b.mae, b.rmse, b.relative_error)
    assert len(read_epochs(tmp_path / "cut")) == CONFIG.epochs


def test_a_run_can_be_made_longer_but_not_otherwise_changed(untrained, frames, tmp_path) -> None:
    fit(copy.deepcopy(untrained), frames, TRAIN, VALIDATION, CONFIG.override(epochs=2), tmp_path / "a")
    longer = fit(copy.deepcopy(untrained), frames, TRAIN, VALIDATION, CONFIG, tmp_path / "a", resume=True)
    whole = fit(copy.deepcopy(untrained), frames, TRAIN, VALIDATION, CONFIG)
    assert fingerprint(longer.model) == fingerprint(whole.model)
    with pytest.raises(InputError, match=r"started with batch_size = 2, not 1"):
        fit(untrained, frames, TRAIN, VALIDATION, CONFIG.override(batch_size=1), tmp_path / "a", resume=True)


def test_the_best_epoch_is_kept(model, frames, tmp_path) -> None:
    config = CONFIG.override(epochs=6, learning_rate=0.3, average=0.0)  # far too fast, so that it jumps about
    result = fit(model, frames, TRAIN, VALIDATION, config, tmp_path)
    trainer = GradientFit(load_model(tmp_path / "best"), config, None)
    assert trainer.validate(frames, VALIDATION).relative == pytest.approx(result.best.relative_error, rel=1e-6)
    assert result.best.relative_error == pytest.approx(
        min(row.relative_error for row in read_epochs(tmp_path)), rel=1e-6
    )


def test_it_stops_when_nothing_improves(model, frames) -> None:
    result = fit(model, frames, TRAIN, VALIDATION, CONFIG.override(epochs=60, stop_after=2, learning_rate=0.3))
    assert result.stopped_early and len(result.history) < 60
    assert len(result.history) - result.best.epoch == 2


def test_the_rate_falls_on_a_plateau(model, frames) -> None:
    result = fit(model, frames, TRAIN, VALIDATION, CONFIG.override(epochs=14, plateau_patience=1, learning_rate=0.3))
    rates = [row.learning_rate for row in result.history]
    assert rates[0] == 0.3 and rates[-1] < 0.3
    assert all(b == a or b == a / 2 for a, b in pairwise(rates))


def test_divergence_is_told_and_the_best_model_stays(model, frames, tmp_path) -> None:
    fit(model, frames, TRAIN, VALIDATION, CONFIG.override(epochs=1), tmp_path)
    before = fingerprint(load_model(tmp_path / "best"))
    frames.graphs[3].forces.fill_(math.inf)
    with pytest.raises(
        BrokenRunError, match=r"diverged at step \d+ of epoch 2 .* keeps the best model .*lower the learning rate"
    ):
        fit(model, frames, TRAIN, VALIDATION, CONFIG, tmp_path, resume=True)
    assert fingerprint(load_model(tmp_path / "best")) == before


def test_a_full_disk_leaves_the_run_resumable(untrained, frames, tmp_path, monkeypatch) -> None:
    whole = fit(copy.deepcopy(untrained), frames, TRAIN, VALIDATION, CONFIG)
    fit(copy.deepcopy(untrained), frames, TRAIN, VALIDATION, CONFIG.override(epochs=1), tmp_path)
    full = iter([False] * 3 + [True] * 100)
    fsync = os.fsync

    def fill_up(descriptor: int) -> None:
        if next(full):
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fill_up)
        with pytest.raises(OSError, match="No space"):
            fit(copy.deepcopy(untrained), frames, TRAIN, VALIDATION, CONFIG, tmp_path, resume=True)
    load_model(tmp_path / "best")
    resumed = fit(copy.deepcopy(untrained), frames, TRAIN, VALIDATION, CONFIG, tmp_path, resume=True)
    assert fingerprint(resumed.model) == fingerprint(whole.model)


def test_steps_on_several_threads_repeat_themselves(glass, built) -> None:
    start = built(MessagePassingSettings(), Hardware(noise=None), glass).train()

    def gradient() -> torch.Tensor:
        model = copy.deepcopy(start)  # a pass in training mode moves the ranges
        return torch.autograd.grad((model(glass).forces - glass.forces).abs().mean(), model.radial.mu)[0]

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = gradient()
        assert all(torch.equal(gradient(), first) for _ in range(10))
    finally:
        torch.set_num_threads(before)


def test_average_zero_is_the_model_itself(model, frames) -> None:
    trainer = GradientFit(model, CONFIG.override(average=0.0), None)
    trainer.step(Graph.batch(frames.graphs[:2]))
    assert all(torch.equal(trainer.average.state_dict()[k], v) for k, v in model.state_dict().items())


def test_nothing_to_train_on(model, frames) -> None:
    with pytest.raises(InputError, match="0 training and 2 validation frames"):
        fit(model, frames, [], VALIDATION, CONFIG)


def test_a_damaged_log_is_named(tmp_path) -> None:
    assert read_epochs(tmp_path) == []
    (tmp_path / "log.csv").write_text("epoch,loss\n1,x\n")
    with pytest.raises(InputError, match=r"log.csv: cannot be read .*can be resumed"):
        read_epochs(tmp_path)
