"""Multiple time stepping: against plain runs, a known answer, reversal, restarts, and what cannot be asked."""

import json
import shutil

import ase.io
import numpy as np
import pytest
from ase import units
from ase.constraints import FixAtoms
from ase.md.verlet import VelocityVerlet
from listeners import Heard
from pair_energy import pair_energy
from springs import CONFIG, Springs, StopAt, assert_same, crystal

from rgnn import Graph, RGNNCalculator, run_md, save_model
from rgnn.base.errors import InputError, Interrupted
from rgnn.md import MDRecord, MDSettings, read_log, run_atoms
from rgnn.md.slow_model import SlowModel, TwoModels

# Two springs of different stiffness: each motion of the crystal is then a harmonic oscillator in both.
FAST, SLOW = 1.7, 2.0


def settings(**changes) -> MDSettings:
    base = {"steps": 24, "temperature": 200, "write_every": 4, "restart_every": 10, "seed": 7, "slow_every": 2}
    return MDSettings(**(base | {"ensemble": "nve", "trajectory": "both"} | changes))


def pairs(share=0.0):
    """A fast model with a softer well than that of the slow one, both with energies."""
    a = crystal()
    g = Graph.from_positions(a.numbers, a.positions, a.cell[:], a.pbc, 3.8)
    return pair_energy(g, share=share, depth=0.35), pair_energy(g, share=share, seed=1)


@pytest.mark.parametrize("ensemble", ["nve", "nvt", "bussi", "nose-hoover"])
def test_every_step_is_the_slow_model_alone(tmp_path, ensemble) -> None:
    fast, slow = pairs()
    run_atoms(crystal(), fast, settings(slow_every=1, ensemble=ensemble), tmp_path / "two", slow=SlowModel(slow))
    run_atoms(crystal(), slow, settings(slow_every=None, ensemble=ensemble), tmp_path / "one")
    for name in ("log.csv", "trajectory.xyz", "final.xyz"):
        assert (tmp_path / "two" / name).read_text() == (tmp_path / "one" / name).read_text()


def test_steps_are_the_three_kicks_of_respa(tmp_path) -> None:
    """Written out: half a kick of the correction over n steps, n steps of the fast model, half a kick."""
    fast, slow, n = Springs(FAST), Springs(SLOW), 4
    run_atoms(crystal(), fast, settings(slow_every=n, steps=12), tmp_path / "run", slow=SlowModel(slow))
    frames = ase.io.read(tmp_path / "run" / "trajectory.xyz", ":")
    atoms, dt = frames[0].copy(), units.fs
    quick, far = (RGNNCalculator(model, remove_net_force=True) for model in (fast, slow))

    def kick() -> None:
        atoms.set_momenta(atoms.get_momenta() + n * dt / 2 * (far.get_forces(atoms) - quick.get_forces(atoms)))

    for frame in frames[1:]:
        kick()
        atoms.calc = quick
        VelocityVerlet(atoms, dt).run(n)
        kick()
        np.testing.assert_allclose(frame.positions, atoms.positions, atol=1e-7)
        np.testing.assert_allclose(frame.get_momenta(), atoms.get_momenta(), atol=1e-6)
        np.testing.assert_allclose(frame.get_forces(), far.get_forces(atoms), atol=1e-6)


