"""What a user asks of a training run, made into complete settings."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from rgnn.base.choices import Preset, Split
from rgnn.base.errors import InputError
from rgnn.base.events import SILENT, Listener
from rgnn.base.settings import read_yaml
from rgnn.chip.board.settings import BoardSettings
from rgnn.chip.presets import load_hardware
from rgnn.data.store.reader import GraphStore
from rgnn.training.published import is_published, read_published
from rgnn.training.run import RunSettings, TrainingRun
from rgnn.training.start import replay_of
from rgnn.training.validation import FitResult

# Training settings that have a use where weights are solved for.
SOLVED_WITH = {"seed", "validation", "split", "noise_schedule", "noise_ramp", "noise_reach", "fewest_bits"}


@dataclass(frozen=True)
class TrainingRequest:
    """A training run as it is asked for; what is left out comes from the file, the preset or the defaults.

    Attributes:
        store: path of the graph store.
        preset: name of settings to start from.
        config: a YAML file with settings to start from, or a train.json of the published program.
        adds_to: a run that was solved for, to whose frames those of the store are added.
        chip: path of a chip folder.
        chips: number of chips that models are trained on.
        hardware: name of a hardware preset, or a YAML file.
        hardware_changes: fields of the hardware, by name.
        training: fields of the training settings, by name.
        narrow: whether the model is made as narrow as the chip demands.
        board: that products are measured on; None is that of the file or of the resumed run, or none.
        reuse_cells: whether a chip that is too small gives its cells several times.
        from_model: a trained model that the training begins with.
        replay: store whose frames are trained on among the new ones; "none", or None for the store of the model that
            the training begins with, where it is still there.
        replay_share: of the frames of an epoch; None is that of the settings.
        validation_store: store of frames to validate on; None holds frames out.
    """

    store: Path | None = None
    preset: Preset | None = None
    config: Path | None = None
    adds_to: Path | None = None
    chip: Path | None = None
    chips: int | None = None
    hardware: str | None = None
    hardware_changes: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    narrow: bool = False
    board: BoardSettings | None = None
    reuse_cells: bool = False
    from_model: Path | None = None
    replay: str | None = None
    replay_share: float | None = None
    validation_store: Path | None = None

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.config, self.preset, self.adds_to, self.from_model)) > 1:
            raise InputError(
                "a settings file, a preset, a run to add to and a model to begin with each set everything; give one."
            )
        if self.from_model is None and (self.replay is not None or self.replay_share is not None):
            raise InputError("replay is for a training that begins with a model; name that, or leave replay out.")
        if self.from_model is not None and self.narrow:
            raise InputError(
                f"{self.from_model}: a training that begins with a model keeps its width; leave narrow out."
            )
        if self.replay == "none" and self.replay_share is not None:
            raise InputError("nothing is replayed, so a share of it means nothing; leave the share out.")
        if self.from_model is not None and self.chips is not None:
            raise InputError("a training that begins with a model has the one chip of that; leave chips out.")
        if self.adds_to is not None and (self.narrow or self.reuse_cells):
            raise InputError("added frames are read on the cells of the run; leave narrow and reuse_cells out.")
        if self.adds_to is not None and (self.chip is not None or self.chips is not None):
            raise InputError("added frames are read on the chips of the run; leave chip and chips out.")
        if self.adds_to is not None and self.store is None:
            raise InputError(f"{self.adds_to}: the frames of a store are added to this run; name the store.")

    def settings(self, newest_store: Callable[[], Path]) -> RunSettings:
        """Complete settings; `newest_store` is called where neither the request nor its file names a store.

        Raises:
            InputError: a value that makes no sense, or a combination that excludes itself.
        """
        run = self._start(newest_store)
        if self.store is not None or not run.store:
            run = run.override(store=str(self.store if self.store is not None else newest_store()))
        if self.chip is not None:
            run = run.override(chip=str(self.chip))
        if self.validation_store is not None:
            run = run.override(validation_store=str(self.validation_store))
        if self.reuse_cells:
            if self.narrow:
                raise InputError("narrow makes a model that fits and reuse_cells one that does not; give one of them.")
            run = run.override(reuse_cells=True)
        if self.narrow and run.chip is None:
            raise InputError("narrow is for a measured chip, and a synthetic one has cells enough; name a chip.")
        if self.chips is not None:
            run = run.override(chips=self.chips)
        if self.from_model is not None:
            run = self._replaying(run)
        elif self.config is None and self.adds_to is None and self.preset != "published":
            # Nobody asked for a cutoff, so that of the store will do.
            run = run.override(model=run.model.override(cutoff=GraphStore(run.store).cutoff))
        changed = self.changed(run)
        return changed.narrowed() if self.narrow else changed

    def changed(self, run: RunSettings) -> RunSettings:
        """A run's settings with the hardware and the training settings that are asked for.

        Raises:
            InputError: a setting that would have no effect.
        """
        self._require_use(run)
        hardware = run.hardware if self.hardware is None else load_hardware(self.hardware)
        changes = dict(self.training)
        split_file = run.split_file
        if "split" in changes:
            split_file = None if changes["split"] in get_args(Split) else str(changes.pop("split"))
        lengths = [name for name in ("minutes", "steps", "epochs") if changes.get(name) is not None]
        if len(lengths) > 1:
            raise InputError(f"the length of a training is given in {' and in '.join(lengths)}; give one of them.")
        if lengths:
            others = {name: None for name in ("minutes", "steps") if name not in lengths}
            changes = {**others, "least_atoms": 0, **changes}
            if lengths != ["epochs"] and "rate_schedule" not in changes:  # it ends with the smallest rate
                changes["rate_schedule"] = "cosine"
        return run.override(
            hardware=hardware.override(**self.hardware_changes),
            training=run.training.override(**changes),
            board=run.board if self.board is None else self.board,
            split_file=split_file,
        )

    def _require_use(self, run: RunSettings) -> None:
        """Raise InputError where a setting is asked for that has no effect on this run."""
        if run.model.is_solved and (unused := sorted(self.training.keys() - SOLVED_WITH)):
            names = ", ".join(name.replace("_", " ") for name in unused)
            raise InputError(f"weights that are solved for in one pass have no use for {names}; leave that out.")
        shares = [name for name in ("split", "validation") if name in self.training]
        if shares and run.validation_store is not None:
            raise InputError(
                f"all frames of {run.validation_store} validate, and none of the others are held out; leave "
                f"{' and '.join(shares)} out, or the validation store."
            )
        if self.board is not None and self.board.driver and self.hardware_changes.get("noise"):
            raise InputError("a board reads with its own noise; leave noise out, or the driver.")
        if not run.model.uses_chip:
            of_chip = {
                "chip": self.chip is not None,
                "hardware": self.hardware is not None,
                **dict.fromkeys(self.hardware_changes, True),
                "narrow": self.narrow,
                "reuse_cells": self.reuse_cells,
                "driver": self.board is not None,
            }
            if asked := [name for name, given in of_chip.items() if given]:
                raise InputError(
                    f"this model is all digital and has no use for {', '.join(asked)}; leave that out, or take another "
                    "preset."
                )

    def _replaying(self, run: RunSettings) -> RunSettings:
        """A run that begins with a model, with the store that it replays."""
        assert run.from_model is not None
        if self.replay is None:
            validated = None if run.validation_store is None else GraphStore(run.validation_store)
            replay = replay_of(run.from_model, GraphStore(run.store), validated)
        else:
            replay = None if self.replay == "none" else self.replay
        if replay is None and self.replay_share is not None:
            raise InputError(
                f"a share of {self.replay_share:g} is to be replayed, but there is nothing to replay: the store of "
                f"{self.from_model} is not here, has changed, or {run.store} holds its frames; name a store to replay, "
                "or leave the share out."
            )
        share = run.replay_share if self.replay_share is None else self.replay_share
        return run.override(replay=replay, replay_share=share)

    def _start(self, newest_store: Callable[[], Path]) -> RunSettings:
        if self.from_model is not None:
            link = self.from_model.is_symlink()  # such as runs/latest, which will point to the new run
            model = os.path.relpath(self.from_model.resolve()) if link else self.from_model
            return RunSettings.beginning_with(model, self.store or newest_store(), self.chip)
        if self.adds_to is not None:
            return RunSettings.adding_to(self.adds_to)
        if self.config is None:
            return RunSettings.preset(self.preset or "default")
        return read_settings(self.config)

    @property
    def is_plain(self) -> bool:
        """Whether nothing else than the default preset is asked for."""
        return all(given is None for given in (self.preset, self.config, self.adds_to, self.from_model))

    @property
    def unused(self) -> tuple[str, ...]:
        """Keys of a settings file of the published program that have no counterpart here."""
        return read_published(self.config).unused if self.config is not None and is_published(self.config) else ()


def read_settings(path: Path) -> RunSettings:
    """The settings of a YAML file, or of a train.json of the published program.

    Raises:
        InputError: it cannot be read.
    """
    return read_published(path).run if is_published(path) else RunSettings.read(path)


def names_split(path: Path) -> bool:
    """Whether a settings file says which frames are held out."""
    if is_published(path):
        return False
    plain = read_yaml(path)
    return "split" in (plain.get("training") or {}) or plain.get("split_file") is not None


def train(
    store: str | Path | GraphStore,
    out: str | Path,
    *,
    preset: Preset | None = None,
    config: str | Path | None = None,
    chip: str | Path | None = None,
    chips: int | None = None,
    adds_to: str | Path | None = None,
    hardware: str | None = None,
    bits: int | None = None,
    noise: float | None = None,
    narrow: bool = False,
    driver: str | None = None,
    reuse_cells: bool = False,
    from_model: str | Path | None = None,
    replay: str | Path | None = None,
    replay_share: float | None = None,
    validation_store: str | Path | None = None,
    device: str = "cpu",
    resume: bool = False,
    listener: Listener = SILENT,
    **training: Any,
) -> FitResult:
    """Train a model on a graph store into a run folder: what `rgnn train` does.

    Args:
        store: the graph store, or its path.
        out: run folder; made where absent.
        preset: settings to start from: "default" (the published architecture), "published", "gnnff", "ridge",
            "moments" or "energy".
        config: a YAML file with settings to start from, in place of a preset; or a train.json of the published program.
        chip: a chip folder; a synthetic chip where it is None.
        chips: number of chips that models are trained on; forces are their mean.
        adds_to: a run that was solved for, to whose frames those of the store are added.
        hardware: name of a hardware preset, or a YAML file.
        bits: input bits; None leaves them as the settings have them.
        noise: relative fluctuation of a weight, 0 for none; None leaves it as the settings have it.
        narrow: make the model as narrow as the chip demands, where it has too few weights.
        driver: board that products are measured on, as of `rgnn train --driver`; None simulates them.
        reuse_cells: take cells of a chip with too few weights again, in other orders of rows and columns.
        from_model: a trained model, or the run of one, that the training begins with, in place of a preset: with its
            shape, hardware, weights and (unless `chip` is given) cells, and rows for further elements of the store.
        replay: store whose frames are trained on among the new ones, against forgetting; None is the store that the
            model was trained on, where it is there and `store` does not hold its frames; "none" replays nothing.
        replay_share: share of the frames of an epoch that are replayed; None is 0.25.
        validation_store: store of frames to validate on, such as those of another run; None holds some of `store` out.
        device: where to compute, as torch names it.
        resume: continue an interrupted run with the same arguments.
        listener: receives progress, and may ask to stop.
        training: fields of `TrainingSettings`, such as epochs and seed; `split` may also be the path of a split file.

    Raises:
        InputError, BrokenRunError, Interrupted, OSError: as `rgnn.fit`; InputError also where `out` holds a run and
            `resume` is False.
    """
    path = store.path if isinstance(store, GraphStore) else Path(store)
    changes = {name: value for name, value in (("bits", bits), ("noise", noise)) if value is not None}
    paths = {"config": config, "chip": chip, "adds_to": adds_to, "from_model": from_model}
    paths["validation_store"] = validation_store
    named = {name: None if given is None else Path(given) for name, given in paths.items()}
    request = TrainingRequest(
        path, preset, chips=chips, hardware=hardware, hardware_changes=changes, training=training,
        narrow=narrow, board=None if driver is None else BoardSettings(driver=driver), reuse_cells=reuse_cells,
        replay=None if replay is None else str(replay), replay_share=replay_share, **named,
    )  # fmt: skip
    if not resume and (Path(out) / "config.yaml").exists():
        raise InputError(f"{out}: holds a run already; resume it, or choose another folder.")
    return TrainingRun.prepare(request.settings(lambda: path), device).run(out, resume=resume, listener=listener)
