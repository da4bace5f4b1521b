"""rgnn train --from, --steps, --split FILE and --validation; what is said after training."""

import json
from pathlib import Path

import pytest
import yaml

from rgnn import GraphStore, load_model
from rgnn.data.store.split import partition
from rgnn.training.reference import BEST
from rgnn.training.run import RunSettings

PROJECT = Path(__file__).parents[2]


def test_a_run_begins_with_another(cli, store, run) -> None:
    """On the same frames, so that there is nothing to replay; the link to the newest run is followed."""
    said = cli("train", store, "--from", "runs/latest", "--epochs", 1, "--out", "runs/b")
    config = RunSettings.read("runs/b/config.yaml")
    assert Path(config.from_model).resolve() == run.resolve()
    assert "Begins with: " in said and "epoch   0 " in said and "Replay" not in said
    assert "What the model it begins with has held out stays held out" not in said  # it is divided as before
    assert Path("runs/b/split.yaml").read_text() == (run / "split.yaml").read_text()
    assert (config.replay, config.hardware) == (None, load_model(run).hardware)
    assert "For reference" not in said


def test_what_was_forgotten_is_said(cli, store, run, trajectory) -> None:
    cli("convert", trajectory, "--every", 3, "--out", "data/few.zarr", "--quiet")
    options = ["train", "data/few.zarr", "--from", run, "--steps", 3, "--replay", store]
    said = cli(*options, "--out", "runs/c")
    assert f"Replay: 25% of the frames of an epoch are of {store}" in said
    assert f"Relative force error before, on held-out frames of {store}: " in said
    assert f"On the held-out frames of {store} it now has " in said
    found = json.loads(cli(*options, "--replay-share", 0, "--out", "runs/d", "--json"))
    assert found["old_data_relative_error"] > 0


def test_options_that_do_not_go_together(refused, store, run) -> None:
    assert "model to begin with" in refused(2, "train", store, "--from", run, "--preset", "energy")
    assert "--from" in refused(2, "train", "--resume", run, "--from", run)
    assert "--split" in refused(2, "train", "--resume", run, "--split", "mine.yaml")
    assert "--overwrite" in refused(2, "train", "--resume", run, "--overwrite")
    assert "leave chips out" in refused(2, "train", store, "--from", run, "--chips", 2)
    assert "no use for bits" in refused(2, "train", store, "--preset", "gnnff", "--bits", 4)
    assert "replay" in refused(2, "train", store, "--replay", store)
    assert "in steps" in refused(2, "train", store, "--steps", 3, "--minutes", 1)
    assert "does not exist" in refused(2, "train", store, "--from", "nowhere")


def test_a_split_file_is_obeyed_and_kept(cli, refused, store) -> None:
    Path("mine.yaml").write_text("validation: 3-5\ntest: 20-24\n")
    cli("train", store, "--epochs", 1, "--split", "mine.yaml", "--out", "runs/s", "--quiet")
    kept = yaml.safe_load(Path("runs/s/split.yaml").read_text())
    assert kept == {"train": "0-2, 6-19, 25-29", "validation": "3-5", "test": "20-24"}
    assert "5 held out" in cli("eval", "runs/s", "--repeats", 1)
    cli("train", store, "--epochs", 1, "--split", "runs/s/split.yaml", "--out", "runs/t", "--quiet")
    assert RunSettings.read("runs/t/config.yaml").split_file == "runs/s/split.yaml"
    Path("mine.yaml").write_text("validation: 3-55\n")
    assert "store has 30 frames" in refused(2, "train", store, "--split", "mine.yaml")


def test_another_store_validates(cli, refused, store, trajectory) -> None:
    """All frames of the first train, and rgnn eval takes the second; none may be in both."""
    cli("convert", trajectory, "--from", 24, "--out", "data/other.zarr", "--quiet")
    cli("convert", trajectory, "--to", 24, "--out", "data/first.zarr", "--quiet")
    words = refused(2, "train", store, "--epochs", 1, "--validation", "data/other.zarr", "--out", "runs/v")
    assert "6 of its 6 frames" in words and "validate on a store without them" in words
    options = ["train", "data/first.zarr", "--epochs", 1, "--validation", "data/other.zarr"]
    said = cli(*options, "--out", "runs/v")
    assert "Frames: 24 train, 6 validate. All frames of data/other.zarr validate." in said
    assert "other trajectories may" not in said
    assert "all 6" in cli("eval", "runs/v", "--repeats", 1)
    assert "leave split out" in refused(2, *options, "--split", "random")


def test_validation_frames_that_the_start_was_trained_on_are_warned_of(cli, store, run) -> None:
    trained = yaml.safe_load((run / "split.yaml").read_text())["train"]
    Path("mine.yaml").write_text(f"validation: {trained.split(',')[0].split('-')[0]}\n")
    said = " ".join(
        cli("train", store, "--from", run, "--split", "mine.yaml", "--epochs", 1, "--out", "runs/w").split()
    )
    assert f"{run} was trained on 1 of the 1 validation frames" in said


def test_what_validation_is_worth_is_said(cli, store) -> None:
    out = cli("train", store, "--epochs", 1, "--out", "runs/o")
    assert "Validation frames lie 0." in out and "the validation error." in out
    found = json.loads(cli("train", store, "--epochs", 1, "--out", "runs/p", "--json"))
    outlook = found["outlook"]
    assert outlook["displacement_to_training_angstrom"] < outlook["displacement_of_unrelated_frames_angstrom"]
    assert outlook["factor_elsewhere"] >= 1
    split = partition(GraphStore(store), 0.1, 0, "auto")
    assert f"Frames: {len(split.train)} train, {len(split.validation)} validate." in out


@pytest.mark.parametrize(
    ("page", "row", "figures"),
    [
        ("energy.md", "| Li3PO4, 700 frames, test 200", (f"{100 * BEST.error:.2f} ±",)),
        ("energy.md", "Each training took ten minutes of one core", (f"--preset energy --minutes {BEST.minutes:g} ",)),
        ("learning.md", "| default, 3.8 Å", (f"{100 * BEST.published:.2f} ±", f"| {BEST.published_minutes:g} |")),
    ],
)
def test_the_reference_is_what_was_measured(page: str, row: str, figures: tuple[str, ...]) -> None:
    text = (PROJECT / "docs" / page).read_text()
    (line,) = (line for line in text.splitlines() if line.startswith(row))
    assert all(figure in line for figure in figures)


def test_other_runs_of_the_best_preset_agree_with_the_reference() -> None:
    """Those of docs/accuracy.md, to the spread of seeds that docs/learning.md names."""
    text = (PROJECT / "docs/accuracy.md").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith(f"| rgnn {BEST.preset} |"))
    found = [float(cell.split()[0]) / 100 for cell in line.split("|")[2:4] if "±" in cell]  # Li3PO4
    assert found and all(abs(error / BEST.error - 1) < 0.02 for error in found)


def test_the_published_architecture_names_the_best_preset(cli, store) -> None:
    said = cli("train", store, "--epochs", 1, "--out", "runs/r")
    assert "For reference: on another sample of Li3PO4" in said
    assert "rgnn convert data/tiny.zarr --out wide.zarr --cutoff 5, then rgnn train wide.zarr --preset energy" in said
    assert "For reference" not in cli("train", store, "--preset", "gnnff", "--epochs", 1, "--out", "runs/q")
