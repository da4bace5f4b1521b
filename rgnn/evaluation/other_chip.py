"""A model that was trained on one chip, deployed on another.

The weights of a reservoir are the chip's conductances, so on another chip they are others and the digital part no
longer fits: forces are then far off. Fitted again to what the new chip gives (`rgnn.training.refit`: ridge weights are
solved for again, anything else takes a short fine-tune in which ranges and statistics follow), it is a model of it.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rgnn.base.errors import InputError
from rgnn.base.events import SILENT, Listener
from rgnn.chip.chip import Chip
from rgnn.data.met import held_out_frames
from rgnn.evaluation.errors import HardwareErrors
from rgnn.evaluation.plan import EvaluationPlan
from rgnn.evaluation.run import evaluate_hardware
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import load_model
from rgnn.training.refit import refit, refit_frames

OWN, DEPLOYED, REFITTED = "on its own chip", "on the other chip", "digital part fitted again"


def deployed(model: ForceField, chip: Chip, *, reuse: bool = False) -> ForceField:
    """A copy of a model whose crossbars have the cells of another chip; everything digital is as it was.

    Args:
        model: with a chip.
        chip: the other one.
        reuse: a chip that is too small gives its cells several times.

    Raises:
        InputError: the model is all digital, or the chip has too few weights.
    """
    if not model.uses_chip:
        raise InputError("the model is all digital, so there is no chip to exchange.")
    found = copy.deepcopy(model)
    needed = sum(crossbar.weight.numel() for crossbar in found.members[0].crossbars)
    for number, member in enumerate(found.members):
        shapes = [[tuple(crossbar.weight.shape) for crossbar in member.crossbars]]
        (cells,) = chip.matrices(shapes, model.provenance.seed, number, reuse=reuse)  # type: ignore[arg-type]
        for crossbar, own in zip(member.crossbars, cells, strict=True):
            like = crossbar.weight
            crossbar.weight = own.weight.to(like)
            crossbar.pair = None if own.pair is None else own.pair.to(like)
            crossbar.read_deviation = None if own.read_deviation is None else own.read_deviation.to(like)
            crossbar.siemens = None if own.siemens is None else torch.tensor(float(own.siemens)).to(like.device)
    found.provenance = model.provenance.override(
        chip=chip.source,
        chip_is_measured=chip.measured,
        cells_are_reused=needed > len(chip.weights),
    )
    return found


@dataclass(frozen=True)
class OtherChip:
    """Errors of a model on its own chip and on another one, all on the same frames and hardware.

    Attributes:
        chip: the other one, in words.
        stages: name and errors of each: `OWN`, `DEPLOYED` and, where it was asked for, `REFITTED`.
        frames: numbers of frames that were fitted and validated on; none without a fit.
        refitted: folder of the model that was fitted again, or None.
        how: how it was fitted, in words.
    """

    chip: str
    stages: tuple[tuple[str, HardwareErrors], ...]
    frames: tuple[int, int] = (0, 0)
    refitted: Path | None = None
    how: str = ""

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers."""
        stages = [{"stage": name, "relative_error": vars(e.relative_error())} for name, e in self.stages]
        return {
            "chip": self.chip,
            "stages": [
                {"stage": s["stage"], "relative_error": {k: float(v) for k, v in s["relative_error"].items()}}  # type: ignore[attr-defined]
                for s in stages
            ],
            "refit_frames": list(self.frames),
            "refitted": None if self.refitted is None else str(self.refitted),
            "how": self.how,
        }


def evaluate_on_other_chip(
    plan: EvaluationPlan, chip: str | Path, folder: Path, frames: int = 0, listener: Listener = SILENT
) -> OtherChip:
    """Errors without and, for `frames` above 0, with a fit of the digital part to so many training frames.

    Raises:
        InputError: a chip that does not fit the model, or no frames that are not evaluated.
    """
    other, s = Chip.load(chip), plan.settings
    hardware = plan.hardware[-1]

    def errors(model: ForceField) -> HardwareErrors:
        return evaluate_hardware(
            model, plan.store, s.frames, [hardware], s.repeats, s.chips, s.seed, sample=plan.sample
        )[0]

    plan.prepare(listener)
    model = deployed(plan.model, other)
    stages = [(OWN, errors(plan.model)), (DEPLOYED, errors(model))]
    if not frames:
        return OtherChip(other.source, tuple(stages))
    held_out = held_out_frames(plan.model.provenance, plan.store)
    apart = set(plan.frames) if held_out is None else {*held_out, *plan.frames}
    allowed = [k for k in range(len(plan.store)) if k not in apart]
    if len(allowed) < 2:
        raise InputError(f"{plan.store.path}: no frames are left to fit on; evaluate fewer of them with --frames.")
    train, validation = refit_frames(plan.store, allowed, frames)
    linear = model.linear is not None
    out = folder / "refit"
    refit(model, plan.store, train, validation, out, seed=s.seed, listener=listener)
    stages.append((REFITTED, errors(load_model(out, plan.model.device))))
    how = "ridge weights solved for again" if linear else "fine-tune of trained weights, ranges and statistics"
    return OtherChip(other.source, tuple(stages), (len(train), len(validation)), out, how)
