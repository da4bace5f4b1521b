"""Runs at constant pressure: against ASE's integrators and known volumes; exact restarts; what conserves energy."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.md import nose_hoover_chain as theirs
from pair_energy import pair_energy
from springs import Springs, StopAt, assert_same
from springs import crystal as small_crystal

from rgnn import Graph, RGNNCalculator
from rgnn.analysis import AnalysisSettings, analyse
from rgnn.analysis.trajectory import open_trajectory
from rgnn.base.errors import InputError, Interrupted
from rgnn.base.events import Listener
from rgnn.md import MDSettings, Stage, opened, read_log, run_atoms
from rgnn.md.barostat import FREEDOM, Barostat, CellIntegrator, integrate_chain
from rgnn.md.drift import drift, slope_with_error, with_error


def argon():
    atoms = bulk("LiF", "rocksalt", a=4.2, cubic=True)
    atoms.rattle(0.1, seed=2)
    rng = np.random.default_rng(0)
    atoms.set_momenta(rng.normal(size=(8, 3)) * np.sqrt(units.kB * 500 * atoms.get_masses())[:, None])
    atoms.calc = RGNNCalculator(pair_energy(share=0.0).double())
    return atoms


@pytest.mark.skipif(not hasattr(theirs, "IsotropicMTKNPT"), reason="this ASE has no such integrator")
@pytest.mark.parametrize("cell", ["isotropic", "full"])
def test_steps_are_those_of_ase(cell) -> None:
    """With 3 N degrees of freedom, as ASE counts, and its masses of the cell's chain set to ours."""
    ours, other = argon(), argon()
    kelvin, pressure, dt = 500, 2 * units.GPa, 1.5 * units.fs
    make = theirs.IsotropicMTKNPT if cell == "isotropic" else theirs.MTKNPT
    dynamics = make(other, dt, kelvin, pressure, tdamp=100 * units.fs, pdamp=300 * units.fs)
    dynamics._barostat._cell_dof = FREEDOM[cell]
    dynamics._barostat._R[0] = FREEDOM[cell] * units.kB * kelvin * (300 * units.fs) ** 2
    settings = MDSettings(timestep=1.5, ensemble="npt", cell=cell, barostat_time=300)
    mine, state = CellIntegrator(ours, settings, 24), Barostat.at_rest()
    constant = []
    for _ in range(40):
        forces, stress = ours.get_forces(), ours.get_stress(voigt=False)
        mine.step(state, forces, stress, kelvin, pressure, bath=True)
        dynamics.step()
        held = mine.energy(state, kelvin, pressure, bath=True)
        constant.append(held + ours.get_total_energy())
    np.testing.assert_allclose(ours.positions, other.positions, atol=1e-9)
    np.testing.assert_allclose(ours.cell[:], other.cell[:], atol=1e-9)
    np.testing.assert_allclose(ours.get_momenta(), other.get_momenta(), atol=1e-9)
    assert constant[-1] == pytest.approx(dynamics.get_conserved_energy(), abs=1e-8)
    assert abs(ours.get_volume() / argon().get_volume() - 1) > 1e-3


def test_the_chain_is_that_of_ase() -> None:
    p, masses, kt = np.random.default_rng(1).normal(size=(5, 3)), np.ones((5, 1)), units.kB * 300
    chain = theirs.NoseHooverChainThermostat(5, masses, 300, 20.0)
    velocities, weights = np.zeros(3), chain._Q.copy()
    expected = p.copy()
    for _ in range(5):
        expected = chain.integrate_nhc(expected, 0.7)
        scale, _ = integrate_chain(velocities, weights, kt, 15, float((p**2).sum()), 0.7)
        p = p * scale
    np.testing.assert_allclose(p, expected, rtol=1e-12)
    np.testing.assert_allclose(velocities, chain._p_eta / weights, rtol=1e-10)


def npt(**changes):
    base = {"steps": 24, "temperature": 400, "ensemble": "npt", "timestep": 2, "barostat_time": 200, "write_every": 3}
    return MDSettings(**{**base, "restart_every": 10, "seed": 7, "pressure": 1.0, **changes})


