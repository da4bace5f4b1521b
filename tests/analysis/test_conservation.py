import json

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from pair_energy import PairEnergy, PairEnergySettings

from rgnn import RGNN, Hardware
from rgnn.analysis.conservation import (
    Asymmetry,
    asymmetry_verdict,
    directional_derivatives,
    energy_differences,
    energy_of,
    forces_of,
    jacobians,
    measure_conservation,
    net_force,
    net_torque,
    probe,
)
from rgnn.analysis.nve import expected_heating, nve_run, read_noise
from rgnn.base.errors import InputError
from rgnn.base.provenance import Provenance
from rgnn.data.sample import sample_frames
from rgnn.evaluation import EvaluationSettings
from rgnn.md import MDSettings
from rgnn.models.base import Prediction
from rgnn.models.settings import MessagePassingSettings
from rgnn.reports.conservation import conservation_record, verdict_words


@pytest.fixture(scope="module")
def model(built, glass):
    model = built(MessagePassingSettings(n_features=6), Hardware(bits=8, noise=0.05), glass)
    model.provenance = Provenance(elements=(3, 8, 15))
    return model


@pytest.fixture(scope="module")
def cluster_atoms() -> Atoms:
    """Eleven atoms of the glass around one of phosphorus."""
    frame = next(iter(sample_frames()))
    centre = int(np.flatnonzero(frame.numbers == 15)[0])
    box = np.diag(frame.cell)
    apart = (frame.positions - frame.positions[centre] + box / 2) % box - box / 2
    near = np.argsort(np.linalg.norm(apart, axis=1))[:11]
    return Atoms(numbers=frame.numbers[near], positions=apart[near])


