import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import pytest
import yaml
from safetensors.torch import load_file

from rgnn.training.log import read_epochs


def tensors(folder):
    return load_file(Path(folder) / "model.safetensors")


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def test_a_run_folder_holds_what_would_repeat_it(cli, run) -> None:
    assert {p.name for p in run.iterdir()} >= {
        "config.yaml",
        "log.csv",
        "best",
        "last",
        "state.safetensors",
        "training.png",
        "split.yaml",
    }
    record = yaml.safe_load((run / "config.yaml").read_text())
    assert record["hardware"]["bits"] == 4
    assert record["training"]["epochs"] == 2
    assert record["versions"]["torch"]
    cli("train", "--config", run / "config.yaml", "--out", "runs/b", "--quiet")
    assert same(tensors(run / "last"), tensors("runs/b/last"))


def test_seeds_matter_and_latest_points_to_the_newest(cli, run) -> None:
    cli("train", "data/tiny.zarr", "--epochs", 2, "--bits", 4, "--noise", 0.05, "--seed", 1, "--quiet")
    assert Path("runs/latest").resolve() == Path("runs/train-001").resolve()
    assert not same(tensors(run / "last"), tensors("runs/latest/last"))


def test_options_override_the_file(cli, run) -> None:
    out = cli("train", "--config", run / "config.yaml", "--out", "runs/b", "--bits", 6, "--epochs", 1, "--json")
    assert json.loads(out)["epochs"] == 1
    record = yaml.safe_load(Path("runs/b/config.yaml").read_text())
    assert (record["hardware"]["bits"], record["hardware"]["noise"]) == (6, 0.05)


def test_without_a_store_the_newest_is_taken_and_named(cli, store) -> None:
    out = cli("train", "--epochs", 1)
    assert "data/tiny.zarr (the one made last here)" in out


def test_presets(cli, store) -> None:
    cli("train", store, "--preset", "gnnff", "--epochs", 1, "--out", "runs/g", "--quiet")
    assert not any("arrays" in name for name in tensors("runs/g/best"))
    cli("train", store, "--preset", "published", "--epochs", 1, "--out", "runs/p", "--quiet")
    assert yaml.safe_load(Path("runs/p/config.yaml").read_text())["hardware"]["rounding"] == "floor"


def test_resume_needs_its_own_settings(refused, run) -> None:
    assert "--bits" in refused(2, "train", "--resume", run, "--bits", 3)
    assert "config.yaml" in refused(2, "train", "--resume", "data")


