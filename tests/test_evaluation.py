import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from rgnn import Hardware, evaluate
from rgnn.errors import InputError
from rgnn.evaluation import ErrorSums, csv_rows, grid


class Frames:
    def __init__(self, *graphs) -> None:
        self.graphs = graphs

    def graph(self, index: int):
        return self.graphs[index]


def test_measures_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    label = rng.normal(0.3, 1, 500)
    predicted = label + rng.normal(0.1, 0.4, 500)
    e = ErrorSums.of(predicted, label)
    assert e.mae == pytest.approx(np.abs(predicted - label).mean())
    assert e.rmse == pytest.approx(np.sqrt(((predicted - label) ** 2).mean()))
    assert e.relative_error == pytest.approx(np.abs(predicted - label).sum() / np.abs(label).sum())
    assert e.mean_force == pytest.approx(np.abs(label).mean())
    assert e.correlation == pytest.approx(pearsonr(predicted, label)[0])


def test_sums_of_parts_are_the_sum(glass) -> None:
    f = glass.forces.numpy()
    parts = ErrorSums(ErrorSums.of(f[:50] * 1.1, f[:50]).sums + ErrorSums.of(f[50:] * 1.1, f[50:]).sums)
    assert parts.relative_error == pytest.approx(0.1, rel=1e-5)
    np.testing.assert_allclose(parts.sums, ErrorSums.of(f * 1.1, f).sums)


def test_elements_settings_and_repeats(small_model, glass) -> None:
    settings = [Hardware().ideal(), Hardware(), Hardware(bits=1)]
    results = evaluate(small_model, Frames(glass, glass), [0, 1], settings, repeats=3)
    assert [r.sums.shape for r in results] == [(1, 2, 3, 9), (3, 2, 3, 9), (3, 2, 3, 9)]
    ideal, trained, _ = results
    assert ideal.elements == (3, 8, 15)
    assert ideal.errors().sums[0] == 2 * 192 * 3
    assert ideal.errors(8).sums[0] == 2 * 96 * 3
    pooled = sum(trained.errors(z).sums for z in trained.elements)
    np.testing.assert_allclose(pooled, trained.errors().sums)
    np.testing.assert_allclose(ideal.sums[:, 0], ideal.sums[:, 1], rtol=1e-3)  # the same frame twice, without noise
    assert not np.array_equal(trained.sums[0], trained.sums[1])


def test_frames_together_have_the_errors_of_frames_apart(small_model, glass, monkeypatch) -> None:
    settings = [Hardware(noise=None), Hardware(noise=None, range="dynamic")]
    together = evaluate(small_model, Frames(glass, glass, glass), [0, 1, 2], settings)
    monkeypatch.setattr("rgnn.evaluation.BATCH_EDGES", 1)
    for a, b in zip(together, evaluate(small_model, Frames(glass, glass, glass), [0, 1, 2], settings), strict=True):
        np.testing.assert_allclose(a.sums, b.sums, rtol=1e-3)


def test_noise_repeats_with_the_seed_and_frames(small_model, glass) -> None:
    frames = Frames(glass, glass)
    a, b, c = (evaluate(small_model, frames, [0, 1], [Hardware()], seed=s)[0].sums for s in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert not np.array_equal(a[:, 0], a[:, 1])


def test_the_interval_covers_the_mean_as_often_as_it_says(small_model, glass) -> None:
    """200 samples of 40 'frames' whose relative error is known."""
    [setting] = evaluate(small_model, Frames(glass), [0], [Hardware(noise=None)])
    rng = np.random.default_rng(1)
    covered = 0
    for k in range(200):
        error, force = rng.gamma(4, 0.05, 40), rng.gamma(9, 0.1, 40)
        sums = np.zeros((1, 40, 1, 9))
        sums[0, :, 0, 1], sums[0, :, 0, 3] = error, force
        sample = copy.copy(setting)
        object.__setattr__(sample, "sums", sums)
        interval = sample.relative_error(seed=k)
        covered += interval.low <= (4 * 0.05) / (9 * 0.1) <= interval.high
    assert 0.87 < covered / 200 < 0.99


def test_grid_and_table(small_model, glass) -> None:
    settings = grid(Hardware(), [2, 8], [0.0, 0.1])
    assert [(h.bits, h.noise) for h in settings] == [(2, None), (2, 0.1), (8, None), (8, 0.1)]
    rows = csv_rows(evaluate(small_model, Frames(glass), [0], settings[:2]))
    assert len(rows) == 1 + 2 * 4
    columns = dict(zip(rows[0].split(","), rows[1].split(","), strict=True))
    assert columns["bits"] == "2" and columns["element"] == "0"
    assert float(columns["low_95"]) <= float(columns["relative_error"]) <= float(columns["high_95"])


def test_measures_without_a_meaning_are_none_and_do_not_warn(small_model, glass) -> None:
    still = replace(glass, forces=torch.zeros_like(glass.forces))
    [setting] = evaluate(small_model, Frames(still), [0], [Hardware(noise=None)])
    plain = setting.to_mapping()
    assert plain["all"]["relative_error"] is None and plain["all"]["correlation"] is None
    assert plain["all"]["mae"] > 0
    json.dumps(plain, allow_nan=False)


def test_groups(small_model, glass) -> None:
    [setting] = evaluate(small_model, Frames(glass, glass), [0, 1], [Hardware()])
    plain = setting.to_mapping({"cold": [0], "hot": [1]})
    assert plain["groups"]["cold"]["mae"] == pytest.approx(float(setting.errors(frames=[0]).mae))
    assert set(plain["elements"]) == {"3", "8", "15"}


def test_nothing_to_evaluate(small_model, glass, cluster, graph_of) -> None:
    with pytest.raises(InputError, match="no frames"):
        evaluate(small_model, Frames(), [], [Hardware()])
    with pytest.raises(InputError, match="frame 0 has no forces"):
        evaluate(small_model, Frames(graph_of(*cluster(5))), [0], [Hardware()])
