"""The uncertainty of forces: against closed forms, brute force, and errors of a known size."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from bent import CUTOFF, TRAIN, VALIDATION, Bent
from listeners import Asked

from rgnn import Chip, Graph, Hardware, MomentForces, RGNNCalculator, load_model, save_model
from rgnn.base.errors import InputError, Interrupted
from rgnn.base.rng import torch_stream
from rgnn.data.store.writer import write_store
from rgnn.evaluation.reliability import Reliability, reliability
from rgnn.models.checkpoints import fingerprint
from rgnn.models.committee import Committee
from rgnn.models.settings import RidgeSettings
from rgnn.models.uncertainty import (
    MARGIN,
    Calibration,
    Scale,
    Uncertainty,
    calibrated,
    chosen_uncertainty,
    floor_and_scale,
    load_uncertainties,
    save_uncertainties,
    with_deviation,
)
from rgnn.training.linear import LinearFit
from rgnn.training.normal_equations import NormalEquations
from rgnn.training.run import RunSettings, TrainingRun
from rgnn.training.settings import TrainingSettings

# Frames of a run, and those that are added to it.
PARTS = {"a.zarr": slice(0, 20), "b.zarr": slice(20, 40)}


@pytest.fixture(scope="module")
def frames(cluster) -> Bent:
    return Bent(cluster, 90)


@pytest.fixture(scope="module")
def run(built_moments, frames, tmp_path_factory) -> LinearFit:
    """Three members, solved for on two thirds of the frames."""
    settings, hardware = built_moments("ridge", Hardware()).settings, Hardware(bits=6, noise=0.02)
    chips = [Chip.synthetic(seed).matrices(MomentForces.matrices(settings)) for seed in range(3)]
    model = Committee([MomentForces(settings, hardware, cells, k, k) for k, cells in enumerate(chips)])
    ridge = LinearFit(model, TrainingSettings(seed=3), tmp_path_factory.mktemp("run"))
    ridge.run(frames, range(50), range(50, 65))
    return ridge


def normal_equations(n: int = 60, features: int = 6) -> tuple[NormalEquations, np.ndarray]:
    p = torch.randn(n, 3, features, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.arange(1.0, 7.0))
    sums = NormalEquations.empty(1, features)
    sums.add(p, p.sum(2), torch.zeros(n, dtype=torch.int64))
    return sums, p.flatten(0, 1).double().numpy()


def test_draws_have_the_covariance_of_the_posterior() -> None:
    """Bishop 2006, equation 3.54, with alpha / beta the penalty, by brute force."""
    sums, p = normal_equations()
    drawn = sums.draws(0, 0.01, 200_000, torch.Generator().manual_seed(1)).numpy()
    a = p.T @ p
    covariance = np.linalg.inv(a + 0.01 * np.trace(a) / 6 * np.eye(6))
    np.testing.assert_allclose(np.cov(drawn) / np.sqrt(np.outer(*2 * [covariance.diagonal()])),
                               covariance / np.sqrt(np.outer(*2 * [covariance.diagonal()])), atol=0.01)  # fmt: skip
    assert np.abs(drawn.mean(1)).max() < 0.01 * np.sqrt(covariance.diagonal().max())


def test_the_posterior_is_that_of_conditioning_a_gaussian() -> None:
    """Weights and labels are jointly normal; conditioned on the labels, the weights have the covariance used here.

    Cov(w | F) = S - S P^T (P S P^T + s^2)^-1 P S for a prior S = s^2 / penalty, which needs no inverse of A.
    """
    _, p = normal_equations()
    s2, penalty = 0.3, 0.7
    prior = s2 / penalty * np.eye(6)
    gain = prior @ p.T @ np.linalg.inv(p @ prior @ p.T + s2 * np.eye(len(p)))
    np.testing.assert_allclose(prior - gain @ p @ prior, s2 * np.linalg.inv(p.T @ p + penalty * np.eye(6)), atol=1e-12)


def test_the_deviation_is_the_trace_over_the_design(run, frames) -> None:
    model, g = run.model.members[0], frames.graph(70)
    p = model.linear.design(g, model.read(None, torch_stream(5, "noise"))).double()
    kinds = model.linear.element_index(g)
    many = run.members[0].draws(4000, 0)
    _, raw = with_deviation(model, many, g, model.read(None, torch_stream(5, "noise")))
    each = torch.einsum("icn,ink->ick", p, many.double()[kinds])
    forces, few = with_deviation(run.model, many[..., :64], g, run.model.read(None, torch_stream(5, "noise")))
    torch.testing.assert_close(raw.double(), each.square().mean((1, 2)).sqrt(), rtol=1e-3, atol=1e-6)
    for k, penalty in enumerate(run.members[0].penalties):
        a = run.members[0].sums["train"].a[k].numpy()
        covariance = np.linalg.inv(a + penalty * np.diag(a).mean() * np.eye(len(a)))
        mine = p[kinds == k].numpy()
        exact = np.sqrt(np.einsum("icn,nm,icm->i", mine, covariance, mine) / 3)
        np.testing.assert_allclose(raw[kinds == k], exact, rtol=0.05)
        np.testing.assert_allclose(few[kinds == k], exact, rtol=0.3)
    assert torch.equal(forces, run.model(g, run.model.read(None, torch_stream(5, "noise"))).forces)


def test_a_committee_deviates_as_its_members_do(run, frames) -> None:
    g = frames.graph(71)
    forces, raw = with_deviation(run.model, None, g, run.model.read(None, torch_stream(6, "noise")))
    reading = run.model.read(None, torch_stream(6, "noise"))
    each = torch.stack([p.forces for p in run.model.each(g, reading)]).detach().numpy()
    np.testing.assert_allclose(raw, np.sqrt(each.var(axis=0, ddof=1).mean(axis=1)), rtol=1e-5)
    assert torch.equal(forces, run.model(g, run.model.read(None, torch_stream(6, "noise"))).forces)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_calibration_finds_the_scale_of_normal_errors(scale: float) -> None:
    """Of a deviation that is known as well as may be."""
    rng = np.random.default_rng(4)
    raw = rng.gamma(4, 0.03, 30_000)
    square = (rng.standard_normal((len(raw), 3)) * scale * raw[:, None]) ** 2
    floor, found = floor_and_scale(raw, square.mean(axis=1), 10**6)
    assert found == pytest.approx(scale, rel=0.01)
    assert floor < 0.002 * scale


@pytest.mark.parametrize("n", [2, 4, 16])
def test_a_deviation_of_few_members_is_moderated(n: int) -> None:
    """Members around a truth that they miss together: twice their spread, which for two says little of an atom."""
    rng = np.random.default_rng(5)
    true = rng.gamma(9, 0.02, 20_000)
    members = rng.standard_normal((n, len(true), 3)) * true[:, None]
    error = 2 * true[:, None] * rng.standard_normal((len(true), 3))
    raw = np.sqrt(members.var(axis=0, ddof=1).mean(axis=1))
    floor, scale = floor_and_scale(raw, np.square(error).mean(axis=1), 3 * (n - 1))
    z = error / np.hypot(floor, scale * raw)[:, None]
    assert np.mean(z**2) == pytest.approx(1, abs=0.02)
    assert np.mean(np.abs(z) < 1) == pytest.approx(0.683, abs=0.06)
    assert floor == pytest.approx(scale * np.sqrt(np.square(raw).mean() / (n - 1)))


def test_calibration_without_any_deviation_is_the_error() -> None:
    assert floor_and_scale(np.zeros(10), np.full(10, 0.04), 3) == pytest.approx((0.2, 0.0))


@pytest.mark.parametrize("method", ["posterior", "committee"])
def test_it_tells_the_size_of_errors_on_frames_not_seen(run, frames, method: str) -> None:
    known = load_uncertainties(run.out, run.model)[method]
    (r,) = reliability(run.model, [known], frames, range(65, 90))
    assert r.method == method
    ratio = np.sqrt(np.square(r.error).mean() / np.square(r.sigma).mean())
    assert 0.7 < ratio < 1.4
    assert 0.6 < r.within(1) < 0.85
    assert r.spearman > 0.15


def test_limits_are_beyond_what_validation_frames_had(run, frames) -> None:
    for known in load_uncertainties(run.out, run.model).values():
        largest = dict.fromkeys((3, 8, 15), 0.0)
        for index in range(50, 65):
            g = frames.graph(index)
            _, raw = with_deviation(
                run.model, known.source, g, run.model.read(None, torch_stream(3, "uncertainty noise", index))
            )
            for z in largest:
                largest[z] = max(largest[z], float(raw[g.atomic_numbers == z].max()))
        for s in known.calibration.scales:
            assert s.limit == pytest.approx(np.hypot(s.floor, s.scale * MARGIN * largest[s.element]), rel=1e-5)
        assert known.calibration.limits(np.array([15, 3])) == pytest.approx(
            [s.limit for s in (known.calibration.scales[2], known.calibration.scales[0])]
        )


def test_added_frames_leave_inside_what_was_inside(cluster, tmp_path) -> None:
    """Also where the run that adds them was stopped and resumed."""
    frames = Bent(cluster, 40)
    shape = RunSettings.preset("ridge").model.override(
        channels=4, readout=RidgeSettings(random_features=24), elements=(3, 8, 15)
    )
    stores = [write_store(frames.frames[part], tmp_path / name, CUTOFF) for name, part in PARTS.items()]
    TrainingRun.prepare(RunSettings(store=str(stores[0].path), model=shape)).run(tmp_path / "first")
    model = load_model(tmp_path / "first")
    (before,) = load_uncertainties(tmp_path / "first", model).values()
    wide = tuple(scale.override(limit=100 * scale.limit) for scale in before.calibration.scales)
    before = replace(before, calibration=before.calibration.override(scales=wide))
    save_uncertainties(model, [before], tmp_path / "first" / "best")
    config = RunSettings.adding_to(tmp_path / "first").override(store=str(stores[1].path))
    left = iter([False, True])
    with pytest.raises(Interrupted):
        TrainingRun.prepare(config).run(tmp_path / "more", listener=Asked(lambda: next(left)))
    TrainingRun.prepare(config).run(tmp_path / "more", resume=True)
    (after,) = load_uncertainties(tmp_path / "more", load_model(tmp_path / "more")).values()
    assert [s.limit for s in after.calibration.scales] == [s.limit for s in wide]


def test_an_element_that_validation_frames_lack_is_as_all_others(run, frames) -> None:
    class Lithium(Bent):
        def __init__(self) -> None:
            self.graphs = [
                replace(g, topology=replace(g.topology, atomic_numbers=torch.full_like(g.atomic_numbers, 3)))
                for g in frames.graphs
            ]

    scales = calibrated(run.model, None, Lithium(), VALIDATION).calibration.scales
    assert scales[0].scale > 0
    assert scales[1].override(element=3) == scales[2].override(element=3) == scales[0]


def test_atoms_without_neighbours_have_no_force_and_no_deviation(run, graph_of) -> None:
    far = graph_of(np.array([3, 8]), np.array([[0.0, 0, 0], [9, 0, 0]]))
    known = load_uncertainties(run.out, run.model)
    for uncertainty in known.values():
        forces, sigma = uncertainty(run.model, far)
        assert not forces.any()
        np.testing.assert_allclose(sigma, [s.floor for s in uncertainty.calibration.scales[:2]], rtol=1e-6)
    near = graph_of(np.array([3, 8, 3]), np.array([[0.0, 0, 0], [1.5, 0, 0], [9, 0, 0]]))
    assert floor_and_scale(np.array([0.0, 1, 2]), np.array([0.0, 1, 4]), 3)[1] > 0  # one atom alone among others
    sigma = known["posterior"](run.model, near)[1]
    assert sigma[0] > sigma[2]


def test_it_lies_beside_its_model(run, tmp_path) -> None:
    known = load_uncertainties(run.out, run.model)
    save_model(run.model, tmp_path)
    assert load_uncertainties(tmp_path, run.model) == {}
    assert chosen_uncertainty(tmp_path, run.model) is None
    save_uncertainties(run.model, list(known.values()), tmp_path)
    again = load_uncertainties(tmp_path, load_model(tmp_path))
    assert again["posterior"].calibration == known["posterior"].calibration
    assert torch.equal(again["posterior"].source, known["posterior"].source)
    assert again["committee"].source is None
    assert chosen_uncertainty(tmp_path, run.model).calibration.method == "posterior"
    assert chosen_uncertainty(tmp_path, run.model, "none") is None
    assert chosen_uncertainty(tmp_path, run.model, "committee").source is None
    other = copy.deepcopy(run.model)
    with torch.no_grad():
        other.members[0].readout.weight.add_(1)
    with pytest.raises(InputError, match="belongs to another model"):
        load_uncertainties(tmp_path, other)
    assert fingerprint(other) != fingerprint(run.model)


def test_a_single_ridge_has_no_committee(built_moments, frames, tmp_path) -> None:
    ridge = LinearFit(built_moments("ridge", Hardware()), TrainingSettings(), tmp_path)
    ridge.run(frames, TRAIN, VALIDATION)
    with pytest.raises(InputError, match=r"by committee was asked for, but the model has posterior only.*--chips 4"):
        chosen_uncertainty(tmp_path, ridge.model, "committee")


def test_the_calculator_gives_it_beside_the_same_forces(run, frames) -> None:
    from ase import Atoms

    f = frames.frames[80]
    atoms = Atoms(numbers=f.numbers, positions=f.positions)
    known = load_uncertainties(run.out, run.model)["posterior"]
    plain, telling = (RGNNCalculator(run.model, seed=2, uncertainty=u) for u in (None, known))
    expected = plain.get_forces(atoms)
    np.testing.assert_array_equal(telling.get_forces(atoms), expected)
    assert plain.sigma is None
    assert telling.sigma.shape == (10,) and (telling.sigma > 0).all()
    telling.estimates = False
    telling.reset()
    telling.get_forces(atoms)
    assert telling.sigma is None


def test_measures_of_reliability() -> None:
    """Normal errors of known deviations, one frame much worse than told."""
    rng = np.random.default_rng(0)
    n = 20_000
    sigma = rng.uniform(0.05, 0.5, n)
    error = rng.standard_normal((n, 3)) * sigma[:, None]
    numbers, frame = np.where(np.arange(n) % 2, 3, 8), np.arange(n) * 10 // n
    good = Reliability("posterior", numbers, sigma, np.full(n, 0.49), error, frame)
    assert good.within(1) == pytest.approx(0.6827, abs=0.005) == good.expected_within(1)
    assert good.within(2) == pytest.approx(0.9545, abs=0.005)
    np.testing.assert_allclose(*good.bins().T, rtol=0.05)
    assert good.outside == pytest.approx(0.01 / 0.45, rel=0.2)
    expected = np.mean(np.log(sigma)) + 0.5 + 0.5 * np.log(2 * np.pi)
    assert good.likelihood == pytest.approx(expected, abs=0.01)
    assert good.gain > 0.1
    assert 0.5 < good.spearman < 0.9
    constant = Reliability("posterior", numbers, np.full(n, 0.1), np.full(n, 1.0), error, frame)
    assert np.isnan(constant.spearman)
    wrong = Reliability("posterior", numbers, sigma / 3, np.full(n, 1.0), error, frame)
    assert wrong.likelihood > good.likelihood + 1
    record = good.to_mapping({"hot": [0, 1]})
    assert record["groups"]["hot"]["atoms"] == n // 5
    assert set(record["elements"]) == {"3", "8"}
    assert constant.to_mapping()["spearman"] is None


def test_sigma_of_a_calibration() -> None:
    calibration = Calibration(
        scales=(Scale(element=3, floor=0.3, scale=2.0, limit=1.0), Scale(element=8, limit=2.0)), frames=1
    )
    sigma = calibration.sigma(torch.tensor([0.2, 0.2]), torch.tensor([3, 8]))
    np.testing.assert_allclose(sigma, [0.5, 0.2], rtol=1e-6)
    assert Calibration.from_mapping(calibration.to_mapping()) == calibration
    assert Uncertainty(calibration).source is None


def test_frames_batched_are_as_frames_alone(run, frames) -> None:
    known = load_uncertainties(run.out, run.model)
    clean = run.model.hardware.without_noise()
    for uncertainty in known.values():
        forces, sigma = uncertainty(run.model, Graph.batch(frames.graphs[:3]), run.model.read(clean))
        alone = [uncertainty(run.model, g, run.model.read(clean)) for g in frames.graphs[:3]]
        torch.testing.assert_close(forces, torch.cat([f for f, _ in alone]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(sigma, torch.cat([s for _, s in alone]), rtol=1e-4, atol=1e-5)
