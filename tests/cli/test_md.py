import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml
from ase.constraints import FixAtoms

from rgnn.md import read_log


@pytest.fixture
def structure(trajectory, workdir) -> Path:
    path = Path("structure.xyz")
    ase.io.write(path, ase.io.read(trajectory, 0), format="extxyz")
    return path


def test_a_run_folder_holds_everything(cli, run, structure) -> None:
    out = cli("md", structure, "--steps", 20, "--temperature", 400)
    assert "Model: runs/a" in out and "400 K" in out and "Next: look at md/structure-001/dynamics.png" in out
    names = {p.name for p in Path("md/structure-001").iterdir()}
    assert names >= {"config.yaml", "log.csv", "trajectory.traj", "trajectory.xyz", "final.xyz", "summary.json"}
    assert names >= {"restart.safetensors", "dynamics.png"}
    assert list(read_log("md/structure-001")["step"]) == [0, 10, 20]
    frames = ase.io.read("md/structure-001/trajectory.xyz", ":")
    assert len(frames) == 3 and np.abs(frames[-1].get_forces().sum(axis=0)).max() < 1e-4
    cli("md", structure, "--steps", 5, "--quiet")
    assert Path("md/structure-002").is_dir()


def test_hardware_and_seed_are_as_asked(cli, run, structure) -> None:
    cli("md", structure, "--steps", 5, "--bits", 2, "--noise", 0, "--seed", 4, "--every", 1, "--out", "a", "--quiet")
    record = yaml.safe_load(Path("a/config.yaml").read_text())
    assert (record["md"]["bits"], record["md"]["noise"], record["md"]["seed"]) == (2, 0.0, 4)
    cli("md", "--config", "a/config.yaml", "--out", "b", "--quiet")
    assert Path("a/trajectory.xyz").read_bytes() == Path("b/trajectory.xyz").read_bytes()
    cli("md", "--config", "a/config.yaml", "--seed", 5, "--out", "c", "--quiet")
    assert Path("a/trajectory.xyz").read_bytes() != Path("c/trajectory.xyz").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_to_the_same_end(cli, run, structure, number) -> None:
    whole, cut = Path("md/whole"), Path("md/cut")
    cli("md", structure, "--steps", 400, "--out", whole, "--quiet")
    program = str(Path(sys.executable).parent / "rgnn")
    process = subprocess.Popen(
        [program, "md", str(structure), "--steps", "400", "--out", str(cut), "--quiet"],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (cut / "trajectory.xyz").exists() or not (cut / "trajectory.xyz").stat().st_size:
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "rgnn md --resume md/cut" in said
    cli("md", "--resume", cut, "--quiet")
    for name in ("log.csv", "trajectory.xyz", "final.xyz"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()


def test_a_run_can_be_made_longer(cli, run, structure) -> None:
    cli("md", structure, "--steps", 20, "--out", "a", "--quiet")
    out = json.loads(cli("md", "--resume", "a", "--steps", 30, "--json"))
    assert out["steps"] == 30
    summary = json.loads(Path("a/summary.json").read_text())
    assert out["temperature_kelvin"] == summary["temperature"] and out["work_mev_per_atom_ps"] == summary["work"]
    assert out["temperature_shift_kelvin"] == summary["temperature_shift"] and out["first_peaks_angstrom"]
    assert list(read_log("a")["step"]) == [0, 10, 20, 30]


def test_unknown_elements_are_refused_unless_told_otherwise(cli, refused, run, structure) -> None:
    atoms = ase.io.read(structure)
    atoms.symbols[0] = "Na"
    ase.io.write("strange.xyz", atoms, format="extxyz")
    said = refused(2, "md", "strange.xyz", "--steps", 2)
    assert "Na" in said and "--any-element" in said
    assert not Path("md").exists()
    cli("md", "strange.xyz", "--steps", 2, "--any-element", "--quiet")


def test_structures_that_cannot_run(refused, run, structure) -> None:
    assert "nowhere.xyz" in refused(2, "md", "nowhere.xyz")
    data = structure.read_bytes()
    Path("cut.xyz").write_bytes(data[: len(data) // 2])
    assert "cut.xyz" in refused(2, "md", "cut.xyz")
    atoms = ase.io.read(structure)
    atoms.set_cell(atoms.cell[:] * 20, scale_atoms=True)
    ase.io.write("thin.xyz", atoms, format="extxyz")
    assert "neighbour within the model's cutoff" in refused(2, "md", "thin.xyz")
    assert "frame 7" in refused(2, "md", structure, "--frame", 7)
    assert not Path("md").exists()


def test_velocities_are_kept_where_the_file_has_them(cli, refused, run, structure) -> None:
    assert "structure.xyz: has no velocities" in refused(2, "md", structure, "--keep-velocities")
    assert not Path("md").exists()
    atoms = ase.io.read(structure)
    atoms.set_velocities(np.random.default_rng(0).normal(0, 0.01, (len(atoms), 3)))
    ase.io.write("moving.xyz", atoms, format="extxyz")
    out = cli("md", "moving.xyz", "--keep-velocities", "--steps", 4, "--every", 2, "--out", "m")
    for words in ("Velocities are those of the structure", "too short to judge", "closest atoms", "of the closest in"):
        assert words in out
    first = ase.io.read("m/trajectory.traj", 0)
    drift = atoms.get_momenta().sum(axis=0) / atoms.get_masses().sum()
    np.testing.assert_allclose(first.get_velocities(), atoms.get_velocities() - drift, atol=1e-7)
    shown = cli("info", "m")
    assert "keep_velocities" in shown and "ended" in shown and "too short to judge" in shown and "Li-O" in shown


def test_without_a_model_it_says_how_to_get_one(refused, structure) -> None:
    assert "rgnn train" in refused(2, "md", structure)
    assert "does not exist" in refused(2, "md", "--resume", "nowhere")


def test_resume_takes_everything_from_the_run(cli, refused, run, structure) -> None:
    cli("md", structure, "--steps", 10, "--out", "a", "--quiet")
    assert "leave it out" in refused(2, "md", structure, "--resume", "a")
    assert "temperature" in refused(2, "md", "--resume", "a", "--temperature", 900)
    assert "--overwrite" in refused(2, "md", structure, "--out", "a")


def test_nve_comes_with_a_warning(shell, run, structure) -> None:
    done = shell("rgnn md structure.xyz --steps 5 --ensemble nve --out a")
    assert done.code == 0, done.err
    assert "does not conserve energy" in done.out + done.err


def test_a_ramp_and_stages(cli, refused, run, structure) -> None:
    out = cli("md", structure, "--steps", 20, "--temperature", "200:600", "--out", "a")
    assert "Langevin from 200 to 600 K, 20 steps" in out
    assert list(read_log("a")["target_K"]) == [200, 400, 600]
    Path("stages.yaml").write_text(
        "md:\n  stages:\n"
        "    - {name: melt, steps: 10, temperature: 900}\n"
        "    - {name: quench, steps: 20, temperature_from: 900, temperature_to: 300, ensemble: bussi}\n"
    )
    out = cli("md", structure, "--config", "stages.yaml", "--out", "b")
    assert "melt (10 steps) Langevin at 900 K, then quench (20 steps) Bussi from 900 to 300 K, 30 steps" in out
    assert list(read_log("b")["target_K"]) == [900, 900, 600, 300]
    assert "leave steps out" in refused(2, "md", structure, "--config", "stages.yaml", "--steps", 10000)
    assert "add up to 30" in refused(2, "md", "--resume", "b", "--steps", 40)
    assert "one number, or two" in refused(2, "md", structure, "--temperature", "hot")


def test_minimisation_constraints_and_one_file_of_frames(cli, run, structure) -> None:
    atoms = ase.io.read(structure)
    atoms.set_constraint(FixAtoms([0, 1]))
    ase.io.write("held.xyz", atoms, format="extxyz")
    out = cli(
        *("md", "held.xyz", "--steps", 10, "--minimise", 1e-6, "--trajectory", "xyz", "--every", 5),
        *("--ensemble", "nose-hoover", "--out", "a"),
    )
    assert "Minimis" in out and "of the thermostat" in out
    names = {p.name for p in Path("a").iterdir()}
    assert "minimised.xyz" in names and "trajectory.traj" not in names
    for frame in ase.io.read("a/trajectory.xyz", ":"):
        np.testing.assert_allclose(frame.positions[:2], atoms.positions[:2], atol=1e-7)
        assert frame.constraints[0].index.tolist() == [0, 1]


def test_what_lies_outside_the_training_set_is_said(cli, run, structure) -> None:
    atoms = ase.io.read(structure)
    atoms.set_cell(atoms.cell[:] * 1.1, scale_atoms=True)
    ase.io.write("thin.xyz", atoms, format="extxyz")
    assert "Warning: the density is" in cli("md", "thin.xyz", "--steps", 2, "--out", "a")
    assert "Warning" not in cli("md", structure, "--steps", 2, "--out", "b")
    told = cli("info", "runs/a/best")
    assert "densities" in told and "Li-O 2." in told and "trained up to" in told


def test_a_batch_of_files_and_one_of_frames(cli, refused, run, structure, trajectory) -> None:
    ase.io.write("other.xyz", ase.io.read(trajectory, 3), format="extxyz")
    out = cli("md", structure, "other.xyz", "--steps", 10, "--noise", 0)
    assert "2 runs together" in out and "0-structure" in out and "1-other" in out
    folder = Path("md/batch-001")
    for k, name in enumerate(("0-structure", "1-other")):
        record = yaml.safe_load((folder / name / "config.yaml").read_text())
        assert record["md"]["seed"] == k and (folder / name / "dynamics.png").exists()
        cli("md", "--config", folder / name / "config.yaml", "--out", f"alone{k}", "--quiet")
        together, alone = (ase.io.read(f"{where}/final.xyz") for where in (folder / name, f"alone{k}"))
        np.testing.assert_allclose(together.positions, alone.positions, atol=1e-6)
    told = json.loads(cli("md", "--resume", folder, "--steps", 20, "--json"))
    assert [r["steps"] for r in told["runs"]] == [20, 20]
    told = json.loads(cli("md", trajectory, "--frames", "0:6:2", "--steps", 5, "--out", "many", "--json"))
    assert [Path(r["out"]).name for r in told["runs"]] == ["0-tiny-0", "1-tiny-2", "2-tiny-4"]
    assert "--overwrite" in refused(2, "md", trajectory, "--frames", "0:2", "--out", "many")
    cli("md", trajectory, "--frames", "0:2", "--out", "many", "--steps", 5, "--overwrite", "--quiet")
    assert sorted(p.name for p in Path("many").iterdir()) == ["0-tiny-0", "1-tiny-1"]
    assert "chooses none" in refused(2, "md", trajectory, "--frames", "90:95")


def test_a_run_that_breaks_exits_with_4_and_the_others_go_on(refused, run, structure, trajectory) -> None:
    atoms = ase.io.read(structure)
    atoms.set_masses([1e-4] * len(atoms))  # so light that it flies at the first step
    ase.io.write("light.traj", atoms)
    said = refused(4, "md", "light.traj", "--steps", 10, "--out", "a")
    assert "moved" in said and "max_displacement" in said and "atom" in said
    assert Path("a/broken.xyz").exists()
    said = refused(4, "md", structure, "light.traj", "--steps", 10, "--out", "b")
    assert "1 of 2 runs broke off: b/1-light: at step" in said
    assert list(read_log("b/0-structure")["step"]) == [0, 10]
    assert json.loads(Path("b/0-structure/summary.json").read_text())["steps"] == 10


def test_a_stopped_batch_goes_on(cli, run, structure, trajectory) -> None:
    cli("md", trajectory, "--frames", "0:2", "--steps", 100, "--out", "whole", "--quiet")
    program = str(Path(sys.executable).parent / "rgnn")
    process = subprocess.Popen(
        [program, "md", str(trajectory), "--frames", "0:2", "--steps", "100", "--out", "cut", "--quiet"],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not Path("cut/1-tiny-1/trajectory.xyz").exists() or not Path("cut/1-tiny-1/trajectory.xyz").stat().st_size:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "rgnn md --resume cut" in said
    cli("md", "--resume", "cut", "--quiet")
    for name in ("0-tiny-0", "1-tiny-1"):
        for file in ("log.csv", "trajectory.xyz", "final.xyz"):
            assert Path("whole", name, file).read_bytes() == Path("cut", name, file).read_bytes()


def test_what_is_read_is_not_replaced(refused, run, structure) -> None:
    for out in (run, run / "best", structure.parent):
        assert "holds what is read from" in refused(2, "md", structure, "--model", run, "--out", out, "--overwrite")
    assert (run / "best" / "model.safetensors").is_file() and structure.is_file()


def test_a_slow_model_corrects_a_fast_one(cli, refused, run, structure) -> None:
    options = ("--slow-model", "runs/a", "--slow-hardware", "ideal", "--slow-every", 4, "--every", 4)
    out = cli("md", structure, *options, "--steps", 8, "--out", "a")
    assert "Slow model: runs/a, unquantised, no noise, every 4 steps" in out and "3 calls" in out
    said = json.loads(cli("md", "--resume", "a", "--steps", 12, "--json"))
    assert said["slow_calls"] == 1 and list(read_log("a")["step"]) == [0, 4, 8, 12]
    assert "no slow model is named; name it with --slow-model" in refused(2, "md", structure, "--slow-every", 2)
    assert "multiple of 4, such as 8" in refused(2, "md", structure, *options[:6])
    both = refused(2, "md", structure, structure, *options)
    assert "a slow model runs with one structure at a time" in both
    assert "LAMMPS asks one model" in refused(2, "md", structure, *options, "--engine", "lammps")
