import json
import pickle
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch

from rgnn import Chip, load_model
from rgnn.models.checkpoints import fingerprint
from rgnn.reports.chip import import_chip
from rgnn.training.log import read_epochs


def test_each_command_explains_itself_with_an_example(cli) -> None:
    from rgnn_cli.app import app

    assert "demo" in cli("--help")
    for command in app.registered_commands:
        said = cli(command.name, "--help")
        assert f"Example: rgnn {command.name}" in said
    for group in app.registered_groups:
        for command in group.typer_instance.registered_commands:
            assert f"Example: rgnn {group.name} {command.name}" in cli(group.name, command.name, "--help")


def test_the_version(cli) -> None:
    assert cli("--version").startswith("rgnn 0.")


def test_doctor_passes_all_its_checks(cli) -> None:
    said = cli("doctor")
    assert said.count("passed  ") == 5 and "[green]" not in said
    report = json.loads(cli("doctor", "--json"))
    assert all(check["passed"] for check in report["checks"])
    assert len(report["checks"]) == 5
    environment, checks = report["environment"], {check["name"]: check for check in report["checks"]}
    assert environment["torch"] and environment["threads"] >= 1 and environment["cores"] >= 1
    assert checks["neighbour list"]["edges"] == checks["neighbour list"]["ase_edges"] > 0
    assert 0 < checks["forces"]["seconds"] < 60 and checks["kernels"]["relative_difference"] < 0.02


def test_info_knows_what_lies_there(cli, refused, run) -> None:
    store = json.loads(cli("info", "data/tiny.zarr", "--json"))
    assert (store["frames"], store["cutoff_angstrom"], store["elements"]) == (30, 3.8, {"Li": 240, "O": 240})
    assert store["temperatures_kelvin"] == {"300.0": 15, "600.0": 15}
    assert "agrees" in cli("info", "data/tiny.zarr", "--verify")
    assert "of 2" in cli("info", run) and "4 bits, 5% read noise" in cli("info", run / "best")
    assert "neither" in refused(2, "info", "data")
    assert "nothing" in refused(2, "info", "nowhere")


def test_info_in_numbers_of_each_kind(cli, refused, run, trajectory) -> None:
    training = json.loads(cli("info", run, "--json"))
    assert (training["kind"], training["finished_epochs"], training["epochs"]) == ("training run", 2, 2)
    history = read_epochs(run)
    best = min(history, key=lambda row: row.relative_error)
    assert (training["best_epoch"], training["validation_error"]) == (best.epoch, best.relative_error)
    assert training["mae_ev_per_angstrom"] == best.mae
    assert training["seconds"] == sum(row.seconds for row in history)
    assert training["hardware"] == load_model(run).hardware.to_mapping()

    model = json.loads(cli("info", run / "best", "--json"))
    assert (model["kind"], model["elements"], model["cutoff_angstrom"]) == ("model", ["Li", "O"], 3.8)
    assert model["reach_angstrom"] == load_model(run).locality.reach
    assert model["weights"] > model["trained_weights"] > 0
    assert set(model["smallest_distances_angstrom"]) == {"Li-Li", "Li-O", "O-O"}
    assert model["fingerprint"] == fingerprint(load_model(run))

    ase.io.write("s.xyz", ase.io.read(trajectory, 0))
    cli("md", "s.xyz", "--steps", 4, "--temperature", "300:600", "--friction", 0.02, "--out", "m", "--quiet")
    dynamics = json.loads(cli("info", "m", "--json"))
    md = dynamics["md"]
    assert (dynamics["kind"], md["steps"], md["timestep_fs"], md["friction_per_fs"]) == ("dynamics run", 4, 1.0, 0.02)
    assert md["stages"][0]["temperature_to_kelvin"] == 600 and dynamics["origin"]["structure"] == "s.xyz"
    Path("m/restart.safetensors").unlink()  # as before the first state is saved
    assert "md friction" in cli("info", "m")
    cli("analyse", "m", "--skip", 0, "--out", "an", "--quiet")
    assert "report.html" in refused(2, "info", "an")

    Chip.synthetic(cells=100).save("chip")
    chip = json.loads(cli("info", "chip", "--json"))
    assert (chip["kind"], chip["weights"], chip["measured"], chip["knows_read_noise"]) == ("chip", 50, False, False)
    assert chip["smallest"] < chip["mean"] < chip["largest"] and chip["deviation"] > 0


