"""The ridge readout, solved for in one pass over the frames.

The force on atom i is linear in the weights w of its element: F_i = sum_j w_{Z_j} . h_ij fc u_ij = P_i w, with the
features h of `RidgeReadout`, read with the hardware's noise. The sums A = sum P^T P and b = sum P^T F over the training
frames give w = (A + penalty mean(diag A))^-1 b. The same sums over the validation frames give the error of any w
without another pass, sum F^2 - 2 w.b + w.A w, by which the penalty of each element is chosen. Sums are kept, so that
frames can be added. They also tell how sure the weights are, see `rgnn.models.uncertainty`.

A committee is solved for in the same pass: each member has separate features and sums.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from rgnn.base.errors import InputError, Interrupted, LostBoard
from rgnn.base.events import SILENT, Listener
from rgnn.base.rng import torch_stream
from rgnn.base.tensorfiles import read_tensors, write_tensors
from rgnn.chip.hardware import Hardware
from rgnn.data.loader import prefetched
from rgnn.graphs.graph import Graph, LabelledFrames
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import load_model, save_model
from rgnn.models.uncertainty import DRAWS, Uncertainty, calibrated, load_uncertainties, save_uncertainties
from rgnn.training.distributed import ALONE, Processes
from rgnn.training.log import Epoch, write_log
from rgnn.training.normal_equations import CORRECTIONS, PENALTIES, NormalEquations, best_weights
from rgnn.training.resumed import others_checksum, same_numbers
from rgnn.training.schedule import hardware_of_step
from rgnn.training.settings import TrainingSettings
from rgnn.training.validation import FitResult, validate

FORMAT, VERSION = "rgnn ridge state", 3

# Frames that set the statistics of invariants and the ranges of converters, before any sum.
STATISTICS_FRAMES = 32
# Frames whose sums are taken at once.
BATCH = 4

Item = TypeVar("Item")


class MemberSums:
    """A model's sums over the frames so far, and its weights from them.

    Args:
        model: with a ridge readout.
        number: among the members of a committee, from 0.
        corrects: weights are solved for as corrections of those that the model has, so that a penalty draws to these.

    Attributes:
        sums: of "train" and of "validation" frames.
        done: batches that are in them.
        penalties: of each element, once the weights are solved for.
    """

    def __init__(self, model: ForceField, number: int = 0, *, corrects: bool = False) -> None:
        if model.linear is None:
            raise InputError("only a model whose forces are linear in its weights can be solved for; train this one.")
        self.model, self.linear, self.number = model, model.linear, number
        self.sums = {name: NormalEquations.empty(*self.linear.weight.shape) for name in ("train", "validation")}
        self.done, self.penalties = 0, list[float]()
        self.start = self.linear.weight.detach().clone() if corrects else None

    def add(
        self, name: str, g: Graph, forces: Tensor, kinds: Tensor, noise: torch.Generator, hardware: Hardware | None
    ) -> None:
        """A batch, read on this hardware; labels and elements of the atoms as of `NormalEquations.add`."""
        design = self.linear.design(g, self.model.read(hardware, noise)).cpu()
        if self.model.repulsion is not None:  # the rest is linear in the weights
            forces = forces - self.model.repulsion(g)[0].to(forces)
        if self.start is not None:
            forces = forces - torch.einsum("axn,an->ax", design, self.start.cpu()[kinds])
        self.sums[name].add(design, forces, kinds)

    @torch.no_grad()
    def solve(self) -> None:
        """Set the weights of the model."""
        penalties = PENALTIES if self.start is None else CORRECTIONS
        weights, self.penalties = best_weights(self.sums["train"], self.sums["validation"], penalties)
        self.linear.weight.copy_(weights if self.start is None else self.start.cpu() + weights)

    def draws(self, n: int, seed: int) -> Tensor:
        """[S, n weights, n] deviations of the weights that were solved for, float32: see `NormalEquations.draws`."""
        train = self.sums["train"]
        each = [train.draws(k, p, n, torch_stream(seed, "posterior", k)) for k, p in enumerate(self.penalties)]
        return torch.stack(each).to(self.linear.weight)

    def tensors(self) -> dict[str, Tensor]:
        """The sums, to be kept in a file."""
        return {
            f"{name}/{part}": packed(tensor) for name, sums in self.sums.items() for part, tensor in vars(sums).items()
        }

    def restore(self, tensors: Mapping[str, Tensor], done: int) -> None:
        """The sums of such a file, over so many batches."""
        self.done = done
        for name, sums in self.sums.items():
            for part, tensor in vars(sums).items():
                unpack(tensors[f"{name}/{part}"], tensor)


class LinearFit:
    """The state of a fit and its pass, for models with a ridge readout and committees of them.

    Its run folder is that of `GradientFit`, with members/2.safetensors and so on for the sums of further members,
    and the uncertainty of its forces beside each model.
    """

    def __init__(
        self,
        model: ForceField,
        config: TrainingSettings,
        out: Path | None,
        processes: Processes = ALONE,
        adds_to: Path | None = None,
        *,
        corrects: bool = False,
    ) -> None:
        self.model, self.config, self.out, self.processes, self.adds_to = model, config, out, processes, adds_to
        self.members = [MemberSums(member, number, corrects=corrects) for number, member in enumerate(model.members)]
        self.done, self.numbers = 0, ""  # checksum of the numbers of training and validation frames
        # Of the runs that this one adds to: batches, stores, and what marked the outside of their frames.
        self.before, self.added, self.known = 0, list[str](), dict[str, Uncertainty]()

    def run(
        self,
        frames: LabelledFrames,
        train: Sequence[int],
        validation: Sequence[int],
        listener: Listener = SILENT,
    ) -> FitResult:
        """Sum over the frames that are not in the sums yet, and solve.

        Raises:
            Interrupted: the listener said so; the sums so far are saved.
        """
        began = time.monotonic()
        self.numbers = same_numbers(self.numbers, train, validation, self.out)
        if not self.ready and self.processes.first:
            self._set_statistics(frames, train)
        self.processes.broadcast_(self.model.state_dict().values())
        self.done = self.processes.broadcast_object(self.done)
        for member in self.members:
            member.done = self.processes.broadcast_object(member.done)
        self.model.eval()
        todo = [(name, some) for name, all_of_it in (("train", train), ("validation", validation))
                for some in batches(all_of_it, BATCH)]  # fmt: skip
        # Each process takes one of `count` batches at a time; all sums come together at the end.
        turns = batches(todo[self.done :], self.processes.count)
        made = prefetched(lambda turn: [(n, self._batch(frames, k)) for n, k in self.processes.share(turn)], turns)
        for turn, mine in zip(turns, made, strict=True):
            if self.processes.any(listener.stop()):
                self._bring_together()
                self.save()
                self.processes.barrier()
                said = f"stopped after {self.done} of {len(todo)} steps as asked, the sums are saved"
                raise Interrupted(said, "training", self.out)
            try:
                for name, batch in mine:
                    self._add(name, batch)
            except LostBoard as lost:
                raise self._lost(lost, len(todo)) from None
            self.done += len(turn)
            for member in self.members:
                member.done = max(member.done, self.done)
            listener.progress(self.done, len(todo))
        self._bring_together()
        for member in self.members:
            member.solve()
        try:
            e = validate(self.model, frames, validation, self.config.seed, self.processes)
            found = self._uncertainties(frames, validation) if self.processes.first else []
        except LostBoard as lost:
            raise self._lost(lost, len(todo)) from None
        row = Epoch(1, e.rmse**2, e.mae, e.rmse, e.relative, 0.0, time.monotonic() - began)
        if self.out is not None and self.processes.first:
            self.save()
            write_log(self.out, [row])
            for folder in ("best", "last"):
                save_model(self.model, self.out / folder)
                save_uncertainties(self.model, found, self.out / folder)
        listener.epoch(row, True)
        return FitResult(self.model, (row,), False)

    def _lost(self, lost: LostBoard, steps: int) -> LostBoard:
        """The sums so far are saved."""
        self.save()
        return LostBoard(f"{lost}; the sums of {self.done} of {steps} steps are saved", "training", self.out)

    def _uncertainties(self, frames: LabelledFrames, validation: Sequence[int]) -> list[Uncertainty]:
        """By the posterior of the first member, and by the spread of all where there are several."""
        draws = self.members[0].draws(DRAWS, self.config.seed)
        methods = [draws] if len(self.members) == 1 else [draws, None]
        found = [calibrated(self.model, method, frames, validation, self.config.seed) for method in methods]
        return [u.spanning(self.known.get(u.calibration.method)) for u in found]

    @property
    def ready(self) -> bool:
        """Whether statistics and ranges are set; from then on they stay, for sums of the same features."""
        return self.members[0].linear.ready

    @torch.no_grad()
    def _set_statistics(self, frames: LabelledFrames, train: Sequence[int]) -> None:
        self.model.train()
        every = max(1, len(train) // STATISTICS_FRAMES)
        for number, index in enumerate(train[::every][:STATISTICS_FRAMES]):
            g = frames.graph(index).to(self.model.device)
            self.model(g, self.model.read(None, torch_stream(self.config.seed, "ridge statistics", number)))

    def _batch(self, frames: LabelledFrames, chosen: Sequence[int]) -> Graph:
        g = Graph.batch([frames.graph(k) for k in chosen])
        if g.forces is None:
            raise InputError("a frame without forces cannot be trained on; convert labelled frames.")
        return g

    def _add(self, name: str, batch: Graph) -> None:
        assert batch.forces is not None
        g = batch.to(self.model.device)
        number, kinds = self.done + self.processes.rank, self.members[0].linear.element_index(g).cpu()
        unique = self.before + number  # of its noise, which frames added later do not share
        hardware = hardware_of_step(self.model.hardware, self.config, unique) if name == "train" else None
        for member in self.members:
            if member.done <= number:  # else a save was cut off between two members
                mine = [member.number] if member.number else []
                noise = torch_stream(self.config.seed, "ridge noise", unique, *mine)
                member.add(name, g, batch.forces, kinds, noise, hardware)
                member.done = number + 1

    def _bring_together(self) -> None:
        for member in self.members:
            for sums in member.sums.values():
                for tensor in vars(sums).values():
                    unpack(self.processes.all_reduce_sum_(packed(tensor).contiguous()), tensor)

    # What a run keeps on disk

    def save(self) -> None:
        """Sums, and the model that they belong to; the file that a resumed run looks for is the last."""
        if self.out is None or not self.processes.first:
            return
        for member in reversed(self.members):
            tensors = member.tensors()
            if not member.number:
                tensors |= {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
            settings = {
                "format": FORMAT,
                "version": VERSION,
                "done": member.done,
                "before": self.before,
                "added": self.added,
                "made_for": self._made_for(),
                "made_of": self._made_of(),
                "frames": self.numbers,
            }
            file = self._file(self.out, member)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(file, tensors, settings)

    def start(self) -> None:
        """Continue the sums of the run that frames are added to, where there is one."""
        if self.adds_to is not None:
            self.add_to(self.adds_to)

    def restore(self) -> None:
        """Restore an interrupted pass, or one that is finished; only the first process does."""
        assert self.out is not None
        settings = self._restore_sums(self.out)
        for what, mine in self._made_of().items():
            if (then := settings["made_of"].get(what)) != mine:
                raise InputError(
                    f"{self.out}: the run was started with {what.replace('_', ' ')} {then}, not {mine}; bring that "
                    "back, or start a new run."
                )
        self.numbers = settings.get("frames", "")
        self.before, self.added = settings["before"], settings["added"]
        self.done = min(member.done for member in self.members)
        if self.adds_to is not None:
            self.remember(self.adds_to)

    def add_to(self, run: Path) -> None:
        """Take up the sums of another run, features and all, to add frames to them.

        Raises:
            InputError: of another model or hardware, or it has these frames already.
        """
        settings = self._restore_sums(run)
        self.added = [*settings["added"], settings["made_of"]["data_checksum"]]
        mine = self.model.provenance
        if mine.data_checksum and mine.data_checksum in self.added:
            raise InputError(f"{mine.data}: its frames are in {run} already; add a store of new frames only.")
        self.before = settings["before"] + settings["done"]
        for member in self.members:
            member.done = 0
        self.remember(run)

    def remember(self, run: Path) -> None:
        """What marked the outside of the frames of a run that this one adds to."""
        if (run / "best").is_dir():
            self.known = load_uncertainties(run, load_model(run))

    def _restore_sums(self, run: Path) -> dict[str, Any]:
        """Sums and features of a run; what its state says beside them."""
        for member in reversed(self.members):
            file = self._file(run, member)
            tensors, settings = read_tensors(file, FORMAT, VERSION)
            if settings["made_for"] != self._made_for():
                raise InputError(
                    f"{file}: the run was started with another model or hardware than now; bring that back."
                )
            if not member.number:
                model = {k.removeprefix("model/"): t for k, t in tensors.items() if k.startswith("model/")}
                self.model.load_state_dict(model)
            member.restore(tensors, int(settings["done"]))
        return settings

    @staticmethod
    def _file(run: Path, member: MemberSums) -> Path:
        return run / f"members/{member.number + 1}.safetensors" if member.number else run / "state.safetensors"

    def _made_for(self) -> dict[str, Any]:
        m, n = self.model, len(self.members)
        chips = {"chips": n} if n > 1 else {}
        return {"model": m.settings.to_mapping(), "hardware": m.hardware.to_mapping(), **chips}

    def _made_of(self) -> dict[str, Any]:
        """What decides on the frames that are in the sums, and how they are read."""
        config = self.config.to_mapping()
        names = "seed", "validation", "split", "noise_schedule", "noise_ramp", "noise_reach", "fewest_bits"
        p = self.model.provenance
        checksums = {"data_checksum": p.data_checksum, "other_frames": others_checksum(p)}
        return checksums | {name: config[name] for name in names}


def batches(indices: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """In their order, `size` at a time."""
    return [indices[first : first + size] for first in range(0, len(indices), size)]


def packed(a: Tensor) -> Tensor:
    """Of symmetric matrices [S, n, n] the upper triangles [S, n (n + 1) / 2]; other tensors as they are."""
    return a[:, *torch.triu_indices(*a.shape[1:])] if a.ndim == 3 else a


def unpack(source: Tensor, into: Tensor) -> None:
    """Fill `into` with what `packed` made."""
    if into.ndim < 3:
        into.copy_(source)
        return
    rows, columns = torch.triu_indices(*into.shape[1:])
    into[:, rows, columns] = source
    into[:, columns, rows] = source
