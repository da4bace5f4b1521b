"""Slow fluctuations: their spectrum, their variance, and that a moment needs no history."""

import numpy as np
import pytest
import torch
from scipy.signal import periodogram
from scipy.stats import kstest

from rgnn import Chip, Hardware
from rgnn.base.rng import torch_stream
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.slow import Moment, Traps
from rgnn.models.reading import ChipReading


def series(n: int, cells: int, **settings) -> np.ndarray:
    """[n, cells]."""
    traps = Traps.of(Hardware(slow_noise=0.1, **settings), cells, (0, 0))
    return torch.stack([traps.at(Moment(5, k)) for k in range(n)]).double().numpy()


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.3])
def test_the_spectrum_falls_with_its_exponent(exponent: float) -> None:
    """S(f) = sum of share^2 T sinc^2(f T) over the traps of many cells, between both ends of the band."""
    hardware = Hardware(slow_noise=0.1, slow_noise_exponent=exponent, slow_noise_calls=(1, 10**7))
    traps = Traps.of(hardware, 2000, (0, 0))
    f, period = np.geomspace(1e-5, 1e-2, 30), traps.period.flatten().numpy()
    power = (traps.share.flatten().numpy() ** 2 * period * np.sinc(np.outer(f, period)) ** 2).sum(1)
    slope, _ = np.polyfit(np.log(f), np.log(power), 1)
    assert slope == pytest.approx(-exponent, abs=0.03)


@pytest.mark.parametrize("exponent", [0.7, 1.0])
def test_calls_have_the_spectrum_of_the_traps(exponent: float) -> None:
    """One-sided, of values with the autocorrelation 1 - |t| / T that are seen at each call."""
    settings, n = {"slow_noise_exponent": exponent, "slow_noise_calls": (1, 200)}, 512
    values = series(n, 2000, **settings)
    traps, t = Traps.of(Hardware(slow_noise=0.1, **settings), 2000, (0, 0)), np.arange(-n + 1, n)
    share = (traps.share.flatten().numpy() ** 2) / 2000
    correlation = [float(share @ (1 - abs(k) / traps.period.flatten().numpy()).clip(0)) for k in t]
    f, power = periodogram(values, axis=0, detrend=False)
    expected = 2 * np.cos(2 * np.pi * np.outer(f[1:-1], t)) @ (np.array(correlation) * (1 - abs(t) / n))
    ratio = power[1:-1].mean(1) / expected
    assert np.abs(ratio - 1).max() < 5 / 2000**0.5
    assert ratio.mean() == pytest.approx(1, abs=0.01)


def test_values_are_normal_of_variance_one_and_cells_have_their_own() -> None:
    values = series(1, 20_000)[0]
    assert kstest(values, "norm").pvalue > 1e-3
    long = series(2000, 50, slow_noise_calls=(1, 64))
    assert float(long.var()) == pytest.approx(1, abs=0.05)
    together = np.corrcoef(long.T)
    assert np.abs(together[~np.eye(50, dtype=bool)]).max() < 0.4


def test_a_moment_needs_no_history() -> None:
    hardware = Hardware(slow_noise=0.1, slow_noise_calls=(2, 1000))
    steps, jumps = (Traps.of(hardware, 300, (1, 2)) for _ in range(2))
    walked = [steps.at(Moment(7, k)) for k in range(40)]
    for k in (39, 3, 17):
        assert torch.equal(jumps.at(Moment(7, k)), walked[k])
    assert not torch.equal(jumps.at(Moment(8, 17)), walked[17])
    assert torch.equal(jumps.at(Moment(7, 17)), walked[17])
    far = Traps.of(hardware, 300, (1, 2)).at(Moment(7, 10**9))
    assert torch.equal(steps.at(Moment(7, 10**9)), far)
    assert not torch.equal(Traps.of(hardware, 300, (1, 3)).at(Moment(7, 3)), walked[3])


@pytest.mark.parametrize("sharing", ["read", "product", "plane", "call", "chip"])
def test_a_crossbar_drifts_between_calls_and_keeps_still_within_one(sharing: str) -> None:
    cells = Chip.synthetic(0).matrices([[(6, 8)]])[0][0]
    array, x = Crossbar(cells), torch.rand(3, 8, generator=torch_stream(0, "x"))
    hardware = Hardware(
        noise=None, noise_sharing=sharing, range="dynamic", slow_noise=0.05, slow_noise_calls=(50, 5000)
    )

    def y(call: int, seed: int = 0, **other) -> torch.Tensor:
        reading = ChipReading(hardware.override(**other), torch_stream(0, "n"), moment=Moment(seed, call))
        return reading.product(array, x.clone())

    now, again, soon, later = y(0), y(0), y(3), y(4000)
    assert torch.equal(now, again)
    assert float((soon - now).abs().max()) < float((later - now).abs().max())
    assert not torch.equal(y(0, seed=1), now) and not torch.equal(y(0, chip=1), now)
    still = ChipReading(hardware, torch_stream(0, "n")).product(array, x.clone())
    assert torch.equal(still, ChipReading(hardware.without_noise(), None).product(array, x.clone()))
    sliced = [y(call, slices=2, slice_bits=3) for call in (0, 0, 400)]
    assert torch.equal(sliced[0], sliced[1]) and not torch.equal(sliced[0], sliced[2])


def test_deviation_of_a_weight_is_relative_to_its_reference() -> None:
    cells = Chip.synthetic(0).matrices([[(50, 60)]])[0][0]
    array = Crossbar(cells)
    for reference in ("weight", "device"):
        hardware = Hardware(slow_noise=0.05, noise_reference=reference, slow_noise_calls=(10, 1000))
        moved = array.fluctuated(cells, hardware, Moment(0, 0), (0, 0)).weight - cells.weight
        assert kstest((moved / cells.reference(reference)).flatten().numpy(), "norm", (0, 0.05)).pvalue > 1e-3


def test_a_model_reads_one_moment_in_all_its_parts(small_model, glass) -> None:
    """Without a number, a pass is at some moment that all its products share and no other pass has."""
    hardware = small_model.hardware.override(noise=None, slow_noise=0.1)
    first, second = (small_model(glass, small_model.read(hardware, torch_stream(0, k))).forces for k in (0, 1))
    again = small_model(glass, small_model.read(hardware, torch_stream(0, 0))).forces
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert small_model.read(hardware).moment is None and small_model.read(hardware, moment=Moment(0, 1)).moment is None
    numbered = small_model.read(hardware, torch_stream(0, 0), moment=Moment(3, 4))
    assert numbered.moment == Moment(3, 4)
    assert hardware.varies_between_reads and not hardware.without_noise().varies_between_reads