def test_info_before_the_first_epoch_and_of_uncertainty(cli, run) -> None:
    (run / "log.csv").unlink()
    begun = json.loads(cli("info", run, "--json"))
    assert (begun["finished_epochs"], begun["best_epoch"], begun["validation_error"]) == (0, None, None)
    assert "relative force error" not in cli("info", run)
    Path("small.yaml").write_text(
        "store: data/tiny.zarr\nmodel: {family: moments, cutoff: 3.8, gaussians: 4, channels: 4, "
        "readout: {kind: ridge, random_features: 8}}\n"
    )
    cli("train", "--config", "small.yaml", "--out", "runs/r", "--quiet")
    limits = json.loads(cli("info", "runs/r/best", "--json"))["uncertainty_limits_ev_per_angstrom"]
    assert set(limits) == {"posterior"} and set(limits["posterior"]) == {"Li", "O"}
    assert json.loads(cli("info", "runs/r", "--json"))["one_pass"] is True


def conductances(path: Path, layers: int = 2) -> None:
    """A file of the published kind, with random weights."""
    from rgnn import RGNN
    from rgnn.models.settings import MessagePassingSettings

    generator = torch.Generator().manual_seed(0)
    shapes = RGNN.matrices(MessagePassingSettings())[:layers]
    torch.save([[0.3 * torch.randn(1, *shape, generator=generator) for shape in layer] for layer in shapes], path)


def test_import_conductance_makes_a_chip_that_train_takes(cli, refused, store) -> None:
    conductances(Path("c.pkl"))
    assert "86,832" in cli("import-conductance", "c.pkl", "--out", "chip")
    assert Path("chip/chip.png").stat().st_size > 1000
    cli("train", store, "--chip", "chip", "--epochs", 1, "--out", "runs/c", "--quiet")
    weights = torch.load("c.pkl", weights_only=True)
    from safetensors.torch import load_file

    assert load_file("runs/c/best/model.safetensors")["layers.0.crossbars.0.weight"].equal(weights[0][0][0])
    assert "--overwrite" in refused(2, "import-conductance", "c.pkl", "--out", "chip")


def reads(folder: Path, n: int = 4) -> None:
    """Repeated reads of one array in microsiemens, with a dead column."""
    rng = np.random.default_rng(0)
    cells = rng.normal(14, 2.5, (420, 420)).clip(1)
    cells[:, 9] = 0
    folder.mkdir()
    for k in range(n):
        np.save(folder / f"read{k}.npy", cells * (1 + 0.03 * rng.standard_normal(cells.shape)))


def test_a_folder_of_reads_makes_a_chip_whose_noise_is_used(cli, refused, store) -> None:
    reads(Path("reads"))
    done = json.loads(cli("import-conductance", "reads", "--out", "chip", "--json"))
    assert (done["scheme"], done["unit"], done["reads"], done["dead_columns"]) == ("pair", "uS", 4, [9])
    found = import_chip("reads", "same")
    assert done == {"chip": "chip", **found.to_mapping(), "figure": "chip/chip.png"}
    assert done["read_noise_siemens"] == pytest.approx(0.03 * 14.2e-6, rel=0.05)
    assert done["programming_spread_siemens"] == pytest.approx(2.5e-6, rel=0.05)
    assert Path("chip/chip.png").stat().st_size > 10_000
    assert "measured of each weight" in cli("info", "chip")
    cli("train", store, "--chip", "chip", "--hardware", "measured", "--epochs", 1, "--out", "runs/m", "--quiet")
    model = load_model("runs/m")
    assert model.hardware.noise_reference == "measured" and model.crossbars[0].read_deviation is not None
    assert model.crossbars[0].pair.shape == (2, 144, 36)
    out = cli("eval", "runs/m", "--vary", "noise_reference=weight,device,measured", "--frames", 1, "--repeats", 1)
    assert "of each cell" in out
    assert "was measured" in refused(2, "eval", "runs/m", "--vary", "programming_noise=0.1", "--frames", 1)


