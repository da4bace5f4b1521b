"""Errors by temperature, also where only the velocities of the frames tell it."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.md.velocitydistribution import Stationary

from rgnn.data.conversion import convert
from rgnn.data.formats.labels import frame_of
from rgnn.data.store.reader import GraphStore
from rgnn.evaluation.temperatures import GROUPS, temperature_groups

NOTHING = np.full(4, np.nan)


def test_groups_are_temperatures_or_ranges() -> None:
    assert temperature_groups(np.array([600.0, 300, np.nan, 600]), NOTHING) == {"300 K": [1], "600 K": [0, 3]}
    assert temperature_groups(NOTHING, NOTHING) == {}
    mixed = temperature_groups(np.array([300, np.nan, np.nan, np.nan]), np.array([311.0, 402, 425, np.nan]))
    assert mixed == {"300 K": [0], "400-410 K (velocities)": [1], "420-430 K (velocities)": [2]}
    rng = np.random.default_rng(0)
    kelvin = rng.normal(800, 60, 500)
    many = temperature_groups(np.full(500, np.nan), kelvin)
    assert 4 <= len(many) <= GROUPS and sorted(k for places in many.values() for k in places) == list(range(500))
    for name, places in many.items():
        low, high = (int(word) for word in name.removesuffix(" K (velocities)").split("-"))
        assert ((low <= kelvin[places]) & (kelvin[places] < high)).all()
    assert len(temperature_groups(np.arange(300.0, 900.0, 10), np.full(60, np.nan))) <= GROUPS


def moving(kelvin: float, seed: int):
    """A crystal whose kinetic energy is exactly that of a temperature."""
    atoms = bulk("LiF", "rocksalt", a=4.0, cubic=True).repeat(2)
    rng = np.random.default_rng(seed)
    atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
    atoms.set_momenta(rng.normal(size=atoms.positions.shape) * np.sqrt(atoms.get_masses())[:, None])
    Stationary(atoms, preserve_temperature=False)
    wanted = 0.5 * units.kB * kelvin * (3 * len(atoms) - 3)
    atoms.set_momenta(atoms.get_momenta() * (wanted / atoms.get_kinetic_energy()) ** 0.5)
    atoms.calc = SinglePointCalculator(atoms, forces=rng.normal(0, 0.3, atoms.positions.shape))
    return atoms


def test_the_temperature_of_velocities() -> None:
    atoms = moving(500, 0)
    assert frame_of(atoms, "a").kinetic_temperature == pytest.approx(500)
    atoms.set_velocities(atoms.get_velocities() + 0.3)  # all of it through space
    atoms.calc = SinglePointCalculator(atoms, forces=np.ones((64, 3)))
    assert frame_of(atoms, "a").kinetic_temperature == pytest.approx(500)
    held = moving(500, 1)
    held.set_constraint(FixAtoms(range(32)))
    momenta = held.get_momenta()
    momenta[:32] = 0
    held.set_momenta(momenta)
    free = 2 * held.get_kinetic_energy() / (3 * 32 * units.kB)
    held.calc = SinglePointCalculator(held, forces=np.ones((64, 3)))
    assert frame_of(held, "a").kinetic_temperature == pytest.approx(free)
    still = moving(500, 2)
    still.set_momenta(np.zeros((64, 3)))
    still.calc = SinglePointCalculator(still, forces=np.ones((64, 3)))
    assert frame_of(still, "a").kinetic_temperature is None


def test_a_store_keeps_it_and_frames_without_velocities_have_none(tmp_path: Path) -> None:
    frames = [moving(kelvin, k) for k, kelvin in enumerate([300, 300, 800, 800])]
    ase.io.write(tmp_path / "moving.xyz", frames, format="extxyz")
    for atoms in frames:
        atoms.arrays.pop("momenta")
    for atoms in frames:
        atoms.positions += 0.01
        atoms.calc = SinglePointCalculator(atoms, forces=np.ones((64, 3)))
    ase.io.write(tmp_path / "still.xyz", frames, format="extxyz")
    convert([tmp_path / "moving.xyz"], tmp_path / "both.zarr", cutoff=3.0)
    convert([tmp_path / "still.xyz"], tmp_path / "still.zarr", cutoff=3.0)
    store = GraphStore(tmp_path / "both.zarr")
    np.testing.assert_allclose(store.column("kinetic_temperature"), [300, 300, 800, 800], rtol=1e-5)
    assert store.frame(2).kinetic_temperature == pytest.approx(800, rel=1e-5)
    assert np.isnan(store.column("temperature")).all()
    still = GraphStore(tmp_path / "still.zarr")
    assert np.isnan(still.column("kinetic_temperature")).all() and still.frame(0).kinetic_temperature is None
    assert "kinetic_temperature" not in still.ledger.blocks[0].crc32  # a store of before has the same checksum
