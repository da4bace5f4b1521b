import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from rgnn import Hardware
from rgnn.base.errors import InputError, Interrupted
from rgnn.base.events import Listener
from rgnn.evaluation import ErrorSums, HardwareErrors, csv_rows, evaluate_hardware, grid, predict
from rgnn.evaluation.diagnosis import diagnose
from rgnn.evaluation.search import search
from rgnn.graphs.graph import Labels


class Frames:
    def __init__(self, *graphs) -> None:
        self.graphs = graphs

    def graph(self, index: int):
        return self.graphs[index]


def angle_between(a: np.ndarray, b: np.ndarray) -> float:
    """In degrees, by a formula that ours does not use."""
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


def test_measures_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    label = rng.normal(0.3, 1, (500, 3))
    predicted = label + rng.normal(0.1, 0.4, (500, 3))
    e = ErrorSums.of(predicted, label)
    assert e.mae == pytest.approx(np.abs(predicted - label).mean())
    assert e.rmse == pytest.approx(np.sqrt(((predicted - label) ** 2).mean()))
    assert e.relative_error == pytest.approx(np.abs(predicted - label).sum() / np.abs(label).sum())
    assert e.mean_force == pytest.approx(np.abs(label).mean())
    assert e.correlation == pytest.approx(pearsonr(predicted.ravel(), label.ravel())[0])
    angles = [angle_between(p, f) for p, f in zip(predicted, label, strict=True)]
    assert e.angle == pytest.approx(np.mean(angles))


def test_sums_of_parts_are_the_sum(glass) -> None:
    f = glass.forces.numpy()
    parts = ErrorSums(ErrorSums.of(f[:50] * 1.1, f[:50]).sums + ErrorSums.of(f[50:] * 1.1, f[50:]).sums)
    assert parts.relative_error == pytest.approx(0.1, rel=1e-5)
    np.testing.assert_allclose(parts.sums, ErrorSums.of(f * 1.1, f).sums)


def test_elements_settings_and_repeats(small_model, glass) -> None:
    settings = [Hardware().ideal(), Hardware(), Hardware(bits=1)]
    results = evaluate_hardware(small_model, Frames(glass, glass), [0, 1], settings, repeats=3)
    assert [r.sums.shape for r in results] == [(1, 1, 2, 3, 11), (1, 3, 2, 3, 11), (1, 3, 2, 3, 11)]
    ideal, trained, _ = results
    assert ideal.elements == (3, 8, 15)
    assert ideal.errors().sums[0] == 2 * 192 * 3
    assert ideal.errors(8).sums[0] == 2 * 96 * 3
    pooled = sum(trained.errors(z).sums for z in trained.elements)
    np.testing.assert_allclose(pooled, trained.errors().sums)
    np.testing.assert_allclose(
        ideal.sums[:, :, 0], ideal.sums[:, :, 1], rtol=1e-3
    )  # the same frame twice, without noise
    assert not np.array_equal(trained.sums[0, 0], trained.sums[0, 1])


def test_frames_together_have_the_errors_of_frames_apart(small_model, glass, monkeypatch) -> None:
    settings = [Hardware(noise=None), Hardware(noise=None, range="dynamic")]
    together = evaluate_hardware(small_model, Frames(glass, glass, glass), [0, 1, 2], settings)
    monkeypatch.setattr("rgnn.evaluation.run.BATCH_EDGES", 1)
    for a, b in zip(
        together, evaluate_hardware(small_model, Frames(glass, glass, glass), [0, 1, 2], settings), strict=True
    ):
        np.testing.assert_allclose(a.sums, b.sums, rtol=1e-3)


