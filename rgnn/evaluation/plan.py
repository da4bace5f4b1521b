"""What an evaluation consists of: its frames, the hardware, ranges that are missing, and groups by temperature."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rgnn.base.errors import InputError, Interrupted
from rgnn.base.estimate import evenly
from rgnn.base.events import SILENT, Listener
from rgnn.base.files import write_atomic
from rgnn.base.run_folder import held
from rgnn.base.settings import dump_yaml, read_yaml
from rgnn.chip.hardware import Hardware
from rgnn.chip.presets import load_hardware
from rgnn.chip.variations import variations
from rgnn.data.met import Met, held_out_frames, uses_of
from rgnn.data.store.reader import GraphStore, require_cutoff
from rgnn.evaluation.errors import HardwareErrors
from rgnn.evaluation.intervals import Sample
from rgnn.evaluation.reliability import Reliability, reliability
from rgnn.evaluation.run import EvaluationSettings, evaluate_hardware
from rgnn.evaluation.temperatures import temperature_groups
from rgnn.models.base import ForceField
from rgnn.models.calibration import CALIBRATION_FRAMES, calibrate, needs_calibration
from rgnn.models.checkpoints import fingerprint, load_model
from rgnn.models.uncertainty import Uncertainty, load_uncertainties


def hardware_settings(model: ForceField, base: Hardware, choices: Mapping[str, Sequence[Any]]) -> list[Hardware]:
    """The ideal chip, the hardware as trained, and `base` with every combination of what is varied; none twice.

    Raises:
        InputError: the model is all digital and hardware was given; or as in `variations`.
    """
    own = model.hardware
    if not model.uses_chip:
        if choices or base != own:
            raise InputError("the model is all digital, so hardware means nothing to it; leave hardware settings out.")
        return [own]
    return variations(own, base, choices)


@dataclass(frozen=True)
class EvaluationPlan:
    """An evaluation that is ready to run.

    Attributes:
        model: ready to predict; `run` makes the ranges that it lacks.
        store: of the frames.
        settings: all that the result depends on.
        held_out: whether the frames are those that the training of the model held out.
        why: which frames are evaluated, in words.
    """

    model: ForceField
    store: GraphStore
    settings: EvaluationSettings
    held_out: bool
    why: str

    @property
    def frames(self) -> tuple[int, ...]:
        """Numbers of the frames in the store."""
        return self.settings.frames

    @property
    def calibration(self) -> tuple[int, ...]:
        """Numbers of the frames that missing ranges are made from; empty where none is missing."""
        return self.settings.calibration

    @property
    def hardware(self) -> tuple[Hardware, ...]:
        """The settings that are evaluated."""
        return self.settings.settings

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """Positions in `frames` of each temperature, such as "300 K", where the store knows it."""
        chosen = list(self.frames)
        known = (self.store.column(name)[chosen] for name in ("temperature", "kinetic_temperature"))
        return temperature_groups(*known)

    @cached_property
    def sample(self) -> Sample:
        """Which of the frames belong to one trajectory: those of one file at one temperature."""
        chosen, counts = list(self.frames), [source.frames for source in self.store.sources]
        sources = np.repeat(np.arange(len(counts)), counts)
        if len(sources) != len(self.store):
            sources = np.zeros(len(self.store), dtype=int)
        return Sample.of(chosen, sources[chosen], self.store.column("temperature")[chosen])

    @cached_property
    def uncertainties(self) -> list[Uncertainty]:
        """Those that were calibrated for the model, the best first; none for a model that is not from a file."""
        return list(load_uncertainties(self.settings.model, self.model).values()) if self.settings.model else []

    @property
    def unknown_elements(self) -> list[int]:
        """Atomic numbers in the store that the model was not trained on."""
        return [z for z in self.store.elements if self.model.elements and z not in self.model.elements]

    def prepare(self, listener: Listener = SILENT) -> None:
        """Make the ranges of converters that the model lacks, from the hardware that disturbs most."""
        missing = [h for h in self.hardware if needs_calibration(self.model, h)]
        if not missing:
            return
        listener.info(f"Calibrating converters that training did not: {len(self.calibration)} frames")
        loudest = max(missing, key=lambda h: h.noise or 0.0)
        loudest = next((h for h in missing if h.adc_bits is not None and h.noise == loudest.noise), loudest)
        calibrate(self.model, [self.store.graph(k) for k in self.calibration], loudest, self.settings.seed)

    def run(self, listener: Listener = SILENT, keep: str | Path | None = None) -> list[HardwareErrors]:
        """Errors for each hardware setting.

        Args:
            listener: is given the passes over frames that are finished, and may ask to stop.
            keep: folder for the settings and for what is finished, which `resume` and a second run read again.

        Raises:
            Interrupted: the listener asked to stop; finished settings are in `keep`.
        """
        with nullcontext() if keep is None else held(keep):
            return self._run(listener, keep)

    def _run(self, listener: Listener, keep: str | Path | None) -> list[HardwareErrors]:
        if keep is not None:
            self.save(keep)
        assert self.uncertainties is not None  # read before ranges are made, which change the model's fingerprint
        self.prepare(listener)
        s = self.settings
        try:
            return evaluate_hardware(
                self.model, self.store, s.frames, s.settings, s.repeats, s.chips, s.seed,
                sample=self.sample, keep=None if keep is None else Path(keep) / "settings", listener=listener,
            )  # fmt: skip
        except Interrupted:
            raise Interrupted("evaluation stopped; finished settings are kept", "evaluation", keep) from None

    def reliability(self, listener: Listener = SILENT) -> list[Reliability]:
        """How well each calibrated uncertainty tells the errors of the same frames; none for a model without.

        Raises:
            Interrupted: the listener asked to stop.
        """
        if not self.uncertainties:
            return []
        return reliability(self.model, self.uncertainties, self.store, self.frames, self.settings.seed, listener)

    def save(self, folder: str | Path) -> None:
        """Write config.yaml, which `resume` reads, into a folder that is made where there is none."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        note = f"# Continue with: rgnn eval --resume {folder}\n"
        write_atomic(Path(folder) / "config.yaml", note + dump_yaml(self.settings.to_mapping()))


