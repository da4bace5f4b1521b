"""rgnn learn, as a user meets it."""

import json
from pathlib import Path

import ase.io
import pytest
from wells import alloy

from rgnn.base.settings import dump_yaml
from rgnn.models.settings import MomentSettings, RidgeSettings
from rgnn.training.run import RunSettings


@pytest.fixture
def options(workdir) -> tuple:
    """A structure, and options for small models and short runs."""
    ase.io.write("alloy.xyz", alloy())
    ridge = RunSettings(model=MomentSettings(cutoff=4.0, channels=6, readout=RidgeSettings(random_features=24)))
    Path("small.yaml").write_text(dump_yaml(ridge.to_mapping()))
    return (
        "--config", "small.yaml", "--cutoff", 4, "--start", 6, "--batch", 2, "--steps", 40, "--every", 2,
        "--temperature", 1500, "--timestep", 2, "--rounds", 1,
    )  # fmt: skip


def test_learn_from_a_structure_to_dynamics(cli, refused, options) -> None:
    said = cli("learn", "alloy.xyz", "--label", "wells:Wells", *options)
    assert "Round 1: 6 frames; force error" in said and "Round 2: 8 frames" in said
    assert "Next: the same command with --rounds 6 goes on" in said
    assert Path("learn/alloy/learning.png").stat().st_size > 1000
    again = json.loads(cli("learn", "alloy.xyz", "--label", "wells:Wells", *options, "--json"))
    assert [row["frames"] for row in again["rounds"]] == [6, 8] and not again["inside"]
    said = cli("info", "learn/alloy")
    assert "6 distorted copies" in said and "Force errors, meV/Å" in said
    found = json.loads(cli("info", "learn/alloy", "--json"))
    assert found["kind"] == "active learning" and found["rounds"] == again["rounds"]
    cli("md", "alloy.xyz", "--steps", 4, "--temperature", 20, "--out", "md/a", "--quiet")  # the model made last here
    assert "learn/alloy" in Path("md/a/config.yaml").read_text()
    words = refused(2, "learn", "alloy.xyz", "--label", "wells:Wells", *options, "--seed", 4)
    assert "learn/alloy: was begun with seed = 0, not 4" in words


def test_learn_waits_for_a_program(cli, refused, options) -> None:
    Path("vasp").mkdir()
    Path("vasp/INCAR").write_text("NSW = 0\n")
    words = refused(3, "learn", "alloy.xyz", "--inputs", "vasp", "--template", "vasp", *options)
    assert words.startswith("6 inputs are written: run VASP in learn/alloy/rounds/00/labels/000 to 005")
    assert "Error" not in words
    assert len(list(Path("learn/alloy/rounds/00/labels").glob("*/POSCAR"))) == 6
    words = refused(3, "learn", "alloy.xyz", "--inputs", "vasp", "--template", "vasp", *options)
    assert words.startswith("6 outputs are missing: run VASP in")


def test_learn_refuses_what_cannot_work(refused, options) -> None:
    assert "give one of label" in refused(2, "learn", "alloy.xyz", *options)
    assert "nowhere.xyz" in refused(2, "learn", "nowhere.xyz", "--label", "wells:Wells", *options)
    assert "cannot be imported" in refused(2, "learn", "alloy.xyz", "--label", "nowhere:X", *options)
    assert "template belong together" in refused(2, "learn", "alloy.xyz", "--inputs", "vasp", *options)
    assert not Path("learn").exists()
