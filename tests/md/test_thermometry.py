"""Whether a run has the temperature that was asked for, in all of its elements."""

import numpy as np
import pytest
from ase import units
from ase.constraints import FixAtoms
from springs import CONFIG, Springs, crystal

from rgnn.md import MDSettings, Stage, read_log, run_atoms
from rgnn.md.thermometry import correlated_mean, equipartition, thermometer

MEMORY = 0.9


def series(seed: int, n: int, mean: float = 600.0, deviation: float = 30.0, memory: float = MEMORY) -> np.ndarray:
    """A temperature that forgets as a thermostat makes it."""
    rng = np.random.default_rng(seed)
    x, noise = np.zeros(n), rng.normal(size=n)
    x[0] = noise[0]
    for k in range(1, n):
        x[k] = memory * x[k - 1] + (1 - memory**2) ** 0.5 * noise[k]
    return mean + deviation * x


def logged(temperature: np.ndarray, **columns: np.ndarray) -> dict[str, np.ndarray]:
    """The log of a run of which these rows are the second half."""
    both = {"temperature_K": temperature, **columns}
    log = {name: np.concatenate([np.full(len(x), 5000.0), x]) for name, x in both.items()}
    log["step"] = 10.0 * np.arange(2 * len(temperature))
    return log


def asked(kelvin: float, log: dict[str, np.ndarray], **changes) -> MDSettings:
    return MDSettings(temperature=kelvin, steps=int(log["step"][-1]), **changes)


def test_an_interval_of_correlated_values_holds_the_mean_and_a_short_series_has_none() -> None:
    found = [correlated_mean(series(seed, 3000)) for seed in range(200)]
    assert all(e.bounded for e in found)
    covered = np.mean([e.low <= 600 <= e.high for e in found])
    assert 0.93 <= covered <= 1.0
    assert np.mean([(e.high - e.low) / 2 for e in found]) < 8
    assert np.mean([correlated_mean(series(seed, 60)).bounded for seed in range(20)]) <= 0.1  # three independent values
    assert not correlated_mean(np.array([1.0])).bounded and np.isnan(correlated_mean(np.zeros(0)).value)
    assert correlated_mean(np.full(40, 3.0)).high == 3.0


@pytest.mark.parametrize(
    ("mean", "word"),
    [(600, "good"), (623, "noticeable"), (577, "noticeable"), (660, "too far off"), (530, "too far off")],
)
def test_a_temperature_is_judged_against_the_thermostat(mean: float, word: str) -> None:
    log = logged(series(1, 4000, mean))
    found = thermometer(log, asked(600, log))
    assert found.verdict.startswith(f"{word}: ")
    assert abs(found.temperature.value - mean) < 8
    if word != "good":
        assert ("above" if mean > 600 else "below") in found.verdict


def test_however_short_a_run_is_its_temperature_is_told() -> None:
    log = logged(series(2, 10, 800))
    found = thermometer(log, asked(600, log))
    assert found.verdict.startswith("too short to judge: ") and "600 K" in found.verdict
    assert f"{log['temperature_K'][-10:].mean():.0f} K" in found.verdict
    free = thermometer(log, asked(600, log, ensemble="nve")).verdict
    assert free.startswith("no thermostat to compare with")
    single = {name: values[:1] for name, values in log.items()}
    assert thermometer(single, asked(600, log)).verdict == "too short to judge: 5000 K, where the thermostat has 600 K"


def test_a_ramp_is_compared_with_its_own_course() -> None:
    rows = 4000
    target = np.linspace(300, 900, 2 * rows)
    log = logged(series(3, rows, 0.0) + target[rows:])
    log["target_K"] = target
    settings = MDSettings(stages=(Stage(steps=int(log["step"][-1]), temperature_from=300, temperature_to=900),))
    assert thermometer(log, settings).verdict.startswith("good: ") and "ramp" in thermometer(log, settings).verdict
    log["temperature_K"] -= 100
    assert thermometer(log, settings).verdict.startswith("too far off: ")


def test_elements_share_a_temperature_or_one_is_named() -> None:
    whole = series(4, 4000, deviation=20)
    even = {"Li": whole + series(5, 4000, 0, 25), "O": whole + series(6, 4000, 0, 25)}
    assert equipartition(even, whole).verdict.startswith("good: ")
    hot = even | {"Li": even["Li"] + 40}
    assert equipartition(hot, whole).verdict.startswith("noticeable: Li is ")
    assert equipartition(even | {"O": even["O"] - 120}, whole).verdict.startswith("broken: O is ")
    assert "colder than all atoms" in equipartition(even | {"O": even["O"] - 120}, whole).verdict
    short = {name: values[:12] for name, values in hot.items()}
    assert equipartition(short, whole[:12]).verdict.startswith("too short to judge: Li ")
    assert equipartition({"Li": whole}, whole).verdict == ""
    held = equipartition(even | {"P": np.zeros(4000)}, whole)
    assert set(held.elements) == {"Li", "O"} and held.verdict.startswith("good")


def test_elements_that_agree_are_called_unlike_in_few_runs_of_a_hundred() -> None:
    wrong = 0
    for seed in range(100):
        whole = series(seed, 1500, deviation=20)
        elements = {name: whole + series(1000 * k + seed, 1500, 0, 40) for k, name in enumerate("ABCD", start=1)}
        wrong += not equipartition(elements, whole).verdict.startswith(("good", "too short"))
    assert wrong <= 5


def test_a_run_tells_its_temperatures_and_held_atoms_do_not_count(tmp_path) -> None:
    """Springs under a strong thermostat, whose lithium is held: fluorine alone has a temperature."""
    atoms = crystal(2)
    settings = CONFIG.override(steps=2000, temperature=300, friction=0.2, timestep=2.0, write_every=5)
    free = run_atoms(atoms, Springs(), settings, tmp_path / "free")
    assert free.thermostat.startswith(("good", "noticeable")) and free.temperature_error is not None
    assert abs(free.temperature - 300) < 3 * free.temperature_error
    assert not free.equipartition.startswith(("broken", "noticeable"))
    assert set(free.element_temperature_error) == {"Li", "F"}
    atoms.set_constraint(FixAtoms(np.flatnonzero(atoms.numbers == 3)))
    held = run_atoms(atoms, Springs(), settings, tmp_path / "held")
    assert set(held.element_temperature_error) == {"F"} and held.equipartition == ""
    log = read_log(tmp_path / "held")
    half = log["step"] >= 1000
    assert log["T_F"][half].mean() == pytest.approx(log["temperature_K"][half].mean())
    assert log["kinetic_eV"][half].mean() == pytest.approx(
        0.5 * 3 * 32 * units.kB * log["temperature_K"][half].mean(), rel=1e-6
    )
    short = run_atoms(crystal(), Springs(), CONFIG, tmp_path / "short")
    assert short.thermostat.startswith("too short to judge: ") and f"{short.temperature:.0f} K" in short.thermostat
