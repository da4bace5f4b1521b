"""Relaxation: minima that are known by other means, cells under pressure, and what is refused."""

import json

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.constraints import FixAtoms
from listeners import Heard
from pair_energy import pair_energy
from springs import DISTANCE, Springs, crystal

from rgnn import RGNNCalculator
from rgnn.base.errors import InputError, Interrupted
from rgnn.base.files import read_csv
from rgnn.base.provenance import Closest, TrainingDomain
from rgnn.md.relax import RelaxSettings, relax
from rgnn.plots.relax import relax_figure


@pytest.fixture(scope="module")
def model():
    return pair_energy(share=0.0).double()


def close(a: float = 2.8):
    atoms = bulk("P", "fcc", a=a, cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def best_length(model, pressure: float) -> float:
    """Lattice constant of the least enthalpy of the perfect crystal, on a fine grid of lengths."""
    perfect, lengths = bulk("P", "fcc", a=2.8, cubic=True), np.linspace(2.3, 2.7, 401)
    perfect.calc = RGNNCalculator(model)

    def enthalpy(a: float) -> float:
        perfect.set_cell([a] * 3, scale_atoms=True)
        return perfect.get_potential_energy() + pressure * units.GPa * a**3

    return float(lengths[np.argmin([enthalpy(a) for a in lengths])])


@pytest.mark.parametrize("cell", ["isotropic", "full"])
@pytest.mark.parametrize("pressure", [0.0, 20.0])
def test_the_cell_comes_to_the_least_enthalpy(tmp_path, model, cell, pressure) -> None:
    atoms = close()
    if cell == "full":
        atoms.set_cell(atoms.cell[:] @ np.array([[1.02, 0.01, 0], [0, 0.99, 0], [0, 0, 1]]), scale_atoms=True)
    found = relax(atoms, model, RelaxSettings(cell=cell, pressure=pressure, fmax=1e-3), tmp_path / "r")
    assert found.converged
    assert found.after.volume ** (1 / 3) == pytest.approx(best_length(model, pressure), rel=1e-3)
    assert found.after.pressure == pytest.approx(pressure, abs=0.2)
    np.testing.assert_allclose(found.after.lattice[3:], 90, atol=0.5)


def test_a_minimum_that_training_never_saw_is_told(tmp_path) -> None:
    """A well at 2 Angstrom of a model whose training frames had 3 Angstrom at least, at half the density."""
    model = pair_energy(share=0.0).double()
    seen = TrainingDomain(density=(2.0, 3.0), closest=(Closest(first=15, second=15, distance=3.0),))
    model.provenance = model.provenance.override(seen=seen)
    found = relax(close(), model, RelaxSettings(cell="isotropic"), tmp_path / "r")
    assert len(found.outside) == 2 and "the density is" in found.outside[0]
    assert "the closest P-P are 1." in found.outside[1] and "where the training set has 3 at least" in found.outside[1]
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["outside"] == list(found.outside)


def test_the_folder_holds_the_way_and_its_end(tmp_path, model) -> None:
    found = relax(close(), model, RelaxSettings(), tmp_path / "r")
    log = read_csv(tmp_path / "r" / "log.csv", "")
    frames = ase.io.read(tmp_path / "r" / "trajectory.xyz", ":")
    final = ase.io.read(tmp_path / "r" / "final.xyz")
    assert len(log["step"]) == len(frames) == found.steps + 1
    assert log["energy_eV"][-1] < log["energy_eV"][0] and log["max_force"][-1] <= 0.02
    assert final.get_potential_energy() == pytest.approx(found.after.energy)
    assert np.linalg.norm(final.get_forces(), axis=1).max() <= 0.02
    np.testing.assert_array_equal(final.cell[:], close().cell[:])
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["converged"] and summary["after"]["max_force"] == found.after.max_force
    relax(close(), model, RelaxSettings(), tmp_path / "r")  # a folder of a relaxation may be written again


def test_too_few_steps_are_said_to_be_too_few(tmp_path, model) -> None:
    found = relax(close(), model, RelaxSettings(steps=1, fmax=1e-6), tmp_path / "r")
    assert found.steps == 1 and not found.converged


def test_models_of_forces_move_atoms_and_know_no_energy(tmp_path) -> None:
    atoms = crystal()
    atoms.rattle(0.05, seed=3)
    found = relax(atoms, Springs(), RelaxSettings(any_element=True), tmp_path / "r")
    assert found.converged and found.after.energy is None and found.after.pressure is None
    log = read_csv(tmp_path / "r" / "log.csv", "")
    assert np.isnan(log["energy_eV"]).all() and log["max_force"][-1] <= 0.02
    assert relax_figure(tmp_path / "r", tmp_path / "relax.png", 0.02).stat().st_size > 1000
    final = ase.io.read(tmp_path / "r" / "final.xyz")
    lengths = final.get_all_distances(mic=True)
    np.testing.assert_allclose(np.sort(lengths + 9 * np.eye(8), axis=1)[:, 0], DISTANCE, atol=0.02)
    with pytest.raises(InputError, match="--cell is full, which needs a stress, but the model gives forces only"):
        relax(atoms, Springs(), RelaxSettings(any_element=True, cell="full"), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_held_atoms_stay(tmp_path, model) -> None:
    atoms = close()
    atoms.set_constraint(FixAtoms([0]))
    relax(atoms, model, RelaxSettings(), tmp_path / "r")
    final = ase.io.read(tmp_path / "r" / "final.xyz")
    np.testing.assert_allclose(final.positions[0], atoms.positions[0], atol=1e-7)  # as the file rounds
    assert np.abs(final.positions[1:] - atoms.positions[1:]).max() > 1e-3


def test_what_cannot_relax_is_refused(tmp_path, model) -> None:
    slab, held = close(), close()
    slab.pbc = (True, True, False)
    held.set_constraint(FixAtoms([0]))
    for atoms, changes, words in (
        (slab, {"cell": "full"}, "not periodic in all three directions"),
        (held, {"cell": "isotropic"}, "has constraints, which do not hold while the cell relaxes"),
        (close(), {"pressure": 3.0}, "the cell does not relax; give --cell"),
    ):
        with pytest.raises(InputError, match=words):
            relax(atoms, model, RelaxSettings(**changes), tmp_path / "r")
    with pytest.raises(Interrupted):
        relax(close(), model, RelaxSettings(), tmp_path / "r", listener=Heard(lambda: True))
    assert not (tmp_path / "r").exists()
