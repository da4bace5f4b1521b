"""Laws are found again in data that were drawn from them, and foretell what was held out."""

import numpy as np
import pytest

from rgnn.base.errors import InputError
from rgnn.chip.laws.change import ZERO_CELSIUS, ChangeLaw, inverse_thermal
from rgnn.chip.laws.fits import activation, fit_change, fit_read_noise, programming, relaxation
from rgnn.chip.laws.polynomial import Polynomial, legendre
from rgnn.chip.laws.readings import Readings
from rgnn.chip.laws.spectrum import spectra

US = 1e-6


def true_law() -> ChangeLaw:
    """Two microsiemens of deviation that grow with time, and a mean that falls."""
    return ChangeLaw(
        conductance=(5 * US, 100 * US),
        time=(0.1, 1000.0),
        mean=Polynomial(degrees=(1, 1), values=(-1.0 * US, -0.6 * US, 0.5 * US, 0.2 * US)),
        log_deviation=Polynomial(degrees=(1, 1), values=(np.log(2 * US), 0.4, -0.3, 0.1)),
    )


def drawn(law: ChangeLaw, rng: np.random.Generator, cells: int = 400) -> Readings:
    """Readings at time 0 and five more, of cells that keep their luck in part."""
    g = rng.uniform(*law.conductance, cells)
    g[:2] = law.conductance
    times = np.array([0.1, 1.0, 10.0, 100.0, 1000.0])
    luck = rng.standard_normal(cells)
    now = []
    for t in times:
        m, s = law.moments(g, t)
        z = np.sqrt(0.5) * luck + np.sqrt(0.5) * rng.standard_normal(cells)
        now.append(g + m + s * z)
    t = np.repeat(np.r_[0.0, times], cells)
    everything = np.concatenate([g, *now])
    return Readings(everything, np.tile(np.arange(cells), 6), t, None, np.tile(g, 6), None, "drawn")


def covered_points(seed: int) -> np.ndarray:
    """Whether the true mean and deviation lie in the intervals, at points of the whole range."""
    law = true_law()
    found = relaxation(drawn(law, np.random.default_rng(seed)))
    g, t = (x.ravel() for x in np.meshgrid(np.array([10, 50, 90]) * US, [0.1, 10, 1000]))
    m, s = law.moments(g, t)
    fitted = found.predicted(g, t)
    return np.stack([np.abs(fitted[0] - m) < 1.96 * fitted[2], np.abs(fitted[1] - s) < 1.96 * fitted[3]])


def test_a_law_of_changes_is_found_in_its_interval() -> None:
    inside = np.mean([covered_points(seed) for seed in range(12)])
    assert 0.88 <= inside <= 1.0


@pytest.mark.long
def test_ninety_five_of_a_hundred_laws_are_found_in_their_interval() -> None:
    inside = np.stack([covered_points(seed) for seed in range(100)])
    assert 0.91 <= inside.mean() <= 0.99


def read_noise_inside(seed: int) -> tuple[bool, bool]:
    rng = np.random.default_rng(seed)
    g = np.exp(rng.uniform(np.log(2e-6), np.log(1e-4), 30))
    sigma = 3e-7 * (g / 1e-5) ** 0.6 * np.exp(0.3 * rng.standard_normal(30))
    reads = g[:, None] + sigma[:, None] * rng.standard_normal((30, 200))
    found = fit_read_noise(reads.mean(1), reads.std(1, ddof=1), 200)
    at, exponent = found.intervals["deviation_at_reference"], found.intervals["exponent"]
    true = 3e-7 * (found.law.reference / 1e-5) ** 0.6
    return at.low < true < at.high, exponent.low < 0.6 < exponent.high


def test_read_noise_is_found_in_its_interval_by_ninety_five_of_a_hundred() -> None:
    inside = np.array([read_noise_inside(seed) for seed in range(100)]).mean(0)
    assert ((inside >= 0.9) & (inside <= 0.995)).all()


def test_read_noise_of_many_cells_is_their_mean_square() -> None:
    rng = np.random.default_rng(3)
    g = rng.uniform(1e-5, 5e-5, 4000)
    sigma = 1e-7 * np.exp(0.8 * rng.standard_normal(4000))
    law = fit_read_noise(g, sigma, 10_000).law
    whole = np.sqrt(np.mean(law.deviation(g) ** 2))
    assert whole == pytest.approx(np.sqrt(np.mean(sigma**2)), rel=0.03)
    assert law.scatter == pytest.approx(0.8, rel=0.05)


def noise_of(
    exponent: float, corner: float, rng: np.random.Generator, n: int = 16384, rate: float = 400.0
) -> np.ndarray:
    """[3, n] of the spectrum 1/f^a + 1/fc^a, exactly, by random Fourier coefficients."""
    f = np.fft.rfftfreq(2 * n, 1 / rate)
    power = np.r_[0.0, f[1:] ** -exponent + corner**-exponent]
    z = rng.standard_normal((3, len(f), 2)) @ np.array([1, 1j])
    return np.fft.irfft(np.sqrt(power) * z, axis=1)[:, :n]


def spectrum_inside(seed: int) -> tuple[bool, bool]:
    law = spectra(1e-5 + 1e-9 * noise_of(1.1, 20.0, np.random.default_rng(seed)), 400.0)
    assert law is not None
    assert law.corner is not None
    return law.exponent.low < 1.1 < law.exponent.high, law.corner.low < 20.0 < law.corner.high


