"""Training: Adam on the force error, a moving average of the weights, and exact resume.

A run folder holds config.yaml (written by the caller), log.csv (one row an epoch), best/ and last/
(model folders of the averaged weights) and state.safetensors, from which an interrupted run goes on.
Every random stream is keyed by seed and step, so a resumed run ends with the same tensors as an
unbroken one on the same device.
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss, l1_loss, mse_loss

from rgnn import kernels
from rgnn.checkpoints import save_model
from rgnn.config import Settings, require
from rgnn.errors import BrokenRunError, InputError, Interrupted
from rgnn.files import write_aside
from rgnn.graphs import Graph
from rgnn.hardware import MOST_NOISE, Hardware
from rgnn.loader import epoch_order, prefetched
from rgnn.model import RGNN
from rgnn.optimizer import Adam, Plateau
from rgnn.streams import numpy_stream, torch_stream
from rgnn.tensorfiles import read_tensors, write_tensors

FORMAT, VERSION = "rgnn training state", 3


@dataclass(frozen=True)
class TrainConfig(Settings):
    """How a model is trained.

    Attributes:
        epochs: passes over the training frames.
        batch_size: frames a step.
        learning_rate: of Adam at the start.
        loss: "mae", "mse" as published, or "huber", all over force components. On the packaged material
            "mae" with single frames reached in 2 epochs what "mse" with pairs did not in 3.
        huber_delta: where the Huber loss turns from square to linear, in eV/Angstrom.
        plateau_factor, plateau_patience: the rate is multiplied by the factor when the validation
            error has not fallen for so many epochs.
        min_learning_rate: the rate does not fall below it.
        noise_schedule: of the read noise in training: "constant"; "ramp", from none to all of it over the first
            `noise_ramp` steps; "range", each step a strength between none and twice the hardware's.
        noise_ramp: steps.
        gradient: of the analog products: "blocked" as published, or "straight_through" the quantisers, for
            about twice the time and several times the memory of a step.
        gradient_clip: largest norm of the gradient.
        average: decay per step of the moving average of weights that is validated and saved; 0 is off.
        stop_after: epochs without a better validation error before the run ends early.
        validation: fraction of frames held out.
        split: "blocks" holds out contiguous frames, "random" single ones; see `split_frames` for the difference.
        seed: of weights, chip choice, split, order and noise, each in a stream of its own.
    """

    epochs: int = 12
    batch_size: int = 1
    learning_rate: float = 4e-3
    loss: Literal["mse", "mae", "huber"] = "mae"
    huber_delta: float = 0.2
    plateau_factor: float = 0.5
    plateau_patience: int = 2
    min_learning_rate: float = 1e-5
    noise_schedule: Literal["constant", "ramp", "range"] = "constant"
    noise_ramp: int = 1000
    gradient: Literal["blocked", "straight_through"] = "blocked"
    gradient_clip: float = 5.0
    average: float = 0.999
    stop_after: int = 20
    validation: float = 0.1
    split: Literal["blocks", "random"] = "blocks"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "plateau_patience", "stop_after", "noise_ramp"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("learning_rate", "huber_delta", "gradient_clip"):
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
        return cls(epochs=100, batch_size=4, learning_rate=4e-3, plateau_patience=4, noise_schedule="range")

    def loss_function(self, predicted: Tensor, target: Tensor) -> Tensor:
        """The loss over all force components."""
        if self.loss == "huber":
            return huber_loss(predicted, target, delta=self.huber_delta)
        return (mse_loss if self.loss == "mse" else l1_loss)(predicted, target)


class Frames(Protocol):
    """Anything that gives labelled graphs by number, such as a GraphStore."""

    def graph(self, index: int) -> Graph:
        """The labelled graph of one frame."""


@dataclass
class Epoch:
    """A row of log.csv; errors in eV/Angstrom, relative_error is sum|dF| / sum|F| on the validation frames."""

    epoch: int
    loss: float
    mae: float
    rmse: float
    relative_error: float
    learning_rate: float
    seconds: float


@dataclass
class Progress:
    """Where a run stands; saved with its state."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best: float = math.inf
    epochs_since_best: int = 0


