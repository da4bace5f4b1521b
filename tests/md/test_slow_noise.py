"""Dynamics on a chip that drifts from call to call."""

import ase.io
import numpy as np
import pytest
from listeners import Heard
from springs import CONFIG, StopAt, assert_same, crystal

from rgnn import RGNN, Chip, Graph, Hardware, RGNNCalculator
from rgnn.base.errors import Interrupted
from rgnn.md import run_atoms, run_batch
from rgnn.md.sweep import SweepSettings, run_sweep
from rgnn.models.settings import MessagePassingSettings

SLOW = Hardware(bits=4, noise=None, slow_noise=0.1, slow_noise_calls=(20, 20_000))


@pytest.fixture(scope="module")
def model() -> RGNN:
    config = MessagePassingSettings(cutoff=3.0, n_features=6, reservoir_layers=1, trained_layers=1)
    model = RGNN(config, SLOW, Chip.synthetic(0).matrices(RGNN.matrices(config)))
    a = crystal()
    a.rattle(0.1, seed=1)
    model(Graph.from_positions(a.numbers, a.positions, a.cell[:], a.pbc, 3.0))
    return model.eval()


def forces(model: RGNN, hardware: Hardware, calls: int) -> np.ndarray:
    """[calls, N, 3] of the same atoms."""
    model.hardware = hardware
    atoms, found = crystal(), []
    atoms.rattle(0.1, seed=2)
    atoms.calc = RGNNCalculator(model, seed=1)
    for _ in range(calls):
        atoms.calc.reset()
        found.append(atoms.get_forces())
    model.hardware = SLOW
    return np.stack(found)


def test_what_one_call_finds_the_next_ones_find_again(model) -> None:
    """Of fresh noise, the mean square step from call to call is twice the variance; of 1/f noise far less."""

    def step_over_spread(hardware: Hardware) -> float:
        f = forces(model, hardware, 200)
        return float(np.square(np.diff(f, axis=0)).mean() / f.var(0).mean())

    fresh = step_over_spread(Hardware(bits=4, noise=0.1, noise_sharing="product"))
    assert fresh == pytest.approx(2, rel=0.1)
    assert step_over_spread(SLOW) < 0.3 * fresh


def test_a_resumed_run_finds_the_chip_as_it_would_have_been(model, tmp_path) -> None:
    run_atoms(crystal(), model, CONFIG, tmp_path / "unbroken")
    with pytest.raises(Interrupted):
        run_atoms(crystal(), model, CONFIG, tmp_path / "run", listener=Heard(StopAt(11)))
    run_atoms(None, model, CONFIG, tmp_path / "run", resume=True)
    assert_same(tmp_path / "unbroken", tmp_path / "run")


def test_runs_of_a_batch_are_the_runs_alone(model, tmp_path) -> None:
    """Each counts its own calls, so they cannot share a pass."""
    structures = [crystal(), crystal((2, 1, 1))]
    configs = [CONFIG.override(seed=k, steps=6) for k in range(2)]
    run_batch(structures, model, configs, [tmp_path / str(k) for k in range(2)])
    for k in range(2):
        run_atoms(structures[k], model, configs[k], tmp_path / f"alone {k}")
        one, other = (ase.io.read(tmp_path / name / "final.xyz") for name in (str(k), f"alone {k}"))
        np.testing.assert_array_equal(one.positions, other.positions)


def test_slow_and_frozen_noise_in_a_sweep(model, tmp_path) -> None:
    settings = (Hardware(bits=4).ideal(), SLOW, Hardware(bits=4, noise=0.1, noise_sharing="chip"),
                SLOW.override(wire_resistance=1.0))  # fmt: skip
    config = SweepSettings(md=CONFIG.override(steps=8, write_every=1), settings=settings)
    folders = run_sweep(crystal(), model, config, tmp_path / "s")
    assert [f.name[3:] for f in folders] == [
        "ideal", "4_bits_no_noise_10pc_1_f_noise_of_20_to_20000_calls", "4_bits_10pc_chip_noise",
        "4_bits_no_noise_wires_of_1_ohm_10pc_1_f_noise_of_20_to_20000",
    ]  # fmt: skip
    ends = [ase.io.read(f / "final.xyz").positions for f in folders]
    for k, one in enumerate(ends):
        assert all(np.abs(one - other).max() > 1e-6 for other in ends[:k])
    alone = run_atoms(crystal(), model, config.md, tmp_path / "alone")
    assert alone.steps == 8
    np.testing.assert_array_equal(ase.io.read(tmp_path / "alone" / "final.xyz").positions, ends[1])


def test_noise_zero_is_a_chip_that_keeps_still(model) -> None:
    calculator = RGNNCalculator(model, noise=0.0)
    assert calculator.hardware.slow_noise is None and not calculator.hardware.varies_between_reads
