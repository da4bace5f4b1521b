"""Golden vectors: what they expect, and what comes back."""

import json

import numpy as np
import pytest

from rgnn import Hardware
from rgnn.base.errors import InputError
from rgnn.chip.board.planes import codes_of, packed
from rgnn.models.golden import GoldenVectors, array_of, golden_vectors, replayed
from rgnn.models.settings import MessagePassingSettings

SMALL = MessagePassingSettings(n_features=4, reservoir_layers=1, trained_layers=1)
HARDWARE = {
    "no converters": Hardware(noise=0.05),
    "calibrated": Hardware(noise=0.05, adc_bits=7),
    "tiles": Hardware(bits=5, adc_bits=6, adc_range="full", tile=(8, 8)),
    "frozen": Hardware(bits=10, noise=0.1, noise_sharing="chip", stuck_off=0.02),
}


@pytest.mark.parametrize("name", HARDWARE)
@pytest.mark.parametrize("matrix", [0, 4, 5])
def test_a_replay_without_noise_gives_equal_codes(built, glass, tmp_path, name, matrix) -> None:
    hardware = HARDWARE[name]
    model = built(SMALL, hardware, glass)
    made = golden_vectors(model, glass, array_of(model, 0, matrix), rows=60)
    made.save(tmp_path)
    golden = GoldenVectors.load(tmp_path)
    assert golden.codes.max() > 1 and len(golden.codes) == 60
    np.testing.assert_array_equal(codes_of(np.load(tmp_path / "planes.npy"), golden.codes.shape[1]), golden.codes)
    # Whole-number planes add up to codes, and their sums to the product.
    added = np.einsum("rbo,b->ro", golden.by_plane, 2.0 ** np.arange(golden.bits))
    np.testing.assert_allclose(added, golden.codes.astype(float) @ golden.weight.T, atol=1e-9)
    sums, codes = replayed(golden)
    np.testing.assert_allclose(sums, golden.sums, atol=1e-12)
    if golden.adc_codes is None:
        assert hardware.adc_bits is None
    else:
        np.testing.assert_array_equal(codes, golden.adc_codes)
        assert codes.min() >= 0 and codes.max() < 2**hardware.adc_bits and len(np.unique(codes)) > 4
    noisy, _ = replayed(golden, noisy=True, seed=3)
    if hardware.varies_between_reads:
        drawn = ((noisy - golden.sums) / np.where(golden.deviation > 0, golden.deviation, np.inf)).ravel()
        assert np.std(drawn[golden.deviation.ravel() > 0]) == pytest.approx(1, abs=0.03)
    else:
        np.testing.assert_array_equal(noisy, sums)


def test_deviations_are_those_of_reads(built, glass) -> None:
    """Against the simulator's own draws, through the cells of the array."""
    from rgnn.chip.board.simulator import SimulatedBoard

    hardware = Hardware(bits=3, noise=0.08, noise_reference="device")
    model = built(SMALL, hardware, glass)
    crossbar = array_of(model, 0, 2)
    golden = golden_vectors(model, glass, crossbar, rows=4)
    board = SimulatedBoard(hardware)
    g = (float(crossbar.siemens) * crossbar.pair.double()).numpy()
    board.program("x", crossbar.weight.shape, *g, weight=crossbar.weight.numpy())
    many = np.tile(golden.planes, (800, 1, 1))
    sums = np.asarray(board.mvm("x", many, 3, golden.codes.shape[1], add=False)["sums"]).reshape(
        800, *golden.sums[:, :, 0].shape
    )
    expected = golden.deviation[:, :, 0]
    some = expected > 0
    np.testing.assert_allclose(sums.std(0)[some], expected[some], rtol=0.12)
    np.testing.assert_allclose(sums.mean(0), golden.by_plane, atol=float(5 * expected.max() / np.sqrt(800)) + 1e-6)


def test_planes_are_packed_from_the_lowest_bit() -> None:
    codes = np.array([[1, 2, 255, 0, 0, 0, 0, 0, 4]])
    planes = packed(codes, 8)
    assert planes.shape == (1, 8, 2)
    assert planes[0, 0].tolist() == [0b101, 0] and planes[0, 1].tolist() == [0b110, 0]
    assert planes[0, 2].tolist() == [0b100, 1]
    wide = np.random.default_rng(0).integers(0, 2**13, (5, 21))
    np.testing.assert_array_equal(codes_of(packed(wide, 13), 21), wide)


def test_what_is_not_there_is_refused(built, glass, tmp_path) -> None:
    model = built(SMALL, Hardware(), glass)
    with pytest.raises(InputError, match=r"no array layer3\.matrix0; its arrays are layer0\.matrix0"):
        array_of(model, 3, 0)
    with pytest.raises(InputError, match="bits null"):
        golden_vectors(model, glass, array_of(model, 0, 0), Hardware(bits=None, noise=None))
    golden_vectors(model, glass, array_of(model, 0, 0), rows=5).save(tmp_path)
    plain = json.loads((tmp_path / "golden.json").read_text())
    (tmp_path / "golden.json").write_text(json.dumps(plain | {"rows": 6}))
    with pytest.raises(InputError, match="do not fit each other"):
        GoldenVectors.load(tmp_path)
    with pytest.raises(InputError, match="holds no golden vectors"):
        GoldenVectors.load(tmp_path / "nowhere")
