"""The calculator of models with an energy, and what ASE does with one; the toy's derivatives are tested beside it."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from pair_energy import pair_energy

from rgnn import Graph, Hardware, RGNNCalculator
from rgnn.calculator import NoEnergyError
from rgnn.models.committee import Committee
from rgnn.models.inference import predict
from rgnn.models.uncertainty import Calibration, Scale, Uncertainty


def crystal() -> Atoms:
    atoms = bulk("LiF", "rocksalt", a=4.03, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def graph(atoms: Atoms) -> Graph:
    return Graph.from_positions(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, 3.8)


@pytest.fixture(scope="module")
def model():
    return pair_energy(graph(crystal()), shift=-1.5)


def test_energy_forces_and_stress_are_the_models(model) -> None:
    atoms = crystal()
    atoms.calc = RGNNCalculator(model, noise=0)
    assert atoms.calc.implemented_properties == ["energy", "free_energy", "forces", "stress"]
    found = predict(model, graph(atoms), model.read(model.hardware.with_given(None, 0)))
    assert atoms.get_potential_energy() == pytest.approx(found.energy[0])
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_array_equal(atoms.get_forces(), found.forces)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), found.stress[0], rtol=1e-12)
    assert atoms.calc.calls == 1  # one evaluation gives all of them
    assert RGNNCalculator.implemented_properties == []  # nothing is promised before the model is known


def test_the_stress_is_the_derivative_of_the_energy_by_strain(model) -> None:
    """In ASE's order and sign, by its own numerical stress, on the cells along a path of strains."""
    from ase.calculators.fd import calculate_numerical_stress

    smooth = pair_energy(shift=-1.5, share=0.0).double()
    for strain in (np.zeros((3, 3)), np.array([[0.03, 0.02, 0], [0, -0.02, 0.01], [0.01, 0, 0.01]])):
        atoms = crystal()
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
        atoms.calc = RGNNCalculator(smooth)
        numerical = calculate_numerical_stress(atoms, eps=1e-5, force_consistent=False)
        np.testing.assert_allclose(atoms.get_stress(), numerical, atol=1e-7)
        assert np.abs(numerical).min() > 1e-5


def test_the_volume_follows_the_cell_while_no_edge_comes_or_goes(model) -> None:
    atoms = crystal()
    kept = RGNNCalculator(model, noise=0)
    for scale in (1.0, 1.001, 1.002):
        moved = crystal()
        moved.set_cell(atoms.cell[:] * scale, scale_atoms=True)
        assert kept.get_property("stress", moved) == pytest.approx(
            RGNNCalculator(model, noise=0).get_property("stress", moved), rel=1e-12
        )


@pytest.mark.parametrize("pbc", [(True, True, False), False])
def test_what_is_not_periodic_has_an_energy_and_no_stress(model, pbc) -> None:
    atoms = crystal()
    atoms.pbc = pbc
    atoms.calc = RGNNCalculator(model)
    assert np.isfinite(atoms.get_potential_energy())
    with pytest.raises(PropertyNotImplementedError, match="not periodic in all three directions; set pbc") as error:
        atoms.get_stress()
    assert "\n" not in str(error.value) and isinstance(error.value, NoEnergyError)
    with pytest.raises(NoEnergyError, match="gives energy, forces and stress, and no magmom"):
        atoms.calc.get_property("magmom", atoms)


def test_the_net_force_of_an_energy_is_left_as_it_is(model) -> None:
    a, b = (RGNNCalculator(model, noise=0, remove_net_force=remove) for remove in (False, True))
    np.testing.assert_array_equal(a.get_property("forces", crystal()), b.get_property("forces", crystal()))


def test_lonely_atoms_have_their_energy() -> None:
    atoms = Atoms("LiF", [[0, 0, 0], [50, 0, 0]], cell=[90] * 3, pbc=True)
    model = pair_energy(shift=-1.5)
    for each in (model, Committee([model, pair_energy(shift=-2.5, seed=1)])):
        atoms.calc = RGNNCalculator(each)
        assert atoms.get_potential_energy() == -3.0 if each is model else -4.0
        assert not atoms.get_forces().any() and not atoms.get_stress().any()


def test_a_committee_gives_the_mean_and_its_uncertainty_takes_nothing_away(model) -> None:
    members = [model, pair_energy(graph(crystal()), shift=-1.5, seed=1)]
    committee = Committee(members)
    assert committee.outputs == model.outputs
    scales = tuple(Scale(element=z, floor=0.01, scale=1.0, limit=9.0) for z in (3, 9))
    known = Uncertainty(Calibration(method="committee", scales=scales, frames=1))
    one, other, mean = (RGNNCalculator(m, noise=0) for m in (*members, committee))
    unsure = RGNNCalculator(committee, noise=0, uncertainty=known)
    for name in ("energy", "forces", "stress"):
        expected = 0.5 * (one.get_property(name, crystal()) + other.get_property(name, crystal()))
        np.testing.assert_allclose(mean.get_property(name, crystal()), expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(unsure.get_property(name, crystal()), mean.get_property(name, crystal()))
    assert unsure.sigma is not None and (unsure.sigma > 0.01).all()


def test_read_noise_reaches_energy_forces_and_stress_alike(model) -> None:
    found = [RGNNCalculator(model, noise=0.05, seed=seed) for seed in (0, 0, 1)]
    for name in ("energy", "forces", "stress"):
        a, again, b = (np.asarray(c.get_property(name, crystal())) for c in found)
        np.testing.assert_array_equal(a, again)
        assert not np.array_equal(a, b)
    assert found[0].hardware == Hardware().with_given(None, 0.05)
