import numpy as np
import pytest
import torch

from rgnn.base.errors import InputError
from rgnn.chip.chip import Chip
from rgnn.chip.measurement import DeadLines, Measurement, ReadSpread, to_chip

RNG = np.random.default_rng(0)


def measured(reads: np.ndarray, unit: str | None = "uS") -> Measurement:
    scale = {"uS": 1e-6, None: 1.0}[unit]
    return Measurement(scale * (reads if reads.ndim == 3 else reads[None]), "test", unit, True)


def test_both_deviations_are_recovered_from_twenty_reads() -> None:
    """Known programming spread and read noise, within 5% (here within 2%)."""
    programming, read = 2.46e-6, 0.9e-6
    cells = RNG.normal(14.25e-6, programming, (128, 128))
    reads = cells + RNG.normal(0, read, (20, 128, 128))
    spread = ReadSpread.of(Measurement(reads, "test", "S", True))
    assert spread.programming == pytest.approx(programming, rel=0.02)
    assert spread.read == pytest.approx(read, rel=0.02)
    assert spread.mean == pytest.approx(14.25e-6, rel=0.01)


def test_the_spread_is_about_the_target_where_one_is_given() -> None:
    target = RNG.uniform(2e-6, 38e-6, (100, 100))
    reads = target + RNG.normal(0, 0.5e-6, target.shape) + RNG.normal(0, 0.4e-6, (20, 100, 100))
    m = Measurement(reads, "test", "S", True)
    assert ReadSpread.of(m, target).programming == pytest.approx(0.5e-6, rel=0.05)
    assert ReadSpread.of(m).programming > 8e-6


def test_read_noise_of_each_cell_is_kept_and_used() -> None:
    """Noisy cells make noisy weights, and only those."""
    deviation = np.where(np.arange(64) % 4 < 2, 0.2, 1.0) * np.ones((64, 1))
    reads = RNG.normal(14, 2.5, (64, 64)) + deviation * RNG.normal(0, 1, (200, 64, 64))
    chip = to_chip(measured(reads), "pair").chip
    quiet, loud = chip.read_deviation[0::2], chip.read_deviation[1::2]
    scale = 1e-6 / chip.siemens
    assert float(quiet.square().mean().sqrt()) == pytest.approx(0.2 * 2**0.5 * scale, rel=0.02)
    assert float(loud.square().mean().sqrt()) == pytest.approx(1.0 * 2**0.5 * scale, rel=0.02)
    cells = chip.matrices([[(10, 20)]])[0][0]
    assert torch.isin(cells.read_deviation, chip.read_deviation).all()
    torch.testing.assert_close(cells.reference("measured"), cells.read_deviation)


