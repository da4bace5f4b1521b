import json
import shutil

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import Hookean
from ase.io.trajectory import Trajectory
from listeners import Heard
from springs import CONFIG, DISTANCE, Scripted, Springs, StopAt, assert_same, contents, crystal

from rgnn import RGNN, Chip, Graph, Hardware
from rgnn.base.errors import BrokenRunError, InputError, Interrupted
from rgnn.base.provenance import Provenance, TrainingDomain
from rgnn.base.tensorfiles import read_tensors, write_tensors
from rgnn.md import (
    MDRecord,
    MDSettings,
    RunOrigin,
    State,
    Thermostat,
    check_structure,
    element_temperature,
    opened,
    read_log,
    read_structure,
    read_structures,
    run_atoms,
)
from rgnn.models.settings import MessagePassingSettings
from rgnn.plots.dynamics import run_figure


@pytest.fixture(scope="module")
def model() -> RGNN:
    """Untrained, small, with quantisation and read noise: forces without sense, but all the machinery."""
    config = MessagePassingSettings(cutoff=3.0, n_features=6, reservoir_layers=1, trained_layers=1)
    model = RGNN(config, Hardware(bits=4, noise=0.1), Chip.synthetic(0).matrices(RGNN.matrices(config)))
    model.provenance = Provenance(elements=(3, 9))
    a = crystal()
    a.rattle(0.1, seed=1)
    model(Graph.from_positions(a.numbers, a.positions, a.cell[:], a.pbc, 3.0))
    return model.eval()


# Restart


@pytest.fixture(scope="module")
def unbroken(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "run"
    run_atoms(crystal(), model, CONFIG, out)
    return out


def test_a_run_repeats_itself_and_another_seed_does_not(model, unbroken, tmp_path) -> None:
    run_atoms(crystal(), model, CONFIG, tmp_path / "again")
    assert_same(unbroken, tmp_path / "again")
    run_atoms(crystal(), model, CONFIG.override(seed=8), tmp_path / "other")
    assert not np.array_equal(contents(unbroken)[0]["positions"], contents(tmp_path / "other")[0]["positions"])


@pytest.mark.parametrize("step", [0, 5, 6, 20])
def test_a_stopped_and_resumed_run_equals_an_unbroken_one(model, unbroken, tmp_path, step: int) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted, match=rf"step {step} as asked"):
        run_atoms(crystal(), model, CONFIG, out, listener=Heard(StopAt(step)))
    assert read_log(out)["step"].tolist() == list(range(0, step + 1, CONFIG.write_every))  # no row twice
    assert len(Trajectory(out / "trajectory.traj")) == len(read_log(out)["step"])
    seen = []
    run_atoms(None, model, CONFIG, out, resume=True, listener=Heard(progress=lambda at, total, note: seen.append(at)))
    assert seen == list(range(step + 1, 25))
    assert_same(unbroken, out)


def test_a_killed_run_goes_on_from_its_restart_without_doubled_rows(model, unbroken, tmp_path) -> None:
    """Killed at step 18: outputs are ahead of the restart file of step 10, and the last row is cut in the middle."""

    class Killed(BaseException):
        pass

    def kill(at, total, note):
        if at == 18:
            raise Killed

    out = tmp_path / "run"
    with pytest.raises(Killed):
        run_atoms(crystal(), model, CONFIG, out, listener=Heard(progress=kill))
    assert read_log(out)["step"].tolist() == [0, 3, 6, 9, 12, 15, 18]
    for name in ("log.csv", "trajectory.xyz"):
        with (out / name).open("r+b") as file:
            file.truncate((out / name).stat().st_size - 20)
    run_atoms(None, model, CONFIG, out, resume=True)
    assert_same(unbroken, out)
    assert read_log(out)["step"].tolist() == [0, 3, 6, 9, 12, 15, 18, 21, 24]


def test_steps_count_the_total_so_a_finished_run_can_be_lengthened(model, unbroken, tmp_path) -> None:
    out = tmp_path / "run"
    run_atoms(crystal(), model, CONFIG.override(steps=14), out)
    run_atoms(None, model, CONFIG, out, resume=True)
    assert_same(unbroken, out)
    result = run_atoms(None, model, CONFIG, out, resume=True)  # nothing is left to do
    assert result.steps == 24
    with pytest.raises(InputError, match="done 24 steps"):
        run_atoms(None, model, CONFIG.override(steps=20), out, resume=True)


