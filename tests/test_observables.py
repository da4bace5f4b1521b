import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from rgnn.errors import InputError
from rgnn.observables import first_peak, mean_squared_displacement, radial_distribution


def counts(rdf, pair, n_b: int, volume: float) -> np.ndarray:
    """Neighbours of an a atom in each shell, from g(r) by its definition."""
    half = 0.5 * (rdf.r[1] - rdf.r[0])
    shells = 4 * np.pi / 3 * ((rdf.r + half) ** 3 - (rdf.r - half) ** 3)
    return rdf.of(pair) * shells * n_b / volume


def test_shells_of_an_fcc_crystal() -> None:
    a = 4.0
    crystal = bulk("Al", a=a, cubic=True).repeat(2)
    rdf = radial_distribution([crystal], r_max=4.6, width=0.02)
    neighbours = counts(rdf, (13, 13), len(crystal) - 1, crystal.get_volume())
    near, next_near = rdf.r < 3.4, rdf.r > 3.4
    assert neighbours[near].sum() == pytest.approx(12)
    assert neighbours[next_near].sum() == pytest.approx(6)
    assert rdf.first_peak((13, 13)) == pytest.approx(a / np.sqrt(2), abs=0.015)


def test_pairs_of_two_elements_are_counted_from_either_side() -> None:
    salt = bulk("LiF", "rocksalt", a=4.0, cubic=True).repeat((2, 1, 1))
    rdf = radial_distribution([salt, salt], r_max=3.0)
    assert rdf.pairs == ((3, 3), (3, 9), (9, 9))
    assert counts(rdf, (3, 9), 8, salt.get_volume()).sum() == pytest.approx(6)
    assert counts(rdf, (3, 3), 7, salt.get_volume()).sum() == pytest.approx(12)
    assert rdf.first_peak((3, 9)) == pytest.approx(2.0, abs=0.015)


def test_an_ideal_gas_is_one_everywhere_in_a_triclinic_cell() -> None:
    rng = np.random.default_rng(0)
    cell = np.array([[14.0, 0, 0], [3.0, 13.0, 0], [-2.0, 1.0, 15.0]])
    numbers = np.array([3] * 60 + [8] * 140)
    frames = [Atoms(numbers=numbers, positions=rng.random((200, 3)) @ cell, cell=cell, pbc=True) for _ in range(20)]
    rdf = radial_distribution(frames, r_max=6.0, width=0.5)
    beyond = rdf.r > 2
    for pair in rdf.pairs:
        assert rdf.of(pair)[beyond].mean() == pytest.approx(1, abs=0.02)
        np.testing.assert_allclose(rdf.of(pair)[beyond], 1, atol=0.12)


def test_the_first_peak_is_between_bins_and_not_a_higher_later_one() -> None:
    r = np.arange(0.01, 6, 0.02)
    g = 3 * np.exp(-0.5 * ((r - 1.947) / 0.08) ** 2) + 4 * np.exp(-0.5 * ((r - 3.1) / 0.1) ** 2)
    assert first_peak(r, g) == pytest.approx(1.947, abs=0.002)
    assert np.isnan(first_peak(r, np.zeros_like(r)))


def test_structures_without_a_density_are_refused() -> None:
    with pytest.raises(InputError, match="periodic"):
        radial_distribution([Atoms("H2", [[0, 0, 0], [0.8, 0, 0]])])
    with pytest.raises(InputError, match="at least one frame"):
        radial_distribution([])


def test_ballistic_motion_and_drift() -> None:
    rng = np.random.default_rng(1)
    masses = rng.uniform(1, 30, 6)
    velocities = rng.normal(size=(6, 3))
    velocities -= masses @ velocities / masses.sum()
    t = np.arange(50.0)
    drift = np.cumsum(rng.normal(size=(50, 1, 3)), axis=0)  # of the whole system: must not count
    positions = rng.normal(size=(6, 3)) + t[:, None, None] * velocities + drift
    groups = [np.array([0, 2]), np.array([1, 3, 4, 5])]
    msd = mean_squared_displacement(positions, groups, masses)
    for row, group in zip(msd, groups, strict=True):
        np.testing.assert_allclose(row, (velocities[group] ** 2).sum(axis=1).mean() * t**2, rtol=1e-6, atol=1e-9)


def test_displacements_agree_with_the_plain_sum_over_origins() -> None:
    positions = np.cumsum(np.random.default_rng(2).normal(size=(30, 4, 3)), axis=0)
    x = positions - positions.mean(axis=1, keepdims=True)
    plain = [np.square(x[m:] - x[: 30 - m]).sum(axis=2).mean() for m in range(30)]
    msd = mean_squared_displacement(positions, [np.arange(4)], np.ones(4))
    np.testing.assert_allclose(msd[0], plain, rtol=1e-9, atol=1e-9)


def test_a_single_frame_has_not_moved() -> None:
    np.testing.assert_array_equal(mean_squared_displacement(np.ones((1, 2, 3)), [np.arange(2)], np.ones(2)), [[0.0]])
