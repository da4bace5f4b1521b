"""Ridge readouts on several chips, and how sure their forces are: train, info, costs, eval and md."""

import json
from pathlib import Path

import ase.io
import pytest
import yaml
from safetensors.torch import load_file

SMALL = """
model: {moments: 4, readout: ridge, random_features: 24, reservoir_layers: 0, trained_layers: 0}
hardware: {noise: 0.02}
"""


@pytest.fixture
def committee(cli, store) -> Path:
    """Three small ridge readouts, solved for together."""
    Path("small.yaml").write_text(SMALL)
    out = cli("train", store, "--config", "small.yaml", "--chips", 3, "--out", "runs/c")
    assert "synthetic, seed 0, and 2 more" in out and "by the spread of the chips and the posterior" in out
    return Path("runs/c")


@pytest.fixture
def structure(trajectory, workdir) -> Path:
    path = Path("one.xyz")
    ase.io.write(path, ase.io.read(trajectory, 0), format="extxyz")
    return path


def test_a_run_on_several_chips_is_a_run(cli, refused, store, further, committee) -> None:
    assert {p.name for p in (committee / "members").iterdir()} == {"2.safetensors", "3.safetensors"}
    before = load_file(committee / "best/model.safetensors")
    cli("train", "--resume", committee, "--quiet")
    after = load_file(committee / "best/model.safetensors")
    assert before.keys() == after.keys() and all(before[name].equal(after[name]) for name in before)
    cli("convert", further, "--out", "data/more.zarr", "--quiet")
    cli("train", "data/more.zarr", "--add-to", committee, "--out", "runs/more", "--quiet")
    assert yaml.safe_load(Path("runs/more/config.yaml").read_text())["chips"] == 3
    assert "leave chip and chips out" in refused(2, "train", store, "--add-to", committee, "--chips", 2)
    assert "--chips" in refused(2, "train", "--resume", committee, "--chips", 2)
    cli("train", store, "--config", "small.yaml", "--chips", 1, "--out", committee, "--overwrite", "--quiet")
    assert not (committee / "members").exists()


def test_info_and_costs_tell_of_it(cli, store, committee) -> None:
    assert "3, forces are the mean" in cli("info", committee)
    told = cli("info", committee / "best")
    assert "the mean of 3, on different chips" in told and "uncertainty by committee" in told
    assert "needed 3 times" in cli("costs", committee, store)


def test_eval_of_other_converters_shows_it_too(cli, store, committee) -> None:
    """Ranges that are made for the evaluation change the model, which the file beside it must not mind."""
    record = json.loads(cli("eval", committee, store, "--vary", "adc_bits=6", "--out", "e", "--json"))
    assert [found["method"] for found in record["uncertainty"]] == ["posterior", "committee"]


def test_eval_shows_how_well_errors_are_told(cli, store, trajectory, committee) -> None:
    record = json.loads(cli("eval", committee, store, "--out", "e", "--json"))
    posterior, spread = record["uncertainty"]
    assert (posterior["method"], spread["method"]) == ("posterior", "committee")
    assert json.loads(Path("e/eval.json").read_text())["uncertainty"] == record["uncertainty"]
    assert len(posterior["bins_ev_per_angstrom"]) == 10 and set(posterior["elements"]) == {"3", "8"}
    assert set(posterior["groups"]) == set(record["settings"][0]["groups"])
    assert 0.3 < posterior["within_1_sigma"] < 1
    assert Path("e/uncertainty.png").stat().st_size > 1000
    assert "How sure forces are" in Path("e/report.html").read_text()
    told = cli("eval", committee, store, "--out", "e", "--overwrite")
    assert "Uncertainty of forces, as trained" in told and "in 2σ (95%)" in told
    assert "calibrated on these very frames" in told
    cli("convert", trajectory, "--out", "other.zarr", "--every", 3, "--quiet")
    assert "these very frames" not in cli("eval", committee, "other.zarr")


def test_md_looks_at_it_in_each_row(cli, refused, committee, structure) -> None:
    slow = ("--model", committee, "--timestep", 0.2)
    told = cli("md", structure, *slow, "--steps", 20, "--out", "md/a")
    assert "by posterior, every 10 steps" in told and "of 3 looks at how sure forces are" in told
    assert json.loads(Path("md/a/summary.json").read_text())["uncertainty_checks"] == 3
    assert "of 4 looks" in cli("md", "--resume", "md/a", "--steps", 30)
    told = cli("md", structure, *slow, "--steps", 5, "--uncertainty", "none", "--out", "md/b")
    assert "ncertain" not in told and "looks" not in told
    said = refused(2, "md", "--resume", "md/b", "--uncertainty", "posterior")
    assert "started with uncertainty = none" in said
    told = cli("md", structure, structure, *slow, "--steps", 5, "--noise", 0, "--out", "md/c")
    assert "outside of training" in told and "calibrated on the hardware as trained" in told


def test_md_refuses_what_a_model_has_not(cli, refused, store, structure) -> None:
    Path("small.yaml").write_text(SMALL)
    cli("train", store, "--config", "small.yaml", "--out", "runs/one", "--quiet")
    words = ("--model", "runs/one", "--steps", 5, "--uncertainty", "committee", "--out", "md/a")
    assert "the model has posterior only" in refused(2, "md", structure, *words)
    assert not Path("md/a").exists()