def test_exponent_and_corner_of_a_spectrum_are_found_in_their_interval() -> None:
    inside = np.array([spectrum_inside(seed) for seed in range(20)]).mean(0)
    assert (inside >= 0.85).all()


@pytest.mark.long
def test_ninety_five_of_a_hundred_spectra_are_found_in_their_interval() -> None:
    inside = np.array([spectrum_inside(seed) for seed in range(100)]).mean(0)
    assert ((inside >= 0.9) & (inside <= 0.99)).all()


def test_a_spectrum_without_a_floor_has_no_corner() -> None:
    law = spectra(noise_of(1.0, 1e9, np.random.default_rng(0)), 400.0)
    assert law is not None
    assert law.corner is None
    assert law.exponent.value == pytest.approx(1.0, abs=0.05)


def baked(energy: float, rng: np.random.Generator) -> Readings:
    """Cells at five temperatures for an hour, whose deviation is activated."""
    celsius, n = np.array([100.0, 140, 180, 220, 260]), 2000
    g = rng.uniform(5, 100, (5, n)) * US
    s = 1 * US * np.exp(energy * (inverse_thermal(100.0) - inverse_thermal(celsius)))
    after = g + s[:, None] * rng.standard_normal((5, n))
    cell = np.tile(np.arange(n), 5)
    two = np.concatenate([g.ravel(), after.ravel()])
    t = np.r_[np.zeros(5 * n), np.full(5 * n, 3600.0)]
    return Readings(two, np.tile(cell, 2), t, np.tile(np.repeat(celsius, n), 2), np.tile(g.ravel(), 2), None, "baked")


def test_the_activation_of_a_bake_is_found_in_its_interval() -> None:
    inside = []
    for seed in range(40):
        found = activation(baked(0.2, np.random.default_rng(seed)))
        assert found is not None
        inside.append(found.energy.low < 0.2 < found.energy.high)
    assert np.mean(inside) >= 0.85


def test_a_bake_gives_a_law_between_its_temperatures_and_none_beyond() -> None:
    found = relaxation(baked(0.2, np.random.default_rng(1)))
    true = 1 * US * np.exp(0.2 * (inverse_thermal(100.0) - inverse_thermal(200.0)))
    assert found.law.moments(np.array([50 * US]), 3600.0, 200.0)[1][0] == pytest.approx(true, rel=0.03)
    assert found.law.require_time(3600.0, 200.0) == (3600.0, 200.0)
    with pytest.raises(InputError, match=r"retention_temperature is 300 C, but the law was measured from 100 to 260 C"):
        found.law.require_time(3600.0, 300.0)
    with pytest.raises(InputError, match=r"retention_time is 7200 s"):
        found.law.require_time(7200.0, 200.0)


def test_programming_errors_are_found_by_target() -> None:
    rng = np.random.default_rng(2)
    target = np.repeat(np.linspace(10, 100, 10), 200) * US
    g = target * (1 + 0.03 * rng.standard_normal(2000)) + 0.5 * US
    found = programming(Readings(g, np.arange(2000), None, None, None, target, "programmed"))
    m, s = found.law.moments(np.array([20, 80]) * US)
    assert m == pytest.approx(0.5 * US, abs=0.15 * US)
    assert s == pytest.approx(np.array([0.6, 2.4]) * US, rel=0.1)
    assert all(c.share > 0.8 for c in found.held_out)


def test_the_first_reading_of_each_cell_tells_how_it_was_programmed() -> None:
    """Whenever it was: clocks of instruments give each cell a time of its own."""
    rng = np.random.default_rng(2)
    target = np.repeat(np.linspace(10, 100, 10), 40) * US
    first, cell = target * (1 + 0.03 * rng.standard_normal(400)), np.arange(400)
    time = np.r_[0.01 + 1e-5 * cell, 10 + 1e-5 * cell]
    late = Readings(np.r_[first, 2 * first], np.r_[cell, cell], time, None, None, np.r_[target, target], "programmed")
    alone = Readings(first, cell, None, None, None, target, "programmed")
    assert programming(late).law == programming(alone).law


def test_nothing_is_fitted_to_too_few_cells() -> None:
    with pytest.raises(InputError, match="at least 30 cells"):
        fit_change(np.arange(9.0), np.arange(1.0, 10), np.arange(9), None, None)
    with pytest.raises(InputError, match="three cells of different conductance"):
        fit_read_noise(np.array([1e-5, 1e-5, 1e-5]), np.array([1e-7, 1e-7, 2e-7]), 100)


def test_polynomials_are_those_of_legendre() -> None:
    x = np.linspace(-1, 1, 7)
    for k, p in enumerate(legendre(x, 4)):
        assert p == pytest.approx(np.polynomial.legendre.Legendre.basis(k)(x))
    with pytest.raises(InputError, match="need 4 values, but there are 3"):
        Polynomial(degrees=(1, 1), values=(1.0, 2.0, 3.0))


def test_kelvin_and_celsius() -> None:
    assert 1 / inverse_thermal(26.85) == pytest.approx(8.617333262e-5 * 300.0)
    assert ZERO_CELSIUS == 273.15