def oscillation(every: int, timestep: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions after `steps`, and what stays of those at the start when all velocities are turned round there."""
    atoms = crystal()
    atoms.rattle(0.02, seed=3)
    start = atoms.positions.copy()
    calculator = TwoModels(Springs(FAST), None, 0.0, 0, slow=SlowModel(Springs(SLOW)), every=every)
    atoms.calc, dynamics = calculator, VelocityVerlet(atoms, timestep * units.fs)
    dynamics.run(steps)
    there = atoms.positions.copy()
    atoms.set_momenta(-atoms.get_momenta())
    calculator.calls, calculator.atoms = 0, None  # asked again where it turns: a multiple of n, as the start
    VelocityVerlet(atoms, timestep * units.fs).run(steps)
    return there, atoms.positions - start


def test_it_can_be_reversed() -> None:
    there, back = oscillation(4, 1.0, 40)
    assert np.abs(there - crystal().positions).max() > 0.01
    assert np.abs(back).max() < 1e-10


def test_its_error_falls_with_the_square_of_the_timestep() -> None:
    """After the same 32 fs, against steps that are so short that nothing is left of it."""
    exact = oscillation(1, 0.1, 320)[0]
    errors = [np.abs(oscillation(4, dt, round(32 / dt))[0] - exact).max() for dt in (2.0, 1.0, 0.5)]
    assert errors[0] > 3e-5
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15) and errors[1] / errors[2] == pytest.approx(4, rel=0.15)


def test_the_slow_model_s_energy_is_conserved_and_the_verdict_says_so(tmp_path) -> None:
    """And not that of the fast model, which has another one."""
    fast, slow = pairs()
    config = settings(slow_every=4, steps=1200, restart_every=1200, trajectory="traj")
    result = run_atoms(crystal(), fast, config, tmp_path / "run", slow=SlowModel(slow))
    log = read_log(tmp_path / "run")
    for name in ("conserved_eV", "total_eV"):
        assert np.ptp(log[name]) < 0.02 * np.ptp(log["potential_eV"])
    assert result.conservation.startswith("good") and result.warning == ""
    assert result.slow_calls == 301 and 0 < result.slow_time < 1
    assert np.isfinite(log["pressure_GPa"]).all()


def test_a_run_that_ends_between_two_slow_steps_is_judged_as_any_other(tmp_path) -> None:
    """Its last step has no energy, but its log does."""
    fast, slow = pairs()
    config = settings(steps=402, slow_every=4, restart_every=500, trajectory="traj")
    result = run_atoms(crystal(), fast, config, tmp_path / "run", slow=SlowModel(slow))
    assert result.drift is not None and result.conservation and result.warning == ""


def test_a_thermostat_holds_the_temperature(tmp_path) -> None:
    config = settings(ensemble="nvt", steps=1200, timestep=2, slow_every=4, friction=0.1, restart_every=1200)
    config = config.override(trajectory="traj", write_every=8, temperature=300.0)
    result = run_atoms(crystal(2), Springs(FAST), config, tmp_path / "run", slow=SlowModel(Springs(SLOW)))
    assert result.temperature == pytest.approx(300, rel=0.05)


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
@pytest.mark.parametrize("step", [0, 5, 8, 13])
def test_a_stopped_and_resumed_run_equals_an_unbroken_one(tmp_path, ensemble, step: int) -> None:
    fast, slow = pairs(share=0.05)  # both with read noise
    fast.hardware = slow.hardware = fast.hardware.override(bits=4, noise=0.1)
    config, out = settings(slow_every=4, ensemble=ensemble), tmp_path / "cut"
    run_atoms(crystal(), fast, config, tmp_path / "whole", slow=SlowModel(slow))
    with pytest.raises(Interrupted, match=rf"step {step} as asked"):
        run_atoms(crystal(), fast, config, out, listener=Heard(StopAt(step)), slow=SlowModel(slow))
    shutil.copytree(out, tmp_path / "other")
    run_atoms(None, fast, config, out, resume=True, slow=SlowModel(slow))
    assert_same(tmp_path / "whole", out)
    with pytest.raises(InputError, match="another model"):
        run_atoms(None, fast, config, tmp_path / "other", resume=True, slow=SlowModel(fast))


def test_atoms_that_are_held_stay(tmp_path) -> None:
    atoms = crystal()
    atoms.set_constraint(FixAtoms([2]))
    fast, slow = pairs()
    run_atoms(atoms, fast, settings(), tmp_path / "run", slow=SlowModel(slow))
    end = ase.io.read(tmp_path / "run" / "final.xyz")
    np.testing.assert_array_equal(end.positions[2], atoms.positions[2])
    assert not np.array_equal(end.positions[3], atoms.positions[3])


def test_noise_of_the_fast_model_is_not_multiplied() -> None:
    """Two reads of the same atoms differ where the fast model moves them alone, and nowhere else."""
    fast, slow = pairs(share=0.05)
    fast.hardware = fast.hardware.override(bits=8, noise=0.1)
    atoms = crystal()
    atoms.rattle(0.1, seed=1)
    found = []
    for seed in (0, 1):
        calculator = TwoModels(fast, None, None, seed, slow=SlowModel(slow, "ideal"), every=3)
        rows = []
        for _ in range(4):
            calculator.calculate(atoms)
            rows.append(calculator.results["forces"])
        found.append(rows)
    differ = [not np.array_equal(a, b) for a, b in zip(*found, strict=True)]
    assert differ == [False, True, True, False]
    np.testing.assert_array_equal(found[0][0], found[0][3])


def test_what_a_slow_model_cannot_share_is_refused(tmp_path) -> None:
    fast, slow = pairs()
    with pytest.raises(InputError, match=r"write_every is 10, but .* every 4 steps.*multiple of 4, such as 8"):
        MDSettings(slow_every=4)
    with pytest.raises(InputError, match="stress of one model"):
        MDSettings(slow_every=2, ensemble="npt")
    with pytest.raises(InputError, match="LAMMPS asks one model"):
        MDSettings(slow_every=2, engine="lammps")
    with pytest.raises(InputError, match="no slow model is named"):
        run_atoms(crystal(), fast, settings(), tmp_path / "a")
    with pytest.raises(InputError, match="slow_every does not say"):
        run_atoms(crystal(), fast, CONFIG, tmp_path / "a", slow=SlowModel(slow))
    slow.provenance = slow.provenance.override(elements=(8,))
    with pytest.raises(InputError, match="trained on O only"):
        run_atoms(crystal(), fast, settings(), tmp_path / "a", slow=SlowModel(slow))
    assert not (tmp_path / "a" / "log.csv").exists()


def test_run_md_takes_models_and_folders(tmp_path) -> None:
    fast, slow = pairs(share=0.05)
    save_model(fast, tmp_path / "fast")
    save_model(slow, tmp_path / "slow")
    ase.io.write(tmp_path / "start.xyz", crystal())
    options = {"steps": 8, "ensemble": "nve", "slow_hardware": "ideal", "write_every": 4, "slow_every": 4}
    a = run_md(crystal(), fast, tmp_path / "a", slow_model=slow, **options)
    b = run_md(tmp_path / "start.xyz", tmp_path / "fast", tmp_path / "b", slow_model=tmp_path / "slow", **options)
    assert a.slow_calls == b.slow_calls == 3
    assert (tmp_path / "a/log.csv").read_text() == (tmp_path / "b/log.csv").read_text()
    record = MDRecord.read(tmp_path / "b")
    assert record.origin.slow_model == str(tmp_path / "slow") and record.md.slow_every == 4
    assert record.slow_model_fingerprint != record.model_fingerprint
    shutil.move(tmp_path / "slow", tmp_path / "moved")
    with pytest.raises(InputError, match="slow"):
        run_md(None, None, resume=tmp_path / "b", steps=12)
    longer = run_md(None, None, resume=tmp_path / "b", steps=12, slow_model=tmp_path / "moved")
    assert longer.steps == 12 and json.loads((tmp_path / "b/summary.json").read_text())["slow_calls"] == 1