def dense(forces, positions: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """J column by column."""
    return directional_derivatives(forces, positions, np.eye(positions.size), step).T


def exact(j: np.ndarray) -> float:
    return float(np.linalg.norm(j - j.T) / (2 * np.linalg.norm(j)))


def linear(j: np.ndarray):
    """Forces with this Jacobian everywhere."""
    return lambda x: (j @ x.ravel()).reshape(x.shape)


def sampled(forces, positions: np.ndarray, step: float, probes: int, seed: int = 0) -> Asymmetry:
    return Asymmetry(np.array([probe(forces, positions, step, probes, seed)]))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_the_asymmetry_of_a_known_matrix(share: float) -> None:
    rng = np.random.default_rng(0)
    m = rng.normal(size=(60, 60))
    symmetric, anti = (m + m.T) / 2, (m - m.T) / 2
    j = (1 - share) * symmetric / np.linalg.norm(symmetric) + share * anti / np.linalg.norm(anti)
    found = [sampled(linear(j), np.zeros((20, 3)), 0.1, 24, seed) for seed in range(30)]
    assert np.mean([f.value.value for f in found]) == pytest.approx(exact(j), rel=0.03, abs=1e-9)
    assert np.mean([f.antisymmetric for f in found]) == pytest.approx(np.linalg.norm(j - j.T) / 2, rel=0.03, abs=1e-9)
    assert np.mean([f.symmetric for f in found]) == pytest.approx(np.linalg.norm(j + j.T) / 2, rel=0.03, abs=1e-9)
    assert np.mean([f.value.low - 1e-9 <= exact(j) <= f.value.high + 1e-9 for f in found]) >= 0.85


def test_an_energy_has_a_symmetric_jacobian() -> None:
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.rattle(0.1, seed=0)
    atoms.calc = EMT()

    def forces(x: np.ndarray) -> np.ndarray:
        atoms.positions[:] = x
        return atoms.get_forces()

    found = sampled(forces, atoms.positions.copy(), 1e-3, 8)
    assert found.value.value < 1e-4 and found.symmetric > 10


def test_the_model_against_its_dense_jacobian(model, cluster_atoms) -> None:
    """On the ideal chip, where the derivative exists; the samples know nothing of the columns."""
    forces = forces_of(model, cluster_atoms, model.hardware.ideal())
    j = dense(forces, cluster_atoms.positions, 2e-3)
    found = sampled(forces, cluster_atoms.positions, 2e-3, 40)
    assert exact(j) > 0.01
    assert found.value.low < exact(j) < found.value.high
    assert found.value.value == pytest.approx(exact(j), rel=0.25)
    assert found.symmetric == pytest.approx(np.linalg.norm(j + j.T) / 2, rel=0.25)


def test_a_step_sees_the_slope_of_a_staircase() -> None:
    """Quantised as the analog product is: no derivative, but a slope over many codes."""
    m = np.random.default_rng(1).normal(size=(30, 30))
    smooth, stairs = linear(m), lambda x: np.round(linear(m)(x) / 0.01) * 0.01
    one, other = (sampled(f, np.zeros((10, 3)), 0.05, 24).value for f in (smooth, stairs))
    assert other.value == pytest.approx(one.value, rel=0.02)
    assert (directional_derivatives(stairs, np.zeros((10, 3)), np.eye(30), 1e-9) == 0).all()


def test_jacobians_are_compared_over_steps_and_with_the_ideal_chip(model, cluster_atoms) -> None:
    told = []
    real, ideal = jacobians(model, [cluster_atoms], probes=8, progress=lambda done, total: told.append((done, total)))
    assert (real.name, ideal.name) == ("as trained, noise off", "ideal chip")
    assert told[-1] == (6, 6)
    assert ideal.has_plateau
    assert real.result.value.value == pytest.approx(ideal.result.value.value, rel=0.3)
    with pytest.raises(InputError, match="probes is 2"):
        probe(lambda x: x, np.zeros((2, 3)), 0.1, 2, 0)


def test_net_force_and_torque() -> None:
    x = molecule("H2O").positions
    push = np.tile([0.3, 0.0, 0.0], (3, 1))
    assert net_force(push) == pytest.approx(1)
    assert net_torque(x, push) == pytest.approx(0, abs=0.2)
    centred = x - x.mean(axis=0)
    turn = np.cross([0, 0, 1.0], centred)
    assert net_force(turn) == pytest.approx(0, abs=1e-12)
    flat = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    assert net_torque(flat, np.cross([0, 0, 1.0], flat)) == pytest.approx(1)
    assert net_torque(flat, flat) == 0 == net_force(np.zeros((2, 3)))


def test_the_closed_form_of_heating_is_that_of_random_kicks() -> None:
    """Free atoms, kicked anew at each step: their kinetic energy grows by what the formula says."""
    rng = np.random.default_rng(0)
    masses, sigma, dt = np.array([7.0, 16.0, 31.0] * 200), 0.05, 2.0
    momenta = np.zeros((600, 3))
    for _ in range(500):
        momenta += rng.normal(0, sigma, (600, 3)) * dt * units.fs
    gained = 1000 * float((momenta**2 / (2 * masses[:, None])).sum()) / 600
    assert expected_heating(np.full((600, 3), sigma**2), masses, dt) == pytest.approx(
        gained / (500 * dt / 1000), rel=0.1
    )


def test_read_noise_is_that_of_the_hardware(model, cluster_atoms) -> None:
    assert 1e-5 < np.sqrt(read_noise(model, cluster_atoms, reads=8).mean()) < 1
    assert read_noise(Repulsion(), lithium(), reads=3).max() < 1e-20


class Repulsion(RGNN):
    """Forces of an energy, with fresh errors of a given size in each call."""

    def __init__(self, sigma: float = 0.0) -> None:
        super().__init__(
            MessagePassingSettings(cutoff=4.2, n_features=4, reservoir_layers=0, trained_layers=1), Hardware()
        )
        self.sigma, self.random = sigma, torch.Generator().manual_seed(0)

    def predict(self, g, reading):
        d = g.edge_length[:, None]
        push = torch.zeros(g.n_atoms, 3, dtype=torch.float64).index_add(
            0, g.edge_index[0], -20 * (1 - d / 4.2) ** 2 * g.edge_vector / d
        )
        noise = torch.randn(push.shape, generator=self.random, dtype=torch.float64)
        return Prediction(push + self.sigma * noise)


def lithium() -> Atoms:
    return bulk("Li", "fcc", a=4.2, cubic=True).repeat(2)


def test_heating_in_nve_is_that_of_the_closed_form_and_none_for_an_energy() -> None:
    config = MDSettings(steps=600, temperature=300, timestep=1, ensemble="nve", write_every=1, any_element=True)
    calm = nve_run(Repulsion(), lithium(), config).heating
    assert calm.low < 0 < calm.high
    sigma, atoms = 0.6, lithium()
    known = expected_heating(np.full((len(atoms), 3), sigma**2), atoms.get_masses(), config.timestep)
    noisy = nve_run(Repulsion(sigma), atoms, config).heating
    assert noisy.low < known < noisy.high
    assert noisy.value == pytest.approx(known, rel=0.3)
    assert noisy.low > calm.value
    with pytest.raises(InputError, match="take 500"):
        nve_run(Repulsion(), lithium(), config.override(steps=3))


def test_verdicts_of_asymmetry() -> None:
    """Published direct models have 0.004 to 0.03: a number beyond is not among them."""
    assert asymmetry_verdict(0.001) == "nearly_conservative"
    assert asymmetry_verdict(0.004) == asymmetry_verdict(0.03) == "as_published_direct_models"
    assert asymmetry_verdict(0.034) == "farther_than_published_direct_models"


class Runaway(Repulsion):
    """Forces that push each atom along, ever further from where the crystal has it."""

    def predict(self, g, reading):
        return Prediction(-3.0 * super().predict(g, reading).forces)


def test_a_model_that_explodes_is_not_as_published() -> None:
    found = measure_conservation(Runaway(), [lithium()], nve_steps=200)
    assert found.asymmetry.value < 0.004  # its forces have an energy, of atoms that fall into each other
    assert found.verdict == "breaks_off_in_nve"
    words = verdict_words(found)
    assert words.startswith("explodes in NVE (at step ") and "rgnn-nve" not in words and "published" not in words
    record = conservation_record(found, EvaluationSettings(), [0])
    json.dumps(record, allow_nan=False)
    assert record["nve_broke_off"]["noise_off"].startswith("at step ")


def test_a_model_that_heats_is_not_judged_by_its_asymmetry_alone() -> None:
    calm, hot = (measure_conservation(Repulsion(sigma), [lithium()], nve_steps=300) for sigma in (0.0, 0.6))
    assert calm.verdict == "nearly_conservative"
    assert hot.verdict == "heats_too_much" and hot.heating_part.low > 0.5
    assert "of its temperature in a picosecond" in verdict_words(hot)


class Leaning(PairEnergy):
    """An energy beside forces that are not its derivatives."""

    def predict(self, g, reading):
        found = super().predict(g, reading)
        return Prediction(1.1 * found.forces, found.energy, found.stress)


@pytest.fixture
def pairs() -> Atoms:
    atoms = bulk("Li", "fcc", a=3.0, cubic=True).repeat(2)
    atoms.rattle(0.05, seed=1)
    return atoms


def test_forces_of_an_energy_are_its_differences_and_it_stays(pairs) -> None:
    settings = PairEnergySettings(share=0.0)
    cells = [[torch.zeros(size) for size in layer] for layer in PairEnergy.matrices(settings)]
    true, leaning = (family(settings, Hardware(noise=None), cells).eval() for family in (PairEnergy, Leaning))
    exact = energy_differences(
        energy_of(true, pairs, true.hardware), forces_of(true, pairs, true.hardware), pairs.positions, 0.005, 12, 0
    )
    assert exact.error < 2e-3 and np.abs(exact.analytic).max() > 0.1
    found = measure_conservation(true, [pairs], nve_steps=400)
    assert found.verdict == "conserves_energy" and found.nve.worst.drift is not None
    assert abs(found.nve.worst.drift.value) < 0.1
    assert "conserves energy" in verdict_words(found)
    wrong = measure_conservation(leaning, [pairs], nve_steps=100)
    assert wrong.energy_error == pytest.approx(0.1 / 1.1, rel=0.02)
    assert wrong.verdict == "forces_are_no_derivative" and "differ by 9.1%" in verdict_words(wrong)
