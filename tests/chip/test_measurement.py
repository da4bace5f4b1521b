import numpy as np
import pytest
import torch

from rgnn.base.errors import InputError
from rgnn.chip.chip import Chip
from rgnn.chip.measurement import DeadLines, Measurement, ReadSpread, read_target, to_chip

RNG = np.random.default_rng(0)


def measured(reads: np.ndarray, unit: str | None = "uS") -> Measurement:
    scale = {"uS": 1e-6, None: 1.0}[unit]
    return Measurement(scale * (reads if reads.ndim == 3 else reads[None]), "test", unit, bool((reads < 0).any()))


def test_both_deviations_are_recovered_from_twenty_reads() -> None:
    """Known programming spread and read noise, within 5% (here within 2%)."""
    programming, read = 2.46e-6, 0.9e-6
    cells = RNG.normal(14.25e-6, programming, (128, 128))
    reads = cells + RNG.normal(0, read, (20, 128, 128))
    spread = ReadSpread.of(Measurement(reads, "test", "S", False))
    assert spread.programming == pytest.approx(programming, rel=0.02)
    assert spread.read == pytest.approx(read, rel=0.02)
    assert spread.mean == pytest.approx(14.25e-6, rel=0.01)


def test_the_spread_is_about_the_target_where_one_is_given() -> None:
    target = RNG.uniform(2e-6, 38e-6, (100, 100))
    reads = target + RNG.normal(0, 0.5e-6, target.shape) + RNG.normal(0, 0.4e-6, (20, 100, 100))
    m = Measurement(reads, "test", "S", False)
    assert ReadSpread.of(m, target).programming == pytest.approx(0.5e-6, rel=0.05)
    assert ReadSpread.of(m).programming > 8e-6


def test_cells_without_a_target_do_not_count_for_the_programming() -> None:
    """Their NaN used to make the spread about the target 0."""
    target = RNG.uniform(2e-6, 38e-6, (100, 100))
    m = Measurement((target + RNG.normal(0, 0.5e-6, target.shape))[None], "test", "S", False)
    target[0, :7] = np.nan
    assert to_chip(m, "pair", target=target).spread.programming == pytest.approx(0.5e-6, rel=0.05)
    with pytest.raises(InputError, match="no number for any cell in use"):
        to_chip(m, "pair", target=np.full_like(target, np.nan))


def test_cells_that_were_read_less_often_leave_more_noise_in_their_average() -> None:
    """Twenty reads of a tenth of the cells and two of all others: noise is not taken for a spread of programming."""
    reads = RNG.normal(14, 0.1, (100, 100)) + RNG.normal(0, 1, (20, 100, 100))
    reads[2:, 10:] = np.nan
    spread = ReadSpread.of(measured(reads))
    assert spread.read == pytest.approx(1e-6, rel=0.05) and spread.programming < 0.2e-6


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
        assert found.unit == unit and "by their median" in found.unit_reason
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
    dead = DeadLines.of(w, signed=True)
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


CELLS = np.random.default_rng(5).normal(14.25, 2.46, (64, 64))


def read(values: np.ndarray, tmp_path, **options) -> Measurement:
    np.save(tmp_path / "map.npy", values)
    return Measurement.read(tmp_path / "map.npy", **options)


