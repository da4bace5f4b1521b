"""Weights in digits, against integer arithmetic and the statistics of their arrays."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, kstest

from rgnn import Chip, Hardware
from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.slices import joined, sliced

SEEN = torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch_stream(seed, "normal"), dtype=torch.float64)


@settings(max_examples=25)
@given(st.integers(1, 6), st.integers(1, 4))
def test_digits_are_the_weights_rounded(n: int, bits: int) -> None:
    weight = normal(5, 7)
    arrays = sliced(Cells(weight), n, bits)
    step = float(weight.abs().max()) / (2 ** (n * bits) - 1)
    again = joined(arrays).weight
    torch.testing.assert_close(again, (weight / step).round() * step, rtol=1e-9, atol=1e-9)
    for array in arrays:
        levels = array.cells.weight.abs().unique()
        assert len(levels) <= 2**bits and float(levels.max()) <= float(weight.abs().max()) * (1 + 1e-12)
    factors = [array.factor for array in arrays]
    assert factors == pytest.approx([factors[0] * 2 ** (bits * s) for s in range(n)])


def test_digits_are_between_the_smallest_and_the_largest_conductance() -> None:
    cells = Chip.synthetic(0).matrices([[(40, 50)]])[0][0]
    low, high = float(cells.pair.min()), float(cells.pair.max())
    for array in sliced(cells, 3, 2):
        g = array.cells.pair
        digits = (g - low) / (high - low) * 3
        torch.testing.assert_close(digits, digits.round(), atol=1e-5, rtol=0)
        assert set(digits.round().unique().tolist()) == {0, 1, 2, 3}
        assert (g.amin(0) == low).all()  # one cell of a pair holds the digit
        torch.testing.assert_close(g[0] - g[1], array.cells.weight, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bits", [1, 2])
def test_integer_weights_are_exact_with_converters_that_resolve_a_digit(bits: int) -> None:
    """Known answer 10 for slices: converters of all that a column of digits can give, one bit fewer saturates."""
    weight = torch.randint(-63, 64, (4, 15), generator=torch_stream(0, "w")).double()
    weight[:, 0], weight[:, 1] = 63, 0
    x = torch.randint(0, 16, (30, 15), generator=torch_stream(0, "x")).double() / 15
    array = Crossbar(weight)
    # The sums of a digit are whole multiples of the span over 2^b - 1, from -14 to 15 of the largest digits.
    n, most = 6 // bits, 15 * (2**bits - 1)
    hardware = Hardware(bits=4, noise=None, range="dynamic", slices=n, slice_bits=bits)
    exact = x @ weight.T
    torch.testing.assert_close(array.begin(hardware, None, SEEN)(x.clone()), exact)
    fine = hardware.override(adc_bits=16, adc_range="full")
    torch.testing.assert_close(array.begin(fine, None, SEEN)(x.clone()), exact, atol=0.02 * most / 15, rtol=0)
    coarse = hardware.override(adc_bits=2, adc_range="full")
    assert float((array.begin(coarse, None, SEEN)(x.clone()) - exact).abs().max()) > 5


@pytest.mark.parametrize("adc_bits", [None, 16])
def test_each_array_fluctuates_for_itself(adc_bits: int | None) -> None:
    """Variance of a product: s^2 sum_s f_s^2 sum_k w_sk^2 V(q_k), with and without converters."""
    weight, n = normal(3, 40), 3000
    x = torch.rand(1, 40, generator=torch_stream(0, "x"), dtype=torch.float64)
    hardware = Hardware(bits=3, noise=0.2, range="dynamic", slices=2, slice_bits=2, adc_bits=adc_bits,
                        adc_range="full")  # fmt: skip
    array = Crossbar(weight)
    y = torch.stack([array.begin(hardware, torch_stream(1, k), SEEN)(x.clone()) for k in range(n)])[:, 0]
    q = (x[0] * 7).round().long()
    v = sum(4**b * (q >> b & 1) for b in range(3)).double() / 49
    arrays = sliced(Cells(weight), 2, 2)
    variance = sum(s.factor**2 * (0.2 * s.cells.weight).square() @ v for s in arrays)
    p = chi2.cdf(((n - 1) * y.var(0) / variance).numpy(), n - 1)
    assert ((p > 1e-4) & (p < 1 - 1e-4)).all()
    mean = joined(arrays).weight @ (q.double() / 7)
    assert ((y.mean(0) - mean).abs() < 4.5 * (variance / n).sqrt()).all()


@pytest.mark.parametrize("sharing", ["plane", "call", "chip"])
def test_converted_slices_fluctuate_as_those_without_converters(sharing: str) -> None:
    weight = normal(2, 6)
    x = torch.rand(1, 6, generator=torch_stream(0, "x"), dtype=torch.float64)
    array = Crossbar(weight)

    def draws(adc_bits: int | None, seed: int) -> torch.Tensor:
        hardware = Hardware(bits=3, noise=0.2, noise_sharing=sharing, range="dynamic", slices=2, slice_bits=3,
                            adc_bits=adc_bits, adc_range="full")  # fmt: skip
        calls = (array.begin(hardware.override(chip=1000 * seed + k), torch_stream(seed, k), SEEN) for k in range(1500))
        return torch.stack([call(x.clone()) for call in calls])[:, 0]

    whole, converted = draws(None, 0), draws(16, 1)
    for k in range(2):
        assert kstest(whole[:, k].numpy(), converted[:, k].numpy()).pvalue > 1e-4


def test_programming_acts_on_each_array_and_the_highest_digit_counts_most() -> None:
    cells = Chip.synthetic(0).matrices([[(60, 80)]])[0][0]
    array = Crossbar(cells)

    def programmed(**other) -> Cells:
        return array.programmed(Hardware(slices=2, slice_bits=4, **other), noisy=False)

    clean, noisy = programmed(), programmed(programming_noise=0.03)
    low, high = (s.factor * (n.cells.weight - s.cells.weight) for s, n in zip(clean.slices, noisy.slices, strict=True))
    torch.testing.assert_close(noisy.weight - clean.weight, low + high, atol=1e-5, rtol=0)
    assert 10 < float(high.std() / low.std()) < 22
    assert abs(float(torch.corrcoef(torch.stack([low.flatten(), high.flatten()]))[0, 1])) < 0.06  # draws of its own
    worse = programmed(programming_noise=0.03, wire_resistance=5.0)
    better = programmed(programming_noise=0.03, wire_resistance=5.0, compensation="column")
    errors = [float((c.weight - cells.weight).square().mean()) for c in (clean, noisy, better, worse)]
    assert errors == sorted(errors)


def test_what_slices_do_not_go_together_with() -> None:
    for wrong, words in (
        ({"adc_bits": 8}, "set adc_range to 'full'"),
        ({"noise_reference": "measured"}, "not those that were measured"),
        ({"slice_bits": 8, "slices": 4}, "slices \\* slice_bits is 32"),
    ):
        with pytest.raises(InputError, match=words):
            Hardware.from_mapping({"slices": 2, **wrong})
