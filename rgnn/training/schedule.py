"""The hardware of a training step: noise that is ramped, or drawn from a range."""

from rgnn.base.rng import numpy_stream
from rgnn.chip.hardware import MOST_NOISE, Hardware
from rgnn.training.settings import TrainingSettings


def hardware_of_step(hardware: Hardware, config: TrainingSettings, step: int) -> Hardware:
    """What a step trains with, by the schedule of noise; `hardware` is what the model is for."""
    if config.noise_schedule == "constant":
        return hardware
    if config.noise_schedule == "ramp":
        share = min(1.0, step / config.noise_ramp)
    else:
        draw = numpy_stream(config.seed, "hardware of a step", step)
        share = float(draw.uniform(0, config.noise_reach))
        if hardware.bits is not None and draw.random() < 0.5:
            hardware = hardware.override(bits=min(hardware.bits, config.fewest_bits))
    slow = {} if hardware.slow_noise is None else {"slow_noise": min(MOST_NOISE, share * hardware.slow_noise)}
    return hardware.override(noise=min(MOST_NOISE, share * (hardware.noise or 0.0)), **slow)
