import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml

from rgnn import load_model
from rgnn.analysis import AnalysisSettings, analyse_sweep
from rgnn.md import MDSettings, plan_sweep, resume_sweep
from rgnn.reports.sweep import write_sweep


@pytest.fixture
def run(workdir, quick_model_folder) -> Path:
    """A trained run, as far as a sweep can tell."""
    shutil.copytree(quick_model_folder, "runs/a")
    Path(".rgnn").mkdir()
    Path(".rgnn/last.yaml").write_text("model: runs/a\n")
    return Path("runs/a")


@pytest.fixture
def structure(trajectory, workdir) -> Path:
    path = Path("structure.xyz")
    ase.io.write(path, ase.io.read(trajectory, 0), format="extxyz")
    return path


def test_the_same_start_on_every_hardware(cli, run, structure) -> None:
    out = cli("sweep", structure, "--bits", "2,4", "--noise", "0", "--steps", 60, "--every", 1, "--out", "s")
    for words in ("ideal chip", "as trained", "2 bits, no noise", "halves of the ideal run", "Coordination", "work"):
        assert words in out
    names = {p.name for p in Path("s").iterdir()}
    runs = {"00-ideal", "01-4_bits_5pc_read_noise", "02-2_bits_no_noise", "03-4_bits_no_noise"}
    assert names == runs | {"config.yaml", "sweep.json", "sweep.csv", "report.html", "sweep.png", "rdf.png", "msd.png"}
    record = json.loads(Path("s/sweep.json").read_text())
    assert [r["hardware"]["bits"] for r in record["runs"]] == [None, 4, 2, 4]
    assert set(record["radial_difference"]["of"]) == {"as trained", "2 bits, no noise", "4 bits, no noise"}
    first = [ase.io.read(Path("s") / name / "trajectory.traj", 0) for name in sorted(runs)]
    for atoms in first[1:]:
        np.testing.assert_array_equal(atoms.get_momenta(), first[0].get_momenta())
    assert len({atoms.get_forces().tobytes() for atoms in first}) == 4
    for name, bits in zip(sorted(runs), [None, 4, 2, 4], strict=True):
        assert yaml.safe_load((Path("s") / name / "hardware.yaml").read_text())["hardware"]["bits"] == bits
    page = Path("s/report.html").read_text()
    assert "Remarks" in page and "ideal chip: temperature too short to judge" in page
    assert page.count('src="data:image/png;base64,') == 3 and "times what two halves" not in page


def test_the_report_names_runs_that_mean_nothing(cli, run, structure) -> None:
    cli("sweep", structure, "--noise", "0", "--steps", 6, "--out", "s", "--quiet")
    plan, how = resume_sweep("s"), AnalysisSettings()
    runs = analyse_sweep(plan, plan.run("s"), how)
    unsound = [replace(a, unsound="Li-Li are 0.1 Angstrom apart", displacements=None) for a in runs]
    write_sweep(plan.settings, unsound, Path("s"), how)
    assert (
        "as trained: Li-Li are 0.1 Angstrom apart. No diffusion coefficient is given"
        in Path("s/report.html").read_text()
    )


def test_slow_and_frozen_noise_are_axes_with_several_chips(cli, refused, run, structure) -> None:
    """1/f noise and programming errors beside read noise; each has a run for every draw of the chip."""
    words = ["--noise", "0.05", "--slow-noise", "0,0.1", "--programming-noise", "0.05", "--chips", 2, "--steps", 6]
    cli("sweep", structure, *words, "--out", "s", "--quiet")
    record = json.loads(Path("s/sweep.json").read_text())["runs"]
    found = [(r["hardware"]["slow_noise"], r["hardware"]["programming_noise"], r["hardware"]["chip"]) for r in record]
    swept = [(None, 0.05, 0), (None, 0.05, 1), (0.1, 0.05, 0), (0.1, 0.05, 1)]
    assert found == [(None, None, 0), (None, None, 0), *swept]
    names = [r["name"] for r in record]
    assert len(set(names)) == 6 and names[3] == names[2] + ", chip 1"
    ends = {(folder / "final.xyz").read_bytes() for folder in Path("s").glob("0*")}
    assert len(ends) == 6
    assert "--slow-noise is 'much'" in refused(2, "sweep", structure, "--slow-noise", "much")


def test_a_sweep_in_python_is_that_of_the_command(cli, run, structure) -> None:
    cli("sweep", structure, "--bits", "2", "--steps", 10, "--seed", 3, "--out", "s", "--quiet")
    plan = plan_sweep(run, structure, MDSettings(steps=10, seed=3), vary={"bits": [2]})
    assert plan.names == ["ideal chip", "as trained", "2 bits, 5% read noise"]
    for folder in plan.run("p"):
        assert (folder / "trajectory.xyz").read_bytes() == (Path("s") / folder.name / "trajectory.xyz").read_bytes()
    assert (
        resume_sweep("p").settings
        == plan.settings
        == resume_sweep("s").settings.override(md=plan.settings.md, origin=plan.settings.origin)
    )