def test_maps_that_need_words_are_refused_with_the_option(refused) -> None:
    np.save("odd.npy", np.full((4, 4), 2e-4) * [[1, 2, 3, 4]] * 1e2)
    assert "--unit" in refused(2, "import-conductance", "odd.npy", "--out", "chip")
    np.save("narrow.npy", np.random.default_rng(0).normal(14, 2, (4, 5)))
    assert "--scheme" in refused(2, "import-conductance", "narrow.npy", "--out", "chip")
    assert not Path("chip").exists()


def test_options_that_have_no_use_are_refused(refused) -> None:
    conductances(Path("c.pkl"))
    assert "no use for scheme" in refused(2, "import-conductance", "c.pkl", "--scheme", "pair", "--out", "chip")
    np.save("m.npy", np.random.default_rng(0).normal(14, 2, (4, 6)))
    said = refused(2, "import-conductance", "m.npy", "--reference-column", -1, "--out", "chip")  # though the default
    assert "--scheme reference" in said
    assert not Path("chip").exists()


def test_a_chip_that_is_too_small_is_refused_with_both_counts(cli, refused, store) -> None:
    conductances(Path("c.pkl"), layers=1)
    cli("import-conductance", "c.pkl", "--out", "chip", "--quiet")
    said = refused(2, "train", store, "--chip", "chip")
    assert "86,832" in said
    assert "43,416" in said


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


@pytest.mark.parametrize("write", [pickle.dumps, None], ids=["plain pickle", "torch file"])
def test_a_pickle_that_is_not_what_it_says_is_never_executed(refused, workdir, write) -> None:
    if write is None:
        torch.save(Bomb(), "evil.pkl")
    else:
        Path("evil.pkl").write_bytes(write(Bomb()))
    assert "evil.pkl" in refused(2, "import-conductance", "evil.pkl", "--out", "chip")
    conductances(Path("c.pkl"))
    refused(2, "import-checkpoint", "evil.pkl", "--chip", "nochip", "--out", "model")
    assert not Path("exploded").exists()
    assert not Path("chip").exists()


def test_the_published_model_knows_its_elements_and_its_chip(cli, refused, shared) -> None:
    cli("import-conductance", shared / "chip/Conductance.pkl", "--out", "chip", "--quiet")
    cli("import-checkpoint", shared / "chip/checkpoint.pkl", "--chip", "chip", "--out", "model", "--quiet")
    assert json.loads(cli("info", "model", "--json"))["elements"] == ["Li", "O", "P"]
    Chip.synthetic().save("other")
    said = refused(2, "import-checkpoint", shared / "chip/checkpoint.pkl", "--chip", "other", "--out", "m2")
    assert "131072" in said and "86832" in said


def test_paths_that_cannot_be_written(refused, store) -> None:
    Path("file").touch()
    assert "file" in refused(2, "train", store, "--epochs", 1, "--out", "file/run")


def test_import_checkpoint_refuses_other_files(cli, refused) -> None:
    conductances(Path("c.pkl"))
    cli("import-conductance", "c.pkl", "--out", "chip", "--quiet")
    assert "holds no model" in refused(2, "import-checkpoint", "c.pkl", "--chip", "chip", "--out", "model")
    Path("cut.pkl").write_bytes(Path("c.pkl").read_bytes()[:5000])
    assert "cut.pkl" in refused(2, "import-checkpoint", "cut.pkl", "--chip", "chip", "--out", "model")
    assert not Path("model").exists()


def test_truncated_models_and_chips_are_refused(cli, refused, run) -> None:
    file = run / "best" / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "damaged or cut short" in refused(2, "info", run / "best")
    assert "damaged or cut short" in refused(2, "eval", run)