def test_noise_repeats_with_the_seed_and_frames(small_model, glass) -> None:
    frames = Frames(glass, glass)
    a, b, c = (evaluate_hardware(small_model, frames, [0, 1], [Hardware()], seed=s)[0].sums for s in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert not np.array_equal(a[:, :, 0], a[:, :, 1])


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    """200 samples of 40 'frames' whose relative error is known."""
    rng = np.random.default_rng(1)
    covered = 0
    for k in range(200):
        error, force = rng.gamma(4, 0.05, 40), rng.gamma(9, 0.1, 40)
        sums = np.zeros((1, 1, 40, 1, 11))
        sums[0, 0, :, 0, 1], sums[0, 0, :, 0, 3] = error, force
        interval = HardwareErrors(Hardware(), (3,), sums).relative_error(seed=k)
        covered += interval.low <= (4 * 0.05) / (9 * 0.1) <= interval.high
    assert 0.87 < covered / 200 < 0.99


def test_grid_and_table(small_model, glass) -> None:
    settings = grid(Hardware(), {"bits": [2, 8], "noise": [0.0, 0.1]})
    assert [(h.bits, h.noise) for h in settings] == [(2, None), (2, 0.1), (8, None), (8, 0.1)]
    rows = csv_rows(evaluate_hardware(small_model, Frames(glass), [0], settings[:2]))
    assert len(rows) == 1 + 2 * 4
    columns = dict(zip(rows[0].split(","), rows[1].split(","), strict=True))
    assert columns["bits"] == "2" and columns["element"] == "0"
    assert columns["relative_error_low_95"] == "" == columns["relative_error_high_95"]  # one frame bounds nothing
    assert float(columns["relative_error"]) > 0 and float(columns["mae_ev_per_angstrom"]) > 0


def test_measures_without_a_meaning_are_none_and_do_not_warn(small_model, glass) -> None:
    still = replace(glass, labels=Labels(torch.zeros_like(glass.forces)))
    [setting] = evaluate_hardware(small_model, Frames(still), [0], [Hardware(noise=None)])
    plain = setting.to_mapping()
    assert plain["all"]["relative_error"] is None and plain["all"]["correlation"] is None
    assert plain["all"]["mae_ev_per_angstrom"] > 0
    json.dumps(plain, allow_nan=False)


def test_groups(small_model, glass) -> None:
    [setting] = evaluate_hardware(small_model, Frames(glass, glass), [0, 1], [Hardware()])
    plain = setting.to_mapping({"cold": [0], "hot": [1]})
    assert plain["groups"]["cold"]["mae_ev_per_angstrom"] == pytest.approx(float(setting.errors(frames=[0]).mae))
    assert set(plain["elements"]) == {"3", "8", "15"}


def test_nothing_to_evaluate(small_model, glass, cluster, graph_of) -> None:
    with pytest.raises(InputError, match="no frames"):
        evaluate_hardware(small_model, Frames(), [], [Hardware()])
    with pytest.raises(InputError, match="frame 0 has no forces"):
        evaluate_hardware(small_model, Frames(graph_of(*cluster(5))), [0], [Hardware()])


def test_intervals_hold_repeats_and_chips_too() -> None:
    """Equal frames whose error differs from draw to draw: an interval over frames alone would be a point."""
    rng = np.random.default_rng(0)
    covered = 0
    for k in range(200):
        sums = np.zeros((6, 8, 12, 1, 11))
        sums[..., 3] = 1.0
        sums[..., 1] = 0.2 + rng.normal(0, 0.03, (6, 1, 1, 1)) + rng.normal(0, 0.02, (6, 8, 1, 1))
        interval = HardwareErrors(Hardware(), (3,), sums).relative_error(seed=k)
        covered += interval.low <= 0.2 <= interval.high
    assert 0.8 < covered / 200 < 0.99  # six chips are few: a bootstrap is a little narrow


def test_spread_of_reads_and_of_chips_apart() -> None:
    rng = np.random.default_rng(1)
    sums = np.zeros((300, 10, 1, 1, 11))
    sums[..., 3] = 1.0
    sums[..., 1] = 0.2 + rng.normal(0, 0.03, (300, 1, 1, 1)) + rng.normal(0, 0.02, (300, 10, 1, 1))
    spread = HardwareErrors(Hardware(), (3,), sums).spread
    assert spread.read == pytest.approx(0.02, rel=0.05) and spread.chip == pytest.approx(0.03, rel=0.12)


def test_a_ratio_on_the_same_frames_is_narrower_than_its_parts() -> None:
    rng = np.random.default_rng(2)
    frames = rng.gamma(2, 0.1, 30)

    def setting(factor: float) -> HardwareErrors:
        sums = np.zeros((1, 1, 30, 1, 11))
        sums[0, 0, :, 0, 3], sums[0, 0, :, 0, 1] = 1.0, factor * frames * rng.normal(1, 0.01, 30)
        return HardwareErrors(Hardware(), (3,), sums)

    a, b = setting(1.1), setting(1.0)
    ratio, own = a.ratio_to(b), a.relative_error()
    assert ratio.low < 1.1 < ratio.high
    assert (ratio.high - ratio.low) / ratio.value < 0.2 * (own.high - own.low) / own.value


def test_fresh_chips_are_drawn_where_something_is_frozen(small_model, glass) -> None:
    frozen, free = Hardware(noise=0.2, noise_sharing="chip"), Hardware(noise=0.2)
    a, b = evaluate_hardware(small_model, Frames(glass), [0], [frozen, free], repeats=3, chips=2)
    assert (a.sums.shape[:2], b.sums.shape[:2]) == ((2, 1), (1, 3))
    assert not np.array_equal(a.sums[0], a.sums[1])
    [second] = evaluate_hardware(small_model, Frames(glass), [0], [frozen.override(chip=1)])
    np.testing.assert_array_equal(a.sums[1], second.sums[0])


def test_a_grid_that_was_cut_off_goes_on(small_model, glass, tmp_path, monkeypatch) -> None:
    settings, asked = [Hardware(bits=b) for b in (2, 4, 6)], []

    class Stopping(Listener):
        def stop(self) -> bool:
            asked.append(1)
            return len(asked) == 2

    with pytest.raises(Interrupted):
        evaluate_hardware(small_model, Frames(glass), [0], settings, keep=tmp_path, listener=Stopping())
    assert len(list(tmp_path.iterdir())) == 1
    whole = evaluate_hardware(small_model, Frames(glass), [0], settings)
    monkeypatch.setattr("rgnn.evaluation.run.predict", fail_for_bits(2))
    for a, b in zip(evaluate_hardware(small_model, Frames(glass), [0], settings, keep=tmp_path), whole, strict=True):
        np.testing.assert_array_equal(a.sums, b.sums)


def fail_for_bits(bits: int):
    def guarded(model, g, hardware, *rest):
        assert hardware.bits != bits, "computed again"
        return predict(model, g, hardware, *rest)

    return guarded


def test_signal_to_noise_of_layers(small_model, glass) -> None:
    """Halving the noise gains 6 dB where it is small, and the ideal chip has none at all."""
    loud, soft = (diagnose(small_model, Frames(glass), [0], Hardware(bits=12, noise=s)) for s in (0.02, 0.01))
    assert len(loud.node) == len(loud.edge) == 3
    assert soft.node[0] - loud.node[0] == pytest.approx(6, abs=1)
    assert soft.force > loud.force
    assert loud.clipped < 0.01 and loud.saturated is None
    ideal = diagnose(small_model, Frames(glass), [0], Hardware().ideal())
    assert all(np.isinf(x) for x in (*ideal.node, *ideal.edge, ideal.force))


def test_search_finds_what_a_scan_finds(small_model, glass) -> None:
    """Few bits fail, more do, and one step more of noise would not."""
    target = replace(
        glass, labels=Labels(small_model(glass, small_model.read(Hardware().ideal())).forces.detach() * 0.9)
    )
    frames, within = Frames(target), 0.2
    found = search(small_model, frames, [0], Hardware(noise=None), ["bits"], within)
    [only] = found.found
    errors = {
        bits: evaluate_hardware(small_model, frames, [0], [Hardware(bits=bits, noise=None)])[0]
        .ratio_to(found.ideal)
        .value
        for bits in range(1, only.hardware.bits + 1)
    }
    assert next(bits for bits, ratio in errors.items() if ratio <= 1 + within) == only.hardware.bits
    bearing = search(small_model, frames, [0], Hardware(bits=10), ["noise"], within, repeats=2).found[0]
    louder = bearing.hardware.override(noise=2 * bearing.hardware.noise)
    [setting] = evaluate_hardware(small_model, frames, [0], [louder], repeats=2)
    assert bearing.ratio.value <= 1 + within < setting.ratio_to(found.ideal).value
    with pytest.raises(InputError, match="search for bits, adc_bits or noise"):
        search(small_model, frames, [0], Hardware(), ["tile"], within)
