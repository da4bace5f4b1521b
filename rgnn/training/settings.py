"""How a model is trained: losses, rates, and the hardware of each step."""

import math
from typing import Self

from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import huber_loss, l1_loss, mse_loss

from rgnn.base.choices import ChipGradient, Loss, NoiseSchedule, RateSchedule, Split
from rgnn.base.settings import Number, Settings, Whole, require

# Learning rates of a training that begins with trained weights, and of one where some of them are new or moved to other
# cells, see docs/learning.md.
CONTINUED_RATE, MOVED_RATE = 3e-4, 1e-3
# Of the presets of moments and energies: what 50 epochs of 630 frames of 192 atoms see, ten minutes of one core.
LEAST_ATOMS, MOST_STEPS = 6e6, 30_000


class TrainingSettings(Settings):
    """How a model is trained."""

    epochs: Whole = Field(default=12, ge=1)
    """Number of passes over the training frames."""
    batch_size: Whole = Field(default=1, ge=1)
    """Frames in one step, over all parts and processes."""
    accumulate: Whole = Field(default=1, ge=1)
    """Number of parts in which the frames of a step are worked on one after the other, which takes less memory. Several
    processes share the parts, of which there are at least as many."""
    learning_rate: Number = Field(default=4e-3, gt=0)
    """Learning rate of Adam at the start."""
    loss: Loss = "mae"
    """Loss over all force components: "mae", "mse" as published, or "huber". On the packaged material "mae" with single
    frames reached in 2 epochs what "mse" with pairs did not in 3."""
    huber_delta: Number = Field(default=0.2, gt=0, json_schema_extra={"unit": "eV/Angstrom"})
    """Error where the Huber loss turns from square to linear, eV/Å."""
    energy_weight: Number = Field(default=0.0, ge=0)
    """Weight of the error of the energy per atom, eV, beside that of the forces, eV/Å; for models with an energy, on
    frames whose energy is known."""
    stress_weight: Number = Field(default=0.0, ge=0)
    """Weight of the error of the stress, eV/Å³, beside that of the forces, eV/Å; for models with an energy, on frames
    whose stress is known."""
    weights_from: Number = Field(default=0.0, ge=0, lt=1)
    """Share of the training after which energies and stresses count; forces lead until then."""
    rate_schedule: RateSchedule = "plateau"
    """Learning rate over the training: "plateau" falls when the validation error has stopped falling; "cosine" falls
    from the first step to the last, which is then that of a settled model."""
    minutes: Number | None = Field(default=None, gt=0, json_schema_extra={"unit": "min"})
    """Length of the training with a cosine schedule, minutes; None is `epochs`. Two runs of the same length take
    different numbers of steps, and so do not give the same model."""
    steps: Whole | None = Field(default=None, ge=1)
    """Length of the training in steps, whatever the number of frames; None is `epochs`, or `minutes`."""
    least_atoms: Number = Field(default=0, ge=0)
    """Atoms that all steps of a training see together at least, so that small data sets get more than `epochs`; at most
    30,000 steps come of it, and none where steps or minutes are given."""
    plateau_factor: Number = Field(default=0.5, gt=0, lt=1)
    """Factor of the learning rate when the validation error has stopped falling."""
    plateau_patience: Whole = Field(default=2, ge=1)
    """Epochs without a better validation error before the learning rate falls."""
    min_learning_rate: Number = 1e-5
    """Smallest learning rate."""
    noise_schedule: NoiseSchedule = "constant"
    """Strength of the read noise in training: "constant"; "ramp" from none to all of it over the first `noise_ramp`
    steps; "range" draws for each step a strength between none and `noise_reach` times the hardware's, and in half of
    the steps no more input bits than `fewest_bits`, for a model that will run on other hardware too."""
    noise_ramp: Whole = Field(default=1000, ge=1)
    """Length of the ramp of the noise, steps."""
    noise_reach: Number = Field(default=4.0, gt=0)
    """Largest strength of the noise in the range, times the hardware's."""
    fewest_bits: Whole = Field(default=4, ge=1)
    """Input bits in the coarse half of the steps of the range."""
    gradient: ChipGradient = "blocked"
    """Gradient of the analog products: "blocked" as published, or "straight_through" the quantisers, for about twice
    the time of a step and more memory (docs/stability.md). Models of moments have nothing before the chip to train."""
    gradient_clip: Number = Field(default=5.0, gt=0)
    """Largest norm of the gradient; a longer one is shortened to it."""
    average: Number = Field(default=0.999, ge=0, lt=1)
    """Decay per step of the moving average of weights that is validated and saved; 0 is no average."""
    stop_after: Whole = Field(default=20, ge=1)
    """Epochs without a better validation error before the run ends early."""
    validation: Number = Field(default=0.1, gt=0, lt=1)
    """Fraction of frames held out for validation."""
    split: Split = "blocks"
    """Frames held out: contiguous "blocks", or "random" single ones; see `split_frames` for the difference."""
    seed: Whole = Field(default=0, ge=0)
    """Seed of weights, chip choice, split, order and noise, each in a separate random stream."""

    @model_validator(mode="after")
    def _share_frames(self) -> Self:
        require(self.accumulate <= self.batch_size, "accumulate", self.accumulate, f"at most {self.batch_size} frames")
        require(
            self.minutes is None or self.rate_schedule == "cosine", "rate_schedule", self.rate_schedule,
            "cosine where minutes are given",
        )  # fmt: skip
        both = self.minutes is not None and self.steps is not None
        require(not both, "steps", self.steps, "left out where minutes are given")
        return self

    @classmethod
    def published(cls) -> Self:
        """Xu et al. 2025: batches of 2, Adam at 5e-4, mean squared error, no average of weights.

        The rate as its train.json has it; during the epochs of its log it never fell.
        """
        return cls(
            epochs=77, batch_size=2, learning_rate=5e-4, loss="mse", average=0.0,
            plateau_factor=0.8, plateau_patience=25, min_learning_rate=1e-6,
        )  # fmt: skip

    @classmethod
    def moments(cls) -> Self:
        """For the network readout of moments: larger batches and more epochs, since a step takes milliseconds."""
        return cls(
            epochs=60, batch_size=4, rate_schedule="cosine", noise_schedule="range", least_atoms=LEAST_ATOMS
        )  # fmt: skip

    @classmethod
    def energy(cls) -> Self:
        """For energies: as for moments, at a higher rate."""
        return cls.moments().override(epochs=50, learning_rate=5e-3)

    def with_length(self, frames: int, atoms: float) -> "TrainingSettings":
        """The settings with steps in place of epochs where these see too few atoms.

        Args:
            frames: that are trained on in an epoch.
            atoms: of a frame, on average.
        """
        if self.steps is not None or self.minutes is not None:
            return self
        needed = min(math.ceil(self.least_atoms / max(atoms * self.batch_size, 1)), MOST_STEPS)
        return self.override(steps=needed) if needed > self.epochs * math.ceil(frames / self.batch_size) else self

    def continued(self, *, moved: bool = False) -> "TrainingSettings":
        """The same for a training that begins with trained weights: a smaller rate, which falls from the first step.

        Args:
            moved: whether there are new elements or another chip, with more to learn.
        """
        return self.override(
            learning_rate=MOVED_RATE if moved else CONTINUED_RATE,
            rate_schedule="cosine",
            least_atoms=self.least_atoms / 3,
        )

    def loss_function(self, predicted: Tensor, target: Tensor) -> Tensor:
        """The loss over all force components, or other numbers."""
        if self.loss == "huber":
            return huber_loss(predicted, target, delta=self.huber_delta)
        return (mse_loss if self.loss == "mse" else l1_loss)(predicted, target)
