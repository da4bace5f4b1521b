import json
import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml
from ase.calculators.singlepoint import SinglePointCalculator

import rgnn
from rgnn import GraphStore, load_model
from rgnn.base.errors import InputError
from rgnn.costs import estimate_costs
from rgnn.data.store.split import split_frames
from rgnn.evaluation import predict
from rgnn.models.checkpoints import fingerprint


def test_evaluates_held_out_frames_and_writes_results(cli, run) -> None:
    out = json.loads(cli("eval", run, "--repeats", 3, "--out", "e", "--json"))
    assert {p.name for p in Path("e").iterdir()} == {
        "config.yaml", "settings", "report.html", "eval.json", "eval.csv", "parity.png", "layers.png",
        "predictions.xyz",
        "uncertainty.png",
    }  # fmt: skip
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
        absolute += np.abs(predict(model, g, model.hardware.ideal(), 0, index, 0).forces - g.forces.numpy()).sum()
        reference += np.abs(g.forces.numpy()).sum()
    assert out["settings"][0]["all"]["relative_error"] == pytest.approx(absolute / reference, rel=1e-5)


def test_python_gives_the_numbers_of_the_command(cli, run) -> None:
    """Frames, draws, calibration of missing ranges and groups are chosen in one place."""
    out = json.loads(cli("eval", run, "--bits", "2,3", "--vary", "adc_bits=6", "--repeats", 2, "--frames", 2, "--json"))
    found = rgnn.evaluate(run, bits=[2, 3], vary={"adc_bits": [6]}, repeats=2, frames=2)
    assert found.plan.calibration and len(found.rows) == 4
    assert json.loads(json.dumps(found.to_mapping())) == {
        "settings": out["settings"],
        "uncertainty": out["uncertainty"],
    }


def test_a_model_in_memory_keeps_its_ranges(run) -> None:
    model = load_model(run)
    before = fingerprint(model)
    found = rgnn.evaluate(model, vary={"adc_bits": [6]}, repeats=1, frames=1)
    assert found.plan.calibration and fingerprint(model) == before != fingerprint(found.plan.model)
    with pytest.raises(InputError, match="no frame 99"):
        rgnn.evaluate(model, frames=[99])


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


def test_any_setting_is_swept_and_missing_ranges_are_made(cli, run) -> None:
    out = cli("eval", run, "--vary", "adc_bits=4,8", "--vary", "noise_sharing=read,call", "--repeats", 2, "--out", "e")
    assert "Calibrating converters" in out and "4-bit ADC" in out
    found = [s["hardware"] for s in json.loads(Path("e/eval.json").read_text())["settings"]]
    assert {(h["adc_bits"], h["noise_sharing"]) for h in found[2:]} == {
        (a, s) for a in (4, 8) for s in ("read", "call")
    }
    assert Path("e/heatmap.png").exists() and Path("e/curves.png").exists()
    layers = json.loads(Path("e/eval.json").read_text())["layers"]
    assert any(d["saturated"] is not None for d in layers) and all(0 <= d["clipped"] < 0.1 for d in layers)


