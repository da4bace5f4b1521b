"""The chip in the loop: evaluation, dynamics and training on the example board, which may stop at any time."""

import json
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest

from rgnn import load_model
from rgnn.chip.board import connection
from rgnn.md import read_log

EXAMPLE = Path(__file__).parents[2] / "examples/board"
# The example board, whose power fails after as many calls as the file `budget` says, until the file `dead` is removed.
MORTAL = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(EXAMPLE)!r})
import board
if Path("dead").exists():
    sys.exit("there is no power")
budget = Path("budget")
if budget.exists():
    sys.argv += ["--die-after", budget.read_text()]
try:
    board.main()
except SystemExit as ended:
    if ended.code:
        Path("dead").touch()
    raise
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(connection, "PAUSE", 0.01)


@pytest.fixture
def mortal(workdir) -> str:
    """A board without noise, so that what it measures can be compared number by number."""
    Path("mortal.py").write_text(MORTAL)
    return f"process: {sys.executable} mortal.py --noise 0"


@pytest.fixture
def structure(trajectory, workdir) -> Path:
    ase.io.write("structure.xyz", ase.io.read(trajectory, 0), format="extxyz")
    return Path("structure.xyz")


def fails_after(calls: int) -> None:
    Path("budget").write_text(str(calls))


def power_is_back() -> None:
    Path("budget").unlink()
    Path("dead").unlink()


@pytest.mark.parametrize("resumed", [True, False], ids=["resumed", "same command"])
def test_dynamics_goes_on_where_the_board_stopped(cli, refused, quick_model_folder, structure, mortal, resumed) -> None:
    run = ["md", structure, "--model", quick_model_folder, "--steps", 8, "--every", 2, "--driver", mortal]
    cli(*run, "--out", "whole")
    fails_after(60)
    said = refused(5, *run, "--out", "cut")
    assert "ended with code 1, and said last: there is no power; 3 tries; the state of step" in said
    assert said.endswith("is saved; continue with: rgnn md --resume cut")
    assert not Path("cut/summary.json").exists()
    power_is_back()
    cli(*(["md", "--resume", "cut"] if resumed else [*run, "--out", "cut"]))
    assert Path("cut/final.xyz").read_text() == Path("whole/final.xyz").read_text()
    for name, column in read_log("whole").items():
        np.testing.assert_array_equal(read_log("cut")[name], column)
    assert "already exists" in refused(2, *run, "--out", "cut")  # which has ended


def test_several_runs_go_on_as_well(cli, refused, quick_model_folder, trajectory, mortal) -> None:
    run = ["md", trajectory, "--frames", "0:2", "--model", quick_model_folder, "--steps", 4, "--driver", mortal]
    cli(*run, "--out", "whole")
    fails_after(40)
    said = refused(5, *run, "--out", "cut")
    assert "continue with: rgnn md --resume cut" in said
    power_is_back()
    cli("md", "--resume", "cut")
    for folder in sorted(Path("whole").glob("0*")):
        ours, theirs = (ase.io.read(base / folder.name / "final.xyz") for base in (Path("cut"), Path("whole")))
        np.testing.assert_array_equal(ours.positions, theirs.positions)


def test_a_sweep_has_a_run_on_the_board_which_goes_first_and_goes_on(
    cli, refused, quick_model_folder, structure, mortal
) -> None:
    words = ["--model", quick_model_folder, "--bits", "2", "--steps", 8, "--every", 2, "--driver", mortal]
    fails_after(60)
    said = refused(5, "sweep", structure, *words, "--out", "s")
    assert "there is no power" in said and said.endswith("continue with: rgnn sweep --resume s")
    assert [path.name for path in Path("s").iterdir() if path.is_dir()] == ["03-board"]
    power_is_back()
    out = cli("sweep", "--resume", "s")
    assert "board, 4 bits" in out and "measured first" in out
    cli("md", structure, *words[:2], *words[4:], "--out", "m")
    assert Path("s/03-board/final.xyz").read_text() == Path("m/final.xyz").read_text()
    runs = json.loads(Path("s/sweep.json").read_text())["runs"]
    assert [run["hardware"]["bits"] for run in runs] == [None, 4, 2, 4]
    assert "its products are measured" in Path("s/report.html").read_text()
    cli("sweep", structure, *words[:-2], "--out", "t")
    assert "was begun without a board" in refused(2, "sweep", "--resume", "t", "--driver", mortal)
    assert "cannot be started" in refused(2, "sweep", structure, *words[:-1], "process: nobody", "--out", "u")
    assert not Path("u").exists()


