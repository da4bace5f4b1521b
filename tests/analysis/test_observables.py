import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.special import erf

from rgnn.analysis.observables import (
    first_minimum,
    first_peak,
    integrated_difference,
    mean_squared_displacement,
    pooled,
    radial_distribution,
)
from rgnn.base.errors import InputError


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


def crystal_frames(kind: str, rattle: float, n: int = 12) -> list[Atoms]:
    """Of 3.5 Angstrom cubic cells, shaken."""
    rest = bulk("Fe", kind, a=3.5, cubic=True).repeat(3)
    frames = []
    for seed in range(n):
        atoms = rest.copy()
        atoms.positions += np.random.default_rng(seed).normal(0, rattle, atoms.positions.shape)
        frames.append(atoms)
    return frames


@pytest.mark.parametrize(
    ("kind", "rattle", "neighbours", "between"),
    [
        ("fcc", 0.02, 12, (2.475, 3.5)),
        ("bcc", 0.02, 8, (3.031, 3.5)),  # cold: the second shell of 6 is apart
        ("bcc", 0.16, 14, (3.5, 4.95)),  # hot: the two first shells are one
    ],
)
def test_coordination_up_to_the_first_minimum(kind, rattle, neighbours, between) -> None:
    rdf = radial_distribution(crystal_frames(kind, rattle))
    distance = rdf.first_minimum((26, 26))
    assert between[0] < distance < between[1]
    assert rdf.coordination(26, 26, distance) == pytest.approx(neighbours, abs=0.1)


def test_coordination_within_a_given_distance() -> None:
    rdf = radial_distribution(crystal_frames("bcc", 0.02))
    assert rdf.coordination(26, 26, 3.25) == pytest.approx(8, abs=0.01)
    assert rdf.coordination(26, 26, 4.2) == pytest.approx(8 + 6, abs=0.01)
    assert rdf.coordination(26, 26, 0.0) == 0


def test_coordination_is_seen_from_the_centre() -> None:
    fluorite = bulk("CaF2", "fluorite", a=5.46, cubic=True)
    rdf = radial_distribution([fluorite])
    assert rdf.coordination(20, 9, 2.6) == pytest.approx(8)
    assert rdf.coordination(9, 20, 2.6) == pytest.approx(4)


def test_the_total_counts_every_pair_once() -> None:
    positions = np.random.default_rng(3).random((40, 3)) * 9
    mixed = Atoms(numbers=[3] * 10 + [8] * 30, positions=positions, cell=[9, 9, 9], pbc=True)
    alike = Atoms(numbers=[1] * 40, positions=positions, cell=[9, 9, 9], pbc=True)
    np.testing.assert_allclose(radial_distribution([mixed]).total, radial_distribution([alike]).of((1, 1)))


def test_parts_pool_to_the_whole() -> None:
    frames = crystal_frames("fcc", 0.1, 5)
    whole, together = radial_distribution(frames), pooled([radial_distribution(f) for f in (frames[:2], frames[2:])])
    np.testing.assert_allclose(together.g, whole.g)
    np.testing.assert_allclose(together.shells, whole.shells)
    assert together.frames == 5
    with pytest.raises(InputError, match="same atoms"):
        radial_distribution([frames[0], frames[1][:-1]])


def test_no_first_minimum_without_a_second_rise() -> None:
    r = np.arange(0.01, 6, 0.02)
    assert np.isnan(first_minimum(r, np.exp(-0.5 * ((r - 2) / 0.2) ** 2)))
    assert np.isnan(first_minimum(r, np.zeros_like(r)))
    wave = 1 + np.cos(2 * np.pi * (r - 2) / 2) * np.exp(-r / 8)
    assert first_minimum(r, wave * (r > 1.05)) == pytest.approx(3, abs=0.06)


def test_integrated_difference_of_shifted_peaks() -> None:
    r = np.arange(0.01, 6, 0.02)
    width, shift = 0.2, 0.1

    def peak(at: float) -> np.ndarray:
        return np.exp(-0.5 * ((r - at) / width) ** 2)

    assert integrated_difference(r, peak(3), peak(3)) == 0
    # |N(0) - N(d)| integrates to 2 erf(d / (2 sqrt 2 s)).
    expected = 2 * erf(shift / (2 * np.sqrt(2) * width))
    assert integrated_difference(r, peak(3), peak(3 + shift)) == pytest.approx(expected, rel=1e-3)
    assert integrated_difference(r, peak(1), peak(5)) == pytest.approx(2, rel=1e-6)
    assert np.isnan(integrated_difference(r, peak(3), np.zeros_like(r)))


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
