import numpy as np
import pytest
import torch
from scipy.stats import kstest

from rgnn.base.rng import draw_key, normal, numpy_stream, quantiles, stream_seed, torch_stream


def test_streams_depend_on_seed_and_key_only() -> None:
    draw = torch.rand(8, generator=torch_stream(1, "read noise", 5))
    torch_stream(1, "read noise", 4)
    torch.rand(3)
    assert torch.equal(draw, torch.rand(8, generator=torch_stream(1, "read noise", 5)))
    assert np.array_equal(numpy_stream(1, "order").random(4), numpy_stream(1, "order").random(4))


def test_streams_of_other_keys_differ() -> None:
    seeds = {stream_seed(s, *key) for s in range(20) for key in [("chip",), ("order", 0), ("order", 1), ("order", "1")]}
    assert len(seeds) == 80
    assert all(0 <= s < 2**63 for s in seeds)


def test_numbers_are_standard_normal_and_independent() -> None:
    z = normal(draw_key(torch_stream(0, "test")), torch.arange(20_000), 36)
    n = z.numel()
    assert kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    assert float(z.double().mean()) == pytest.approx(0, abs=5 / n**0.5)
    assert float(z.double().square().mean()) == pytest.approx(1, abs=5 * 2**0.5 / n**0.5)
    for lag in (1, 2, 9, 18, 27, 36, 72):  # numbers of one word are 9 columns apart
        flat = z.flatten()
        assert abs(float((flat[lag:] * flat[:-lag]).mean())) < 5 / n**0.5
        assert abs(float((flat[lag:].square() - 1).mul(flat[:-lag].square() - 1).mean())) < 10 / n**0.5
    other = normal(draw_key(torch_stream(1, "test")), torch.arange(20_000), 36)
    assert abs(float((z * other).mean())) < 5 / n**0.5


@pytest.mark.parametrize("columns", [1, 3, 5, 36])
def test_a_number_depends_on_its_key_and_place_only(columns: int) -> None:
    rows = torch.arange(50)
    z = normal(7, rows, columns)
    assert z.shape == (50, columns) and z.dtype == torch.float32
    assert torch.equal(normal(7, rows[20:30], columns), z[20:30])
    assert torch.equal(normal(7, rows.flip(0), columns), z.flip(0))
    assert not torch.equal(normal(8, rows, columns), z)


def test_words_are_those_of_splitmix64() -> None:
    """Against whole numbers without a limit, and a value from the generator's publication for seed 0."""
    mask, gamma = 2**64 - 1, 0x9E3779B97F4A7C15

    def word(key: int, number: int) -> int:
        x = (key + (number + 1) * gamma) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    assert word(0, 0) == 0xE220A8397B1DCDAF
    key = -(2**62) + 12345
    z = normal(key, torch.arange(10), 5)
    for row in range(10):
        for column in range(5):
            picked = word(key & mask, row * 2 + column % 2) >> 16 * (column // 2) & 0xFFFF
            assert z[row, column] == quantiles()[picked]


def test_quantiles_are_those_of_the_normal_distribution() -> None:
    z = quantiles().double()
    assert float(z.mean()) == pytest.approx(0, abs=1e-7) and float(z.square().mean()) == pytest.approx(1, abs=1e-6)
    assert torch.equal(z, -z.flip(0)) and (z.diff() > 0).all()
    assert float(z.pow(4).mean()) == pytest.approx(3, abs=5e-3)