def test_resume_refuses_another_model_and_other_settings(model, unbroken, tmp_path) -> None:
    out = tmp_path / "run"
    shutil.copytree(unbroken, out)
    before = (out / "config.yaml").read_text()
    with pytest.raises(InputError, match=r"temperature = 200.*, not 300"):
        run_atoms(None, model, CONFIG.override(temperature=300.0), out, resume=True)
    with pytest.raises(InputError, match="another model"):
        run_atoms(None, Springs(), CONFIG, out, resume=True)
    assert (out / "config.yaml").read_text() == before
    with pytest.raises(InputError, match="no restart file"):
        run_atoms(None, model, CONFIG, tmp_path / "empty", resume=True)
    with pytest.raises(InputError, match="holds a run already"):
        run_atoms(crystal(), model, CONFIG, out)


def test_outputs_shorter_than_the_restart_are_refused(model, unbroken, tmp_path) -> None:
    for name in ("log.csv", "trajectory.xyz", "trajectory.traj"):
        out = tmp_path / name
        shutil.copytree(unbroken, out)
        (out / name).unlink()
        with pytest.raises(InputError, match=name):
            run_atoms(None, model, CONFIG.override(steps=30), out, resume=True)


def test_labels_of_the_file_and_unusual_masses(model, tmp_path) -> None:
    """Arrays of the structure file are left behind, isotopes are kept, in an unbroken run and in a resumed one."""
    start = crystal()
    start.set_masses([6.015 if z == 3 else 18.998 for z in start.numbers])
    start.arrays["REF_forces"] = np.ones((8, 3))
    run_atoms(start, model, CONFIG, tmp_path / "a")
    with pytest.raises(Interrupted):
        run_atoms(start, model, CONFIG, tmp_path / "b", listener=Heard(StopAt(11)))
    run_atoms(None, model, CONFIG, tmp_path / "b", resume=True)
    assert_same(tmp_path / "a", tmp_path / "b")
    last = ase.io.read(tmp_path / "b" / "trajectory.xyz")
    assert "REF_forces" not in last.arrays
    assert last.get_masses()[start.numbers == 3].tolist() == [6.015] * 4


# Outputs


def test_what_lies_in_a_run_folder(model, tmp_path) -> None:
    structure = tmp_path / "lif.xyz"
    ase.io.write(structure, crystal())
    origin = RunOrigin.of(structure, "some/model")
    out = tmp_path / "run"
    result = run_atoms(read_structure(structure), model, CONFIG, out, origin=origin)
    record = MDRecord.read(out)
    assert record.md == CONFIG
    assert record.origin == origin
    assert len(record.origin.structure_sha256) == len(record.model_fingerprint) == 64
    assert record.versions.ase
    assert record.versions.rgnn
    assert json.loads((out / "summary.json").read_text())["temperature"] == result.temperature
    log, frames = read_log(out), ase.io.read(out / "trajectory.xyz", index=":")
    assert list(log)[:6] == ["step", "time_fs", "temperature_K", "kinetic_eV", "max_force", "net_force"]
    assert len(frames) == len(log["step"]) == 9
    np.testing.assert_allclose(frames[4].get_forces(), Trajectory(out / "trajectory.traj")[4].get_forces(), atol=1e-8)
    assert np.linalg.norm(frames[4].get_forces(), axis=1).max() == pytest.approx(log["max_force"][4], abs=1e-6)
    np.testing.assert_allclose(frames[4].get_forces().sum(axis=0), 0, atol=1e-6)
    assert (log["net_force"] > 0).all()
    assert frames[-1].info == {"step": 24, "time_fs": 24.0}
    final = ase.io.read(out / "final.xyz")
    np.testing.assert_allclose(final.positions, frames[-1].positions)
    assert not list(out.glob("*.partial"))
    figure, peaks = run_figure(out, out / "figure.png", 200)
    assert figure.stat().st_size > 10_000
    assert peaks["Li-F"] == pytest.approx(DISTANCE, abs=0.3)


def test_a_run_shorter_than_the_writing_interval_still_sums_up(model, tmp_path) -> None:
    result = run_atoms(crystal(), model, CONFIG.override(steps=2), tmp_path / "run")
    assert result.steps == 2
    assert result.temperature > 0
    run_figure(tmp_path / "run", tmp_path / "figure.png")


def test_a_molecule_has_a_figure_without_radial_distribution(model, tmp_path) -> None:
    molecule = Atoms("LiF", [[0, 0, 0], [1.6, 0, 0]])
    run_atoms(molecule, model, CONFIG.override(steps=6), tmp_path / "run")
    assert run_figure(tmp_path / "run", tmp_path / "figure.png")[1] == {}