def test_the_report_holds_everything(cli, run) -> None:
    """Figures are in the file itself, and nothing is asked for outside of it."""
    cli("eval", run, "--bits", "2:4", "--noise", "0,0.1", "--repeats", 2, "--out", "e")
    page = Path("e/report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 6 == page.count("<figure>")
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    for words in (
        "times the ideal chip",
        "error by element",
        "too few frames",
        "Signal to noise",
        "bootstrap",
        "clipped",
    ):
        assert words in page


def test_a_cut_off_evaluation_goes_on_to_the_same_result(cli, refused, run) -> None:
    cli("eval", run, "--bits", "2:4", "--repeats", 2, "--out", "e", "--quiet")
    whole = Path("e/eval.json").read_text()
    kept = sorted(Path("e/settings").iterdir())
    kept[0].unlink()
    for name in ("eval.json", "report.html"):
        Path("e", name).unlink()
    cli("eval", "--resume", "e", "--quiet")
    assert Path("e/eval.json").read_text() == whole
    assert "takes all settings from the run" in refused(2, "eval", run, "--resume", "e")
    cli("train", "data/tiny.zarr", "--epochs", 1, "--seed", 9, "--out", "runs/other", "--quiet")
    Path("e/config.yaml").write_text(Path("e/config.yaml").read_text().replace("runs/a", "runs/other"))
    assert "has changed since e was begun" in refused(2, "eval", "--resume", "e")


def test_fresh_chips_are_told_apart_from_reads(cli, run) -> None:
    out = json.loads(cli("eval", run, "--vary", "noise_sharing=chip", "--chips", 3, "--out", "e", "--json"))
    frozen = out["settings"][-1]
    assert (frozen["chips"], frozen["repeats"]) == (3, 1)
    assert frozen["deviation_between_chips"] >= 0 and frozen["deviation_between_reads"] is None


def test_slow_and_frozen_noise_are_axes(cli, run) -> None:
    """1/f noise differs from read to read, programming errors from chip to chip, and neither is shown as none."""
    words = ["--noise", "0", "--slow-noise", "0,0.3", "--programming-noise", "0,0.3", "--chips", 2, "--repeats", 2]
    record = json.loads(cli("eval", run, *words, "--frames", 2, "--json"))
    rows = {(r["hardware"]["slow_noise"], r["hardware"]["programming_noise"]): r for r in record["settings"][2:]}
    assert set(rows) == {(None, None), (None, 0.3), (0.3, None), (0.3, 0.3)}
    assert [rows[key]["chips"] for key in ((None, None), (None, 0.3), (0.3, 0.3))] == [1, 2, 2]
    assert rows[0.3, None]["repeats"] == 2 and rows[None, 0.3]["repeats"] == 1


def test_the_cheapest_hardware_is_found(cli, refused, run) -> None:
    out = cli("eval", run, "--find", "bits,noise", "--within", "20%", "--frames", 2, "--repeats", 1, "--out", "f")
    assert "error of the ideal chip" in out and "Cheapest" in out
    found = json.loads(Path("f/find.json").read_text())
    assert all(f["ratio"]["value"] <= 1.2 for f in found["found"]) and found["tried"] >= len(found["found"])
    assert "search for bits" in refused(2, "eval", run, "--find", "size")
    assert "--within" in refused(2, "eval", run, "--find", "bits", "--within", "much")


def test_conservation_of_energy(cli, run) -> None:
    out = cli("eval", run, "--conservation", "--frames", 1, "--nve-steps", 30, "--out", "c")
    for words in ("Verdict", "arXiv 2412.11569", "ideal chip", "noise as trained", "plateau", "periodic"):
        assert words in out
    assert {p.name for p in Path("c").iterdir()} == {"config.yaml", "conservation.json", "report.html"}
    record = json.loads(Path("c/conservation.json").read_text())
    trained = record["asymmetry"]["as trained, noise off"]
    assert set(trained["by_step_angstrom"]) == {"0.005", "0.01", "0.02"}
    low, high = trained["by_step_angstrom"]["0.01"]["95%"]
    assert 0 <= low <= trained["by_step_angstrom"]["0.01"]["value"] <= high <= 1
    assert record["nve_mev_per_atom_ps"]["expected_of_noise"] > 0
    assert 0 <= record["net_force"][0] < 1 and record["net_torque"] == [None]


def test_presets_and_files_of_hardware(cli, refused, run) -> None:
    out = cli("eval", run, "--hardware", "cmo-hfox", "--frames", 1, "--repeats", 1)
    assert "1.13% programming noise" in out
    assert "--hardware hfox-neurram" in cli("info", "hardware")
    assert "is neither a hardware preset nor a YAML file" in refused(2, "eval", run, "--hardware", "nonsense")
    assert "no bit planes" in refused(2, "eval", run, "--vary", "bits=null")
    assert "unknown key" in refused(2, "eval", run, "--vary", "nonsense=1")
    assert "--vary" in refused(2, "eval", run, "--vary", "adc_bits")


def test_costs(cli, refused, run, trajectory) -> None:
    out = cli("costs", run)
    for words in ("output conversions", "an estimate, not measured", "2.7", "Assumed", "Left out"):
        assert words in out
    record = json.loads(cli("costs", run, "--bits", 2, "--json"))
    assert record == estimate_costs(run, bits=2).to_mapping()
    assert 4 * record["conversions"] == json.loads(cli("costs", run, "--bits", 8, "--json"))["conversions"]
    assert "ISAAC" in cli("costs", run, "--sources")
    Path("mine.yaml").write_text("read_time: {low: {value: 1}}")
    assert "needs a value" in refused(2, "costs", run, "--table", "mine.yaml")
    cli("convert", trajectory, "--cutoff", 5, "--out", "data/wide.zarr", "--quiet")
    assert "cutoff" in refused(2, "costs", run, "data/wide.zarr")


def test_what_is_read_is_not_replaced(refused, run, store) -> None:
    for out in (run, run / "best", store):
        assert "holds what is read from" in refused(2, "eval", run, store, "--out", out, "--overwrite")
    assert (run / "best" / "model.safetensors").is_file()


def test_the_published_settings_give_their_seed_and_name_the_rest(cli, refused, run, store) -> None:
    values = {"mode": "eval", "n_message_passing": 3, "n_edge_feature": 18, "seed": 7, "checkpoint_path": "c.pkl"}
    Path("eval.json").write_text(json.dumps(values))
    said = cli("eval", run, store, "--config", "eval.json", "--frames", 1, "--repeats", 1, "--out", "e")
    assert "Not used of eval.json: checkpoint_path, mode, n_edge_feature, n_message_passing" in said
    assert yaml.safe_load(Path("e/config.yaml").read_text())["seed"] == 7
    cli("eval", run, store, "--config", "eval.json", "--frames", 1, "--repeats", 1, "--out", "f", "--seed", 3)
    assert yaml.safe_load(Path("f/config.yaml").read_text())["seed"] == 3
    Path("other.json").write_text("{}")
    assert "is not a settings file of the published" in refused(2, "eval", run, store, "--config", "other.json")