def plan(
    model: ForceField | str | Path,
    store: GraphStore | str | Path | None = None,
    *,
    bits: Sequence[int] = (),
    noise: Sequence[float] = (),
    vary: Mapping[str, Sequence[Any]] | None = None,
    hardware: Hardware | str | None = None,
    repeats: int = 5,
    chips: int = 1,
    frames: int | Sequence[int] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    newest_store: Callable[[], Path] | None = None,
) -> EvaluationPlan:
    """What to evaluate: on the training store of the model, only the frames that its training held out.

    Args:
        model: a model, or the path of a model folder or training run. A model that lacks ranges is copied first.
        store: a graph store or its path; by default the one that the model was trained on.
        bits: input bits to sweep.
        noise: read noise to sweep, standard deviation relative to the conductance.
        vary: any other setting of `Hardware` -> the values to sweep.
        hardware: what else holds in the sweep: settings, a preset or a YAML file; by default as trained.
        repeats: draws of the read noise.
        chips: draws of what is frozen on a chip.
        frames: so many frames, evenly chosen, or the numbers of the frames; by default all of them.
        seed: of the noise.
        device: where a model that is loaded here computes.
        newest_store: names a store where none is given and the training store is not here.

    Raises:
        InputError: no model or store there, another cutoff, or hardware that cannot be.
    """
    path = "" if isinstance(model, ForceField) else str(model)
    loaded = model if isinstance(model, ForceField) else load_model(model, device)
    if store is None:
        store = _training_store(loaded, newest_store)
    data = store if isinstance(store, GraphStore) else GraphStore(store)
    require_cutoff(data, loaded.settings.cutoff)
    base = load_hardware(hardware) if isinstance(hardware, str) else hardware or loaded.hardware
    choices: dict[str, Sequence[Any]] = {**({"bits": bits} if bits else {}), **({"noise": noise} if noise else {})}
    twice = sorted(set(choices) & set(vary or {}))
    if twice:
        raise InputError(f"{twice[0]} is varied twice; give its values once.")
    settings = hardware_settings(loaded, base, choices | dict(vary or {}))
    held_out = held_out_frames(loaded.provenance, data)
    chosen, why = _frames(len(data), held_out, frames)
    if seen := int(Met.by(uses_of(loaded.provenance, data), data).of(data, "trained")[chosen].sum()):
        why += f", {seen} of which it was trained on"
    calibration: list[int] = []
    if any(needs_calibration(loaded, h) for h in settings):
        trained_on = sorted(set(range(len(data))) - set(held_out)) if held_out is not None else chosen
        calibration = evenly(trained_on, CALIBRATION_FRAMES)
        loaded = copy.deepcopy(loaded) if not path else loaded  # the ranges made for it are not the caller's
    return EvaluationPlan(
        loaded,
        data,
        EvaluationSettings(
            model=path,
            fingerprint=fingerprint(loaded),
            store=str(data.path),
            checksum=data.checksum,
            frames=tuple(int(k) for k in chosen),
            calibration=tuple(calibration),
            settings=tuple(settings),
            repeats=repeats,
            chips=chips,
            seed=seed,
        ),
        _are_held_out(chosen, held_out),
        why,
    )