def test_a_board_that_comes_back_costs_a_warning(cli, quick_model_folder, structure) -> None:
    """It stops every 40 calls; the same command starts it again each time."""
    board = f"process: {sys.executable} {EXAMPLE / 'board.py'} --noise 0"
    run = ["md", structure, "--model", quick_model_folder, "--steps", 6, "--every", 2]
    cli(*run, "--driver", board, "--out", "whole")
    said = cli(*run, "--driver", f"{board} --die-after 40", "--out", "stumbling")
    assert "the power supply gave up; it was started and programmed again." in said
    assert Path("stumbling/final.xyz").read_text() == Path("whole/final.xyz").read_text()


@pytest.mark.parametrize("resumed", [True, False], ids=["resumed", "same command"])
def test_an_evaluation_goes_on_where_the_board_stopped(
    cli, refused, quick_model_folder, store, mortal, resumed
) -> None:
    command = ["eval", quick_model_folder, store, "--frames", 6, "--driver", mortal]
    whole = json.loads(cli(*command, "--out", "whole", "--json"))
    fails_after(50)
    said = refused(5, *command, "--out", "cut")
    assert "there is no power" in said
    assert said.endswith("what was measured is kept; continue with: rgnn eval --resume cut")
    kept = {f.name: f.stat().st_mtime_ns for f in Path("cut/measured").glob("*.npy")}
    assert 0 < len(kept) < 6
    power_is_back()
    found = json.loads(cli(*(["eval", "--resume", "cut"] if resumed else [*command, "--out", "cut"]), "--json"))
    assert found["measured"] == whole["measured"] and found["simulated"] == whole["simulated"]
    assert found["board_calls"] < whole["board_calls"]
    for name, written in kept.items():
        assert (Path("cut/measured") / name).stat().st_mtime_ns == written
    assert {p.name for p in Path("cut").iterdir()} >= {"board.json", "board.png", "report.html", "config.yaml"}


def test_forces_on_the_board_are_the_simulators_within_noise(cli, quick_model_folder, store) -> None:
    board = f"process: {sys.executable} {EXAMPLE / 'board.py'} --noise 0.05"
    found = json.loads(cli("eval", quick_model_folder, store, "--frames", 4, "--driver", board, "--json"))
    (stage,) = found["measured"]
    assert stage["from_simulator_ev_per_angstrom"] == pytest.approx(found["simulated_noise_ev_per_angstrom"], rel=0.3)
    assert min(found["weights_correlation"].values()) > 0.999
    # Without noise what is left is the board's converter, which leaves less with more bits.
    left = []
    for bits in (12, 18):
        quiet = f"{board.replace('0.05', '0')} --adc-bits {bits}"
        found = json.loads(cli("eval", quick_model_folder, store, "--frames", 4, "--driver", quiet, "--json"))
        left.append(found["measured"][0]["from_simulator_ev_per_angstrom"])
    assert 0 < left[1] < 0.35 * left[0] < 0.35 * stage["from_simulator_ev_per_angstrom"]


def test_a_refit_wins_back_what_drifted_columns_lose(cli, store) -> None:
    cli("train", store, "--preset", "ridge", "--out", "runs/r", "--quiet")
    board = f"process: {sys.executable} {EXAMPLE / 'board.py'} --noise 0.05 --drifted 0.8 --drift 0.9"
    command = ["eval", "runs/r", "--refit", 20, "--repeats", 3, "--driver", board, "--out", "e"]
    said = cli(*command)
    found = json.loads(Path("e/board.json").read_text())
    undisturbed = found["simulated"][1]["all"]["relative_error"]
    connected, calibrated, refitted = (stage["all"]["relative_error"] for stage in found["measured"])
    assert connected > 1.2 * undisturbed
    assert refitted < 1.1 * undisturbed and calibrated < connected
    assert "of what the board lost is won back" in said and "columns have drifted" in said
    assert sum(map(len, found["drifted_columns"].values())) > 20
    # The refitted model takes the gains of its columns along.
    again = json.loads(cli("eval", "e/refit", store, "--frames", 6, "--repeats", 3, "--driver", board, "--json"))
    assert again["measured"][0]["all"]["relative_error"] < 1.25 * undisturbed


