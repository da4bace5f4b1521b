"""Temperature and fluctuations in each ensemble, ramps and stages, restarts in the middle of them."""

import ase.io
import numpy as np
import pytest
import torch
from ase import units
from ase.md.nose_hoover_chain import NoseHooverChainNVT
from listeners import Heard
from springs import CONFIG, Springs, StopAt, assert_same, crystal

from rgnn import RGNNCalculator
from rgnn.base.errors import InputError, Interrupted
from rgnn.md import MDSettings, Stage, State, read_log, run_atoms
from rgnn.md.integrators import Integrator
from rgnn.md.thermometry import thermometer
from rgnn.models.base import Prediction
from rgnn.plots.dynamics import second_half

THERMOSTATS = ("nvt", "bussi", "nose-hoover")
STAGES = (
    Stage(name="melt", steps=6, temperature=900),
    Stage(name="quench", steps=11, temperature_from=900, temperature_to=200, ensemble="bussi"),
    Stage(name="hold", steps=7, temperature=200, ensemble="nose-hoover"),
)


class Pumping(Springs):
    """Springs, and forces that are no gradient: across each bond, so that circling atoms gain energy."""

    def forward(self, g, reading=None):
        across = 0.05 * torch.linalg.cross(g.edge_vector, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64))
        return Prediction(super().forward(g).forces.index_add(0, g.edge_index[0], across))


@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_each_thermostat_samples_the_canonical_ensemble(tmp_path, ensemble: str) -> None:
    """Eight atoms: 3 N degrees of freedom instead of 3 N - 3 would show as 14%; Var T = 2 T^2 / f."""
    friction = 0.1 if ensemble == "nose-hoover" else 0.03  # a slow chain takes long to wander through all energies
    config = MDSettings(
        steps=4000, temperature=300, timestep=2, ensemble=ensemble, friction=friction, write_every=5, trajectory="xyz"
    )
    start = crystal()
    run_atoms(start, Springs(), config, tmp_path / "run")
    log = read_log(tmp_path / "run")
    kelvin = log["temperature_K"][100:]
    assert kelvin.mean() == pytest.approx(300, rel=0.05)
    assert kelvin.var() == pytest.approx(2 * 300**2 / 21, rel=0.35)
    assert log["T_Li"][100:].mean() == pytest.approx(300, rel=0.1)
    final = ase.io.read(tmp_path / "run" / "final.xyz")
    np.testing.assert_allclose(final.get_center_of_mass(), start.get_center_of_mass(), atol=1e-6)


def test_the_chain_is_that_of_ase_where_no_centre_of_mass_is_fixed() -> None:
    config = MDSettings(temperature=400, ensemble="nose-hoover", timestep=1.5)
    state = State.start(crystal(), Springs(), config)
    state.atoms.set_constraint()
    theirs = state.atoms.copy()
    for atoms in (state.atoms, theirs):
        atoms.calc = RGNNCalculator(Springs(), any_element=True)
    dynamics = NoseHooverChainNVT(theirs, 1.5 * units.fs, temperature_K=400, tdamp=100 * units.fs)
    ours, forces = Integrator(state, config), state.atoms.get_forces()
    for _ in range(40):
        forces = ours.step(forces)
        state.step += 1
        dynamics.step()
    np.testing.assert_allclose(state.atoms.positions, theirs.positions, atol=1e-10)
    np.testing.assert_allclose(state.atoms.get_momenta(), theirs.get_momenta(), atol=1e-9)
    assert np.abs(theirs.positions - crystal().positions).max() > 0.05


