"""The analog product against whole-number arithmetic, sampling plane by plane, and the published numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, kstest, norm

from rgnn import Hardware
from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.noise import sum_of_squared_planes
from rgnn.models.reading import ChipReading

IDEAL = Hardware(noise=None, range="dynamic")


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch_stream(seed, "test"))


def product(x, weight, hardware, generator=None):
    """A(x; W) with the range of x itself; x is left alone."""
    return ChipReading(hardware, generator).product(Crossbar(weight), x.clone())


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(0, 10**6))
def test_bit_serial_product_is_the_integer_product(bits: int, seed: int) -> None:
    """Known answer 1. Codes and weights are whole, so every plane, shift and sum is exact in float32."""
    generator = torch_stream(seed, "test")
    levels = 2**bits - 1
    codes = torch.randint(0, levels + 1, (5, 7), generator=generator)
    codes[0, 0], codes[0, 1] = 0, levels
    weight = torch.randint(-20, 21, (3, 7), generator=generator)
    planes = sum(2**b * ((codes >> b & 1) @ weight.T) for b in range(bits))
    found = product(codes.float(), weight.float(), Hardware(bits=bits, noise=None, range="dynamic"))
    torch.testing.assert_close(found, planes.float(), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("bits", [1, 3, 8])
@pytest.mark.parametrize("rounding", ["nearest", "floor"])
def test_quantisation_error_is_bounded_and_floor_is_biased(bits: int, rounding: str) -> None:
    """Known answer 2: nearest at most step/2 sum|w|; floor is low by step/2 sum(w) on average."""
    x, weight = torch.rand(20_000, 6, dtype=torch.float64, generator=torch_stream(0, "x")), normal(4, 6).double()
    x[0, 0], x[0, 1] = 0, 1
    step = 1 / (2**bits - 1)
    hardware = Hardware(bits=bits, rounding=rounding, noise=None, range="dynamic")
    error = product(x, weight, hardware) - x @ weight.T
    bound = step * weight.abs().sum(1) * (0.5 if rounding == "nearest" else 1)
    assert (error.abs() <= bound + 1e-12).all()
    bias = 0 if rounding == "nearest" else -step / 2 * weight.sum(1)
    deviation = step / 12**0.5 * weight.square().sum(1).sqrt()
    assert ((error.mean(0) - bias).abs() < 5 * deviation / 20_000**0.5 + 1e-4 * step).all()


def test_unquantised_is_the_ordinary_product() -> None:
    x, weight = normal(9, 6), normal(4, 6, seed=1)
    torch.testing.assert_close(product(x, weight, IDEAL.ideal()), x @ weight.T)


@pytest.mark.parametrize("bits", [1, 4, 8, 13, 16])
def test_variance_weights_of_codes(bits: int) -> None:
    """V(q) = sum_b 4^b x_b, for every code."""
    q = torch.arange(2**bits)
    expected = sum(4**b * (q >> b & 1) for b in range(bits))
    assert torch.equal(sum_of_squared_planes(q.double(), bits), expected.double())


def draws(hardware: Hardware, x: torch.Tensor, weight: torch.Tensor, n: int) -> torch.Tensor:
    """[n, rows, out]: the same product with fresh fluctuations."""
    array = Crossbar(weight)
    low, high = x.min(), x.max()
    return torch.stack(
        [array.begin(hardware, torch_stream(1, "draw", k), (low, high))(x.clone()) for k in range(n)]
    ).double()


def plane_by_plane(hardware: Hardware, x: torch.Tensor, weight: torch.Tensor, n: int, shared: bool) -> torch.Tensor:
    """The definition, literally: each bit plane meets a chip with its own fluctuations."""
    rng = np.random.default_rng(3)
    x, w = x.double().numpy(), weight.double().numpy()
    low, high, levels = x.min(), x.max(), 2**hardware.bits - 1
    q = np.rint((x - low) / (high - low) * levels).astype(int)
    y = np.zeros((n, x.shape[0], w.shape[0]))
    for b in range(hardware.bits):
        plane = q >> b & 1
        rows = 1 if shared else len(x)
        cells = w * (1 + hardware.noise * rng.standard_normal((n, rows, *w.shape)))
        y += 2**b * np.einsum("nrok,rk->nro", np.broadcast_to(cells, (n, len(x), *w.shape)), plane)
    return torch.from_numpy(y / levels * (high - low) + low * w.sum(1))


@pytest.mark.parametrize("sharing", ["read", "product", "plane"])
def test_mean_and_variance_of_each_sharing(sharing: str) -> None:
    """Known answer 3: chi-square of the variance of every output, and its mean."""
    n = 4000
    x, weight = torch.rand(3, 5, generator=torch_stream(0, "x")), normal(4, 5)
    hardware = Hardware(bits=5, noise=0.2, noise_sharing=sharing, range="dynamic")
    y = draws(hardware, x, weight, n)
    low, high, levels = x.min(), x.max(), 31
    q = ((x - low) / (high - low) * levels).round().long()
    v = q**2 if sharing == "product" else sum(4**b * (q >> b & 1) for b in range(5))
    scale = float((high - low) / levels)
    variance = scale**2 * v.double() @ (0.2 * weight.double()).square().T
    mean = product(x, weight, hardware).double()  # no generator: no noise
    z = (y.mean(0) - mean) / (variance / n).sqrt()
    assert float(z.abs().max()) < norm.isf(1e-4 / 24)
    p = chi2.cdf(((n - 1) * y.var(0) / variance).numpy(), n - 1)
    assert ((p > 1e-4 / 24) & (p < 1 - 1e-4 / 24)).all()


def test_variance_of_an_all_ones_code() -> None:
    """Known answer 4: reading 8 planes anew has 21845/65025 of the variance of one draw for all."""
    q = torch.full((1, 1), 255.0)
    assert float(sum_of_squared_planes(q.clone(), 8)) / 255**2 == pytest.approx(21845 / 65025, rel=1e-7)


def test_rows_correlate_for_planes_and_only_there() -> None:
    """Known answer 5: cov(v, v') = s^2 sum_k w_k^2 sum_b 4^b x_bk x'_bk when planes are shared, else 0."""
    n, x = 6000, torch.tensor([[0.0, 1.0, 0.6, 0.9], [0.8, 0.9, 0.6, 0.3]])
    weight = normal(1, 4)
    q = (x * 15).round().long()
    covariance = sum(4**b * (q[0] >> b & 1) * (q[1] >> b & 1) for b in range(4)) / 15**2 @ (0.3 * weight[0]).square()
    for sharing, expected in (("plane", float(covariance)), ("read", 0.0), ("product", 0.0)):
        y = draws(Hardware(bits=4, noise=0.3, noise_sharing=sharing, range="dynamic"), x, weight, n)[:, :, 0]
        found = torch.cov(y.T)
        error = float((found[0, 0] * found[1, 1] + found[0, 1] ** 2).sqrt()) / n**0.5
        assert abs(float(found[0, 1]) - expected) < 4 * error


@pytest.mark.parametrize("sharing", ["read", "plane"])
def test_closed_form_is_distributed_as_plane_by_plane_sampling(sharing: str) -> None:
    """Known answer 6: Kolmogorov-Smirnov, two samples."""
    x, weight = torch.rand(2, 6, generator=torch_stream(5, "x")), normal(2, 6)
    hardware = Hardware(bits=3, noise=0.3, noise_sharing=sharing, range="dynamic")
    ours = draws(hardware, x, weight, 3000)
    literal = plane_by_plane(hardware, x, weight, 3000, shared=sharing == "plane")
    for row in range(2):
        for column in range(2):
            assert kstest(ours[:, row, column].numpy(), literal[:, row, column].numpy()).pvalue > 1e-4
        sums = [y[:, row].sum(1).numpy() for y in (ours, literal)]  # outputs are independent in both
        assert kstest(*sums).pvalue > 1e-4


@pytest.mark.parametrize("hardware", [IDEAL, IDEAL.ideal(), Hardware(bits=3, noise=0.1, range="dynamic")])
@pytest.mark.parametrize("value", [0.0, 1.7, -2.5])
def test_a_constant_input_gives_its_multiple_of_the_row_sums(hardware: Hardware, value: float) -> None:
    """Known answer 12: a range of no width is not a division by zero."""
    weight = normal(4, 6)
    y = product(torch.full((3, 6), value), weight, hardware, torch_stream(0, "noise"))
    torch.testing.assert_close(y, (value * weight.sum(1)).expand(3, 4), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sharing", ["read", "product", "plane"])
def test_a_product_in_parts_has_the_noise_of_the_whole(sharing: str) -> None:
    """Known answer 15: columns accumulated apart, then added: the same mean and variance."""
    n, x, weight = 4000, torch.rand(2, 6, generator=torch_stream(0, "x")), normal(3, 6)
    hardware = Hardware(bits=4, noise=0.2, noise_sharing=sharing, range="dynamic")
    array, seen = Crossbar(weight), (x.min(), x.max())

    def in_parts(k: int) -> torch.Tensor:
        call = array.begin(hardware, torch_stream(2, "parts", k), seen)
        left, right = torch.arange(2), torch.arange(2, 6)
        return call.finish(call.accumulate(x[:, :2].clone(), left) + call.accumulate(x[:, 2:].clone(), right))

    whole, parts = draws(hardware, x, weight, n), torch.stack([in_parts(k) for k in range(n)]).double()
    error = (whole.var(0) / n).sqrt()
    assert ((whole.mean(0) - parts.mean(0)).abs() < 4.5 * 2**0.5 * error).all()
    torch.testing.assert_close(parts.var(0), whole.var(0), rtol=4.5 * 2 / n**0.5, atol=0)


def test_a_product_in_parts_is_exact_without_noise() -> None:
    weight = torch.randint(-500, 501, (5, 8), generator=torch_stream(0, "w")) / 1024  # a chip's grid
    x = normal(7, 8)
    call = Crossbar(weight).begin(IDEAL, None, (x.min(), x.max()))
    left, right = torch.arange(3), torch.arange(3, 8)
    parts = call.finish(call.accumulate(x[:, :3].clone(), left) + call.accumulate(x[:, 3:].clone(), right))
    assert torch.equal(parts, call(x.clone()))


def test_calibrated_range_follows_training_and_then_stays() -> None:
    array, hardware = Crossbar(normal(3, 4)), Hardware(noise=None)
    reading = ChipReading(hardware)
    reading.product(array, torch.tensor([[0.0, 1, 2, 4]]))
    assert (float(array.low), float(array.high)) == (0, 4)
    reading.product(array, torch.tensor([[0.0, 1, 2, 8]]))
    assert float(array.high) == pytest.approx(4.2)
    array.eval()
    beyond, at_end = (reading.product(array, torch.full((1, 4), value)) for value in (100.0, float(array.high)))
    assert torch.equal(beyond, at_end)  # saturated
    assert float(array.high) == pytest.approx(4.2)


def test_calibrated_products_do_not_depend_on_the_rest_of_the_call() -> None:
    """Known answer 13."""
    array, x = Crossbar(normal(3, 4)), normal(10, 4)
    reading = ChipReading(Hardware(noise=None))
    reading.product(array, x.clone())
    array.eval()
    together = reading.product(array, x.clone())
    alone = torch.cat([reading.product(array, row.clone()[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)


def test_a_range_that_was_never_calibrated_is_refused() -> None:
    with pytest.raises(InputError, match="no calibrated input ranges"):
        ChipReading(Hardware(noise=None)).product(Crossbar(normal(3, 4)).eval(), normal(2, 4))


def test_plane_noise_uses_the_last_plane_in_its_offset_as_published() -> None:
    x, weight = torch.full((1, 4), 2.0), normal(3, 4)
    noisy = {
        clean: ChipReading(Hardware.published(), torch_stream(0, "n")).product(Crossbar(weight, clean), x.clone())
        for clean in (True, False)
    }
    torch.testing.assert_close(noisy[True], 2 * weight.sum(1)[None])  # a constant input is all offset
    assert (noisy[False] - noisy[True]).abs().min() > 1e-3


def test_noise_of_unquantised_input() -> None:
    with pytest.raises(InputError, match="no bit planes"):
        Hardware(bits=None, noise=0.1)
    x, weight = normal(2, 3), normal(2, 3, seed=1)
    y = draws(Hardware(bits=None, noise=0.1, noise_sharing="product", range="dynamic"), x, weight, 4000)
    torch.testing.assert_close(y.var(0), x.double().square() @ (0.1 * weight.double()).square().T, rtol=0.12, atol=0)


def test_published_bit_serial_products(shared) -> None:
    z = np.load(shared / "reference/bit_serial_product.npz")
    weight = torch.tensor(z["W"]).squeeze()
    for bits in range(1, 9):
        x = torch.tensor(z[f"x{bits}"]).flatten(0, -2)
        found = product(x, weight, Hardware(bits=bits, rounding="floor", range="dynamic", noise=None))
        torch.testing.assert_close(found, torch.tensor(z[f"y{bits}"]).flatten(0, -2), rtol=1e-5, atol=2e-5)


def test_published_noisy_product(shared) -> None:
    """Mean and deviation over 4000 draws of the published program, within five standard errors of both samples."""
    z = np.load(shared / "reference/noisy_product_8bit_10percent.npz")
    x, weight, n = torch.tensor(z["x"]).flatten(0, -2), torch.tensor(z["W"]), 2000
    hardware = Hardware.published().override(offset="clean")
    y = draws(hardware, x, weight, n).numpy()
    mean, std = (z[k].reshape(-1, weight.shape[0]) for k in ("mean", "std"))
    error = std * np.sqrt(1 / n + 1 / int(z["draws"]))
    assert (np.abs(y.mean(0) - mean) < 5 * error).all()
    assert (np.abs(y.std(0) / std - 1) < 5 * np.sqrt(0.5 / n + 0.5 / int(z["draws"]))).all()
