import numpy as np
import pytest
import torch
from scipy.stats import kstest

from rgnn.streams import fill_normal, numpy_stream, stream_seed, torch_stream


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


def test_fill_normal_is_standard_normal() -> None:
    z = fill_normal(torch.empty(400_001), torch_stream(0, "test"))
    # Every 20th number: dependence between the numbers of one 64-bit draw would show as well.
    assert kstest(z.numpy()[::20], "norm").pvalue > 1e-3
    assert float(z.mean()) == pytest.approx(0, abs=5 / 400_001**0.5)
    assert float(z.square().mean()) == pytest.approx(1, abs=5 * 2**0.5 / 400_001**0.5)
    for lag in (1, 2, 3, 4):
        assert abs(float((z[lag:] * z[:-lag]).mean())) < 5 / 400_001**0.5


def test_fill_normal_repeats_and_keeps_shape() -> None:
    a, b = (fill_normal(torch.empty(7, 3), torch_stream(2, "test")) for _ in range(2))
    assert a.shape == (7, 3) and torch.equal(a, b)
    assert fill_normal(torch.empty(5, dtype=torch.float64), torch_stream(2, "test")).dtype == torch.float64
