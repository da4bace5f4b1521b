"""Every effect of the chip in every family: evaluation, training, and all effects together."""

import numpy as np
import pytest
import torch

from rgnn import Hardware, kernels
from rgnn.base.errors import InputError
from rgnn.base.provenance import Provenance
from rgnn.base.rng import torch_stream
from rgnn.evaluation import evaluate_hardware
from rgnn.models.calibration import calibrate, needs_calibration
from rgnn.training.schedule import hardware_of_step
from rgnn.training.settings import TrainingSettings

ADC = {"adc_bits": 10, "adc_range": "full"}
EFFECTS = {
    "wires": {"wire_resistance": 20.0},
    "compensated wires": {"wire_resistance": 20.0, "compensation": "column"},
    "slow noise": {"slow_noise": 0.05},
    "slices": {"slices": 3},
    "converters": {**ADC, "adc_gain": 0.02, "adc_offset": 1.0, "adc_nonlinearity": 1.0},
    "calibrated converters": {**ADC, "adc_gain": 0.02, "adc_offset": 1.0, "adc_calibration": "linear"},
    "everything": {
        **ADC, "adc_gain": 0.02, "adc_offset": 1.0, "adc_nonlinearity": 1.0, "adc_calibration": "linear",
        "wire_resistance": 20.0, "compensation": "column", "slow_noise": 0.05, "slices": 3, "noise": 0.05,
        "noise_reference": "device", "noise_sharing": "plane", "offset": "last_plane", "programming_noise": 0.02,
        "retention": "1 day", "stuck_off": 0.01,
    },
}  # fmt: skip


def forces(model, g, hardware: Hardware, seed: int = 0, form: str = "plain") -> torch.Tensor:
    with torch.no_grad(), kernels.use(form):
        return model(g, model.read(hardware, torch_stream(seed, "noise"))).forces


@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_moves_the_forces_and_can_be_repeated(small_model, glass, name: str) -> None:
    base = Hardware(noise=None)
    hardware = base.override(**EFFECTS[name])
    clean, found = forces(small_model, glass, base), forces(small_model, glass, hardware)
    moved = float((found - clean).norm() / clean.norm())
    assert 1e-4 < moved < 3
    assert torch.equal(found, forces(small_model, glass, hardware))
    other = forces(small_model, glass, hardware.override(chip=1))
    assert torch.equal(found, other) != (hardware.is_frozen_random or hardware.follows_calls)
    assert torch.equal(clean, forces(small_model, glass, base))  # nothing of it stays


@pytest.mark.parametrize("name", ["wires", "compensated wires", "slow noise", "slices"])
def test_fast_kernels_serve_effects_that_have_a_closed_form(small_model, glass, name: str) -> None:
    """As near to plain ones as without the effect: a sum that lies between two codes may fall on either side."""

    def apart(hardware: Hardware) -> float:
        plain, compiled = (forces(small_model, glass, hardware, form=form) for form in ("plain", "compiled"))
        return float((compiled - plain).norm() / plain.norm())

    assert apart(Hardware(**EFFECTS[name])) < 3 * apart(Hardware())  # with read noise


def test_what_an_effect_does_is_evaluated_over_chips_and_repeats(small_model, glass) -> None:
    class Frames:
        def graph(self, index: int):
            return glass

    settings = [Hardware(noise=None, **EFFECTS[name]) for name in ("wires", "converters", "slow noise")]
    wires, converters, slow = evaluate_hardware(small_model, Frames(), [0, 1], settings, repeats=3, chips=2)
    assert [row.sums.shape[:2] for row in (wires, converters, slow)] == [(1, 1), (2, 1), (1, 3)]
    assert np.ptp(converters.sums[:, 0, 0, 0, 1]) > 0
    by_repeat = slow.sums[0, :, :, 0, 1]  # the chip has hardly drifted from frame 0 to frame 1
    assert by_repeat.std(0).min() > 2 * np.abs(by_repeat[:, 0] - by_repeat[:, 1]).mean()


def test_calibrated_output_converters_have_errors_too(small_model, glass) -> None:
    hardware = Hardware(noise=None, adc_bits=10, adc_gain=0.02, adc_offset=1.0)
    assert needs_calibration(small_model, hardware)
    calibrate(small_model, [glass], hardware)
    clean = forces(small_model, glass, hardware.override(adc_gain=0, adc_offset=0))
    wrong = (forces(small_model, glass, h) - clean for h in (hardware, hardware.override(adc_calibration="linear")))
    before, after = (float(w.norm() / clean.norm()) for w in wrong)
    assert after < 0.7 * before


def test_training_meets_every_effect(small_model, glass) -> None:
    """A step with all effects on has finite gradients, and the schedule of noise takes slow noise with it."""
    small_model.train()
    hardware = Hardware(**EFFECTS["everything"])
    for gradient in ("blocked", "straight_through"):
        small_model.zero_grad()
        reading = small_model.read(hardware, torch_stream(0, "step"), gradient=gradient)
        small_model(glass, reading).forces.square().mean().backward()
        grads = [p.grad for p in small_model.parameters() if p.grad is not None]
        assert grads and all(torch.isfinite(g).all() for g in grads)
    small_model.eval()
    config = TrainingSettings(noise_schedule="ramp", noise_ramp=10)
    half = hardware_of_step(Hardware(noise=0.1, slow_noise=0.2), config, 5)
    assert (half.noise, half.slow_noise) == (pytest.approx(0.05), pytest.approx(0.1))
    assert hardware_of_step(Hardware(noise=0.1), config, 5).slow_noise is None


def test_a_measured_chip_is_not_sliced(small_model) -> None:
    before, small_model.provenance = small_model.provenance, Provenance(chip="a map", chip_is_measured=True)
    try:
        with pytest.raises(InputError, match="slices is 2, but the chip"):
            small_model.read(Hardware(slices=2))
    finally:
        small_model.provenance = before
