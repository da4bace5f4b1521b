"""Training: Adam on the force error, a moving average of the weights, and exact resume.

Frames of a step may be worked on in parts, in turn (`TrainingSettings.accumulate`) or by several processes
(`rgnn.training.distributed`). Gradients are summed over the force components of all parts, divided by their number,
and ranges and statistics follow all parts together (`rgnn.training.running_statistics`).

A run folder holds config.yaml (written by the caller), log.csv (one row an epoch), best/ and last/
(model folders of the averaged weights) and state.safetensors, which an interrupted run continues from.
Every random stream is keyed by seed and step, so a resumed run ends with the same tensors as an
unbroken one on the same CPU.
"""

import copy
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rgnn.base.errors import BrokenRunError, InputError, Interrupted, LostBoard
from rgnn.base.events import SILENT, Listener
from rgnn.base.rng import torch_stream
from rgnn.base.tensorfiles import read_tensors, write_tensors
from rgnn.data.loader import epoch_order, prefetched, sampled
from rgnn.graphs.graph import Graph, LabelledFrames
from rgnn.kernels import repeatable
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import save_model
from rgnn.models.committee import Committee
from rgnn.models.feature_space import MOST_FRAMES, FeatureSpace
from rgnn.models.uncertainty import calibrated, forget_uncertainties, save_uncertainties
from rgnn.training.distributed import ALONE, Processes
from rgnn.training.log import Epoch, write_log
from rgnn.training.losses import StepLoss
from rgnn.training.optimizer import Adam, Plateau
from rgnn.training.references import fit_references
from rgnn.training.resumed import others_checksum, same_numbers
from rgnn.training.running_statistics import RunningStatistics
from rgnn.training.schedule import Clock, cosine, hardware_of_step, passes
from rgnn.training.settings import TrainingSettings
from rgnn.training.validation import FitResult, ValidationErrors, validate

FORMAT, VERSION = "rgnn training state", 5


