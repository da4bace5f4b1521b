"""The spectrum of velocities of a harmonic crystal, whose frequencies follow from its springs."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from rgnn.analysis.vibrations import PER_CM, Spectra, Vibrations

CELLS, SPRING = 3, 2.0  # cells of a rock salt with one spring between neighbours, eV/Angstrom^2
PER_PS = (1000 * units.fs) ** 2  # squares of a frequency in ASE's units to 1/ps^2


class Crystal:
    """Lithium and oxygen in a rock salt; each component of the displacement has springs to the six neighbours."""

    def __init__(self) -> None:
        n = 2 * CELLS
        sites = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        self.numbers = np.where(sites.sum(axis=1) % 2 == 0, 3, 8)
        self.rest = 2.0 * sites
        self.masses = Atoms(self.numbers).get_masses()
        apart = np.abs(sites[:, None] - sites)
        near = np.minimum(apart, n - apart).sum(axis=2) == 1
        self.springs = SPRING * (6.0 * np.eye(n**3) - near)
        root = np.sqrt(self.masses)
        squares, self.modes = np.linalg.eigh(self.springs / root[:, None] / root)
        self.omega = np.sqrt(np.maximum(squares, 0) * PER_PS)  # rad/ps
        self.omega[0] = 0.0

    def weights(self, z: int) -> np.ndarray:
        """Part of each mode in an element, but for the one that moves the crystal."""
        return np.square(self.modes[self.numbers == z]).sum(axis=0)[1:]

    def mean(self, z: int) -> float:
        """THz."""
        w = self.weights(z)
        return float(w @ self.omega[1:] / w.sum() / (2 * np.pi))

    def frames(self, n: int, interval: float, seed: int = 0, with_forces: bool = True) -> list[Atoms]:
        """Exact motion with equal energy in every mode; the interval in ps."""
        rng = np.random.default_rng(seed)
        phases = rng.uniform(0, 2 * np.pi, (len(self.omega), 3))
        found = []
        for k in range(n):
            angle = self.omega[:, None] * interval * k + phases
            size = 0.03 * np.sqrt(units.kB * 300 / 0.025)
            velocity = size * np.sin(angle) * (self.omega[:, None] > 0)
            place = -size * np.cos(angle) / np.maximum(self.omega, 1e-9)[:, None] * (self.omega[:, None] > 0)
            u = 10 * (self.modes @ place) / np.sqrt(self.masses)[:, None]
            v = 10 * (self.modes @ velocity) / np.sqrt(self.masses)[:, None]  # Angstrom/ps
            atoms = Atoms(self.numbers, self.rest + u, cell=[4.0 * CELLS] * 3, pbc=True)
            atoms.set_velocities(v / (1000 * units.fs))
            if with_forces:
                atoms.calc = SinglePointCalculator(atoms, forces=-self.springs @ u)
            found.append(atoms)
        return found


@pytest.fixture(scope="module")
def crystal() -> Crystal:
    return Crystal()


def spectra(crystal: Crystal, frames: list[Atoms], interval: float) -> Spectra:
    found = Spectra(frames[0], interval, len(frames))
    for atoms in frames:
        found.add(atoms)
    return found


def test_a_harmonic_crystal_has_its_frequencies(crystal) -> None:
    interval = 0.8 / (2 * crystal.omega[-1] / (2 * np.pi)) * 0.8
    found = spectra(crystal, crystal.frames(round(6 / interval), interval), interval).result()
    assert isinstance(found, Vibrations)
    top = crystal.omega[-1] / (2 * np.pi)
    for z in (3, 8):
        assert found.mean(z) == pytest.approx(crystal.mean(z), rel=0.02)
        assert found.density[z].sum() * found.frequency[1] == pytest.approx(1)
        w = np.cumsum(crystal.weights(z)) / crystal.weights(z).sum()
        for part in (0.25, 0.5, 0.75):
            known = crystal.omega[1:][np.searchsorted(w, part)] / (2 * np.pi)
            assert found.below(z, part) == pytest.approx(known, abs=0.06 * top)
    assert found.below(3, 0.999) == pytest.approx(top, abs=3 / found.stretch)
    assert found.total.sum() * found.frequency[1] == pytest.approx(1)
    assert pytest.approx(33.356, abs=1e-3) == PER_CM


@pytest.mark.parametrize("times", [1.15, 1.5, 2.2, 3.7])
def test_frames_that_are_too_far_apart_are_refused_by_the_every_that_is_needed(crystal, times: float) -> None:
    """Beyond half a period of the fastest mode, velocities alone would show a lower frequency without a sign of it."""
    top = crystal.omega[-1] / (2 * np.pi)
    interval = times / (2 * top)
    refused = spectra(crystal, crystal.frames(round(4 / interval), interval), interval).result(timestep=1.0)
    assert isinstance(refused, str) and "run with --every " in refused
    every = int(refused.rpartition(" ")[2])
    assert 0.3 / (2 * top) < every / 1000 < 1 / (2 * top)
    enough = spectra(crystal, crystal.frames(round(1000 / every), every / 1000), every / 1000).result()
    assert isinstance(enough, Vibrations)
    bare = spectra(crystal, crystal.frames(round(4 / interval), interval, with_forces=False), interval).result()
    assert isinstance(bare, str) and "frames at most 5.6 fs apart" in bare


def test_what_holds_no_velocities_or_is_too_short_is_said(crystal) -> None:
    frames = crystal.frames(100, 0.01)
    assert "too little time" in spectra(crystal, frames[:30], 0.01).result()
    bare = [Atoms(a.numbers, a.positions) for a in frames]
    assert spectra(crystal, bare, 0.01).result() == "the frames hold no velocities"


def test_velocities_that_do_not_belong_to_the_positions_are_refused(crystal) -> None:
    """In other units, for instance."""
    interval = 0.35 / (2 * crystal.omega[-1] / (2 * np.pi))
    frames = crystal.frames(round(4 / interval), interval)
    for atoms in frames:
        atoms.set_momenta(1.5 * atoms.get_momenta())
    assert "do not agree" in spectra(crystal, frames, interval).result()