@pytest.fixture(scope="module")
def model():
    return pair_energy(share=0.0).double()


@pytest.mark.parametrize("cell", FREEDOM)
@pytest.mark.parametrize("ensemble", ["npt", "nph"])
def test_a_stopped_and_resumed_run_is_the_unbroken_one(tmp_path, model, cell, ensemble) -> None:
    settings = npt(cell=cell, ensemble=ensemble, noise=0.05)
    a = small_crystal()
    noisy = pair_energy(Graph.from_positions(a.numbers, a.positions, a.cell[:], a.pbc, 3.8), share=0.05)
    run_atoms(small_crystal(), noisy, settings, tmp_path / "whole")

    class Stop(Listener):
        stop = StopAt(13)

    with pytest.raises(Interrupted):
        run_atoms(small_crystal(), noisy, settings, tmp_path / "cut", listener=Stop())
    run_atoms(None, noisy, settings, tmp_path / "cut", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "cut")
    with opened(tmp_path / "cut") as frames:
        first, last = frames[0], frames[-1]
        change = last.cell[:] @ np.linalg.inv(first.cell[:])
        assert last.get_potential_energy() != first.get_potential_energy() and last.get_stress().any()
    assert abs(np.linalg.det(change) - 1) > 1e-4
    if cell == "isotropic":
        np.testing.assert_allclose(change, change[0, 0] * np.eye(3), atol=1e-12)
    if cell == "anisotropic":
        np.testing.assert_allclose(change, np.diag(np.diag(change)), atol=1e-12)
    if cell == "full":
        np.testing.assert_allclose(change, change.T, atol=1e-3)