def test_a_finished_run_can_be_made_longer(cli, run) -> None:
    cli("train", "--resume", run, "--epochs", 3, "--quiet")
    assert [row.epoch for row in read_epochs(run)] == [1, 2, 3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_resumes_to_the_same_model(cli, store, number) -> None:
    options = ["train", str(store), "--epochs", "6", "--quiet"]
    cli(*options, "--out", "runs/whole")
    command = [str(Path(sys.executable).parent / "rgnn"), *options, "--out", "runs/cut"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not Path("runs/cut/log.csv").exists():
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "rgnn train --resume runs/cut" in said
    assert len(read_epochs("runs/cut")) < 6
    cli("train", "--resume", "runs/cut", "--quiet")
    for part in ("best", "last"):
        assert same(tensors(f"runs/whole/{part}"), tensors(f"runs/cut/{part}"))
    errors = [[row.relative_error for row in read_epochs(folder)] for folder in ("runs/whole", "runs/cut")]
    assert errors[0] == errors[1]


def test_a_killed_run_resumes_to_the_same_model(cli, store) -> None:
    options = ["train", str(store), "--epochs", "6", "--quiet"]
    cli(*options, "--out", "runs/whole")
    process = subprocess.Popen([str(Path(sys.executable).parent / "rgnn"), *options, "--out", "runs/cut"])
    while not Path("runs/cut/log.csv").exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    cli("train", "--resume", "runs/cut", "--quiet")
    assert same(tensors("runs/whole/best"), tensors("runs/cut/best"))


def test_a_full_disk_keeps_what_was_written(cli, refused, run, monkeypatch) -> None:
    before = tensors(run / "best")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("rgnn.base.files.os.fsync", full)
        said = refused(2, "train", "--resume", run, "--epochs", 4, "--quiet")
    assert "no space" in said
    assert same(before, tensors(run / "best"))
    assert not list(run.rglob("*.partial"))


def test_bad_input_is_refused_and_harms_nothing(refused, cli, store, trajectory) -> None:
    assert "convert" in refused(2, "train", trajectory)
    assert "there is no such store" in refused(2, "train", "nowhere.zarr")
    config = Path("wide.yaml")
    config.write_text("model: {cutoff: 4.5}\n")
    assert "--cutoff 4.5" in refused(2, "train", store, "--config", config)
    config.write_text("training: {epoch: 3}\n")
    assert "did you mean 'epochs'" in refused(2, "train", store, "--config", config)
    config.write_text("model: {n_features: 64}\n")
    assert "too small" in refused(2, "train", store, "--config", config)
    assert not Path("runs").exists()


def test_a_refused_resume_changes_nothing(cli, refused, run, trajectory) -> None:
    before = (run / "config.yaml").read_bytes()
    assert "learning_rate = 0.004, not 0.01" in refused(2, "train", "--resume", run, "--learning-rate", 0.01)
    assert (run / "config.yaml").read_bytes() == before
    more = ase.io.read(trajectory)
    more.calc.results["forces"] *= 1.1
    ase.io.write("more.traj", more)
    cli("convert", "more.traj", "--out", "data/tiny.zarr", "--append", "--quiet")
    assert "another data checksum" in refused(2, "train", "--resume", run, "--epochs", 3)
    assert (run / "config.yaml").read_bytes() == before


def test_bad_input_does_not_cost_the_run_that_would_be_replaced(refused, run) -> None:
    before = {p.name for p in run.iterdir()}
    refused(2, "train", "data/tiny.zarr", "--out", run, "--overwrite", "--chip", "nochip")
    (run / "thesis.txt").write_text("precious")
    assert "thesis.txt" in refused(2, "train", "data/tiny.zarr", "--out", run, "--overwrite")
    assert {p.name for p in run.iterdir()} == {*before, "thesis.txt"}


def test_the_cutoff_is_that_of_the_store(cli, refused, trajectory, workdir) -> None:
    cli("convert", trajectory, "--out", "wide.zarr", "--cutoff", 4.4, "--quiet")
    cli("train", "wide.zarr", "--epochs", 1, "--out", "runs/w", "--quiet")
    assert yaml.safe_load(Path("runs/w/config.yaml").read_text())["model"]["cutoff"] == 4.4
    assert "--cutoff 3.8" in refused(2, "train", "wide.zarr", "--preset", "published")


def test_two_commands_at_once_do_not_share_a_folder(workdir) -> None:
    from rgnn_cli.session.workspace import new_folder

    assert [str(new_folder("runs", "train")) for _ in range(2)] == ["runs/train-001", "runs/train-002"]


def test_a_run_is_not_overwritten_by_accident(cli, refused, run) -> None:
    assert "--overwrite" in refused(2, "train", "data/tiny.zarr", "--out", run)
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("precious")
    refused(2, "train", "data/tiny.zarr", "--out", "mine", "--overwrite")
    assert Path("mine/thesis.txt").read_text() == "precious"
    cli("train", "data/tiny.zarr", "--out", run, "--overwrite", "--epochs", 1, "--quiet")
    assert len(read_epochs(run)) == 1


def test_a_ridge_is_solved_for_and_takes_more_frames(cli, refused, store, trajectory, further) -> None:
    out = cli("train", store, "--preset", "ridge", "--out", "runs/r")
    assert "32 channels of moments" in out and "one pass" in out
    record = yaml.safe_load(Path("runs/r/config.yaml").read_text())
    assert record["model"]["elements"]
    cli("train", "--resume", "runs/r", "--quiet")  # nothing is left to sum
    assert "seed 0, not 5" in refused(2, "train", "--resume", "runs/r", "--seed", 5)
    assert "no use for epochs, loss" in refused(2, "train", store, "--preset", "ridge", "--epochs", 3, "--loss", "mse")
    assert "are in runs/r already" in refused(2, "train", store, "--add-to", "runs/r")
    assert "name the store" in refused(2, "train", "--add-to", "runs/r")
    cli("convert", trajectory, "--every", 2, "--out", "data/some.zarr", "--quiet")
    assert "15 of its 15 frames are in runs/r already" in refused(2, "train", "data/some.zarr", "--add-to", "runs/r")
    cli("convert", further, "--out", "data/more.zarr", "--quiet")
    same = refused(2, "train", "data/more.zarr", "--add-to", "runs/r", "--out", "runs/r", "--overwrite")
    assert "holds what is read from runs/r" in same
    out = cli("train", "data/more.zarr", "--add-to", "runs/r", "--out", "runs/more", "--json")
    best = json.loads(out)["best"]
    assert 0 < best["relative_error"] < 1 and 0 < best["mae_ev_per_angstrom"] <= best["rmse_ev_per_angstrom"]
    assert yaml.safe_load(Path("runs/more/config.yaml").read_text())["adds_to"] == "runs/r"
    cli("costs", "runs/more", "--quiet")
    assert "give one" in refused(2, "train", store, "--add-to", "runs/r", "--preset", "ridge")


def test_moments_with_a_network(cli, refused, store) -> None:
    said = cli("train", store, "--preset", "moments", "--epochs", 2, "--out", "runs/m")
    assert len(read_epochs("runs/m")) == 2
    assert "this preset does better with 5: rgnn convert --cutoff 5" in said
    assert "no ridge readout" in refused(2, "train", store, "--add-to", "runs/m")