@pytest.mark.parametrize(
    ("scheme", "positive", "negative"),
    [
        ("pair", np.s_[:, 0::2], np.s_[:, 1::2]),
        ("pair-rows", np.s_[0::2], np.s_[1::2]),
        ("pair-halves", np.s_[:, :4], np.s_[:, 4:]),
        ("reference", np.s_[:, :7], np.s_[:, [7]]),
    ],
)
def test_schemes(scheme: str, positive, negative) -> None:
    g = RNG.normal(14, 2, (6, 8))
    imported = to_chip(measured(g), scheme)
    difference = (g[positive] - g[negative]).ravel()
    weights = imported.chip.weights.double().numpy()
    np.testing.assert_allclose(weights, 0.343 * difference / difference.std(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(imported.chip.siemens * weights, 1e-6 * difference, rtol=1e-4, atol=1e-12)
    pair = imported.chip.conductances.double().numpy()
    np.testing.assert_allclose(pair[0] - pair[1], 1e-6 * difference, atol=1e-11)


def test_signed_weights_without_a_unit_stay_as_they_are() -> None:
    w = RNG.normal(0, 0.35, (6, 8))
    imported = to_chip(measured(w, None))
    assert imported.scheme == "signed" and imported.chip.conductances is None and imported.chip.siemens is None
    np.testing.assert_allclose(imported.chip.weights, w.ravel(), rtol=1e-6)


@pytest.mark.parametrize(("scale", "unit"), [(1e-6, "S"), (1.0, "uS"), (1e-3, None), (1e6, None)])
def test_units_are_recognised_where_they_are_certain(scale: float, unit: str | None, tmp_path) -> None:
    np.save(tmp_path / "g.npy", scale * RNG.normal(14, 1, (4, 4)))
    if unit is None:
        with pytest.raises(InputError, match="no unit is certain for; say it with --unit"):
            Measurement.read(tmp_path / "g.npy")
    else:
        found = Measurement.read(tmp_path / "g.npy")
        assert found.unit == unit and not found.unit_was_given
        assert found.mean.mean() == pytest.approx(14e-6, rel=0.1)
    given = Measurement.read(tmp_path / "g.npy", "nS")
    assert given.mean.mean() == pytest.approx(14e-9 * scale, rel=0.1)


def test_dead_lines_are_found_and_left_out() -> None:
    g = RNG.normal(14, 2, (20, 30))
    g[3], g[:, 7], g[:, 8], g[11, 12], g[15, 20] = 0, 0.001, 0, 0, np.nan
    imported = to_chip(measured(g))
    assert (imported.dead.rows, imported.dead.columns) == ((3,), (7, 8))
    assert (imported.dead.cells, imported.dead.unread) == (30 + 2 * 19 + 2, 1)
    # 15 weights of row 3; pairs (6, 7) and (8, 9) of the other rows; the pair of the cell that was not read.
    assert imported.left_out == 15 + 2 * 19 + 1 == 20 * 15 - len(imported.chip.weights)
    assert imported.spread.mean == pytest.approx(14e-6, rel=0.02)


def test_signed_weights_near_zero_are_not_dead() -> None:
    w = RNG.normal(0, 0.3, (40, 40))
    w[5] = 0
    dead = DeadLines.of(w)
    assert (dead.rows, dead.columns, dead.cells) == ((5,), (), 40)


def test_a_few_lost_reads_do_not_lose_the_cell() -> None:
    reads = RNG.normal(14, 0.5, (10, 8, 8)) + RNG.normal(0, 2, (8, 8))
    reads[3, 2, 2] = np.nan
    m = measured(reads)
    assert np.isfinite(m.mean).all() and np.isfinite(m.read_deviation).all()
    assert len(to_chip(m).chip.weights) == 32


@pytest.mark.parametrize(
    ("g", "scheme", "words"),
    [
        (RNG.normal(14, 2, (4, 5)), "pair", "5 columns make no pairs"),
        (RNG.normal(14, 2, (5, 4)), "pair-rows", "5 rows make no pairs"),
        (RNG.normal(0, 2, (4, 4)), "pair", "use --scheme signed"),
        (np.full((4, 4), 14.0), "pair", "all the same"),
    ],
)
def test_maps_that_do_not_fit_their_scheme(g: np.ndarray, scheme: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        to_chip(measured(g), scheme)


def test_a_target_of_another_size_and_a_missing_column() -> None:
    g = RNG.normal(14, 2, (4, 4))
    with pytest.raises(InputError, match="the target is"):
        to_chip(measured(g), target=np.ones((2, 2)))
    with pytest.raises(InputError, match="no column 9"):
        to_chip(measured(g), "reference", 9)


def test_a_measured_chip_is_kept_whole(tmp_path) -> None:
    chip = to_chip(measured(RNG.normal(14, 2, (5, 8, 8)))).chip
    chip.save(tmp_path)
    again = Chip.load(tmp_path)
    assert again.measured and again.siemens == chip.siemens
    assert torch.equal(again.read_deviation, chip.read_deviation)
    assert torch.equal(again.conductances, chip.conductances)