def _are_held_out(frames: Sequence[int], held_out: Sequence[int] | None) -> bool:
    """Whether all frames are known to be among those that the training held out."""
    return held_out is not None and set(frames) <= set(held_out)


def _training_store(model: ForceField, newest_store: Callable[[], Path] | None) -> Path:
    trained_on = model.provenance.validation_data or model.provenance.data
    if trained_on and Path(trained_on).exists():
        return Path(trained_on)
    if newest_store is None:
        raise InputError("the store that the model was trained on is not here; name a graph store.")
    return newest_store()


def _frames(n: int, held_out: list[int] | None, wanted: int | Sequence[int] | None) -> tuple[list[int], str]:
    """The frames of a store of n to evaluate, and which they are in words."""
    if wanted is not None and not isinstance(wanted, int):
        outside = [k for k in wanted if not 0 <= k < n]
        if outside:
            raise InputError(f"there is no frame {outside[0]} in a store of {n}; frames count from 0.")
        return [int(k) for k in wanted], f"{len(wanted)} chosen by number"
    chosen, why = list(range(n)), f"all {n}"
    if held_out is not None:
        chosen, why = held_out, f"the {len(held_out)} held out of its training"
    if wanted is not None and wanted < len(chosen):
        chosen, why = evenly(chosen, wanted), f"{wanted} of {why}"
    return chosen, why


def resume(folder: str | Path, device: torch.device | str = "cpu") -> EvaluationPlan:
    """The evaluation that was begun in a folder.

    Raises:
        InputError: there is none, or its model or store has changed since.
    """
    file = Path(folder) / "config.yaml"
    settings = EvaluationSettings.from_mapping(read_yaml(file), str(file))
    if not settings.model:
        raise InputError(f"{file}: its model is not from a file, so nothing can be resumed; evaluate it in Python.")
    model, data = load_model(settings.model, device), GraphStore(settings.store)
    for what, now, then in (
        (settings.model, fingerprint(model), settings.fingerprint),
        (settings.store, data.checksum, settings.checksum),
    ):
        if now != then:
            raise InputError(f"{what}: has changed since {folder} was begun; start a new evaluation.")
    held_out = _are_held_out(settings.frames, held_out_frames(model.provenance, data))
    return EvaluationPlan(model, data, settings, held_out, str(len(settings.frames)))


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        plan: what was evaluated.
        rows: errors of each hardware setting: the ideal chip, as trained, and what was swept.
        uncertainty: of each calibrated uncertainty of the model.
    """

    plan: EvaluationPlan
    rows: list[HardwareErrors]
    uncertainty: list[Reliability]

    def to_mapping(self) -> dict[str, Any]:
        """All measures as plain numbers, the same as `rgnn eval --json` prints under these names."""
        groups = self.plan.groups
        return {
            "settings": [row.to_mapping(groups) for row in self.rows],
            "uncertainty": [each.to_mapping(groups) for each in self.uncertainty],
        }


def evaluate(
    model: ForceField | str | Path,
    store: GraphStore | str | Path | None = None,
    *,
    bits: Sequence[int] = (),
    noise: Sequence[float] = (),
    vary: Mapping[str, Sequence[Any]] | None = None,
    hardware: Hardware | str | None = None,
    repeats: int = 5,
    chips: int = 1,
    frames: int | Sequence[int] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    listener: Listener = SILENT,
) -> Evaluation:
    """Force errors of a model for the ideal chip, as trained, and for hardware settings; what `rgnn eval` does.

    Args:
        model: a model, a model folder or a training run.
        store: labelled frames; None is the store of the training, of which the frames held out count.
        bits: input bits to evaluate.
        noise: relative fluctuations to evaluate.
        vary: other fields of the hardware, and the values of each.
        hardware: what is not varied, as settings, the name of a preset or a YAML file; None is that of the model.
        repeats: fresh noise draws of each frame.
        chips: fresh draws of what is frozen on a chip.
        frames: a number of frames spread over the store, or their numbers; None is all that count.
        seed: of the noise.
        device: where to compute.
        listener: is given progress, and may ask to stop.

    Raises:
        InputError: as in `plan`.
        Interrupted: the listener asked to stop.
    """
    what = plan(
        model, store, bits=bits, noise=noise, vary=vary, hardware=hardware, repeats=repeats, chips=chips,
        frames=frames, seed=seed, device=device,
    )  # fmt: skip
    return Evaluation(what, what.run(listener), what.reliability(listener))