@pytest.mark.parametrize("ensemble", ["npt", "nph", "nve", "nvt", "nose-hoover"])
def test_energy_is_conserved_and_the_interval_says_how_well(tmp_path, model, ensemble) -> None:
    settings = npt(ensemble=ensemble, steps=1200, timestep=1, restart_every=1200, trajectory="traj", temperature=200)
    result = run_atoms(small_crystal(), model, settings, tmp_path / "run")
    log = read_log(tmp_path / "run")
    assert np.ptp(log["conserved_eV"]) < 0.1 * np.ptp(log["potential_eV"])
    assert result.drift is not None and abs(result.drift) < max(1.0, 2 * result.drift_error)
    assert result.conservation.startswith(("good", "noticeable", "the run is too short"))
    assert result.warning == ""  # direct forces do not conserve energy; these do
    assert np.isnan(log["work_eV"][1:]).all() == (ensemble in ("npt", "nph"))
    assert ("while the cell moves" in result.heating) == (ensemble in ("npt", "nph"))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    unknown = ensemble in ("npt", "nph")  # and so no number, nor a zero, stands for it
    assert all((summary[name] is None) == unknown for name in ("work", "heat", "temperature_shift"))
    assert (analyse(open_trajectory(tmp_path / "run"), AnalysisSettings()).work is None) == unknown
    assert summary["potential_energy"] == pytest.approx(log["potential_eV"][len(log["step"]) // 2 :].mean(), rel=1e-3)


def test_pressure_and_volume_come_to_those_asked_for(tmp_path, model) -> None:
    """At low temperature the volume is the one at which the static crystal has this pressure."""
    volumes, close = [], bulk("P", "fcc", a=2.45, cubic=True).repeat(2)  # the closest packing, which nothing undercuts
    for pressure in (0.0, 10.0):
        settings = npt(steps=1500, temperature=100, pressure=pressure, restart_every=1500, friction=0.02, seed=1)
        result = run_atoms(close, model, settings, tmp_path / f"{pressure}")
        log = read_log(tmp_path / f"{pressure}")
        half = len(log["step"]) // 2
        assert log["pressure_GPa"][half:].mean() == pytest.approx(pressure, abs=1)
        volumes.append(result.volume)
        lengths = np.linspace(0.97, 1.03, 121) * result.volume ** (1 / 3)
        static = close.copy()
        static.calc = RGNNCalculator(model, any_element=True)
        found = []
        for a in lengths:
            static.set_cell([a] * 3, scale_atoms=True)
            found.append(-static.get_stress()[:3].mean() / units.GPa)
        expected = np.interp(-pressure, -np.array(found), lengths) ** 3
        assert result.volume == pytest.approx(expected, rel=0.015)
        assert result.density == pytest.approx(close.copy().get_masses().sum() / 0.60221408 / result.volume, rel=1e-3)
        assert result.density_fluctuation == pytest.approx(log["density_g_cm3"][half:].std(), rel=1e-6)
        assert 1e-3 < result.density_fluctuation / result.density < 0.05
    assert volumes[1] < 0.97 * volumes[0]


def test_stages_change_between_fixed_and_moving_cells(tmp_path, model) -> None:
    stages = (
        Stage(name="warm", steps=12, temperature=300, ensemble="nvt"),
        Stage(name="press", steps=12, temperature=300, ensemble="npt"),
        Stage(name="hold", steps=12, temperature=300, ensemble="nve"),
    )
    settings = npt(stages=stages, steps=None, temperature=None, ensemble="nvt")
    run_atoms(small_crystal(), model, settings, tmp_path / "run")
    volume = read_log(tmp_path / "run")["volume_A3"]
    assert np.ptp(volume[:5]) == 0 and np.ptp(volume[4:9]) > 1e-3 and np.ptp(volume[8:]) == 0


def test_what_cannot_be_run_at_constant_pressure_is_refused(tmp_path, model) -> None:
    for ensemble in ("npt", "nph"):
        with pytest.raises(InputError, match=f"ensemble is {ensemble}, which needs a stress"):
            run_atoms(small_crystal(), Springs(), npt(ensemble=ensemble, any_element=True), tmp_path / "a")
    slab = small_crystal()
    slab.pbc = (True, True, False)
    with pytest.raises(InputError, match="not periodic in all three directions; take nvt"):
        run_atoms(slab, model, npt(), tmp_path / "b")
    assert not (tmp_path / "a" / "log.csv").exists() and not (tmp_path / "b" / "log.csv").exists()


def test_a_drift_is_found_with_its_interval() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    time = np.arange(400) * 10.0
    for _ in range(40):
        noise = np.convolve(rng.normal(size=430), np.ones(10), "valid")[:400]
        slope, half = slope_with_error(time / 1000, 0.5 * time / 1000 + noise)
        inside += abs(slope - 0.5) < half
    assert 33 <= inside <= 40
    log = {
        "step": np.arange(400) * 10.0,
        "time_fs": time,
        "conserved_eV": 8 * 2e-6 * time + 1e-6 * rng.normal(size=400),
    }
    settings = SimpleNamespace(stage_at=lambda step: (0, Stage(steps=4000, temperature=1)))
    settings.begins, settings.ensemble_at = lambda place: 0, lambda step: "nve"
    found = drift(log, settings, 8)
    assert found.slope == pytest.approx(2.0, rel=1e-3) and found.verdict.startswith("too much: drifts by +2")


def test_a_cell_that_does_not_move_has_a_density_that_does_not_fluctuate(model, tmp_path) -> None:
    """Exactly: the mean of equal densities rounds."""
    cell = bulk("P", "fcc", a=2.45, cubic=True)
    cell.set_cell(cell.cell * 1.0123, scale_atoms=True)
    settings = MDSettings(steps=60, temperature=400, ensemble="nve", write_every=3, restart_every=10, seed=7)
    result = run_atoms(cell, model, settings, tmp_path / "run")
    assert result.density_fluctuation == 0.0


@pytest.mark.parametrize(
    ("value", "half", "said"),
    [(46.2, 37.0, "46 ± 37"), (0.0942, 0.012, "0.09 ± 0.01"), (3.4, 3.0, "3 ± 3"), (2.0, 3e-4, "2.0000 ± 0.0003")],
)
def test_an_error_has_one_digit_and_its_value_as_many_places(value, half, said) -> None:
    assert with_error(value, half) == said