@pytest.fixture
def small(workdir) -> list[str]:
    """Options of a training of a small network by gradients."""
    model = "{family: message-passing, n_features: 4, reservoir_layers: 1, trained_layers: 1}"
    Path("small.yaml").write_text(f"model: {model}\n")
    return ["--config", "small.yaml", "--bits", "4", "--noise", "0"]


def test_a_trained_model_is_tuned_on_the_board_and_goes_on_after_a_stop(cli, refused, store, small, mortal) -> None:
    cli("train", store, *small, "--epochs", 2, "--out", "runs/s", "--quiet")
    drifted = f"{mortal} --drifted 0.4 --drift 0.6 --adc-bits 16"
    fails_after(190)
    said = refused(5, "eval", "runs/s", "--refit", 6, "--driver", drifted, "--out", "e")
    assert "continue with: rgnn eval --resume e" in said
    assert Path("e/refit/state.safetensors").exists()
    power_is_back()
    found = json.loads(cli("eval", "--resume", "e", "--json"))
    apart = [stage["from_simulator_ev_per_angstrom"] for stage in found["measured"]]
    assert apart[1] < 0.2 * apart[0] and apart[2] is None
    connected, _, refitted = (stage["all"]["relative_error"] for stage in found["measured"])
    assert refitted < connected
    assert Path("e/refit/best/columns.safetensors").exists()


def test_training_on_a_board_goes_on_where_it_stopped(cli, refused, store, mortal) -> None:
    command = ["train", store, "--preset", "ridge", "--driver", mortal]
    cli(*command, "--out", "whole", "--quiet")
    fails_after(66)
    said = refused(5, *command, "--out", "cut")
    assert "steps are saved; continue with: rgnn train --resume cut" in said
    power_is_back()
    cli("train", "--resume", "cut", "--quiet")
    ours, theirs = load_model("cut"), load_model("whole")
    np.testing.assert_allclose(ours.readout.weight.detach(), theirs.readout.weight.detach(), rtol=1e-4, atol=1e-5)
    assert ours.tap is None


def test_gradients_on_a_board_go_on_where_they_stopped(cli, refused, store, small, mortal) -> None:
    command = ["train", store, *small, "--epochs", 1, "--driver", mortal]
    cli(*command, "--out", "whole", "--quiet")
    fails_after(150)
    said = refused(5, *command, "--out", "cut")
    assert "the state of step" in said and said.endswith("continue with: rgnn train --resume cut")
    power_is_back()
    cli("train", "--resume", "cut", "--quiet")
    mine, theirs = load_model("cut").state_dict(), load_model("whole").state_dict()
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(mine[name].numpy(), tensor.numpy(), err_msg=name)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["eval", "M", "S", "--driver", "simulator", "--bits", "2:4"], "--bits means nothing beside --driver"),
        (["eval", "M", "S", "--refit", "3"], "--refit is for --driver"),
        (["md", "X", "--model", "M", "--driver", "simulator", "--noise", "0.1"], "noise cannot be given with a driver"),
        (["md", "X", "--model", "M", "--driver", "nonsense"], "the driver is 'nonsense'"),
        (["md", "X", "--model", "M", "--timeout", "3"], "--timeout is for --driver"),
        (["sweep", "X", "--model", "M", "--timeout", "3"], "--timeout is for --driver"),
        (["sweep", "X", "--model", "M", "--driver", "nonsense"], "the driver is 'nonsense'"),
    ],
)
def test_what_means_nothing_is_refused(arguments, said, refused, quick_model_folder, store, structure) -> None:
    names = {"M": quick_model_folder, "S": store, "X": structure}
    assert said in refused(2, *[names.get(a, a) for a in arguments])