@pytest.mark.parametrize("kind", ["xyz", "traj"])
def test_one_file_of_frames_is_enough(model, unbroken, tmp_path, kind: str) -> None:
    """To resume from, to draw, and to read; it is the file that a run with both writes."""
    config, out = CONFIG.override(trajectory=kind), tmp_path / "run"
    with pytest.raises(Interrupted):
        run_atoms(crystal(), model, config, out, listener=Heard(StopAt(11)))
    run_atoms(None, model, config, out, resume=True)
    assert [p.suffix for p in out.glob("trajectory.*")] == [f".{kind}"]
    with opened(out) as frames, opened(unbroken) as expected:
        assert len(frames) == len(expected) == 9
        np.testing.assert_allclose(frames[8].positions, expected[8].positions, atol=1e-7)
        assert frames[8].info["step"] == 24
    assert run_figure(out, tmp_path / "figure.png")[1]["Li-F"] == pytest.approx(DISTANCE, abs=0.3)


def test_the_log_tells_target_and_mean_force_and_speed_lies_beside_it(unbroken) -> None:
    log = read_log(unbroken)
    assert list(log)[10:12] == ["target_K", "mean_force"]
    assert (log["target_K"] == 200).all()
    assert (log["mean_force"] < log["max_force"]).all()
    lines = (unbroken / "speed.csv").read_text().splitlines()
    assert lines[0] == "step,seconds,steps_per_second"
    assert [int(line.split(",")[0]) for line in lines[1:]] == [10, 20, 24]
    assert all(float(line.split(",")[2]) > 0 for line in lines[1:])


def test_a_run_of_an_earlier_rgnn_goes_on_with_its_columns(model, unbroken, tmp_path) -> None:
    """Its log had fewer columns and its restart file fewer settings."""
    out = tmp_path / "run"
    run_atoms(crystal(), model, CONFIG.override(steps=14), out)
    rows = [line.split(",") for line in (out / "log.csv").read_text().splitlines()]
    (out / "log.csv").write_text("".join(",".join(row[:-2]) + "\n" for row in rows))
    tensors, settings = read_tensors(out / "restart.safetensors", "rgnn dynamics restart", 1)
    for name in ("stages", "minimise", "max_displacement", "trajectory"):
        del settings["config"][name]
    del settings["constraints"]
    write_tensors(out / "restart.safetensors", tensors, settings)
    (out / "speed.csv").unlink()
    run_atoms(None, model, CONFIG, out, resume=True)
    log, whole = read_log(out), read_log(unbroken)
    assert list(log) == list(whole)[:-2]
    np.testing.assert_array_equal(log["temperature_K"], whole["temperature_K"])


def test_forces_beyond_those_of_training_are_told(tmp_path) -> None:
    model, said, start = Springs(), [], crystal()
    start.rattle(0.1, seed=1)
    model.provenance = Provenance(seen=TrainingDomain(largest_force=0.01, frames=1))
    run_atoms(start, model, CONFIG.override(steps=1), tmp_path / "run", listener=Heard(info=said.append))
    assert len(said) == 1
    assert "where the training set has 0.01 at most; a minimisation" in said[0]


def test_noise_and_bits_are_as_asked(model, tmp_path) -> None:
    quiet = CONFIG.override(noise=0.0)
    run_atoms(crystal(), model, quiet, tmp_path / "quiet")
    run_atoms(crystal(), model, quiet.override(bits=8), tmp_path / "fine")
    assert MDRecord.read(tmp_path / "quiet").md.noise == 0
    logs = [read_log(tmp_path / name)["max_force"] for name in ("quiet", "fine")]
    assert not np.array_equal(*logs)


# Physics


def test_starting_velocities() -> None:
    state = State.start(crystal(4), Springs(), MDSettings(temperature=500))
    np.testing.assert_allclose(state.atoms.get_momenta().sum(axis=0), 0, atol=1e-10)
    freedom = 3 * len(state.atoms) - 3
    assert 2 * state.kinetic_start / (freedom * units.kB) == pytest.approx(500, rel=0.1)


