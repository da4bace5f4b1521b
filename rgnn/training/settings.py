"""How a model is trained: losses, rates, and the hardware of each step."""

import math
from dataclasses import dataclass
from typing import Literal, Self

from torch import Tensor
from torch.nn.functional import huber_loss, l1_loss, mse_loss

from rgnn.base.settings import Settings, require


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """How a model is trained.

    Attributes:
        epochs: passes over the training frames.
        batch_size: frames a step, over all parts and processes.
        accumulate: parts that the frames of a step are worked on in, one after the other, for less memory; several
            processes share the parts, of which there are at least as many.
        learning_rate: of Adam at the start.
        loss: "mae", "mse" as published, or "huber", all over force components. On the packaged material
            "mae" with single frames reached in 2 epochs what "mse" with pairs did not in 3.
        huber_delta: where the Huber loss turns from square to linear, in eV/Angstrom.
        plateau_factor, plateau_patience: the rate is multiplied by the factor when the validation
            error has not fallen for so many epochs.
        min_learning_rate: the rate does not fall below it.
        noise_schedule: of the read noise in training: "constant"; "ramp", from none to all of it over the first
            `noise_ramp` steps; "range", each step a strength between none and `noise_reach` times the hardware's, and
            in half of the steps no more than `fewest_bits`, for a model that will run on other hardware too.
        noise_ramp: steps.
        noise_reach: times the hardware's noise.
        fewest_bits: of the input.
        gradient: of the analog products: "blocked" as published, or "straight_through" the quantisers, for
            about twice the time of a step and more memory (docs/stability.md); moments have nothing before the chip.
        gradient_clip: largest norm of the gradient.
        average: decay per step of the moving average of weights that is validated and saved; 0 is off.
        stop_after: epochs without a better validation error before the run ends early.
        validation: fraction of frames held out.
        split: "blocks" holds out contiguous frames, "random" single ones; see `split_frames` for the difference.
        seed: of weights, chip choice, split, order and noise, each in a stream of its own.
    """

    epochs: int = 12
    batch_size: int = 1
    accumulate: int = 1
    learning_rate: float = 4e-3
    loss: Literal["mse", "mae", "huber"] = "mae"
    huber_delta: float = 0.2
    plateau_factor: float = 0.5
    plateau_patience: int = 2
    min_learning_rate: float = 1e-5
    noise_schedule: Literal["constant", "ramp", "range"] = "constant"
    noise_ramp: int = 1000
    noise_reach: float = 4.0
    fewest_bits: int = 4
    gradient: Literal["blocked", "straight_through"] = "blocked"
    gradient_clip: float = 5.0
    average: float = 0.999
    stop_after: int = 20
    validation: float = 0.1
    split: Literal["blocks", "random"] = "blocks"
    seed: int = 0

    def __post_init__(self) -> None:
        of_training = "epochs", "batch_size", "accumulate", "plateau_patience", "stop_after"
        for name in (*of_training, "noise_ramp", "fewest_bits"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.accumulate <= self.batch_size, "accumulate", self.accumulate, f"at most {self.batch_size} frames")
        for name in ("learning_rate", "huber_delta", "gradient_clip", "noise_reach"):
            require(0 < getattr(self, name) < math.inf, name, getattr(self, name), "a positive number")
        require(0 < self.plateau_factor < 1, "plateau_factor", self.plateau_factor, "between 0 and 1")
        require(0 <= self.average < 1, "average", self.average, "at least 0 and below 1")
        require(0 < self.validation < 1, "validation", self.validation, "a fraction between 0 and 1")
        require(self.seed >= 0, "seed", self.seed, "0 or more")

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
        return cls(epochs=60, batch_size=4, plateau_patience=4, noise_schedule="range")

    def loss_function(self, predicted: Tensor, target: Tensor) -> Tensor:
        """The loss over all force components."""
        if self.loss == "huber":
            return huber_loss(predicted, target, delta=self.huber_delta)
        return (mse_loss if self.loss == "mse" else l1_loss)(predicted, target)
