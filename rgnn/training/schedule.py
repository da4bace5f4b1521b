"""What changes over a training: its share that has passed, the learning rate, and the hardware of each step."""

import math
import time

from rgnn.base.rng import numpy_stream
from rgnn.chip.hardware import MOST_NOISE, Hardware
from rgnn.training.settings import TrainingSettings

# Fewest steps of an epoch in a training whose length is in steps or minutes.
LEAST_STEPS = 100


class Clock:
    """How much of a training has passed, by steps or by minutes.

    Args:
        config: its length.
        steps: of an epoch, see `passes`.
        step: finished ones.
        elapsed: seconds of the training before now.

    Attributes:
        step: finished steps.
        elapsed: seconds of the training when the clock was last read, interruptions left out. What the clock is asked
            refers to then, so that processes that share a training can agree on it.
    """

    def __init__(self, config: TrainingSettings, steps: int, step: int = 0, elapsed: float = 0.0) -> None:
        self.config, self.steps, self.step, self.elapsed = config, steps, step, elapsed
        self._began = time.monotonic() - elapsed
        self._since: tuple[int, float] | None = None

    @property
    def now(self) -> float:
        """Seconds of the training until now."""
        return time.monotonic() - self._began

    @property
    def share(self) -> float:
        """The share of the training that has passed, 0 to 1."""
        done, total = self._done
        return min(1.0, done / total)

    @property
    def total(self) -> int:
        """Steps of a training whose length is in epochs or steps."""
        return self.config.steps or self.config.epochs * self.steps

    @property
    def is_over(self) -> bool:
        """Whether the minutes or the steps are over, within an epoch too."""
        return (self.config.minutes is not None or self.config.steps is not None) and self.share >= 1

    @property
    def progress(self) -> tuple[int, int]:
        """Steps done, and all; where the length is in minutes, as many as there will be at this pace."""
        if self.config.minutes is None:
            return self.step, self.total
        return self.step, max(self.step, round(self.step / max(self.share, 1e-9)))

    @property
    def left(self) -> float | None:
        """Seconds until the end, validations included; None before there is a pace.

        The first step, in which programs are compiled, does not count for the pace.
        """
        if self.config.minutes is not None:
            return max(0.0, 60 * self.config.minutes - self.elapsed)
        if self._since is None:
            self._since = self.step, self.elapsed
        step, elapsed = self._since
        return None if self.step <= step else (self.total - self.step) * (self.elapsed - elapsed) / (self.step - step)

    @property
    def _done(self) -> tuple[float, float]:
        if self.config.minutes is not None:
            return self.elapsed, 60 * self.config.minutes
        return self.step, self.total

    def goes_on(self, epoch: int, since_best: int) -> bool:
        """Whether another epoch follows, after so many epochs and so many since the best.

        A rate that falls to the end is not cut short: its last epochs bring the most.
        """
        patient = self.config.rate_schedule == "cosine" or since_best < self.config.stop_after
        if self.config.minutes is not None or self.config.steps is not None:
            return not self.is_over and patient
        return epoch < self.config.epochs and patient

    def stopped_early(self, epoch: int) -> bool:
        """Whether the training ended after so many epochs for want of progress."""
        if self.config.minutes is not None or self.config.steps is not None:
            return not self.is_over
        return epoch < self.config.epochs


def passes(config: TrainingSettings, steps: int) -> int:
    """Passes over the frames in an epoch, where a pass has so many steps.

    It is one where the length is in epochs. Else few frames are passed over again until there are `LEAST_STEPS`, since
    the model is validated and saved at the end of each epoch.
    """
    return 1 if config.minutes is None and config.steps is None else math.ceil(LEAST_STEPS / steps)


def cosine(first: float, last: float, share: float) -> float:
    """A rate that falls from the first value to the last along half a cosine, as a training passes from 0 to 1."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))


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
