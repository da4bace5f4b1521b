"""Output converters, tiles and straight-through gradients against arithmetic done by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, kstest

from rgnn import Hardware, kernels
from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.chip.cells import Cells
from rgnn.chip.converters import Adc, Counts
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.noise import NoNoise, RowNoise, sum_of_squared_planes
from rgnn.chip.product import ConvertedPlanes
from rgnn.models.calibration import calibrate, needs_calibration
from rgnn.models.reading import ChipReading


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch_stream(seed, "test"), dtype=dtype)


def adc(bits: int, low: float, high: float) -> Adc:
    return Adc(bits, torch.tensor([low], dtype=torch.float64), torch.tensor([high], dtype=torch.float64))


def test_error_of_a_uniform_input() -> None:
    """Known answer 8: LSB^2 / 12, and nothing where bits are many."""
    y = torch.rand(200_000, 1, dtype=torch.float64, generator=torch_stream(0, "y")) * 2 - 1
    for bits in (4, 6, 8):
        error = adc(bits, -1, 1).convert(y.clone()) - y
        inside = y.abs() < 1 - 2.0 / 2**bits
        lsb = 2 / (2**bits - 1)
        assert float(error[inside].square().mean()) == pytest.approx(lsb**2 / 12, rel=0.02)
    assert float((adc(16, -1, 1).convert(y.clone()) - y).abs().max()) < 2e-5


def test_mean_of_a_clipped_gaussian() -> None:
    """Known answer 9: of N(m, s^2) cut at a: m - s (phi(z) - z (1 - Phi(z))), z = (a - m) / s, from above."""
    m, s, a = 0.3, 1.0, 0.8
    y = m + s * normal(400_000, 1)
    counts = Counts()
    clipped = adc(16, -8, a).convert(y.clone(), counts)
    z = (a - m) / s
    tail = 0.5 * math.erfc(z / 2**0.5)
    phi = math.exp(-z * z / 2) / (2 * math.pi) ** 0.5
    assert float(clipped.mean()) == pytest.approx(m - s * (phi - z * tail), abs=4e-3)
    assert counts.saturated / counts.conversions == pytest.approx(tail, rel=0.02)


@pytest.mark.parametrize("rows", [3, 7, 40, 100])
def test_enough_bits_for_one_bit_cells_are_exact_and_one_fewer_saturates(rows: int) -> None:
    """Known answer 10: ceil(log2(rows + 1)) bits of one step a cell."""
    bits = math.ceil(math.log2(rows + 1))
    weight = torch.ones(1, rows, dtype=torch.float64)
    q = torch.randint(0, 256, (50, rows), generator=torch_stream(0, "q")).double()
    q[0] = 255
    for b, exact in ((bits, True), (bits - 1, False)):
        counts = Counts()
        planes = ConvertedPlanes(NoNoise(weight), 8, 256, adc(b, 0, 2**b - 1), None, counts)
        y = planes.product(q, slice(None), 0, 0)
        assert torch.equal(y, q @ weight.T) == exact
        assert (counts.saturated == 0) == exact


def test_an_undriven_column_gives_nothing() -> None:
    for low, high in ((-0.37, 1.2), (-3.0, 0.1), (0.0, 2.0)):
        assert float(adc(5, low, high).convert(torch.zeros(1, 1, dtype=torch.float64))) == 0


@settings(max_examples=20)
@given(st.integers(1, 60), st.integers(1, 64), st.sampled_from(["none", "plane", "call"]))
def test_tiling_changes_nothing_without_converters(inputs: int, tile: int, sharing: str) -> None:
    """Known answer 11: partial sums of tiles, plane by plane, add up to the product in one; the noise is the same."""
    q = torch.randint(0, 16, (5, inputs), generator=torch_stream(0, "q")).double()
    hardware = Hardware(bits=4, noise=None if sharing == "none" else 0.1, noise_sharing=sharing.replace("none", "call"))
    inner = Crossbar(normal(4, inputs, seed=1))._noise(Cells(normal(4, inputs, seed=1)), hardware, torch_stream(0, "n"))
    tiled = ConvertedPlanes(inner, 4, tile, None, None, None)
    torch.testing.assert_close(tiled.product(q, slice(None), 0, 0), inner.product(q, slice(None), 0, 0))


def test_read_noise_of_tiles_adds_up_to_that_of_the_whole() -> None:
    """Known answer 11, where every read of a tile fluctuates for itself: the same variance."""
    cells, q = Cells(normal(4, 50, seed=1)), torch.randint(0, 16, (3, 50), generator=torch_stream(0, "q")).double()
    inner = RowNoise(cells, Hardware(bits=4, noise=0.1))
    tiled = ConvertedPlanes(inner, 4, 16, None, None, None)
    y = torch.stack([tiled.product(q, slice(None), key, 0) for key in range(3000)])
    variance = sum_of_squared_planes(q, 4) @ (0.1 * cells.weight).square().T
    p = chi2.cdf((2999 * y.var(0) / variance).numpy(), 2999)
    assert ((p > 1e-5) & (p < 1 - 1e-5)).all()


@pytest.mark.parametrize("sharing", ["read", "plane", "call"])
def test_many_output_bits_are_the_ideal_converter_in_distribution(sharing: str) -> None:
    x, weight = torch.rand(2, 300, generator=torch_stream(0, "x"), dtype=torch.float64), normal(3, 300)
    array = Crossbar(weight)

    def draws(adc_bits: int | None, seed: int) -> torch.Tensor:
        hardware = Hardware(bits=3, noise=0.3, noise_sharing=sharing, range="dynamic", adc_bits=adc_bits,
                            adc_range="full")  # fmt: skip
        seen = (x.min(), x.max())
        return torch.stack([array.begin(hardware, torch_stream(seed, k), seen)(x.clone()) for k in range(1500)])

    ideal, converted = draws(None, 0), draws(16, 1)
    for row in range(2):
        for column in range(3):
            assert kstest(ideal[:, row, column].numpy(), converted[:, row, column].numpy()).pvalue > 1e-4


def test_a_converted_product_by_hand() -> None:
    """Two tiles, three planes, each sum rounded for itself."""
    weight = normal(2, 5)
    q = torch.tensor([[5.0, 2, 7, 0, 3]], dtype=torch.float64)
    low, high = torch.full((2,), -2.0, dtype=torch.float64), torch.full((2,), 2.0, dtype=torch.float64)
    planes = ConvertedPlanes(NoNoise(weight), 3, 3, Adc(4, low, high), None, None)
    lsb, expected = 4 / 15, torch.zeros(2, dtype=torch.float64)
    for b in range(3):
        bits = (q[0].int() >> b & 1).double()
        for part in (slice(0, 3), slice(3, 5)):
            sums = (weight[:, part] * bits[part]).sum(1)
            first = round(-2 / lsb)
            expected += 2**b * lsb * ((sums / lsb).round() - first).clamp(0, 15).add(first)
    torch.testing.assert_close(planes.product(q, slice(None), 0, 0)[0], expected)


def test_ranges_of_converters_follow_training_and_then_stay() -> None:
    array, hardware = Crossbar(normal(3, 8).float()), Hardware(adc_bits=8, noise=None)
    reading, x = ChipReading(hardware), normal(40, 8, seed=2).float()
    array.low.fill_(-3), array.high.fill_(3)
    array.eval()
    with pytest.raises(InputError, match="never calibrated"):
        reading.product(array, x)
    array.train()
    reading.product(array, x)
    low, high = array.adc_low.clone(), array.adc_high.clone()
    assert (low <= 0).all() and (high > 0).all()
    array.eval()
    counts = {}
    ChipReading(hardware, monitor=counts).product(array, x)
    assert torch.equal(array.adc_low, low) and counts[0, 0].conversions == 40 * 3 * 8
    assert counts[0, 0].saturated < 0.02 * counts[0, 0].conversions  # the range forgets extremes, slowly
    wide = array.begin(Hardware(adc_bits=8, noise=None, adc_range="full"), None)
    assert wide.noise.adc is not None


def test_calibration_fills_what_is_missing_and_leaves_the_rest(built, glass) -> None:
    from rgnn.models.settings import MessagePassingSettings

    model = built(MessagePassingSettings(n_features=4), Hardware(), glass)
    hardware = Hardware(adc_bits=10)
    inputs = [array.high.clone() for array in model.crossbars]
    assert needs_calibration(model, hardware) and not needs_calibration(model, Hardware())
    calibrate(model, [glass], hardware)
    assert not needs_calibration(model, hardware)
    assert all(torch.equal(a.high, b) for a, b in zip(model.crossbars, inputs, strict=True))
    near = model(glass, model.read(hardware)).forces - model(glass, model.read(Hardware())).forces
    far = model(glass, model.read(hardware.override(adc_bits=3))).forces - model(glass, model.read(Hardware())).forces
    assert near.square().mean() < 0.05 * far.square().mean()
    with pytest.raises(InputError, match="no frames"):
        calibrate(model, [], hardware)


def test_counts_of_what_is_clipped() -> None:
    array = Crossbar(normal(2, 4).float()).eval()
    array.low.fill_(0), array.high.fill_(1)
    counts: dict = {}
    x = torch.tensor([[-0.1, 0.5, 1.1, 1.0], [0, 0.001, 2, 3]])
    ChipReading(Hardware(bits=3, noise=None), monitor=counts).product(array, x)
    assert (counts[0, 0].codes, counts[0, 0].clipped) == (8, 4)


@pytest.mark.parametrize("form", ["plain", "compiled"])
def test_no_gradient_through_a_blocked_quantiser_and_dy_w_through_a_straight_one(form: str) -> None:
    """Known answer 16."""
    array, hardware = Crossbar(normal(3, 5)), Hardware(bits=4, noise=0.1, range="dynamic")
    dy, x = normal(6, 3, seed=3), normal(6, 5, seed=4)
    if form == "compiled":
        array, dy, x = array.float(), dy.float(), x.float()
    blocked, straight = (x.clone().requires_grad_() for _ in range(2))
    with kernels.use(form):
        chosen = kernels.choose(x.device, x.dtype)
    expected = ChipReading(hardware, torch_stream(0, "n"), chosen).product(array, blocked)
    assert not expected.requires_grad
    reading = ChipReading(hardware, torch_stream(0, "n"), chosen, gradient="straight_through")
    y = reading.product(array, straight)
    y.backward(dy)
    torch.testing.assert_close(straight.grad, dy @ array.weight)
    torch.testing.assert_close(y.detach(), expected)
    torch.testing.assert_close(straight.detach(), x)  # not overwritten by codes


def test_no_gradient_where_a_converter_clips_or_relu_cuts() -> None:
    array = Crossbar(normal(3, 5)).eval()
    array.low.fill_(-1), array.high.fill_(0.5)
    x = normal(40, 5, seed=4).requires_grad_()
    reading = ChipReading(Hardware(bits=4, noise=None), gradient="straight_through")
    y = reading.product(array, x, relu=True)
    y.backward(torch.ones_like(y))
    inside = (x.detach() >= -1) & (x.detach() <= 0.5)
    torch.testing.assert_close(x.grad, (y.detach() > 0).double() @ array.weight * inside)
    assert not inside.all() and not (y > 0).all()


def test_a_straight_through_pass_has_the_values_of_a_blocked_one(small_model, glass) -> None:
    noise = [torch_stream(0, "noise") for _ in range(2)]
    expected = small_model(glass, small_model.read(generator=noise[0])).forces
    found = small_model(glass, small_model.read(generator=noise[1], gradient="straight_through")).forces
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    through = small_model.radial.mu.grad.clone()
    small_model.zero_grad()
    small_model(glass).forces.square().sum().backward()
    assert torch.isfinite(through).all() and not torch.allclose(through, small_model.radial.mu.grad, rtol=0.05)
    small_model.zero_grad()