def test_langevin_keeps_temperature_and_centre_of_mass(tmp_path) -> None:
    """Eight atoms: counting 3N degrees of freedom instead of 3N - 3 would show as 14%."""
    config = MDSettings(steps=6000, temperature=300, timestep=2, friction=0.05, write_every=4, restart_every=10_000)
    start = crystal()
    result = run_atoms(start, Springs(), config, tmp_path / "run")
    log = read_log(tmp_path / "run")
    assert log["temperature_K"][100:].mean() == pytest.approx(300, rel=0.05)
    assert log["T_Li"][100:].mean() == pytest.approx(300, rel=0.07)
    assert log["T_F"][100:].mean() == pytest.approx(300, rel=0.07)
    final = ase.io.read(tmp_path / "run" / "final.xyz")
    np.testing.assert_allclose(final.get_center_of_mass(), start.get_center_of_mass(), atol=1e-6)
    assert abs(result.work) < 20  # springs have an energy: they do not heat, meV/atom/ps


def test_nve_conserves_the_energy_of_springs_and_says_what_to_expect(tmp_path) -> None:
    config = MDSettings(steps=400, temperature=300, ensemble="nve", timestep=0.5)
    result = run_atoms(crystal(), Springs(), config, tmp_path / "run")
    log = read_log(tmp_path / "run")
    assert "does not conserve energy" in result.warning
    assert np.abs(log["heat_eV"]).max() < 2e-3 * log["kinetic_eV"].max()  # all heat is work of the forces
    assert np.ptp(log["kinetic_eV"]) > 0.1 * log["kinetic_eV"].max()
    assert not MDSettings().warning


def test_element_temperatures_add_up() -> None:
    atoms = State.start(crystal(2), Springs(), MDSettings(temperature=400)).atoms
    freedom = {z: 3 * (1 - atoms.get_masses()[atoms.numbers == z] / atoms.get_masses().sum()).sum() for z in (3, 9)}
    kinetic = sum(0.5 * freedom[z] * units.kB * element_temperature(atoms, z) for z in (3, 9))
    assert kinetic == pytest.approx(atoms.get_kinetic_energy())
    assert sum(freedom.values()) == pytest.approx(3 * len(atoms) - 3)


def test_the_thermostat_draws_by_step() -> None:
    one, other = Thermostat(3), Thermostat(3)
    one.begin(4)
    first = one.standard_normal(size=(2, 3))
    one.begin(5)
    other.begin(5)
    np.testing.assert_array_equal(one.standard_normal((2, 3)), other.standard_normal((2, 3)))
    other.begin(4)
    np.testing.assert_array_equal(other.standard_normal((2, 3)), first)


# Safeguards


def infinite(forces):
    forces[3, 1] = float("nan")
    return forces


def huge(forces):
    forces[2] += 5000
    forces[5] -= 5000
    return forces


def kick(forces):
    forces[1, 0] += 900
    forces[2, 0] -= 900
    return forces


def push(forces):
    forces[1, 0] += 20
    forces[2, 0] -= 20
    return forces


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (infinite, r"step 12 the force on atom 3 \(F\) is nan"),
        (huge, r"step 12 the force on atom [25] \(\w+\) is [45]\d{3}"),
    ],
)
def test_absurd_forces_break_the_run(tmp_path, change, message: str) -> None:
    out = tmp_path / "run"
    with pytest.raises(BrokenRunError, match=message) as error:
        run_atoms(crystal(), Scripted(12, change), CONFIG, out)
    assert "smaller timestep" in str(error.value)
    assert contents_step(out) == 11
    broken = ase.io.read(out / "broken.xyz")
    assert broken.info["step"] == 12
    assert not np.abs(broken.get_forces()).max() < 1000
    assert read_log(out)["step"].tolist() == [0, 3, 6, 9]
    assert not (out / "final.xyz").exists()
    result = run_atoms(None, Springs(), CONFIG, out, resume=True)  # with a model that is well there, it goes on
    assert result.steps == 24
    assert not (out / "broken.xyz").exists()


def contents_step(out) -> int:
    return read_tensors(out / "restart.safetensors", "rgnn dynamics restart", 1)[1]["step"]


def test_a_runaway_temperature_breaks_the_run(tmp_path) -> None:
    with pytest.raises(
        BrokenRunError, match=r"temperature reached [\d.e+]+ K, with atom [12] \(\w+\) the most energetic"
    ):
        run_atoms(crystal(), Scripted(5, kick), CONFIG.override(max_displacement=50.0), tmp_path / "run")


def test_an_atom_that_moves_too_far_in_a_step_breaks_the_run(tmp_path) -> None:
    with pytest.raises(
        BrokenRunError, match=r"step \d atom [12] \(\w+\) moved 0\.\d+ Angstrom in one step, more than max_disp"
    ) as error:
        run_atoms(crystal(), Scripted(5, push), CONFIG.override(max_displacement=0.05), tmp_path / "run")
    broken = ase.io.read(tmp_path / "run" / "broken.xyz")
    assert contents_step(tmp_path / "run") == broken.info["step"] - 1
    assert f"step {broken.info['step']}" in str(error.value)
    assert "after a minimisation" in str(error.value)


