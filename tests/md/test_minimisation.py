import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.neighborlist import neighbor_list
from listeners import Heard
from springs import CONFIG, DISTANCE, Springs, crystal

from rgnn.base.errors import BrokenRunError, Interrupted
from rgnn.md import minimise, run_atoms


class Harmonic(Calculator):
    """Forces -K (r - r0) with a matrix K of all coordinates, and no energy."""

    implemented_properties = ["forces"]  # noqa: RUF012

    def __init__(self, rest: np.ndarray, stiffness: np.ndarray) -> None:
        super().__init__()
        self.rest, self.stiffness = rest, stiffness

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        away = (self.atoms.positions - self.rest).ravel()
        self.results["forces"] = -(self.stiffness @ away).reshape(-1, 3)


@pytest.fixture
def bowl() -> tuple[Atoms, Harmonic]:
    """Four atoms in a harmonic bowl whose stiffness spans two orders of magnitude, 1 Angstrom from the bottom."""
    rng = np.random.default_rng(0)
    rest = rng.uniform(0, 8, (4, 3))
    axes = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    atoms = Atoms("Li4", rest + rng.normal(0, 1, (4, 3)))
    atoms.calc = Harmonic(rest, axes @ np.diag(np.geomspace(0.2, 20, 12)) @ axes.T)
    return atoms, atoms.calc


def test_it_finds_the_bottom_by_forces_alone(bowl) -> None:
    atoms, calculator = bowl
    found = minimise(atoms, 1e-4, 1000)
    assert found.converged
    assert found.steps < 400
    assert found.before > 1 > 1e-4 >= found.after
    np.testing.assert_allclose(atoms.positions, calculator.rest, atol=1e-3)


def test_it_stops_at_the_limit_and_says_so(bowl) -> None:
    found = minimise(bowl[0], 1e-9, 7)
    assert (found.converged, found.steps) == (False, 7)
    assert 1e-9 < found.after < found.before


def test_held_atoms_stay(bowl) -> None:
    atoms, calculator = bowl
    start = atoms.positions.copy()
    atoms.set_constraint(FixAtoms([2]))
    assert minimise(atoms, 1e-4, 1000).converged
    np.testing.assert_array_equal(atoms.positions[2], start[2])
    free = np.delete(np.arange(12), [6, 7, 8])  # the minimum given the held atom, from a linear system
    k, away = calculator.stiffness, (start - calculator.rest).ravel()
    expected = -np.linalg.solve(k[np.ix_(free, free)], k[np.ix_(free, [6, 7, 8])] @ away[[6, 7, 8]])
    np.testing.assert_allclose((atoms.positions - calculator.rest).ravel()[free], expected, atol=1e-2)


def test_it_stops_when_asked_and_at_broken_forces(bowl) -> None:
    with pytest.raises(Interrupted, match="while minimising"):
        minimise(bowl[0], 1e-4, 10, stop=lambda: True)
    bowl[0].calc.stiffness[0, 0] = np.nan
    with pytest.raises(BrokenRunError, match="not finite"):
        minimise(bowl[0], 1e-4, 10)


def test_a_run_can_start_with_it(tmp_path) -> None:
    start, said = crystal(), []
    start.rattle(0.08, seed=3)
    run_atoms(start, Springs(), CONFIG.override(minimise=0.01), tmp_path / "run", listener=Heard(info=said.append))
    assert "Minimised: the largest force went from" in said[0]
    relaxed = ase.io.read(tmp_path / "run" / "minimised.xyz")
    np.testing.assert_allclose(neighbor_list("d", relaxed, 2.6), DISTANCE, atol=0.02)
    assert np.ptp(neighbor_list("d", start, 2.6)) > 0.2
    first = ase.io.read(tmp_path / "run" / "trajectory.xyz", 0)
    np.testing.assert_allclose(first.positions, ase.io.read(tmp_path / "run" / "minimised.xyz").positions, atol=1e-7)
