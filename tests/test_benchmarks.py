"""What the benchmarks make of what they measured."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

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
