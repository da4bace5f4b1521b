"""Losses of forces, energies and stresses; schedules of a rate; trainings of a given length."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rgnn import Chip, Graph, Hardware, MomentEnergy, fit
from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.data.sample import sample_frames
from rgnn.graphs.graph import Labels
from rgnn.models.checkpoints import fingerprint
from rgnn.models.settings import EnergySettings
from rgnn.training.gradient import GradientFit
from rgnn.training.losses import StepLoss
from rgnn.training.schedule import Clock, cosine
from rgnn.training.settings import TrainingSettings
from rgnn.training.validation import validate

SHAPE = EnergySettings(channels=6, mixtures=4, widths=(8,), elements=(3, 8, 15), cutoff=3.8)


class Frames:
    """Frames of the sample with energies, and stresses that are made up; some of them unknown."""

    def __init__(self, n: int = 8) -> None:
        rng = np.random.default_rng(0)
        self.graphs = []
        for k, f in zip(range(n), sample_frames(), strict=False):
            g = Graph.from_positions(f.numbers, f.positions, f.cell, f.pbc, 3.8, f.forces)
            energy = torch.tensor([f.energy if k % 3 else math.nan], dtype=torch.float64)
            stress = torch.tensor(rng.normal(0, 0.02, (1, 3, 3)))
            self.graphs.append(replace(g, labels=Labels(g.forces, energy, None if k == 1 else stress + stress.mT)))

    def graph(self, index: int) -> Graph:
        return self.graphs[index]


@pytest.fixture(scope="module")
def frames() -> Frames:
    return Frames()


def untrained() -> MomentEnergy:
    return MomentEnergy(SHAPE, Hardware(), Chip.synthetic(0).matrices(MomentEnergy.matrices(SHAPE)), seed=2)


def ready(frames: Frames) -> MomentEnergy:
    """With ranges and statistics of a frame, and no weight zero."""
    model = untrained()
    model.train()(frames.graph(0), model.read(None, torch_stream(0, "statistics")))
    with torch.no_grad():
        model.readout.linear.fill_(0.01)
    return model.eval()


SETTINGS = TrainingSettings.energy().override(epochs=2, batch_size=4, energy_weight=0.7, stress_weight=3.0, seed=1)


def test_a_loss_is_the_weighted_mean_of_each_kind_of_label(frames) -> None:
    model, config = ready(frames), SETTINGS.override(loss="mse")
    g = Graph.batch([frames.graph(k) for k in range(4)])
    with torch.no_grad():
        found = model(g, model.read())
    loss = StepLoss(model, config, share=0.0)
    loss.share(loss.counts([g]))
    forces = (found.forces - g.forces).square().mean()
    energies = [((found.energy[k] - g.labels.energy[k]) / 192) ** 2 for k in (1, 2)]
    stresses = torch.stack([(found.stress[k] - g.labels.stress[k]).square().mean() for k in (0, 2, 3)])
    expected = float(forces) + 0.7 * float(sum(energies)) / 2 + 3.0 * float(stresses.mean())
    assert float(loss.of(found, g)) / g.forces.numel() == pytest.approx(expected, rel=1e-5)


def test_energies_wait_for_their_share(frames) -> None:
    model = untrained()
    config = SETTINGS.override(weights_from=0.5)
    assert StepLoss(model, config, 0.49).is_of_forces_alone
    assert not StepLoss(model, config, 0.5).is_of_forces_alone
    assert StepLoss(model, config.override(energy_weight=0, stress_weight=0), 1.0).is_of_forces_alone


def test_a_step_in_parts_is_the_step_of_the_whole(frames) -> None:
    """Without read noise, which each part draws for itself."""
    sums = []
    for accumulate in (1, 3):
        model = untrained()
        model.hardware = Hardware(noise=None)
        config = SETTINGS.override(accumulate=accumulate, noise_schedule="constant")
        trainer = GradientFit(model, config, None)
        trainer.initialise_statistics(frames.graph(0))
        trainer.step(*trainer._parts(frames, range(4)))
        sums.append(trainer.sums.clone())
    torch.testing.assert_close(sums[1], sums[0], rtol=2e-4, atol=2e-5)


def test_energies_carry_gradients_to_all_trained_weights(frames) -> None:
    model = ready(frames)
    torch.nn.init.normal_(model.readout.second_last)  # begins at zero, where it hides what messages do
    found = model(frames.graph(1), model.read())
    for loss in (found.energy.sum(), found.stress.sum()):
        gradients = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], retain_graph=True)
        assert all(bool(g.any()) for g in gradients)


def test_a_validation_without_energies_says_nothing_of_them(frames) -> None:
    model = ready(frames)
    assert validate(model, frames, [0], 0).energy is None
    assert validate(model, frames, [0, 1], 0).energy is not None


def test_a_resumed_training_ends_as_an_unbroken_one(frames, tmp_path) -> None:
    from listeners import Asked

    from rgnn.base.errors import Interrupted

    whole = fit(untrained(), frames, range(6), [6, 7], SETTINGS, tmp_path / "whole")
    asked = iter([False] * 3 + [True])
    with pytest.raises(Interrupted):
        fit(untrained(), frames, range(6), [6, 7], SETTINGS, tmp_path / "cut", listener=Asked(lambda: next(asked)))
    resumed = fit(untrained(), frames, range(6), [6, 7], SETTINGS, tmp_path / "cut", resume=True)
    assert fingerprint(resumed.model) == fingerprint(whole.model)
    assert resumed.model.element_energies[[3, 8, 15]].abs().min() > 0


def test_a_cosine_falls_from_the_first_rate_to_the_last() -> None:
    rates = [cosine(5e-3, 1e-5, share) for share in np.linspace(0, 1, 11)]
    assert rates[0] == 5e-3 and rates[-1] == pytest.approx(1e-5)
    assert all(a > b for a, b in itertools.pairwise(rates))
    assert rates[5] == pytest.approx((5e-3 + 1e-5) / 2)


def test_a_clock_counts_steps_or_minutes(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr("rgnn.training.schedule.time.monotonic", lambda: now[0])
    by_steps = Clock(TrainingSettings.energy().override(epochs=4), steps=10, step=10)
    assert by_steps.share == 0.25 and by_steps.progress == (10, 40) and by_steps.goes_on(3, 99)
    assert not by_steps.goes_on(4, 0) and not by_steps.is_over
    plateau = Clock(TrainingSettings(epochs=4, stop_after=2), steps=10)
    assert not plateau.goes_on(1, 2)
    by_minutes = Clock(TrainingSettings.energy().override(minutes=2), steps=10, step=5, elapsed=60.0)
    assert by_minutes.share == 0.5 and by_minutes.progress == (5, 10)
    now[0] += 60
    assert not by_minutes.is_over  # until it is read
    by_minutes.elapsed = by_minutes.now
    assert by_minutes.is_over and not by_minutes.goes_on(0, 0) and not by_minutes.stopped_early(1)


def test_minutes_end_a_training_that_is_whole(frames, tmp_path) -> None:
    config = SETTINGS.override(minutes=0.02)
    result = fit(untrained(), frames, range(6), [6, 7], config, tmp_path)
    assert result.history and result.history[-1].learning_rate < 1e-3
    assert (tmp_path / "best/model.safetensors").exists() and not result.stopped_early


def test_minutes_need_a_rate_that_falls_to_an_end() -> None:
    with pytest.raises(InputError, match=r"rate_schedule is .*plateau.*, but it must be cosine where minutes"):
        TrainingSettings(minutes=5)
