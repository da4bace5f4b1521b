"""That choosing pays, by the benchmark that draws the figure of docs/active-learning.md: pytest -m long."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "active_learning.py"
SEEDS = 3


@pytest.mark.long
def test_errors_fall_with_fewer_labels_than_random_ones(tmp_path, monkeypatch) -> None:
    """Medians over seeds of the error on frames of the reference's own dynamics."""
    spec = importlib.util.spec_from_file_location("active_learning", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(benchmark, "OUT", tmp_path / "figure.png")
    found = benchmark.main(tmp_path / "runs", SEEDS, None)
    assert benchmark.OUT.stat().st_size > 1000
    (_, farthest, *_), (_, random, *_) = (benchmark.medians(found[choice], "test_mae") for choice in benchmark.CHOICES)
    assert farthest[-1] < 0.6 * farthest[0]
    assert np.sum(np.diff(farthest) <= 0) >= len(farthest) - 2  # one step up in six is left to chance
    assert farthest[1:].mean() < random[1:].mean()
