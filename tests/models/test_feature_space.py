"""How far atoms are from those of training, for models of every family, and the uncertainty of forces by it."""

import copy

import numpy as np
import pytest
import torch
from bent import Bent

from rgnn import Chip, Graph, Hardware, MomentEnergy, RGNNCalculator, load_model
from rgnn.base.rng import torch_stream
from rgnn.evaluation.reliability import reliability
from rgnn.models.feature_space import FLOOR, FeatureSpace
from rgnn.models.settings import EnergySettings
from rgnn.models.uncertainty import calibrated, chosen_uncertainty, load_uncertainties, power_and_scale
from rgnn.training.gradient import GradientFit
from rgnn.training.settings import TrainingSettings

ELEMENTS = (3, 8, 15)


@pytest.fixture(scope="module")
def frames(cluster) -> Bent:
    return Bent(cluster, 60)


@pytest.fixture(scope="module")
def energy(frames):
    settings = EnergySettings(cutoff=3.8, elements=ELEMENTS, channels=8, mixtures=4, widths=(8, 8))
    model = MomentEnergy(settings, Hardware(noise=0.02), Chip.synthetic(0).matrices(MomentEnergy.matrices(settings)))
    with torch.no_grad():
        model.train()(Graph.batch(frames.graphs[:8]))
    return model.eval()


@pytest.fixture(scope="module", params=["message passing", "moments", "energy"])
def model(request, small_model, built_moments, frames, energy):
    """An untrained model of each family that a network is trained in."""
    if request.param == "energy":
        return energy
    return (
        small_model if request.param == "message passing" else built_moments("network", Hardware(), *frames.graphs[:4])
    )


def test_training_atoms_have_covariance_one() -> None:
    """But along directions in which they differ less than read noise would."""
    rng = torch.Generator().manual_seed(0)
    numbers = torch.tensor([3] * 4000 + [8] * 4000)
    features = torch.randn(8000, 4, generator=rng) @ torch.randn(4, 4, generator=rng) + numbers[:, None]
    space = FeatureSpace.from_features(zip(numbers.split(500), features.split(500), strict=True))
    x = space.coordinates(features, numbers)
    for z in (3, 8):
        f = features[numbers == z].double()
        variances = torch.linalg.eigvalsh(torch.cov(f.T, correction=0)).flip(0)
        expected = variances / (variances + FLOOR * variances.mean())
        found = torch.linalg.eigvalsh(torch.cov(x[numbers == z].double().T, correction=0)).flip(0)
        torch.testing.assert_close(found.sort().values, expected.sort().values, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(x[numbers == z].mean(0), torch.zeros(4), rtol=0, atol=1e-3)
    assert space.distances(features, numbers).square().mean() == pytest.approx(float(expected.mean()), rel=0.05)
    assert torch.isnan(space.distances(features[:1], torch.tensor([26]))).all()


def test_features_are_the_same_however_a_frame_is_turned(model, frames) -> None:
    f = frames.frames[0]
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    here, there = (
        Graph.from_positions(f.numbers, positions, f.cell, f.pbc, model.settings.cutoff)
        for positions in (f.positions, f.positions @ turn.T)
    )
    clean = Hardware(bits=None, noise=None) if model.uses_chip else model.hardware
    a, b = (model.atom_features(g, model.read(clean)) for g in (here, there))
    assert a.shape[0] == len(f.numbers) and a.std() > 0
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_strange_surroundings_are_far(model, frames) -> None:
    space = FeatureSpace.of(model, frames, range(40))
    f = frames.frames[50]

    def largest(scale: float) -> float:
        g = Graph.from_positions(f.numbers, scale * f.positions, f.cell, f.pbc, model.settings.cutoff)
        reading = model.read(None, torch_stream(0, "x"))
        return float(space.distances(model.atom_features(g, reading), g.atomic_numbers).max())

    assert largest(0.7) > 1.5 * largest(1.0)
    assert 0.3 < largest(1.0) < 10


def test_watched_forces_are_the_same_to_the_last_bit(model, frames) -> None:
    known = calibrated(model, FeatureSpace.of(model, frames, range(20)), frames, range(20, 30))
    g = frames.graph(31)
    forces, sigma = known(model, g, model.read(None, torch_stream(3, "noise")))
    with torch.no_grad():
        assert torch.equal(forces, model(g, model.read(None, torch_stream(3, "noise"))).forces)
    assert sigma.shape == (g.n_atoms,) and bool((sigma > 0).all())


def test_power_and_scale_are_found() -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(0.5, 2, 20_000)
    square = np.square(rng.standard_normal((len(raw), 3)) * 0.3 * raw[:, None] ** 1.7).mean(axis=1)
    assert power_and_scale(raw, square) == pytest.approx((1.7, 0.3), rel=0.02)


def test_errors_that_have_nothing_to_do_with_distance_grow_in_proportion_to_it() -> None:
    """Where atoms hardly differ in their distances, what lies beyond is not known from them."""
    rng = np.random.default_rng(0)
    power, scale = power_and_scale(rng.uniform(0.9, 1.1, 20_000), np.square(rng.standard_normal((20_000, 3))).mean(1))
    assert power == pytest.approx(1, abs=1e-3) and scale == pytest.approx(1, rel=0.02)


@pytest.fixture(scope="module")
def run(energy, frames, tmp_path_factory) -> GradientFit:
    """A model of an energy trained for some epochs."""
    settings = TrainingSettings(epochs=6, batch_size=4, learning_rate=5e-3, rate_schedule="cosine", seed=3)
    fit = GradientFit(copy.deepcopy(energy), settings, tmp_path_factory.mktemp("run"))
    fit.run(frames, range(40), range(40, 50))
    return fit


def test_every_training_leaves_an_uncertainty_that_tells_errors(run, frames) -> None:
    model = load_model(run.out)
    known = chosen_uncertainty(run.out, model)
    assert known.calibration.method == "distance" and known.calibration.frames == 10
    (found,) = reliability(model, [known], frames, range(50, 60))
    ratio = np.sqrt(np.square(found.error).mean() / np.square(found.sigma).mean())
    assert 0.6 < ratio < 1.6
    assert found.outside < 0.05
    assert found.spearman > 0.1


def test_atoms_unlike_those_of_training_are_outside(run, frames) -> None:
    model = load_model(run.out)
    known = chosen_uncertainty(run.out, model)
    f = frames.frames[55]
    atoms = f.to_atoms()
    atoms.positions *= 0.7
    atoms.calc = RGNNCalculator(model, uncertainty=known, any_element=True)
    atoms.get_forces()
    limits = known.calibration.limits(atoms.numbers)
    assert (atoms.calc.sigma > limits).any()


def test_a_better_model_takes_the_old_uncertainty_away(run, frames, tmp_path) -> None:
    """A run that is made longer, and stopped: what lay beside its best model would belong to another one."""
    import shutil

    out = tmp_path / "run"
    shutil.copytree(run.out, out)
    fit = GradientFit(run.model, run.config, out)
    fit.restore()
    assert load_uncertainties(out, load_model(out))
    fit.save(best=True)
    assert load_uncertainties(out, load_model(out)) == {}
    fit.run(frames, range(40), range(40, 50))  # there is nothing left to train
    assert list(load_uncertainties(out, load_model(out))) == ["distance"]
