import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.constraints import (
    FixAtoms,
    FixBondLength,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedPlane,
    FixInternals,
    Hookean,
)
from ase.io.trajectory import Trajectory
from listeners import Heard
from pair_energy import pair_energy
from springs import CONFIG, Springs, StopAt, assert_same, crystal

from rgnn import Graph
from rgnn.base.errors import InputError, Interrupted
from rgnn.md import MDSettings, State, element_temperature, read_log, read_structure, run_atoms
from rgnn.md.constraints import constraints_of, freedom, hold
from rgnn.md.relax import RelaxSettings, relax
from rgnn.plots.dynamics import run_figure

EACH = [
    (FixAtoms([0, 5]), 18),
    (FixCartesian([1, 2], mask=(True, False, False)), 22),
    (FixedPlane([3], (1, 1, 0)), 23),
    (FixedLine([3], (1, 2, 0)), 22),
    (FixBondLengths([(0, 1), (2, 3)]), 19),
]


def held(*constraints) -> Atoms:
    atoms = crystal()
    atoms.rattle(0.03, seed=2)
    atoms.set_constraint(list(constraints))
    return atoms


@pytest.mark.parametrize("ensemble", ["nvt", "bussi", "nose-hoover", "nve"])
@pytest.mark.parametrize(("constraint", "left"), EACH, ids=lambda c: type(c).__name__)
def test_each_is_kept_and_a_resumed_run_is_the_same(tmp_path, constraint, left: int, ensemble: str) -> None:
    config = CONFIG.override(ensemble=ensemble)
    start = held(constraint)
    run_atoms(start, Springs(), config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run_atoms(start, Springs(), config, tmp_path / "cut", listener=Heard(StopAt(13)))
    run_atoms(None, Springs(), config, tmp_path / "cut", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "cut")
    state = State.load(tmp_path / "whole", Springs(), config)
    assert state.atoms.get_number_of_degrees_of_freedom() == left
    last = Trajectory(tmp_path / "whole" / "trajectory.traj")[-1]
    assert [type(c) for c in last.constraints] == [type(constraint)]
    moved = last.positions - start.positions
    assert np.abs(moved).max() > 0.02
    if isinstance(constraint, FixAtoms):
        np.testing.assert_array_equal(moved[[0, 5]], 0)
        again = read_structure(tmp_path / "whole" / "final.xyz")
        assert constraints_of(again) == constraints_of(start)
    elif isinstance(constraint, FixCartesian):
        np.testing.assert_array_equal(moved[[1, 2], 0], 0)
    elif isinstance(constraint, FixedPlane):
        assert moved[3] @ (1, 1, 0) == pytest.approx(0, abs=1e-12)
    elif isinstance(constraint, FixedLine):
        assert np.linalg.norm(np.cross(moved[3], (1, 2, 0))) == pytest.approx(0, abs=1e-12)
    else:
        for a, b in constraint.pairs:
            assert last.get_distance(a, b, mic=True) == pytest.approx(start.get_distance(a, b, mic=True), abs=1e-8)


def test_fixed_bonds_have_no_pressure_since_they_push_too(tmp_path) -> None:
    """The model's own stress of this crystal is tens of GPa off what would be measured."""
    a = crystal()
    model = pair_energy(Graph.from_positions(a.numbers, a.positions, a.cell[:], a.pbc, 3.8), share=0.0)
    for name, constraint in (("bonds", FixBondLengths([(0, 1), (2, 3)])), ("places", FixAtoms([0]))):
        config = CONFIG.override(trajectory="traj")
        result = run_atoms(held(constraint), model, config, tmp_path / name)
        run_figure(tmp_path / name, tmp_path / f"{name}.png")
        assert (result.pressure is None) == ("pressure_GPa" not in read_log(tmp_path / name)) == (name == "bonds")
        assert result.density == pytest.approx(2.63, abs=0.05)
        state = relax(held(constraint), model, RelaxSettings(steps=2), tmp_path / f"{name} relaxed").after
        assert (state.pressure is None) == (name == "bonds") and state.volume is not None


def test_degrees_of_freedom_of_atoms_add_up() -> None:
    for constraint, left in EACH:
        atoms = held(constraint)
        hold(atoms, constraints_of(atoms))
        assert freedom(atoms).sum() == pytest.approx(left) == atoms.get_number_of_degrees_of_freedom()
    assert freedom(held()).sum() == pytest.approx(21)


@pytest.mark.parametrize("ensemble", ["nvt", "bussi"])
def test_held_atoms_leave_the_others_their_temperature(tmp_path, ensemble: str) -> None:
    start = held(FixAtoms([0, 3, 6]), FixCartesian([1], mask=(False, False, True)))
    config = MDSettings(steps=4000, timestep=2, friction=0.05, ensemble=ensemble, write_every=5, trajectory="xyz")
    run_atoms(start, Springs(), config, tmp_path / "run")
    log = read_log(tmp_path / "run")
    assert log["temperature_K"][60:].mean() == pytest.approx(300, rel=0.08)
    assert log["T_F"][100:].mean() == pytest.approx(300, rel=0.1)


def test_velocities_start_within_bonds() -> None:
    """Maxwell and Boltzmann's, projected: each degree of freedom that is left has half of kT."""
    atoms = crystal(4)
    pairs = [(k, k + 1) for k in range(0, len(atoms), 2)]
    atoms.set_constraint(FixBondLengths(pairs))
    state = State.start(atoms, Springs(), MDSettings(temperature=500))
    assert 2 * state.kinetic_start / (units.kB * (1.5 - 3 / len(atoms) + 1) * len(atoms)) == pytest.approx(500, rel=0.1)
    assert element_temperature(state.atoms, 3) == pytest.approx(500, rel=0.15)
    np.testing.assert_allclose(state.atoms.get_momenta().sum(axis=0), 0, atol=1e-9)


def test_what_cannot_be_kept_is_refused_in_a_sentence() -> None:
    def refused(match: str, *constraints) -> None:
        with pytest.raises(InputError, match=match) as error:
            constraints_of(held(*constraints), "x.traj")
        assert str(error.value).startswith("x.traj: ")
        assert "\n" not in str(error.value)

    refused("Hookean", Hookean(0, 1, 5.0, 2.0))
    refused("FixInternals", FixInternals(bonds=[[2.0, [0, 1]]]))
    refused("atom 1 is under two", FixAtoms([1]), FixCartesian([1]))
    refused("atom 0 is under two", FixAtoms([0]), FixBondLength(0, 1))
    refused("no atom to move", FixAtoms(range(8)))
    refused("an atom that is not there", FixAtoms([99]))
    assert constraints_of(held(FixCom())) == ()
    assert constraints_of(held(FixCartesian([1], mask=(False, False, False)))) == ()
    with pytest.raises(InputError, match="Hookean is none that dynamics keeps"):
        hold(crystal(), [{"name": "Hookean", "kwargs": {}}])


def test_a_mask_of_an_extended_xyz_file_is_kept(tmp_path) -> None:
    ase.io.write(tmp_path / "x.xyz", held(FixCartesian([1], mask=(True, False, False)), FixAtoms([4])))
    kept = constraints_of(read_structure(tmp_path / "x.xyz"))
    assert sorted(c["kwargs"]["a"][0] for c in kept) == [1, 4]


def test_the_net_force_is_removed_from_all_atoms_held_or_not(tmp_path) -> None:
    """True forces on all atoms add up to zero, so the removal never leads farther from them."""

    class Leaning(Springs):
        def predict(self, g, reading):
            found = super().predict(g, reading)
            found.forces[:, 2] += 0.4
            return found

    start = held(FixAtoms([0, 5]))
    run_atoms(start, Springs(), CONFIG, tmp_path / "true")
    run_atoms(start, Leaning(), CONFIG, tmp_path / "leaning")
    logs = [read_log(tmp_path / name) for name in ("true", "leaning")]
    np.testing.assert_allclose(logs[0]["max_force"], logs[1]["max_force"], rtol=1e-6)
    assert logs[1]["net_force"][0] == pytest.approx(8 * 0.4)
