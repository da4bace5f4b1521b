"""Files of which each frame can be used, and which are wrong all the same: what is said of them."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from rgnn import convert

SITES = np.stack(np.meshgrid(*[np.arange(3) * 2.2] * 3), axis=-1).reshape(-1, 3)
STIFFNESS = 8.0


def crystal(n: int = 12, pbc: bool = True, scale: float = 1.0) -> list[Atoms]:
    """Atoms that move about their sites on springs; the unit of their energies is `scale` times too small."""
    rng, u, frames = np.random.default_rng(0), np.zeros(SITES.shape), []
    for _ in range(n):
        u = 0.9 * u + 0.05 * rng.normal(size=SITES.shape)
        atoms = Atoms(np.resize([3, 9], len(SITES)), SITES + u + 0.3, cell=6.6 * np.eye(3), pbc=pbc)
        energy = scale * 0.5 * STIFFNESS * np.square(u).sum() - 100.0
        atoms.calc = SinglePointCalculator(atoms, forces=-STIFFNESS * u, energy=energy)
        frames.append(atoms)
    return frames


@pytest.fixture
def said(tmp_path):
    """What conversion says of frames."""

    def converted(frames: list[Atoms]) -> list[str]:
        ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
        heard = list[str]()
        convert([tmp_path / "a.xyz"], tmp_path / "a.zarr", 3.0, overwrite=True, warn=heard.append)
        return heard

    return converted


def test_nothing_is_said_of_a_sound_trajectory(said) -> None:
    assert said(crystal()) == []
    for atoms in (vacuum := crystal(pbc=False)):
        atoms.set_cell(20 * np.eye(3))
    assert said(vacuum) == []


@pytest.mark.parametrize(("scale", "ratio"), [(1 / 27.2114, "0.0367"), (23.06, "23"), (-1.0, "-1")])
def test_energies_and_forces_of_different_units(said, scale: float, ratio: str) -> None:
    """Hartree or kcal/mol beside eV/Angstrom, or gradients in place of forces."""
    (text,) = said(crystal(scale=scale))
    assert f"energies change by {ratio}" in text and "different units; give --units" in text


@pytest.mark.parametrize("elements", [[3, 9], [18]])
def test_atoms_that_change_their_order(said, elements: list[int]) -> None:
    """As in dumps that are not sorted; of one element or of several."""
    rng = np.random.default_rng(1)
    for atoms in (frames := crystal()):
        order = rng.permutation(len(atoms))
        atoms.numbers[:] = np.resize(elements, len(atoms))[order]
        atoms.positions = atoms.positions[order]
        atoms.calc.results["forces"] = atoms.calc.results["forces"][order]
        atoms.calc.atoms = atoms.copy()
    (text,) = said(frames)
    assert "atoms lie in another order in frame 1 than in frame 0" in text and "sort the atoms" in text


def test_atoms_that_cross_the_cell_keep_their_order(said) -> None:
    for k, atoms in enumerate(frames := crystal()):
        atoms.positions += 0.02 * k
        atoms.wrap()
    assert said(frames) == []


def test_a_crystal_without_periodicity(said) -> None:
    (text,) = said(crystal(pbc=False))
    assert "12 of 12 frames, the first of them frame 0, fill their cell but are not periodic" in text


def test_forces_that_were_never_computed(said) -> None:
    for atoms in (frames := crystal())[3::4]:
        atoms.calc.results["forces"] = np.zeros((27, 3))
    (text,) = [text for text in said(frames) if "no force" in text]
    assert "3 of 12 frames have no force on any atom, the first of them frame 3" in text
