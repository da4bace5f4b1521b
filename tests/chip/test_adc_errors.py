"""Errors of output converters, against what follows from their definition."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from rgnn import Hardware
from rgnn.base.rng import torch_stream
from rgnn.chip.adc_errors import WAVES, AdcErrors
from rgnn.chip.converters import Adc
from rgnn.chip.crossbar import Crossbar

OUT = 4000


def errors_of(columns: int = OUT, inputs: int = 10, **settings) -> AdcErrors:
    found = AdcErrors.of(Hardware(adc_bits=8, **settings), torch.zeros(columns, inputs, dtype=torch.float64), (0, 0))
    assert found is not None
    return found


def adc(errors: AdcErrors | None, bits: int = 12, columns: int = OUT) -> Adc:
    """Codes over [-1, 1]."""
    one = torch.ones(columns, dtype=torch.float64)
    return Adc(bits, -one, one, errors)


def test_draws_have_the_deviations_that_are_given() -> None:
    errors = errors_of(inputs=600, adc_gain=0.02, adc_offset=1.5)
    assert errors.gain.shape == (3, OUT)  # each tile of 256 inputs has converters of its own
    assert kstest(errors.gain.flatten()[::3].numpy(), "norm", (0, 0.02)).pvalue > 1e-3
    assert kstest(errors.offset.flatten()[::3].numpy(), "norm", (0, 1.5)).pvalue > 1e-3
    assert abs(float(torch.corrcoef(torch.stack([errors.gain[0], errors.offset[0]]))[0, 1])) < 0.06
    assert not torch.equal(errors.gain, errors_of(inputs=600, adc_gain=0.02, chip=1).gain)


def test_nonlinearity_by_end_points() -> None:
    """Zero at both ends of the range; its root mean square over range and columns is what is given, in LSB."""
    errors, first, last = errors_of(adc_nonlinearity=0.7), torch.full((OUT,), -2000.0, dtype=torch.float64), 4095
    p = first + torch.linspace(0, last, 400, dtype=torch.float64)[:, None]
    bow = errors.distorted(p, first, last, 0) - p
    assert float(bow[[0, -1]].abs().max()) < 1e-9
    assert float(bow[:-1].square().mean().sqrt()) == pytest.approx(0.7, rel=0.03)


def test_gain_and_offset_of_a_sum() -> None:
    """With fine steps y -> (1 + g) y + o LSB, and the root mean square error is what g and o say."""
    errors = errors_of(adc_gain=0.02, adc_offset=3.0)
    y = torch.full((1, OUT), 0.4, dtype=torch.float64)
    lsb = 2 / 4095
    found = adc(errors).convert(y.clone())
    torch.testing.assert_close(found, y * (1 + errors.gain) + lsb * errors.offset, atol=0.51 * lsb, rtol=0)
    expected = np.sqrt((0.02 * 0.4) ** 2 + (3 * lsb) ** 2 + lsb**2 / 12)
    assert float((found - y).square().mean().sqrt()) == pytest.approx(expected, rel=0.04)


def test_calibration_leaves_what_is_no_line() -> None:
    """Gain and offset go; of a bow sum a_k sin(k pi u) the best line goes, by its integrals over the range."""
    y = torch.linspace(-0.9, 0.9, 41, dtype=torch.float64)[:, None].expand(-1, OUT)
    lsb = 2 / 4095
    calibrated = errors_of(adc_gain=0.02, adc_offset=3.0, adc_calibration="linear")
    left = (adc(calibrated).convert(y.clone()) - y) / lsb
    assert float(left.square().mean().sqrt()) == pytest.approx(np.sqrt(1 / 12), rel=0.1)
    bowed = errors_of(adc_nonlinearity=8.0, adc_calibration="linear")
    left = (adc(bowed).convert(y.clone()) - y) / lsb
    u = ((y / lsb + 2047.5) / 4095).numpy()[:, :1]
    k = np.arange(1, WAVES + 1)
    even = (1 + np.cos(k * np.pi)) / (k * np.pi)
    line = (1 - np.cos(k * np.pi)) / (k * np.pi) - 6 * even * (u - 0.5)  # least squares line of sin(k pi u) on [0, 1]
    expected = (np.sin(k * np.pi * u) - line) @ bowed.bow[0].numpy()
    assert float(np.std(left.numpy() - expected)) == pytest.approx(np.sqrt(1 / 12), rel=0.3)
    assert float(left.square().mean().sqrt()) < 0.8 * 8


def test_a_converter_of_one_bit_is_left_as_it_is() -> None:
    errors = errors_of(adc_gain=0.02, adc_offset=0.3, adc_calibration="linear")
    slope, intercept = errors.line(torch.zeros(OUT, dtype=torch.float64), 1, 0)
    assert (slope == 1).all() and (intercept == 0).all()


def test_calibration_wins_back_what_gain_and_offset_cost_a_product() -> None:
    weight = torch.randn(20, 300, generator=torch_stream(0, "w"), dtype=torch.float64)
    array, x = Crossbar(weight), torch.rand(100, 300, generator=torch_stream(0, "x"), dtype=torch.float64)
    array.low.fill_(0), array.high.fill_(1)
    base = Hardware(bits=4, noise=None, adc_bits=10, adc_range="full")

    def error(hardware: Hardware) -> float:
        y = array.begin(hardware, None)(x.clone())
        exact = array.begin(Hardware(bits=4, noise=None), None)(x.clone())
        return float((y - exact).square().mean().sqrt())

    wrong = base.override(adc_gain=0.05, adc_offset=2.0)
    assert error(wrong) > 3 * error(base)
    assert error(wrong.override(adc_calibration="linear")) < 1.3 * error(base)
    assert error(wrong.override(chip=1)) != error(wrong)
