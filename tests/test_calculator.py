import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.optimize import FIRE
from scipy.spatial.transform import Rotation

from rgnn import RGNN, Chip, Graph, Hardware, RGNNCalculator, save_model
from rgnn.base.errors import InputError
from rgnn.base.provenance import Provenance
from rgnn.calculator import NoEnergyError
from rgnn.models.settings import MessagePassingSettings


@pytest.fixture(scope="module")
def crystal() -> Atoms:
    atoms = bulk("LiF", "rocksalt", a=4.03, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.fixture(scope="module")
def model(crystal: Atoms) -> RGNN:
    config = MessagePassingSettings(cutoff=3.0, n_features=6, reservoir_layers=1, trained_layers=1)
    hardware = Hardware(bits=4, noise=0.05)
    model = RGNN(config, hardware, Chip.synthetic(0).matrices(RGNN.matrices(config)))
    model.provenance = Provenance(elements=(3, 9))
    model(graph(crystal, config.cutoff))  # a forward pass in training mode calibrates the ranges
    return model.eval()


def graph(atoms: Atoms, cutoff: float) -> Graph:
    return Graph.from_positions(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, cutoff)


def forces(calculator: RGNNCalculator, atoms: Atoms) -> np.ndarray:
    atoms = atoms.copy()
    atoms.calc = calculator
    return atoms.get_forces()


def test_without_noise_it_is_the_model(model: RGNN, crystal: Atoms) -> None:
    found = forces(RGNNCalculator(model, noise=0), crystal)
    with torch.no_grad():
        expected = model(graph(crystal, 3.0), model.read(Hardware(bits=4, noise=0))).forces.numpy()
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected.astype(np.float64))
    assert np.abs(found).max() > 1e-3


def test_bits_and_noise_change_the_hardware_and_none_leaves_it(model: RGNN) -> None:
    assert RGNNCalculator(model).hardware == model.hardware
    assert RGNNCalculator(model, bits=6).hardware == Hardware(bits=6, noise=0.05)
    assert RGNNCalculator(model, noise=0).hardware == Hardware(bits=4, noise=None)


def test_forces_turn_with_the_structure(model: RGNN, crystal: Atoms) -> None:
    turn = Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix()
    turned = crystal.copy()
    turned.set_cell(crystal.cell[:] @ turn.T, scale_atoms=False)
    turned.positions = crystal.positions @ turn.T
    calculator = RGNNCalculator(model, noise=0)
    np.testing.assert_allclose(forces(calculator, turned), forces(calculator, crystal) @ turn.T, atol=1e-5)


def test_each_call_draws_new_noise_and_calls_restarts_the_streams(model: RGNN, crystal: Atoms) -> None:
    calculator = RGNNCalculator(model, seed=5)
    first = forces(calculator, crystal)
    np.testing.assert_array_equal(forces(calculator, crystal), first)  # as any ASE calculator
    calculator.reset()
    second = forces(calculator, crystal)
    assert calculator.calls == 2
    assert not np.array_equal(first, second)
    again = RGNNCalculator(model, seed=5)
    again.calls = 1
    np.testing.assert_array_equal(forces(again, crystal), second)
    assert not np.array_equal(forces(RGNNCalculator(model, seed=6), crystal), first)
    np.testing.assert_array_equal(
        forces(RGNNCalculator(model), crystal), forces(RGNNCalculator(model, seed=0), crystal)
    )