@dataclass
class Progress:
    """Where a run stands; saved with its state.

    Attributes:
        epoch, step_in_epoch, step: finished ones.
        loss_sum: of the steps of the epoch.
        seconds: that the steps of the epoch took.
        best: smallest relative error so far.
        epochs_since_best: epochs since then.
        elapsed: seconds since the training began, validation included and interruptions left out.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best: float = math.inf
    epochs_since_best: int = 0
    elapsed: float = 0.0


class GradientFit:
    """The state of a training run and its loop.

    Attributes:
        keeps_start: the weights that the model has now are trained, and stay the best unless an epoch is better.
    """

    def __init__(
        self, model: ForceField, config: TrainingSettings, out: Path | None, processes: Processes = ALONE
    ) -> None:
        self.model, self.config, self.out, self.processes = model, config, out, processes
        self.device = model.device
        self.following = RunningStatistics(model)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        # Members of a committee are trained each for itself, in the same steps.
        self.by_member = [[p for p in m.parameters() if p.requires_grad] for m in model.members]
        # All gradients one after the other, the loss and the number of components, to be summed at once.
        n = sum(p.numel() for p in self.parameters) + 2
        self.sums = torch.zeros(n, device=self.device, dtype=self.parameters[0].dtype)
        for p, piece in zip(self.parameters, self.sums[:-2].split([p.numel() for p in self.parameters]), strict=True):
            p.grad = piece.view_as(p)
        self.optimizer = Adam(self.parameters)
        self.schedule = Plateau(
            config.learning_rate, config.plateau_factor, config.plateau_patience, config.min_learning_rate
        )
        self.average = copy.deepcopy(model).eval()
        self.best = copy.deepcopy(self.average)
        self.progress, self.history = Progress(), list[Epoch]()
        self.train: Sequence[int] = ()
        self.numbers = ""  # checksum of those of training and validation frames
        self.keeps_start = False
        self.clock = Clock(config, 1)

    def run(
        self,
        frames: LabelledFrames,
        train: Sequence[int],
        validation: Sequence[int],
        listener: Listener = SILENT,
    ) -> FitResult:
        """Train until the last epoch, or until the validation error has long stopped falling."""
        config = self.config
        self.train, self.numbers = train, same_numbers(self.numbers, train, validation, self.out)
        steps = math.ceil(len(epoch_order(frames, train, config.seed, 0)) / config.batch_size)
        repeats = passes(config, steps)
        if self.processes.first and self.progress.step == 0:
            if not self.following.begun:  # else trained weights begin with their ranges and statistics
                first = epoch_order(frames, train, config.seed, 0)[: min(2, config.batch_size)]
                self.initialise_statistics(Graph.batch([frames.graph(k) for k in first]))
            fit_references(self.model, frames, train, config.seed)
        self._agree()
        if self.keeps_start and not self.history and self.progress.step == 0:
            self._validate_start(frames, validation, listener)
        at = self.progress
        self.clock = Clock(config, repeats * steps, at.step, at.elapsed)
        while self._read_clock().goes_on(at.epoch, at.epochs_since_best):
            began = time.monotonic()
            size, turns = config.batch_size, range(at.epoch * repeats, (at.epoch + 1) * repeats)
            orders = [epoch_order(frames, train, config.seed, turn) for turn in turns]
            batches = [order[first : first + size] for order in orders for first in range(0, len(order), size)]
            for parts in prefetched(lambda batch: self._parts(frames, batch), batches[at.step_in_epoch :]):
                if self.processes.any(listener.stop()):
                    at.seconds += time.monotonic() - began
                    self.save()
                    self.processes.barrier()
                    said = f"stopped in epoch {at.epoch + 1} as asked, the state is saved"
                    raise Interrupted(said, "training", self.out)
                loss = self._step_or_as_before(parts)
                clock = self._read_clock()
                listener.time_left(clock.left)
                listener.progress(*clock.progress, f"loss {loss:.4f}")
                if self.clock.is_over:
                    break
            seconds = at.seconds + time.monotonic() - began
            is_best = self._end_epoch_or_as_before(frames, validation, at.step_in_epoch, seconds)
            listener.epoch(self.history[-1], is_best)
        self._keep_uncertainty(frames, validation)
        return FitResult(self.best, tuple(self.history), self.clock.stopped_early(at.epoch))

    def _read_clock(self) -> Clock:
        """The clock, which all processes read from the first: rates and lengths must be the same everywhere."""
        now = self.clock.now
        self.clock.elapsed = now if self.config.minutes is None else self.processes.broadcast_object(now)
        self.progress.elapsed = self.clock.elapsed
        return self.clock

    def _step_or_as_before(self, parts: Sequence[Graph]) -> float:
        """A step; where the board stops in it, the state is that of before, and saved."""
        if self.model.tap is None:
            return self.step(*parts)
        before = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        try:
            return self.step(*parts)
        except LostBoard as lost:
            self.model.load_state_dict(before)
            raise self._lost(lost) from None

    def _end_epoch_or_as_before(
        self, frames: LabelledFrames, validation: Sequence[int], steps: int, seconds: float
    ) -> bool:
        """`end_epoch`; where the board stops in it, the state is that of before, and saved."""
        try:
            return self.end_epoch(frames, validation, steps, seconds)
        except LostBoard as lost:
            self.progress.seconds = seconds
            raise self._lost(lost) from None

    def _keep_uncertainty(self, frames: LabelledFrames, validation: Sequence[int]) -> None:
        """Beside the best model, how sure its forces are: by the spread of several, and by the distance of atoms."""
        if self.out is None or not self.processes.first:
            return
        try:
            learned = sampled(frames, self.train, MOST_FRAMES)
            space = FeatureSpace.of(self.best, frames, learned, self.config.seed)
            sources = [space] if len(self.best.members) == 1 else [None, space]
            found = [calibrated(self.best, each, frames, validation, self.config.seed) for each in sources]
        except LostBoard as lost:
            raise self._lost(lost) from None
        save_uncertainties(self.best, found, self.out / "best")

    def _lost(self, lost: LostBoard) -> LostBoard:
        self.save()
        return LostBoard(f"{lost}; the state of step {self.progress.step} is saved", "training", self.out)

    def _parts(self, frames: LabelledFrames, batch: Sequence[int]) -> list[Graph]:
        """The parts of a step that are for this process; without frames for all, there is nothing for the last."""
        n = max(self.config.accumulate, self.processes.count)
        cuts = [k * (len(batch) // n) + min(k, len(batch) % n) for k in range(n + 1)]
        mine = self.processes.share([batch[a:b] for a, b in itertools.pairwise(cuts) if a < b])
        return [Graph.batch([frames.graph(k) for k in part]) for part in mine]

    @torch.no_grad()
    def initialise_statistics(self, g: Graph) -> None:
        """Set the first ranges and statistics from a frame or two: a step uses those of before it."""
        require_atoms(g)
        self.model.train()
        hardware = hardware_of_step(self.model.hardware, self.config, self.progress.step)
        self.model(g.to(self.device), self.model.read(hardware, torch_stream(self.config.seed, "first look")))

    def step(self, *parts: Graph) -> float:
        """One step of Adam on the labelled parts that are for this process; the loss of all parts before it."""
        at, processes = self.progress, self.processes
        self.model.train()
        self.sums.zero_()
        self.following.begin()
        loss = StepLoss(self.model, self.config, self.clock.share)
        if not loss.is_of_forces_alone:
            loss.share(processes.all_reduce_sum_(loss.counts(parts)))
        for number, part in enumerate(parts):
            with self.following.part(part.n_edges), repeatable(self.device):
                self._add(part.to(self.device), processes.rank + number * processes.count, loss)
        self.following.end(processes)
        processes.all_reduce_sum_(self.sums)
        self.sums /= self.sums[-1].clone()
        value = float(self.sums[-2])
        norms = [nn.utils.clip_grad_norm_(each, self.config.gradient_clip) for each in self.by_member]
        if not (math.isfinite(value) and all(math.isfinite(float(norm)) for norm in norms)):
            kept = f"; {self.out / 'best'} keeps the best model so far" if self.out and self.history else ""
            raise BrokenRunError(
                f"training diverged at step {at.step} of epoch {at.epoch + 1} (loss {value:g}){kept}; "
                "lower the learning rate."
            )
        self.optimizer.step(self.rate)
        at.step, at.step_in_epoch, at.loss_sum = at.step + 1, at.step_in_epoch + 1, at.loss_sum + value
        self.clock.step = at.step
        self._update_average()
        return value

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        if self.config.rate_schedule == "plateau":
            return self.schedule.rate
        return cosine(self.config.learning_rate, self.config.min_learning_rate, self.clock.share)

    def _add(self, part: Graph, number: int, loss: StepLoss) -> None:
        """Add what a part brings to the sums of the step; the number of the part is that among all processes."""
        require_atoms(part)
        noise = torch_stream(self.config.seed, "training noise", self.progress.step, *([number] if number else []))
        hardware = hardware_of_step(self.model.hardware, self.config, self.progress.step)
        reading, model = self.model.read(hardware, noise, gradient=self.config.gradient), self.model
        found = model.each(part, reading) if isinstance(model, Committee) else [model(part, reading)]
        for predicted in found:
            value = loss.of(predicted, part)
            if value.requires_grad:  # there are edges
                value.backward()
            self.sums[-2] += value.detach() / len(found)
        self.sums[-1] += 3 * part.n_atoms

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

    def end_epoch(self, frames: LabelledFrames, validation: Sequence[int], steps: int, seconds: float) -> bool:
        """Validate the average, follow the plateau, write everything; True where this is the best epoch."""
        at = self.progress
        for model in (self.model, self.average):
            fit_references(model, frames, self.train, self.config.seed)
        e = self.validate(frames, validation)
        row = Epoch(at.epoch + 1, at.loss_sum / steps, e.mae, e.rmse, e.relative, self.rate, seconds, e.energy)
        self.history.append(row)
        self.schedule.follow(e.relative)
        is_best = e.relative < at.best
        at.epoch, at.step_in_epoch, at.loss_sum, at.seconds = at.epoch + 1, 0, 0.0, 0.0
        at.epochs_since_best = 0 if is_best else at.epochs_since_best + 1
        if is_best:
            at.best = e.relative
            self.best.load_state_dict(self.average.state_dict())
        self.save(best=is_best)
        return is_best

    def _validate_start(self, frames: LabelledFrames, validation: Sequence[int], listener: Listener) -> None:
        """Let the trained weights that a run begins with be its epoch 0, which stays the best unless one is better."""
        fit_references(self.average, frames, self.train, self.config.seed)
        e = self.validate(frames, validation)
        self.history.append(Epoch(0, e.mae, e.mae, e.rmse, e.relative, self.rate, 0.0, e.energy))
        self.progress.best = e.relative
        self.best.load_state_dict(self.average.state_dict())
        if self.out is not None and self.processes.first:
            save_model(self.average, self.out / "best")
        listener.epoch(self.history[-1], True)

    def validate(self, frames: LabelledFrames, validation: Sequence[int]) -> ValidationErrors:
        """`validate` of the averaged model."""
        return validate(self.average, frames, validation, self.config.seed, self.processes)

    # What a run keeps on disk

    def save(self, best: bool = False) -> None:
        """Write log, models and state; the state last, so that it never knows more than the rest."""
        if self.out is None or not self.processes.first:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        if self.history:
            write_log(self.out, self.history)
            save_model(self.average, self.out / "last")
        if best:
            forget_uncertainties(self.out / "best")  # of the model that is replaced
            save_model(self.average, self.out / "best")
        settings = {
            "format": FORMAT,
            "version": VERSION,
            "config": self.config.to_mapping(),
            "made_for": self._made_for(),
            "frames": self.numbers,
            **self._numbers(),
        }
        write_tensors(self.out / "state.safetensors", self._tensors(), settings)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"optimizer/{name}": tensor for name, tensor in self.optimizer.state().items()}
        for part in ("model", "average", "best"):
            tensors |= {f"{part}/{name}": tensor for name, tensor in getattr(self, part).state_dict().items()}
        return tensors

    def _numbers(self) -> dict[str, Any]:
        """What the state holds beside tensors."""
        history = [asdict(row) for row in self.history]
        return {"progress": asdict(self.progress), "history": history, "schedule": asdict(self.schedule)}

    def _set_numbers(self, numbers: dict[str, Any]) -> None:
        self.schedule = Plateau(**numbers["schedule"])
        self.progress = Progress(**numbers["progress"])
        self.history = [Epoch(**row) for row in numbers["history"]]

    def _agree(self) -> None:
        """All processes continue with the state of the first."""
        self._set_numbers(self.processes.broadcast_object(self._numbers()))
        self.processes.broadcast_(self._tensors().values())

    def start(self) -> None:
        """Nothing: a new run starts from the model as it is."""

    def restore(self) -> None:
        """Restore the state of an interrupted run; only the first process does."""
        assert self.out is not None
        file = self.out / "state.safetensors"
        tensors, settings = read_tensors(file, FORMAT, VERSION)
        self._check_same_run(settings, file)
        self.numbers = settings["frames"]

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
        self._set_numbers(settings)

    def _made_for(self) -> dict[str, Any]:
        """What a state must not be taken up with another of."""
        m = self.model
        chips = {"chips": len(m.members)} if len(m.members) > 1 else {}
        return {
            "model": m.settings.to_mapping(),
            "hardware": m.hardware.to_mapping(),
            "data_checksum": m.provenance.data_checksum,
            "set_of_other_frames": others_checksum(m.provenance),
            **chips,
        }

    def _check_same_run(self, saved: dict[str, Any], file: Path) -> None:
        made_for = saved.get("made_for", {})
        for what, mine in self._made_for().items():
            if made_for.get(what) != mine:
                raise InputError(
                    f"{file}: the run was started with another {what.replace('_', ' ')} than now; "
                    "bring that back, or start a new run."
                )
        free = {"epochs", "steps", "least_atoms", "stop_after"}  # a run may be made longer
        config, mine = TrainingSettings.from_mapping(saved["config"], str(file)).to_mapping(), self.config.to_mapping()
        for key in sorted(set(mine) - free):
            if config[key] != mine[key]:
                raise InputError(
                    f"{file}: the run was started with {key} = {config[key]}, not {mine[key]}; "
                    "resume with the same value, or start a new run."
                )


def require_atoms(g: Graph) -> None:
    """Raise InputError where there is nothing to take statistics over."""
    if g.n_atoms < 2:
        raise InputError("a training step needs at least two atoms; give a larger --batch-size or larger cells.")