@pytest.mark.parametrize("ensemble", ["bussi", "nose-hoover", "nve"])
@pytest.mark.parametrize("step", [0, 7])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, ensemble: str, step: int) -> None:
    config = CONFIG.override(ensemble=ensemble)
    run_atoms(crystal(), Springs(), config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run_atoms(crystal(), Springs(), config, tmp_path / "cut", listener=Heard(StopAt(step)))
    run_atoms(None, Springs(), config, tmp_path / "cut", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("step", [4, 6, 12, 17, 20])
def test_stages_go_on_where_they_were(tmp_path, step: int) -> None:
    """In a stage, at the seams between two, and in the middle of a ramp."""
    config = CONFIG.override(steps=24, temperature=900.0, stages=STAGES)
    run_atoms(crystal(), Springs(), config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run_atoms(crystal(), Springs(), config, tmp_path / "cut", listener=Heard(StopAt(step)))
    run_atoms(None, Springs(), config, tmp_path / "cut", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "cut")


def test_the_target_follows_the_step(tmp_path) -> None:
    config = MDSettings(stages=STAGES, write_every=1)
    assert (config.total_steps, config.initial_temperature) == (24, 900)
    target = [config.target(step) for step in range(25)]
    assert target[:7] == [900] * 7
    np.testing.assert_allclose(target[6:18], np.linspace(900, 200, 12))
    assert target[17:] == [200] * 8
    assert [config.ensemble_at(step) for step in (0, 6, 7, 17, 18, 24)] == ["nvt"] * 2 + ["bussi"] * 2 + [
        "nose-hoover"
    ] * 2
    run_atoms(crystal(), Springs(), config, tmp_path / "run")
    np.testing.assert_allclose(read_log(tmp_path / "run")["target_K"], target)


@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_temperature_follows_a_ramp(tmp_path, ensemble: str) -> None:
    ramp = Stage(name="ramp", steps=1600, temperature_from=100, temperature_to=900)
    config = MDSettings(stages=(ramp,), ensemble=ensemble, timestep=2, friction=0.05, trajectory="xyz", write_every=4)
    result = run_atoms(crystal(2), Springs(), config, tmp_path / "run")
    log = read_log(tmp_path / "run")
    for part in (slice(60, 200), slice(260, 400)):
        assert log["temperature_K"][part].mean() == pytest.approx(log["target_K"][part].mean(), rel=0.1)
    assert "while the temperature is changed" in result.heating


def test_means_are_those_of_the_last_stage_as_their_intervals_are(tmp_path) -> None:
    """The second half of all steps would mix 100 K with 900 K."""
    stages = (Stage(steps=60, temperature=100), Stage(steps=40, temperature=900))
    config = MDSettings(stages=stages, write_every=2, friction=0.2, trajectory="traj")
    result = run_atoms(crystal(2), Springs(), config, tmp_path / "run")
    log = read_log(tmp_path / "run")
    mine = log["step"] >= 80
    assert result.temperature == pytest.approx(log["temperature_K"][mine].mean())
    assert result.temperature == pytest.approx(thermometer(log, config).temperature.value)
    assert result.element_temperature["Li"] == pytest.approx(log["T_Li"][mine].mean())
    assert [frame.info["step"] for frame in second_half(tmp_path / "run")] == log["step"][mine].tolist()


def test_stages_from_yaml_and_their_contradictions() -> None:
    given = {"stages": [{"name": "a", "steps": 5, "temperature": 10}, {"steps": 3, "temperature": 20}]}
    config = MDSettings.from_mapping(given)
    assert config.total_steps == 8
    assert MDSettings.from_mapping(config.to_mapping()) == config

    def refused(change: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            MDSettings.from_mapping(given | change)

    refused({"steps": 9}, "steps is 9, but the stages add up to 8")
    refused({"temperature": 30}, "begins at 10 K")
    refused({"stages": [{"steps": 5}]}, "neither one temperature nor two")
    refused({"stages": [{"steps": 5, "temperature": 5, "temperature_to": 6}]}, "neither one temperature nor two")
    refused({"stages": [{"steps": 0, "temperature": 5}]}, "steps is 0")
    refused({"stages": [{"steps": 5, "temperature": -5}]}, "temperature is -5")
    refused({"stages": [{"steps": 5, "temperature": 5, "ensemble": "muvt"}]}, "must be one of nvt, bussi")
    refused({"stages": [{"steps": 5, "temprature": 5}]}, "did you mean 'temperature'")


@pytest.mark.parametrize(("ensemble", "word"), [("bussi", "shifts"), ("nose-hoover", "carries off")])
def test_heating_by_the_model_is_foretold_from_its_work(tmp_path, ensemble: str, word: str) -> None:
    config = MDSettings(
        steps=6000, temperature=300, timestep=2, ensemble=ensemble, friction=0.02, write_every=4, trajectory="xyz"
    )
    result = run_atoms(crystal(2), Pumping(), config, tmp_path / "run")
    assert result.work > 10
    assert result.heat == pytest.approx(-result.work, rel=0.1)
    assert result.heating.startswith(("noticeable", "too much"))
    assert word in result.heating
    assert result.temperature_shift > 5 * result.temperature_shift_error
    expected = 300 if ensemble == "nose-hoover" else 300 + result.temperature_shift
    assert result.temperature == pytest.approx(expected, rel=0.03)
    assert result.temperature_shift > 8


def test_springs_do_not_heat(tmp_path) -> None:
    config = MDSettings(steps=4000, timestep=2, friction=0.02, write_every=4, trajectory="xyz")
    result = run_atoms(crystal(2), Springs(), config, tmp_path / "run")
    assert abs(result.temperature_shift) < 6
    assert result.heating.startswith(("good", "noticeable"))
    short = run_atoms(crystal(), Springs(), CONFIG, tmp_path / "short")
    assert "too short" in short.heating