def test_net_force_is_recorded_and_removed_on_request(model: RGNN, crystal: Atoms) -> None:
    kept, removed = RGNNCalculator(model, noise=0), RGNNCalculator(model, noise=0, remove_net_force=True)
    raw, balanced = forces(kept, crystal), forces(removed, crystal)
    np.testing.assert_allclose(kept.net_force, raw.sum(axis=0))
    np.testing.assert_allclose(removed.net_force, raw.sum(axis=0))
    assert np.abs(kept.net_force).max() > 1e-4
    np.testing.assert_allclose(balanced.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(balanced, raw - raw.mean(axis=0), atol=1e-12)


def test_a_folder_gives_the_forces_of_the_model(model: RGNN, crystal: Atoms, tmp_path) -> None:
    save_model(model, tmp_path / "model")
    np.testing.assert_array_equal(
        forces(RGNNCalculator(tmp_path / "model"), crystal), forces(RGNNCalculator(model), crystal)
    )
    with pytest.raises(InputError, match="nothing-here"):
        RGNNCalculator(tmp_path / "nothing-here")


@pytest.mark.parametrize("what", ["energy", "stress", "energies", "magmom"])
def test_there_is_nothing_but_forces(model: RGNN, crystal: Atoms, what: str) -> None:
    atoms = crystal.copy()
    atoms.calc = RGNNCalculator(model)
    with pytest.raises(PropertyNotImplementedError, match=f"gives forces and no {what}; take forces") as error:
        atoms.calc.get_property(what, atoms)
    assert "\n" not in str(error.value)
    with pytest.raises(NoEnergyError, match="--minimise"):
        atoms.get_potential_energy()
    assert "energy" not in atoms.calc.results


def test_optimisers_that_need_the_energy_get_a_sentence(model: RGNN, crystal: Atoms) -> None:
    atoms = crystal.copy()
    atoms.calc = RGNNCalculator(model)
    with pytest.raises(NoEnergyError, match="forces and no energy"):
        FIRE(atoms, logfile=None, downhill_check=True).run(fmax=0.1, steps=3)


def test_a_cell_smaller_than_the_cutoff_has_the_forces_of_its_supercell(model: RGNN) -> None:
    """The primitive cell has edges of 2.85 Angstrom, the cutoff is 3: atoms are neighbours of their own images."""
    small = bulk("LiF", "rocksalt", a=4.03)
    small.positions[1] += (0.1, -0.05, 0.2)
    assert small.cell.lengths().max() < model.settings.cutoff
    big = small.repeat((3, 2, 4))
    found, expected = forces(RGNNCalculator(model, noise=0), small), forces(RGNNCalculator(model, noise=0), big)
    np.testing.assert_allclose(np.tile(found, (24, 1)), expected, atol=1e-5)
    assert np.abs(found).max() > 1e-3


def test_a_slab_and_a_molecule_are_those_of_a_cell_with_room(model: RGNN, crystal: Atoms) -> None:
    slab = crystal.copy()
    slab.pbc = (True, True, False)
    roomy = slab.copy()
    roomy.center(vacuum=5.0, axis=2)
    roomy.pbc = True
    bare = slab.copy()  # as slab builders leave it: no cell vector out of the plane
    bare.set_cell([*slab.cell[:2], [0, 0, 0]])
    for other in (roomy, bare):
        np.testing.assert_allclose(
            forces(RGNNCalculator(model, noise=0), slab), forces(RGNNCalculator(model, noise=0), other), atol=1e-5
        )
    molecule = Atoms("Li2F2", crystal.positions[[0, 2, 1, 3]])
    boxed = molecule.copy()
    boxed.center(vacuum=5.0)
    boxed.pbc = True
    np.testing.assert_allclose(
        forces(RGNNCalculator(model, noise=0), molecule), forces(RGNNCalculator(model, noise=0), boxed), atol=1e-5
    )


def test_unknown_elements_are_refused_unless_allowed(model: RGNN) -> None:
    salt = bulk("NaF", "rocksalt", a=4.6, cubic=True)
    with pytest.raises(InputError, match=r"has Na, but the model was trained on Li, F only"):
        forces(RGNNCalculator(model), salt)
    assert np.isfinite(forces(RGNNCalculator(model, any_element=True), salt)).all()


def test_lonely_atoms_feel_nothing_and_are_named(model: RGNN) -> None:
    calculator = RGNNCalculator(model)
    np.testing.assert_array_equal(forces(calculator, Atoms("LiF", [[0, 0, 0], [50, 0, 0]])), np.zeros((2, 3)))
    assert calculator.isolated.tolist() == [True, True]
    forces(calculator, Atoms("LiFLi", [[0, 0, 0], [1.6, 0, 0], [50, 0, 0]]))
    assert calculator.isolated.tolist() == [False, False, True]


def test_positions_that_are_not_numbers_are_refused(model: RGNN) -> None:
    with pytest.raises(InputError, match="the position of atom 1 is"):
        forces(RGNNCalculator(model), Atoms("LiF", [[0, 0, 0], [np.nan, 0, 0]]))


def test_a_search_serves_many_steps(model: RGNN, crystal: Atoms) -> None:
    """Forces along a path are those of fresh calculators, whatever was kept from the step before."""
    calculator, atoms = RGNNCalculator(model, noise=0), crystal.copy()
    for step in range(8):
        atoms.rattle(0.02, seed=step)
        np.testing.assert_array_equal(forces(calculator, atoms), forces(RGNNCalculator(model, noise=0), atoms))
    assert calculator.neighbours.searches == 1