class Watcher(Protocol):
    """What `fit` tells while it runs."""

    def step(self, done: int, total: int, loss: float) -> None:
        """`done` of `total` steps are finished."""

    def epoch(self, row: Epoch, best: bool) -> None:
        """An epoch is finished and validated."""


class Silent:
    """A watcher that says nothing."""

    def step(self, done: int, total: int, loss: float) -> None:
        """Nothing."""

    def epoch(self, row: Epoch, best: bool) -> None:
        """Nothing."""


@dataclass(frozen=True)
class FitResult:
    """What came out: the averaged model of the best epoch, and the log."""

    model: RGNN
    history: tuple[Epoch, ...]
    stopped_early: bool

    @property
    def best(self) -> Epoch:
        """The row of the best epoch."""
        return min(self.history, key=lambda row: row.relative_error)


def fit(
    model: RGNN,
    frames: Frames,
    train: Sequence[int],
    validation: Sequence[int],
    config: TrainConfig,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    watcher: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> FitResult:
    """Train `model` in place.

    Args:
        model: on the device to train on.
        frames: the labelled frames; `train` and `validation` number them.
        config: how to train.
        out: run folder; None keeps nothing.
        resume: go on from out/state.safetensors.
        watcher: is told of steps and epochs.
        stop: asked before each step; True saves the state and raises Interrupted.

    Raises:
        BrokenRunError: the loss is not finite. Best and last model stay as they were.
        Interrupted: `stop` said so; the state is saved.
        InputError: nothing to train on, or a state that does not fit.
        OSError: out cannot be written (a full disk); what was saved before stays whole.
    """
    if not len(train) or not len(validation):
        raise InputError(f"{len(train)} training and {len(validation)} validation frames; each needs at least one.")
    trainer = Trainer(model, config, None if out is None else Path(out))
    if resume:
        trainer.load()
    return trainer.run(frames, train, validation, watcher or Silent(), stop)


class Trainer:
    """The state of a training run and its loop."""

    def __init__(self, model: RGNN, config: TrainConfig, out: Path | None) -> None:
        self.model, self.config, self.out = model, config, out
        self.device = model.embedding.device
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = Adam(self.parameters)
        self.schedule = Plateau(
            config.learning_rate, config.plateau_factor, config.plateau_patience, config.min_learning_rate
        )
        self.average = copy.deepcopy(model).eval()
        self.best = copy.deepcopy(self.average)
        self.progress, self.history = Progress(), list[Epoch]()

    def run(
        self,
        frames: Frames,
        train: Sequence[int],
        validation: Sequence[int],
        watcher: Watcher,
        stop: Callable[[], bool],
    ) -> FitResult:
        """Train until the last epoch, or until the validation error has long stopped falling."""
        config, at = self.config, self.progress
        steps = math.ceil(len(train) / config.batch_size)
        while at.epoch < config.epochs and at.epochs_since_best < config.stop_after:
            began = time.monotonic()
            order = epoch_order(frames, train, config.seed, at.epoch)
            size = config.batch_size
            batches = [order[first : first + size] for first in range(at.step_in_epoch * size, len(order), size)]
            for batch in prefetched(lambda chosen: Graph.batch([frames.graph(k) for k in chosen]), batches):
                if stop():
                    at.seconds += time.monotonic() - began
                    self.save()
                    how = f"; go on with: rgnn train --resume {self.out}" if self.out else ""
                    raise Interrupted(f"stopped in epoch {at.epoch + 1} as asked, the state is saved{how}")
                loss = self.step(batch.to(self.device))
                watcher.step(at.epoch * steps + at.step_in_epoch, config.epochs * steps, loss)
            is_best = self.end_epoch(frames, validation, steps, at.seconds + time.monotonic() - began)
            watcher.epoch(self.history[-1], is_best)
        return FitResult(self.best, tuple(self.history), at.epoch < config.epochs)

    def step(self, batch: Graph) -> float:
        """One step of Adam on a labelled batch; the loss before it."""
        at = self.progress
        if batch.forces is None:
            raise InputError("a frame without forces cannot be trained on; convert labelled frames.")
        if batch.n_atoms < 2:
            raise InputError("a training step needs at least two atoms; give a larger --batch-size or larger cells.")
        self.model.train()
        noise = torch_stream(self.config.seed, "training noise", at.step)
        passing = kernels.use("straight-through") if self.config.gradient == "straight_through" else nullcontext()
        with passing:
            predicted = self.model(batch, self._hardware(), noise)
        loss = self.config.loss_function(predicted, batch.forces)
        self.optimizer.clear_gradients()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            kept = f"; {self.out / 'best'} keeps the best model so far" if self.out and self.history else ""
            raise BrokenRunError(
                f"training diverged at step {at.step} of epoch {at.epoch + 1} (loss {value:g}){kept}; "
                "lower --learning-rate."
            )
        self.optimizer.step(self.schedule.rate)
        at.step, at.step_in_epoch, at.loss_sum = at.step + 1, at.step_in_epoch + 1, at.loss_sum + value
        self._update_average()
        return value

    def _hardware(self) -> Hardware:
        """That of this step, by the schedule of its noise."""
        hardware, at = self.model.hardware, self.progress
        if hardware.noise is None or self.config.noise_schedule == "constant":
            return hardware
        if self.config.noise_schedule == "ramp":
            share = min(1.0, at.step / self.config.noise_ramp)
        else:
            share = float(numpy_stream(self.config.seed, "noise strength", at.step).uniform(0, 2))
        return hardware.varied(noise=min(MOST_NOISE, share * hardware.noise)) if share else hardware.without_noise()

    @torch.no_grad()
    def _update_average(self) -> None:
        # A young average forgets faster, so that the random start does not linger in it.
        decay = min(self.config.average, (1 + self.progress.step) / (10 + self.progress.step))
        mine = self.model.state_dict()
        for name, tensor in self.average.state_dict().items():
            if tensor.is_floating_point() and not torch.isnan(tensor).any():
                tensor.lerp_(mine[name], 1 - decay)
            else:
                tensor.copy_(mine[name])

    def end_epoch(self, frames: Frames, validation: Sequence[int], steps: int, seconds: float) -> bool:
        """Validate the average, follow the plateau, write everything; True where this is the best epoch."""
        at = self.progress
        mae, rmse, relative = self.validate(frames, validation)
        rate = self.schedule.rate
        self.history.append(Epoch(at.epoch + 1, at.loss_sum / steps, mae, rmse, relative, rate, seconds))
        self.schedule.follow(relative)
        is_best = relative < at.best
        at.epoch, at.step_in_epoch, at.loss_sum, at.seconds = at.epoch + 1, 0, 0.0, 0.0
        at.epochs_since_best = 0 if is_best else at.epochs_since_best + 1
        if is_best:
            at.best = relative
            self.best.load_state_dict(self.average.state_dict())
        self.save(best=is_best)
        return is_best

    def validate(self, frames: Frames, validation: Sequence[int]) -> tuple[float, float, float]:
        """`validate` of the averaged model."""
        return validate(self.average, frames, validation, self.config.seed)

    # What a run keeps on disk

    def save(self, best: bool = False) -> None:
        """Write log, models and state; the state last, so that it never knows more than the rest."""
        if self.out is None:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        if self.history:
            write_log(self.out, self.history)
            save_model(self.average, self.out / "last")
        if best:
            save_model(self.average, self.out / "best")
        tensors = {f"optimizer/{name}": tensor for name, tensor in self.optimizer.state().items()}
        for part in ("model", "average", "best"):
            tensors |= {f"{part}/{name}": tensor for name, tensor in getattr(self, part).state_dict().items()}
        settings = {
            "format": FORMAT,
            "version": VERSION,
            "config": self.config.to_mapping(),
            "made_for": self._made_for(),
            "progress": asdict(self.progress),
            "history": [asdict(row) for row in self.history],
            "schedule": asdict(self.schedule),
        }
        write_tensors(self.out / "state.safetensors", tensors, settings)

    def load(self) -> None:
        """Take up the state of an interrupted run."""
        assert self.out is not None
        file = self.out / "state.safetensors"
        tensors, settings = read_tensors(file, FORMAT, VERSION)
        self._check_same_run(settings, file)

        def part(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(f"{name}/"): t for k, t in tensors.items() if k.startswith(f"{name}/")}

        try:
            for name in ("model", "average", "best"):
                getattr(self, name).load_state_dict(part(name))
            self.optimizer.load(part("optimizer"))
        except (KeyError, RuntimeError):
            raise InputError(
                f"{file}: belongs to a model of another shape; resume with the run's own settings."
            ) from None
        self.schedule = Plateau(**settings["schedule"])
        self.progress = Progress(**settings["progress"])
        self.history = [Epoch(**row) for row in settings["history"]]

    def _made_for(self) -> dict[str, Any]:
        """What a state must not be taken up with another of."""
        m = self.model
        return {
            "model": m.config.to_mapping(),
            "hardware": m.hardware.to_mapping(),
            "data_checksum": m.provenance.data_checksum,
        }

    def _check_same_run(self, saved: dict[str, Any], file: Path) -> None:
        made_for = saved.get("made_for", {})
        for what, mine in self._made_for().items():
            if made_for.get(what) != mine:
                raise InputError(
                    f"{file}: the run was started with another {what.replace('_', ' ')} than now; "
                    "bring that back, or start a new run."
                )
        free = {"epochs", "stop_after"}  # a run may be made longer
        config, mine = saved["config"], self.config.to_mapping()
        for key in sorted(set(mine) - free):
            if config.get(key) != mine[key]:
                raise InputError(
                    f"{file}: the run was started with {key} = {config.get(key)}, not {mine[key]}; "
                    "resume with the same value, or start a new run."
                )


@torch.no_grad()
def validate(model: RGNN, frames: Frames, validation: Sequence[int], seed: int) -> tuple[float, float, float]:
    """MAE and RMSE in eV/Angstrom and sum|dF|/sum|F| of a model on the hardware it is trained for."""
    absolute = square = reference = 0.0
    count = 0
    for index in validation:
        g = frames.graph(index).to(model.embedding.device)
        assert g.forces is not None
        noise = torch_stream(seed, "validation noise", int(index))
        error = (model(g, generator=noise) - g.forces).double()
        absolute, square = absolute + float(error.abs().sum()), square + float(error.square().sum())
        reference, count = reference + float(g.forces.abs().sum()), count + error.numel()
    return absolute / count, math.sqrt(square / count), absolute / max(reference, 1e-12)


def write_log(out: Path, history: Sequence[Epoch]) -> None:
    """The log.csv of a run folder."""
    names = list(asdict(history[0]))
    rows = [",".join(names)] + [",".join(f"{v:.8g}" for v in asdict(row).values()) for row in history]
    write_aside(out / "log.csv", "\n".join(rows) + "\n")


def read_log(out: str | Path) -> list[Epoch]:
    """The epochs in the log.csv of a run folder; none where it has not finished one."""
    file = Path(out) / "log.csv"
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    try:
        return [Epoch(int(first), *map(float, rest)) for first, *rest in (line.split(",") for line in lines[1:])]
    except (ValueError, TypeError):
        raise InputError(f"{file}: is damaged; the run itself is in state.safetensors and can be resumed.") from None