def test_a_lost_atom_breaks_the_run(tmp_path) -> None:
    def push(forces):
        forces = torch.zeros_like(forces)
        forces[0, 0], forces[1, 0] = -2, 2
        return forces

    trio = Atoms("LiFLi", [[0, 0, 0], [2.0, 0, 0], [4.0, 0, 0]])
    with pytest.raises(BrokenRunError, match=r"atom 0 \(Li\) lost its last neighbour"):
        run_atoms(trio, Scripted(0, push), CONFIG.override(steps=500), tmp_path / "run")


def test_a_broken_start_says_that_nothing_moved(tmp_path) -> None:
    with pytest.raises(BrokenRunError, match=r"step 0 .* nothing has moved"):
        run_atoms(crystal(), Scripted(0, infinite), CONFIG, tmp_path / "run")


# Structures and settings


def test_structures_that_cannot_run(model) -> None:
    def refused(atoms: Atoms, match: str) -> None:
        with pytest.raises(InputError, match=match):
            check_structure(atoms, model, where="x.xyz")

    check_structure(crystal(), model)
    refused(Atoms("Li", cell=[9, 9, 9]), "fewer than two atoms")
    refused(Atoms("Li2", [[0, 0, 0], [np.inf, 0, 0]]), "position of atom 1 is")
    refused(Atoms("Li2", [[0, 0, 0], [2, 0, 0]], pbc=True), "vector 0, which is zero")
    refused(bulk("NaF", "rocksalt", a=4.6), "trained on Li, F only")
    refused(Atoms("Li2", [[0, 0, 0], [20, 0, 0]]), r"x.xyz: no atom has a neighbour within .* 3 Angstrom")
    refused(Atoms("Li2", [[0, 0, 0], [1e-3, 0, 0]]), "atoms 0 and 1 are 0.001 Angstrom apart")
    held = crystal()
    held.set_constraint(Hookean(0, 1, 5.0, 2.0))
    refused(held, "x.xyz: has the constraint Hookean, but dynamics keeps FixAtoms")
    check_structure(bulk("NaF", "rocksalt", a=4.6), model, any_element=True)


def test_several_frames_of_a_file(tmp_path) -> None:
    path = tmp_path / "many.xyz"
    frames = [crystal() for _ in range(6)]
    for k, atoms in enumerate(frames):
        atoms.positions[0, 0] = 0.1 * k
    ase.io.write(path, frames)
    assert list(read_structures(path, "all")) == list(range(6))
    assert list(read_structures(path, "1:4")) == [1, 2, 3]
    assert {k: a.positions[0, 0] for k, a in read_structures(path, "::4").items()} == pytest.approx({0: 0, 4: 0.4})
    assert list(read_structures(path, "-2:")) == [4, 5]
    for wrong in ("3", "", "a:b", "1:2:3:4", "0:5:0"):
        with pytest.raises(InputError, match="it must be all, or numbers"):
            read_structures(path, wrong)
    with pytest.raises(InputError, match=r"has 6 frames, and 6:9 chooses none"):
        read_structures(path, "6:9")


def test_reading_structures(tmp_path) -> None:
    good = tmp_path / "good.xyz"
    first, last = crystal(), crystal()
    last.positions += 0.5
    ase.io.write(good, [first, last])
    np.testing.assert_allclose(read_structure(good).positions, last.positions, atol=1e-7)
    np.testing.assert_allclose(read_structure(good, 0).positions, first.positions, atol=1e-7)

    def refused(name: str, text: str | None, match: str, frame: int = -1) -> None:
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=match) as error:
            read_structure(tmp_path / name, frame)
        assert name in str(error.value)
        assert "\n" not in str(error.value)

    refused("good.xyz", None, "frame 7", 7)
    refused("cut.xyz", good.read_text()[:-200], "whole")
    refused("missing.xyz", None, "no such file")
    refused("empty.xyz", "", "empty")
    refused("noise.abc", "hello\n", "no format")
    refused("code.py", "import os\n", "refused")


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"minimise": 0.0},
        {"max_displacement": 0.0},
        {"trajectory": "dcd"},
        {"temperature": 0.0},
        {"timestep": -1.0},
        {"friction": 0.0},
        {"ensemble": "muvt"},
        {"seed": -1},
    ],
)
def test_settings_are_checked_by_name(wrong) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        MDSettings.from_mapping(wrong)