def weights(values: np.ndarray, tmp_path, **options) -> np.ndarray:
    return to_chip(read(values, tmp_path, **options), options.get("scheme")).chip.weights.numpy()


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_overflows_and_shorts_are_left_out_and_the_scale_is_that_of_the_others(scale: float, tmp_path) -> None:
    """All other weights are as they are without them."""
    clean, bad = weights(scale * CELLS, tmp_path), scale * CELLS
    rng = np.random.default_rng(6)
    shorted = rng.choice(CELLS.size, 20, replace=False)
    bad.flat[shorted] = 1000 * scale
    bad.flat[0], bad.flat[5] = 9.9e37, 9.91e37
    m = read(bad, tmp_path)
    imported = to_chip(m)
    gone = np.unique(np.concatenate([shorted, [0, 5]]) // 2)
    assert "2 readings are overflows of the instrument (9.9e+37, 9.91e+37)" in m.notes
    assert imported.dead.shorted == len(set(shorted) - {0, 5}) and imported.dead.rows == imported.dead.columns == ()
    left = np.delete(clean, gone)
    ratio = imported.chip.weights.numpy() / left
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert ratio[0] == pytest.approx(1, abs=0.01)


def test_wide_distributions_have_no_shorts() -> None:
    """Lognormal cells, two levels, and a few far cells that others lead up to."""
    rng = np.random.default_rng(7)
    for g in (rng.lognormal(0, 1.5, (128, 128)), np.where(rng.random((64, 64)) < 0.3, 100.0, 1.0)):
        assert DeadLines.of(g, signed=False).shorted == 0
    ladder = CELLS.copy()
    ladder.flat[:40] = np.geomspace(30, 2000, 40)
    assert DeadLines.of(ladder, signed=False).shorted == 0


def test_slightly_negative_readings_are_noise_of_cells_that_do_not_conduct(tmp_path) -> None:
    rng = np.random.default_rng(8)
    off = rng.random(CELLS.shape) < 0.01
    g = np.where(off, rng.normal(0.0, 0.05, CELLS.shape), CELLS)
    m = read(g, tmp_path)
    assert (g < 0).any() and not m.signed and m.unit == "uS" and "noise about zero" in m.sign_reason
    imported = to_chip(m)
    assert imported.scheme == "pair" and len(imported.chip.weights) == 2048
    assert float(imported.chip.weights.std()) == pytest.approx(0.343, rel=1e-3)
    one = CELLS.copy()
    one[3, 4] = -1e-9
    assert not read(one, tmp_path).signed


def test_a_few_large_negative_readings_are_faults(tmp_path) -> None:
    g = CELLS.copy()
    g.flat[:3] = -9999
    m = read(g, tmp_path)
    assert not m.signed and "3 readings below zero are left out as faults" in m.notes
    assert np.isnan(m.mean).sum() == 3
    g.flat[:40] = -12
    with pytest.raises(InputError, match="too few for a signed map and too many for faults; say --scheme signed"):
        read(g, tmp_path)
    assert read(g, tmp_path, scheme="signed", unit="uS").signed
    assert np.isnan(read(g, tmp_path, scheme="pair").mean).sum() == 40


def test_zeros_of_a_map_of_few_levels_are_weights(tmp_path) -> None:
    w = np.random.default_rng(9).choice([-1.0, 0.0, 1.0], (10, 8))
    w[4] = 0
    found = to_chip(read(w, tmp_path))
    np.testing.assert_array_equal(found.chip.weights, w.ravel())
    assert found.scheme == "signed" and found.dead.cells == 0


def test_signed_numbers_that_cannot_be_weights_need_a_unit(tmp_path) -> None:
    differences = 8 * np.random.default_rng(10).normal(0, 1, (8, 8))
    with pytest.raises(InputError, match=r"deviation of .*if they are differences of conductances, say --unit uS"):
        read(differences, tmp_path)
    m = read(differences, tmp_path, unit="uS")
    assert m.signed and to_chip(m).chip.siemens is not None
    with pytest.raises(InputError, match="is in kOhm, but a signed map is one of conductances"):
        read(differences, tmp_path, unit="kOhm", scheme="signed")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "row,col,R\n0,0,70.5\n0,1,71.5\n", "resistances"),
        ("a.csv", "# resistance map\n70.5,71.5\n70.5,72.5\n", "resistances"),
        ("a.csv", "# I (uA) at 0.2 V\n2.5,2.75\n", "divide them by the voltage"),
        ("resistance.npz", None, "say it with --unit Ohm, kOhm"),
        ("I.npz", None, "currents"),
    ],
)
def test_numbers_with_the_name_of_another_quantity_need_a_unit(
    name: str, text: str | None, words: str, tmp_path
) -> None:
    """Kiloohms have the size of microsiemens: 70 kOhm used to become 70 uS."""
    file = tmp_path / name
    if text is None:
        np.savez(file, **{file.stem: np.array([[70.5, 71.5]])})
    else:
        file.write_text(text)
    with pytest.raises(InputError, match=words):
        Measurement.read(file)
    assert Measurement.read(file, "kOhm").mean.max() < 1e-3


def test_conductances_that_no_array_has_are_those_of_another_unit(tmp_path) -> None:
    np.save(tmp_path / "a.npy", np.array([[14.5, 15.5]]))
    with pytest.raises(InputError, match="in S its median is a conductance of 15 S, which no array has"):
        Measurement.read(tmp_path / "a.npy", "S")


