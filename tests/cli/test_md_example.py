"""What is packaged to run before any training: a model by name, and a structure."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest

from rgnn import RGNNCalculator, load_model
from rgnn.data.sample import sample_frames
from rgnn.models import sample


def test_dynamics_runs_before_any_training(cli, workdir) -> None:
    said = cli("md", "--steps", 3)
    assert "labels of CHGNet 0.3.0, not DFT" in said
    assert len(ase.io.read("md/sample-001/trajectory.traj", ":")) >= 1
    assert "md/sample-002" in cli("md", "--model", "sample", "--steps", 3)
    cli("md", "--resume", "md/sample-001", "--quiet")


def test_the_model_goes_by_its_name_everywhere(cli, workdir) -> None:
    ase.io.write("mine.xyz", next(iter(sample_frames())).to_atoms())
    cli("md", "mine.xyz", "--model", "sample", "--steps", 2, "--quiet")
    found = json.loads(cli("info", "sample", "--json"))
    assert (found["kind"], found["family"], found["elements"]) == ("model", "energy", ["Li", "O", "P"])
    assert "CHGNet" in found["data"]


def test_what_is_not_an_example_is_refused(refused, cli, store, run) -> None:
    assert "no structure" in refused(2, "md")  # there is a model of something else here
    Path("sample.xyz").write_text("1\n\nLi 0 0 0\n")
    assert "sample.xyz is here with another structure" in refused(2, "md", "--model", "sample")


def test_a_folder_of_that_name_comes_first(cli, workdir, quick_model_folder) -> None:
    Path("sample").symlink_to(quick_model_folder, target_is_directory=True)
    assert json.loads(cli("info", "sample", "--json"))["family"] == "message-passing"


def test_its_forces_are_those_of_the_labels(workdir) -> None:
    """As its README says: few frames, but learned; energies have the reference of the labels."""
    errors, labels = [], []
    for k, frame in enumerate(sample_frames()):
        if k % 60 == 0:
            atoms = frame.to_atoms()
            atoms.calc = RGNNCalculator("sample", seed=0)
            errors.append(np.abs(atoms.get_forces() - frame.forces).sum())
            labels.append(np.abs(frame.forces).sum())
            assert atoms.get_potential_energy() == pytest.approx(frame.energy, abs=192 * 0.02)
    assert sum(errors) / sum(labels) < 0.15


def test_it_is_small() -> None:
    assert (sample.FOLDER / "model.safetensors").stat().st_size < 1.5e6
    assert load_model("sample").provenance.seen.frames > 200
