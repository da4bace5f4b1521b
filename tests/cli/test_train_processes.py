"""rgnn train in two processes."""

import signal
import sys
import time
from pathlib import Path

import yaml
from processes_ranks import torchrun

from rgnn.training.log import read_epochs

RGNN = ("--no-python", Path(sys.executable).parent / "rgnn")
SHORT = ("--preset", "moments", "--epochs", 300, "--threads", 1, "--out", "runs/a")
# rgnn, but the second process cannot read its third frame.
BROKEN = """
import os, sys
import rgnn.data.store.reader
from rgnn.base.errors import InputError
from rgnn_cli.app import main

read, left = rgnn.data.store.reader.GraphStore.graph, iter(range(2))

def graph(self, index):
    if os.environ["RANK"] == "1" and next(left, None) is None:
        raise InputError(f"frame {index} is damaged")
    return read(self, index)

rgnn.data.store.reader.GraphStore.graph = graph
main()
"""


def errors(said: str) -> list[str]:
    """Those of rgnn, among what torchrun says."""
    return [line for line in said.splitlines() if line.startswith("Error:")]


def test_a_signal_stops_all_and_the_run_goes_on(cli, store) -> None:
    process = torchrun("-m", "rgnn_cli", "train", store, *SHORT)
    while not Path("runs/a/log.csv").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=300)
    assert said.count("rgnn train --resume runs/a") == 1 and "Stopped in epoch" in said
    assert out.count("frames shared by 2 processes") == 1 and out.count("epoch   1") == 1
    assert yaml.safe_load(Path("runs/a/config.yaml").read_text())["processes"] == 2
    assert not list(Path("runs").rglob("*.partial"))
    done = len(read_epochs("runs/a"))
    cli("train", "--resume", "runs/a", "--epochs", done + 1, "--quiet")
    assert len(read_epochs("runs/a")) == done + 1


def test_a_refused_setting_is_said_once(store) -> None:
    process = torchrun(*RGNN, "train", store, *SHORT, "--batch-size", 1)
    out, said = process.communicate(timeout=300)
    # The first command on a machine says that kernels are compiled.
    assert process.returncode and not [line for line in out.splitlines() if not line.startswith("First use here")]
    (error,) = errors(said)
    assert "too few frames for 2 processes" in error
    assert "exitcode  : 2" in said  # of the first process; torchrun itself ends with 1
    assert not Path("runs").exists()


def test_an_error_of_one_process_ends_all(store) -> None:
    Path("broken.py").write_text(BROKEN)
    process = torchrun("broken.py", "train", store, *SHORT)
    _, said = process.communicate(timeout=300)
    assert process.returncode
    (error,) = errors(said)
    assert "is damaged" in error
    assert "rank      : 1 (local_rank: 1)\n  exitcode  : 2" in said
    assert not list(Path("runs").rglob("*.partial"))