def test_hardware_is_that_of_rgnn_md(cli, run, structure) -> None:
    cli("sweep", structure, "--bits", "2", "--noise", "0", "--steps", 10, "--seed", 3, "--out", "s", "--quiet")
    cli("md", structure, "--bits", 2, "--noise", 0, "--steps", 10, "--seed", 3, "--out", "m", "--quiet")
    mine = Path("s/02-2_bits_no_noise/trajectory.xyz").read_bytes()
    assert mine == Path("m/trajectory.xyz").read_bytes()


def test_a_cut_off_sweep_goes_on_to_the_same_end(cli, refused, run, structure) -> None:
    words = [str(structure), "--bits", "2,4", "--steps", "150", "--every", "5"]
    cli("sweep", *words, "--out", "whole", "--quiet")
    program = str(Path(sys.executable).parent / "rgnn")
    process = subprocess.Popen([program, "sweep", *words, "--out", "cut", "--quiet"], stderr=subprocess.PIPE, text=True)
    while not list(Path("cut").glob("01-*/restart.safetensors")) if Path("cut").exists() else True:
        time.sleep(0.005)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "continue with: rgnn sweep --resume cut" in said
    finished = Path("cut/00-ideal/trajectory.xyz").stat().st_mtime_ns
    cli("sweep", "--resume", "cut", "--quiet")
    assert Path("cut/00-ideal/trajectory.xyz").stat().st_mtime_ns == finished
    for folder in sorted(Path("whole").glob("0*")):
        for name in ("trajectory.xyz", "log.csv"):
            assert (folder / name).read_bytes() == (Path("cut") / folder.name / name).read_bytes()
    one, other = (json.loads(Path(out, "sweep.json").read_text()) for out in ("whole", "cut"))
    assert one["radial_difference"] == other["radial_difference"]
    assert "leave it out" in refused(2, "sweep", structure, "--resume", "cut")
    assert "--steps cannot be given" in refused(2, "sweep", "--resume", "cut", "--steps", 10_000)  # though the default
    assert "is not a sweep" in refused(2, "sweep", "--resume", "nowhere")


def test_a_sweep_whose_first_state_was_never_saved(cli, run, structure) -> None:
    cli("sweep", structure, "--bits", "2", "--steps", 10, "--out", "s", "--quiet")
    broken = Path("s/02-2_bits_5pc_read_noise")
    whole = (broken / "trajectory.xyz").read_bytes()
    (broken / "restart.safetensors").unlink()
    (broken / "summary.json").unlink()
    cli("sweep", "--resume", "s", "--quiet")
    assert (broken / "trajectory.xyz").read_bytes() == whole


def test_what_cannot_be_swept_is_refused_before_anything_is_written(cli, refused, run, store, structure) -> None:
    assert "never calibrated" in refused(2, "sweep", structure, "--vary", "adc_bits=4", "--steps", 5)
    assert "2:8" in refused(2, "sweep", structure, "--bits", "many")
    assert "name one" in refused(2, "sweep")
    assert "nowhere.xyz" in refused(2, "sweep", "nowhere.xyz", "--bits", "4")
    assert not Path("sweeps").exists()
    cli("train", store, "--preset", "gnnff", "--epochs", 1, "--out", "runs/g", "--quiet")
    assert "all digital" in refused(2, "sweep", structure, "--model", "runs/g")


def test_what_is_read_is_not_replaced(refused, run, structure) -> None:
    for out in (run, structure.parent):
        said = refused(2, "sweep", structure, "--bits", "2", "--steps", 5, "--out", out, "--overwrite")
        assert "holds what is read from" in said
    assert (run / "model.safetensors").is_file() and structure.is_file()


def test_a_changed_model_or_structure_is_noticed(cli, refused, run, structure, store) -> None:
    cli("sweep", structure, "--bits", "2", "--steps", 5, "--out", "s", "--quiet")
    assert "--overwrite" in refused(2, "sweep", structure, "--bits", "2", "--out", "s")
    cli("sweep", structure, "--bits", "2", "--steps", 5, "--out", "s", "--overwrite", "--quiet")
    atoms = ase.io.read(structure)
    atoms.rattle(0.01)
    ase.io.write(structure, atoms, format="extxyz")
    assert "structure.xyz: has changed" in refused(2, "sweep", "--resume", "s")
    Path("s/note.txt").write_text("mine")
    assert "note.txt" in refused(2, "sweep", structure, "--bits", "2", "--out", "s", "--overwrite")
    assert Path("s/00-ideal/log.csv").exists()
    assert load_model(run).hardware.bits == 4
