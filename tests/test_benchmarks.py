"""What the benchmarks make of what they measured."""

import json
import runpy
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from rgnn.training.log import Epoch, write_log

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def log(folder: Path, errors: list[float], seconds: float) -> str:
    folder.mkdir()
    write_log(folder, [Epoch(k + 1, 0.1, 0.1, 0.2, error, 4e-3, seconds) for k, error in enumerate(errors)])
    return str(folder)


def test_learning(tmp_path) -> None:
    learning = runpy.run_path(str(BENCHMARKS / "learning.py"))
    falling = [0.5, 0.2, *[0.25] * 8, 0.24, 0.30, 0.15]  # an early rise, and one of a quarter after the tenth epoch
    runs = [log(tmp_path / "a", falling, 60), log(tmp_path / "b", [0.4, 0.25], 60)]
    name, curves = learning["named"](f"network={','.join(runs)}")
    kind = learning["Kind"].of(name, curves)
    assert (kind.name, kind.seeds, kind.minutes) == ("network", 2, 7.5)
    assert kind.at == pytest.approx({"1": 0.45, "2": 0.225, "5": 0.225, "10": 0.225, "30": 0.2})
    assert (kind.best, kind.spread, kind.rise) == pytest.approx((0.2, 0.5, 0.25))
    assert kind.deviation == pytest.approx(0.1 / 2**0.5 / 0.2)
    slow = learning["Kind"].of(*learning["named"](f"ridge={log(tmp_path / 'c', [0.1], 90)}"))
    assert slow.at["1"] is None and slow.at["2"] == 0.1 and slow.rise is slow.spread is None
    assert len(set(map(len, learning["table"]([kind, slow]).splitlines()))) == 1
    learning["draw"]([(name, curves)], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    with pytest.raises(SystemExit, match="finished epoch"):
        learning["named"](f"x={tmp_path}")


def test_stability(tmp_path) -> None:
    stability = runpy.run_path(str(BENCHMARKS / "stability.py"))
    values = np.array([1.0, 4.0, 1.0, 2.0, 8.0])
    assert stability["rise"](values) == pytest.approx(4) and stability["climb"](values) == pytest.approx(8)
    noise = np.exp(0.1 * np.random.default_rng(0).standard_normal(20_000))
    assert stability["scatter"](noise * 1.001 ** np.arange(20_000)) == pytest.approx(
        0.1, rel=0.02
    )  # a drift is no jump
    row = {"frames": 24, "loss": 0.1, "plain": [[1.0, 2.0, 4.0, 5], [3.0, 2.0, 4.0, 5]]}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    trace = stability["Trace"].read(tmp_path / "a.json")
    assert trace.squared("plain") == pytest.approx(0.4) and trace.relative("plain") == pytest.approx(0.5)


@pytest.fixture
def beside(monkeypatch):
    """Benchmarks import what lies beside them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name: runpy.run_path(str(BENCHMARKS / f"{name}.py"))


def test_accuracy_of_known_forces(beside) -> None:
    accuracy, rng = beside("accuracy"), np.random.default_rng(0)
    labels = []
    for _ in range(40):
        frame = Atoms("Li5", positions=rng.normal(size=(5, 3)))
        frame.calc = SinglePointCalculator(frame, energy=0.0, forces=rng.normal(size=(5, 3)))
        labels.append(frame)
    found = accuracy["errors_of"](labels, [1.1 * frame.get_forces() for frame in labels])
    mean = np.mean([np.abs(frame.get_forces()).mean() for frame in labels])
    assert found["relative_error"] == pytest.approx(0.1) and found["mae"] == pytest.approx(100 * mean)
    assert found["low"] == pytest.approx(0.1) == pytest.approx(found["high"])
    with pytest.raises(ValueError, match="longer"):
        accuracy["errors_of"](labels, [frame.get_forces() for frame in labels[1:]])


def test_accuracy_says_what_was_not_run(beside, tmp_path) -> None:
    accuracy = beside("accuracy")
    cell = {"processor": 9.0, "relative_error": 0.08, "low": 0.078, "high": 0.082, "mae": 71.6, "frames": 200}
    cells = [
        accuracy["Cell"]("MACE", "LiPO", 10, 10.0, **cell),
        accuracy["Cell"]("rgnn ridge", "LiPO", None, 12.0, **cell),
    ]
    lines = accuracy["table"](cells, [10, 30]).splitlines()
    assert lines[0] == "|  | LiPO, 10 min | LiPO, 30 min |"
    rows = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in lines[2:]}
    assert rows["MACE"] == ["8.00 ± 0.20%, 72 meV/Å", "not run"]
    assert rows["rgnn ridge"] == ["not run", "8.00 ± 0.20%, 72 meV/Å in 12.0 min"]  # one pass of more than ten minutes
    assert rows["NequIP"] == ["not run", "not run"] and len(rows) == len(accuracy["PROGRAMS"])
    assert accuracy["draw"](cells, tmp_path / "a.png").stat().st_size > 10_000
    with pytest.raises(SystemExit, match="MACS: not known"):
        accuracy["chosen"]("MACS", ["MACE"])


def test_accuracy_worker_continues_a_shorter_training(beside, tmp_path) -> None:
    worker, rng = beside("accuracy_worker"), np.random.default_rng(0)

    class Springs(worker["Peer"]):
        package, rate, batch, force_weight = "numpy", 0.02, 2, 1.0

        def build(self, labels):
            return torch.nn.Linear(1, 1, bias=False)

        def graph(self, frame):
            return torch.tensor(frame.positions, dtype=torch.float32)

        def batched(self, graphs):
            return torch.stack(graphs)

        def predict(self, model, batch, training):
            return model.weight[0, 0] * batch.square().sum((1, 2)) / 2, -model.weight[0, 0] * batch.flatten(0, 1)

    frames = [Atoms("Li3", positions=rng.normal(size=(3, 3)), cell=[9] * 3, pbc=True) for _ in range(8)]
    for frame in frames:
        energy, forces = 1.5 * np.square(frame.positions).sum(), -3 * frame.positions
        frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces)
    write(tmp_path / "a.xyz", frames, format="extxyz")
    file = str(tmp_path / "a.xyz")

    def ask(stage: str, minutes: float):
        return worker["Request"]("springs", stage, [f"{file}@:6"], f"{file}@6:", str(tmp_path), minutes, 0)

    short = Springs().solve(ask("train", 0.02))
    assert 1.2 <= short["seconds"] < 1.5 and short["weights"] == 1
    Springs().solve(ask("test", 0.02))
    with np.load(tmp_path / "forces-0.02.npz") as found:
        predicted = [found[name] for name in found.files]
    assert len(predicted) == 2
    np.testing.assert_allclose(predicted, [-3 * frame.positions for frame in frames[6:]], rtol=0.02, atol=1e-3)
    # The longer training starts where the rate of the shorter one began to fall, with its steps and its time.
    kept = torch.load(tmp_path / "constant-0.02", weights_only=True)
    assert 0.84 <= kept["seconds"] < 1.0
    assert worker["earlier"](ask("train", 0.03)).name == "constant-0.02"
    assert worker["earlier"](ask("train", 0.01)) is None
    began = time.process_time()
    assert Springs().solve(ask("train", 0.03))["steps"] > kept["step"]
    assert time.process_time() - began < 1.8 - kept["seconds"] + 0.3
    # One that was stopped goes on from its own state.
    shutil.copy(tmp_path / "constant-0.03", tmp_path / "state-0.05")
    stopped = torch.load(tmp_path / "state-0.05", weights_only=True)
    began = time.process_time()
    assert Springs().solve(ask("train", 0.05))["steps"] > stopped["step"]
    assert time.process_time() - began < 3.0 - stopped["seconds"] + 0.3 and not (tmp_path / "state-0.05").exists()
