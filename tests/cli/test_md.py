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

from rgnn.dynamics import read_log


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


def test_without_a_model_it_says_how_to_get_one(refused, structure) -> None:
    assert "rgnn train" in refused(2, "md", structure)
    assert "name one" in refused(2, "md")
    assert "is no run" in refused(2, "md", "--resume", "nowhere")


def test_resume_takes_everything_from_the_run(cli, refused, run, structure) -> None:
    cli("md", structure, "--steps", 10, "--out", "a", "--quiet")
    assert "leave it out" in refused(2, "md", structure, "--resume", "a")
    assert "temperature" in refused(2, "md", "--resume", "a", "--temperature", 900)
    assert "--overwrite" in refused(2, "md", structure, "--out", "a")


def test_nve_comes_with_a_warning(shell, run, structure) -> None:
    done = shell("rgnn md structure.xyz --steps 5 --ensemble nve --out a")
    assert done.code == 0, done.err
    assert "does not conserve energy" in done.out + done.err
