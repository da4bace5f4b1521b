"""A plain product against float64 and against closed forms."""

import numpy as np
import pytest

import rgnn
from rgnn import Hardware
from rgnn.base.errors import InputError

RNG = np.random.default_rng(5)
W, X = RNG.normal(size=(6, 40)), RNG.normal(size=(11, 40))


def test_without_bits_and_noise_it_is_the_exact_product() -> None:
    found = rgnn.mvm(W, X, Hardware().ideal())
    np.testing.assert_allclose(found.outputs[0], X @ W.T, rtol=1e-12)
    assert found.codes is None and found.relative_error < 1e-12


@pytest.mark.parametrize("bits", [3, 8])
def test_codes_and_products_are_those_of_the_definition(bits: int) -> None:
    found = rgnn.mvm(W, X, Hardware(bits=bits, noise=None))
    low, high = X.min(), X.max()
    codes = np.round((X - low) / (high - low) * (2**bits - 1))
    np.testing.assert_array_equal(found.codes, codes)
    expected = codes @ W.T * (high - low) / (2**bits - 1) + low * W.sum(1)
    np.testing.assert_allclose(found.outputs[0], expected, rtol=1e-12)
    worst = np.abs(W).sum(1) * (high - low) / (2**bits - 1) / 2
    assert (np.abs(found.errors[0]) <= worst * (1 + 1e-9)).all()


def test_read_noise_has_the_variance_of_the_closed_form() -> None:
    found = rgnn.mvm(W, X[:3], Hardware(bits=4, noise=0.1), reads=4000)
    step = (X[:3].max() - X[:3].min()) / 15
    planes = sum(4.0**b * (found.codes >> b & 1) for b in range(4))
    expected = 0.1 * step * np.sqrt(planes @ (W**2).T)
    np.testing.assert_allclose(found.outputs.std(0, ddof=1), expected, rtol=0.06)
    # The mean of 4,000 reads is the product without noise.
    clean = rgnn.mvm(W, X[:3], Hardware(bits=4, noise=None)).outputs[0]
    assert (np.abs(found.mean - clean) < 5 * expected / np.sqrt(4000)).all()


def test_pairs_of_conductances_know_what_single_cells_do() -> None:
    g = np.abs(RNG.normal(14e-6, 2e-6, (2, 6, 40)))
    by_weight = rgnn.mvm(g, X, Hardware(noise=0.01), reads=200)
    by_cell = rgnn.mvm(g, X, Hardware(noise=0.01, noise_reference="device"), reads=200)
    np.testing.assert_allclose(by_weight.exact, X @ (g[0] - g[1]).T, rtol=1e-9)
    ratio = np.sqrt((g**2).sum() / ((g[0] - g[1]) ** 2).sum())
    assert by_cell.read_deviation == pytest.approx(ratio * by_weight.read_deviation, rel=0.15)
    with pytest.raises(InputError, match="needs the conductances of both cells"):
        rgnn.mvm(g[0] - g[1], X, Hardware(stuck_on=0.1))


def test_output_converters_of_many_bits_change_nothing() -> None:
    fine = rgnn.mvm(W, X, Hardware(noise=None, adc_bits=16, adc_range="full"))
    coarse = rgnn.mvm(W, X, Hardware(noise=None, adc_bits=5))
    ideal = rgnn.mvm(W, X, Hardware(noise=None))
    np.testing.assert_allclose(fine.outputs, ideal.outputs, atol=0.05)
    assert coarse.relative_error > 3 * ideal.relative_error


def test_slow_noise_differs_from_read_to_read_and_stays_alike() -> None:
    hardware = Hardware(noise=None, slow_noise=0.05)
    found = rgnn.mvm(W, X[:2], hardware, reads=400)
    clean = rgnn.mvm(W, X[:2], Hardware(noise=None)).outputs[0]
    e = (found.outputs - clean).reshape(400, -1)
    assert e.std() > 0
    near, far = np.abs(np.diff(e, axis=0)).mean(), np.abs(e[200:] - e[:200]).mean()
    assert near < 0.9 * far


@pytest.mark.parametrize(
    ("matrix", "vectors", "options", "said"),
    [
        (W, X[:, :-1], {}, "must have 40 entries"),
        (W[0], X, {}, "must be \\[outputs, inputs\\]"),
        (W * np.nan, X, {}, "matrix has entries that are not finite"),
        (W, X * np.inf, {}, "vectors are empty or have entries"),
        (W, X, {"input_range": (1, -1)}, "second number must be the larger"),
    ],
)
def test_what_makes_no_sense_is_refused(matrix, vectors, options, said) -> None:
    with pytest.raises(InputError, match=said):
        rgnn.mvm(matrix, vectors, **options)