def test_the_unit_of_the_file_is_taken_and_a_given_one_wins(tmp_path) -> None:
    file = tmp_path / "map.csv"
    np.savetxt(file, 1e3 / CELLS[:8, :8], delimiter=",", header="R (kOhm), V = 0.2 V")
    m = Measurement.read(file)
    np.testing.assert_allclose(m.mean, 1e-6 * CELLS[:8, :8])
    assert (m.unit, m.unit_reason) == ("kOhm", "as the file states")
    given = Measurement.read(file, "uS")
    assert "the file states kOhm, but uS was given and is taken" in given.notes
    np.testing.assert_allclose(given.mean, 1e-3 / CELLS[:8, :8])


def test_a_target_in_another_unit_is_converted(tmp_path) -> None:
    m = read(1e-6 * CELLS, tmp_path)
    for scale in (1e-6, 1.0):  # siemens, microsiemens
        np.save(tmp_path / "target.npy", scale * CELLS)
        np.testing.assert_allclose(read_target(tmp_path / "target.npy", m), 1e-6 * CELLS)
    np.savetxt(tmp_path / "target.csv", 1e3 * CELLS, delimiter=",", header="G (nS)")
    np.testing.assert_allclose(read_target(tmp_path / "target.csv", m), 1e-6 * CELLS)
    np.save(tmp_path / "target.npy", 20 * CELLS)
    with pytest.raises(InputError, match=r"its median is 20 times that of map.npy; write its unit"):
        read_target(tmp_path / "target.npy", m)


@pytest.mark.parametrize(
    ("case", "scheme", "found"),
    [
        ("05-csv-labels/noindex.csv", None, (1, 8, 8)),
        ("05-csv-labels/index.csv", None, (1, 8, 7)),
        ("05-csv-labels/lab.csv", "signed", (1, 50, 50)),
        ("06-overflow/overflow.csv", None, (1, 64, 64)),
        ("06-overflow/shorts.csv", None, (1, 64, 64)),
        ("07-negative-read/map.csv", None, (1, 64, 64)),
        ("09-long-list/list.csv", None, (3, 8, 8)),
        ("10-resistance/kohm.csv", None, (1, 16, 16)),
        ("10-resistance/nano.csv", None, (1, 16, 16)),
        ("22-ternary/ternary.csv", None, (1, 8, 10)),
    ],
)
def test_files_of_others(shared, case: str, scheme: str | None, found: tuple[int, ...]) -> None:
    """Sizes and weights by hand from the files; see the README of each case."""
    m = Measurement.read(shared / "cases" / case, scheme=scheme)
    assert m.reads.shape == found
    if case.startswith("05-csv-labels/index"):
        with pytest.raises(InputError, match="7 columns make no pairs"):
            to_chip(m)
        return
    chip = to_chip(m, scheme).chip
    typical = float(chip.weights.abs().median())
    if "06" in case:
        assert typical == pytest.approx(0.24, abs=0.005)
    if "07" in case:
        assert len(chip.weights) == 2048 and float(chip.weights.std()) == pytest.approx(0.343, abs=1e-3)
    if "10" in case:
        assert m.mean.mean() == pytest.approx(14.4e-6 if "kohm" in case else 14.4e-9, rel=0.01)
    if "22" in case:
        assert len(chip.weights) == 80 and set(chip.weights.tolist()) == {-1.0, 0.0, 1.0}


def test_a_cell_with_one_sensible_read_takes_the_usual_deviation() -> None:
    """It was taken for a cell that does not fluctuate."""
    rng = np.random.default_rng(3)
    reads = 14e-6 + 2e-6 * rng.standard_normal((20, 20)) + 0.4e-6 * rng.standard_normal((12, 20, 20))
    reads[1:, 4, 6] = np.nan
    found = to_chip(Measurement(reads, "reads", "S", False)).chip
    assert found.read_deviation is not None
    number = 4 * 10 + 3
    others = torch.cat([found.read_deviation[:number], found.read_deviation[number + 1 :]])
    assert float(found.read_deviation[number]) == pytest.approx(float(others.square().mean().sqrt()), rel=1e-5)
