import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from rgnn import GraphStore, load_model
from rgnn.evaluation import predict
from rgnn.store import split_frames


def test_evaluates_held_out_frames_and_writes_results(cli, run) -> None:
    out = json.loads(cli("eval", run, "--repeats", 3, "--out", "e", "--json"))
    assert {p.name for p in Path("e").iterdir()} == {"eval.json", "eval.csv", "parity.png"}
    record = json.loads(Path("e/eval.json").read_text())
    assert record["frames"] == split_frames(30, 0.1, 0)[1]
    ideal, trained = out["settings"]
    assert (ideal["hardware"]["bits"], ideal["repeats"]) == (None, 1)
    assert (trained["hardware"]["bits"], trained["repeats"]) == (4, 3)
    assert set(trained["elements"]) == {"3", "8"}
    assert set(trained["groups"]) <= {"300 K", "600 K"}


def test_the_error_is_what_it_says(cli, run) -> None:
    out = json.loads(cli("eval", run, "--json"))
    store, model = GraphStore("data/tiny.zarr"), load_model(run)
    frames = split_frames(30, 0.1, 0)[1]
    absolute = reference = 0.0
    for index in frames:
        g = store.graph(index)
        absolute += np.abs(predict(model, g, model.hardware.ideal(), 0, index, 0) - g.forces.numpy()).sum()
        reference += np.abs(g.forces.numpy()).sum()
    assert out["settings"][0]["all"]["relative_error"] == pytest.approx(absolute / reference, rel=1e-5)


def test_a_sweep_draws_a_heat_map(cli, run) -> None:
    out = cli("eval", run, "--bits", "2:4", "--noise", "0,0.1", "--repeats", 2, "--out", "e")
    assert Path("e/heatmap.png").stat().st_size > 1000
    assert "3 bits, 10% read noise" in out
    assert len(Path("e/eval.csv").read_text().splitlines()) == 1 + 3 * (2 + 6)  # 4 bits, 5% is no member of the sweep


def test_another_store_is_taken_whole(cli, run, trajectory) -> None:
    cli("convert", trajectory, "--out", "other.zarr", "--every", 3, "--quiet")
    assert "all 10" in cli("eval", run, "other.zarr")


def test_bad_words_are_refused(refused, run) -> None:
    assert "2:8" in refused(2, "eval", run, "--bits", "many")
    assert "2:8" in refused(2, "eval", run, "--bits", "8:2")
    assert "0,0.02" in refused(2, "eval", run, "--noise", "little")
    assert "between 1 and 16" in refused(2, "eval", run, "--bits", "99")
    assert "--cutoff" not in refused(2, "eval", "nothing")


def test_elements_that_the_model_does_not_know_are_named(run, shell, trajectory) -> None:
    frame = ase.io.read(trajectory, 0)
    forces = frame.get_forces()
    frame.symbols[0] = "Na"
    frame.calc = SinglePointCalculator(frame, forces=forces)
    ase.io.write("strange.xyz", frame, format="extxyz")
    assert shell("rgnn convert strange.xyz --out strange.zarr --quiet").code == 0
    done = shell("rgnn eval runs/a strange.zarr --quiet")
    assert done.code == 0 and "not trained on Na" in done.err


def test_the_all_digital_twin_has_no_hardware_to_sweep(cli, refused, store) -> None:
    cli("train", store, "--preset", "gnnff", "--epochs", 1, "--out", "runs/g", "--quiet")
    out = cli("eval", "runs/g")
    assert "all digital" in out and "noise" not in out
    assert "all digital" in refused(2, "eval", "runs/g", "--bits", "2:4")


def test_a_store_of_another_cutoff_is_refused(cli, refused, run, trajectory) -> None:
    cli("convert", trajectory, "--out", "wide.zarr", "--cutoff", 5, "--quiet")
    assert "--cutoff 3.8" in refused(2, "eval", run, "wide.zarr")
