"""What ASE does with an energy and a stress, by the calculator: each against something that is known otherwise."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.mep import NEB
from ase.optimize import BFGS, FIRE, LBFGS
from ase.phonons import Phonons
from pair_energy import pair_energy

from rgnn import RGNNCalculator

MODEL = pair_energy(share=0.0).double()


def crystal(a: float = 2.45) -> Atoms:
    atoms = bulk("P", "fcc", a=a, cubic=True)
    atoms.calc = RGNNCalculator(MODEL)
    return atoms


@pytest.fixture(scope="module")
def length() -> float:
    """The lattice constant without pressure."""
    atoms = crystal()
    FIRE(FrechetCellFilter(atoms, hydrostatic_strain=True), logfile=None).run(fmax=1e-4, steps=300)
    return float(atoms.cell.lengths()[0])


@pytest.mark.parametrize("optimiser", [BFGS, FIRE, LBFGS])
def test_optimisers_lead_back_to_the_lattice(length, optimiser) -> None:
    perfect, atoms = crystal(length), crystal(length)
    atoms.rattle(0.05, seed=1)
    assert optimiser(atoms, logfile=None).run(fmax=1e-3, steps=300)
    assert atoms.get_potential_energy() == pytest.approx(perfect.get_potential_energy(), abs=1e-5)


def test_an_equation_of_state_finds_the_relaxed_volume_and_elastic_constants_its_bulk_modulus(length) -> None:
    volumes, energies = [], []
    for scale in np.linspace(0.985, 1.015, 9):
        atoms = crystal(length * scale)
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    volume, _, modulus = EquationOfState(volumes, energies).fit()
    assert volume == pytest.approx(length**3, rel=2e-3)

    def stress(strain: float) -> np.ndarray:
        atoms = crystal(length)
        atoms.set_cell(atoms.cell[:] @ np.diag([1 + strain, 1, 1]), scale_atoms=True)
        return atoms.get_stress()

    c11, c12 = ((stress(1e-4) - stress(-1e-4)) / 2e-4)[:2]
    assert (c11 + 2 * c12) / 3 == pytest.approx(modulus, rel=0.03)
    h, energy = 2e-3, []
    for strain in (-h, 0, h):
        atoms = crystal(length)
        atoms.set_cell(atoms.cell[:] @ np.diag([1 + strain, 1, 1]), scale_atoms=True)
        energy.append(atoms.get_potential_energy())
    assert c11 == pytest.approx((energy[0] - 2 * energy[1] + energy[2]) / h**2 / length**3, rel=0.01)


def test_phonons_have_three_acoustic_branches_and_no_others(tmp_path, length) -> None:
    primitive = bulk("P", "fcc", a=length)
    phonons = Phonons(primitive, RGNNCalculator(MODEL), supercell=(4, 4, 4), delta=0.01, name=str(tmp_path / "phonons"))
    phonons.run()
    phonons.read(acoustic=True)
    omega = phonons.band_structure([[0, 0, 0], [0.5, 0.5, 0], [0.25, 0.25, 0.25]], verbose=False)
    assert omega.shape == (3, 3) and np.abs(omega[0]).max() < 1e-4
    assert omega[1:].min() > 0.1 * omega.max()
    assert 1e-3 < omega.max() < 0.5 * units.Ha


def test_a_band_finds_the_barrier_of_a_vacancy(length) -> None:
    atoms = crystal(length).repeat(2)
    first = atoms[[k for k in range(len(atoms)) if k != 0]]
    neighbour = int(np.argmin([atoms.get_distance(0, k, mic=True) if k else 9 for k in range(len(atoms))])) - 1
    last = first.copy()
    last.positions[neighbour] = atoms.positions[0]
    images = [first.copy() for _ in range(4)] + [last]
    for image in images:
        image.calc = RGNNCalculator(MODEL)
    for end in (images[0], images[-1]):
        BFGS(end, logfile=None).run(fmax=1e-2, steps=100)
    band = NEB(images, k=1.0)
    band.interpolate(mic=True)
    FIRE(band, logfile=None).run(fmax=0.05, steps=60)
    energy = np.array([image.get_potential_energy() for image in images])
    assert energy[0] == pytest.approx(energy[-1], abs=1e-2)  # the same vacancy elsewhere
    assert energy[1:-1].max() > energy[0] + 0.02
    np.testing.assert_allclose(energy, energy[::-1], atol=0.05)
