"""What active learning is asked to do, and where it starts from."""

import os
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from rgnn.base.choices import FrameChoice, LabelProgram, Preset
from rgnn.base.errors import InputError
from rgnn.base.files import sha256
from rgnn.base.settings import Flag, Number, Settings, Whole, read_yaml
from rgnn.base.versions import Versions
from rgnn.training.request import names_split, read_settings
from rgnn.training.start import read_start

# Longest edge where nothing says another, Angstrom.
CUTOFF = 5.0


class LearnSettings(Settings):
    """How active learning goes."""

    label: str | None = None
    """ASE calculator that labels structures, as module:name; None where a program outside does."""
    inputs: LabelProgram | None = None
    """Program whose input files are written, and whose outputs are read back; None where a calculator labels."""
    template: str | None = None
    """Folder with the other files of such a calculation."""
    frames: str | None = None
    """Labelled frames or graph store to start from; None starts from distorted copies of the structure."""
    relabel: Flag = False
    """Whether the frames to start from are labelled again."""
    start: Whole = Field(default=20, ge=2)
    """Number of distorted copies to start from, or of frames to label again."""
    rattle: Number = Field(default=0.1, ge=0, le=1)
    """Standard deviation of the displacements along each axis in the most distorted copy, Å."""
    strain: Number = Field(default=0.02, ge=0, le=0.2)
    """Largest change of each cell vector's length in a distorted copy of a periodic structure, as a share."""
    rounds: Whole = Field(default=5, ge=1)
    """Number of rounds at most; each trains a model, runs it and labels what it does not know."""
    batch: Whole = Field(default=5, ge=1)
    """Number of structures labelled in a round."""
    choice: FrameChoice = "farthest"
    """Choice among the frames of the dynamics: "farthest" from all training frames and each other, or "random"."""
    temperature: Number = Field(default=300.0, gt=0, le=20_000)
    """Temperature of the dynamics, K."""
    steps: Whole = Field(default=2000, ge=1)
    """Number of steps that the dynamics must stay inside for learning to end before its last round."""
    timestep: Number = Field(default=1.0, gt=0, le=20)
    """Timestep of the dynamics, fs."""
    every: Whole = Field(default=10, ge=1)
    """Steps between frames that are looked at."""
    preset: Preset | None = None
    """Settings of the training to start from; None is energy, where neither `config` nor `from_model` is given."""
    config: str | None = None
    """YAML file with settings of the training, in place of a preset; frames are held out at random where it names no
    split."""
    from_model: str | None = None
    """Trained model that the training of each round begins with, in place of a preset."""
    cutoff: Number | None = Field(default=None, gt=0, le=20)
    """Longest edge of the graphs, Å; None is that of `config` or `from_model`, and else 5."""
    epochs: Whole | None = Field(default=None, ge=1)
    """Number of passes of each training; with neither `epochs` nor `minutes` a training has 2000 steps, or the length
    that `config` names."""
    minutes: Number | None = Field(default=None, gt=0)
    """Length of each training in place of passes, minutes."""
    bits: Whole | None = Field(default=None, ge=1, le=16)
    """Input bits of the chip; None is the preset's."""
    noise: Number | None = Field(default=None, ge=0)
    """Noise of the chip; None is the preset's."""
    chip: str | None = None
    """Chip folder; None is a synthetic chip."""
    test: str | None = None
    """Labelled frames or graph store that each round's model is tested on, and never trained on."""
    seed: Whole | None = Field(default=None, ge=0)
    """Seed of distortions, trainings, velocities and choices; None is that of `config`, and else 0."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.label is None) == (self.inputs is None):
            raise InputError(
                "labels come from a calculator or from a program outside: give one of label (module:name of an ASE "
                "calculator) and inputs (vasp, cp2k or espresso)."
            )
        if (self.inputs is None) != (self.template is None):
            raise InputError("inputs and template belong together: the template holds all but the structure.")
        if self.relabel and self.frames is None:
            raise InputError("relabel is for frames to start from; name them, or leave it out.")
        if self.epochs is not None and self.minutes is not None:
            raise InputError("epochs and minutes both say how long a training is; give one of them.")
        if sum(given is not None for given in (self.preset, self.config, self.from_model)) > 1:
            raise InputError(
                "a settings file, a preset and a model to begin with each set everything; give one of config, preset "
                "and from_model."
            )
        return self

    def resolved(self) -> Self:
        """The same with the seed, the cutoff and the preset that stand where none are given.

        Raises:
            InputError: the settings file or the model cannot be read.
        """
        seed, cutoff, preset, start = 0, CUTOFF, self.preset, self.from_model
        if self.config is not None:
            run = read_settings(Path(self.config))
            seed, cutoff = run.training.seed, run.model.cutoff
        elif start is not None:
            cutoff = read_start(start).settings.cutoff
            if Path(start).is_symlink():  # such as runs/latest, which may point to another run tomorrow
                start = os.path.relpath(Path(start).resolve())
        elif preset is None:
            preset = "energy"
        mine = {"seed": seed, "cutoff": cutoff}
        given = {name: value for name in mine if (value := getattr(self, name)) is not None}
        return self.override(preset=preset, from_model=start, **{**mine, **given})

    @property
    def training(self) -> dict[str, Any]:
        """Fields of the training settings that are set here. Frames chosen far apart need no blocks.

        Raises:
            InputError: the settings file cannot be read.
        """
        given = {name: n for name in ("epochs", "minutes", "seed") if (n := getattr(self, name)) is not None}
        return given if self.config is not None and names_split(Path(self.config)) else {**given, "split": "random"}

    @property
    def hardware(self) -> dict[str, Any]:
        """Fields of the hardware that are set here."""
        return {name: n for name in ("bits", "noise") if (n := getattr(self, name)) is not None}


class LearnRecord(Settings):
    """The config.yaml of active learning."""

    learn: LearnSettings
    """How it goes."""
    structure: str = ""
    """Path of the structure file."""
    structure_sha256: str = ""
    """SHA-256 of the structure file; empty for a folder."""
    frame: Whole = -1
    """Number of the frame in the structure file; negative numbers count from the end."""
    format: str | None = None
    """Format of the structure file; None is what ASE takes it for."""
    versions: Versions = Versions()
    """Software that ran."""

    @classmethod
    def of(cls, learn: LearnSettings, structure: Path, frame: int, format: str | None) -> Self:  # noqa: A002
        """The record of such a request.

        Raises:
            InputError: as `LearnSettings.resolved`.
        """
        checksum = sha256(structure) if structure.is_file() else ""
        return cls(
            learn=learn.resolved(),
            structure=str(structure),
            structure_sha256=checksum,
            frame=frame,
            format=format,
            versions=Versions.here(),
        )

    @classmethod
    def read(cls, folder: Path) -> Self:
        """That of a folder.

        Raises:
            InputError: it cannot be read.
        """
        file = folder / "config.yaml"
        return cls.from_mapping(read_yaml(file), str(file))

    def require_same(self, begun: "LearnRecord", folder: Path) -> None:
        """Raise InputError where this is not what was begun in a folder; only the number of rounds may differ."""
        mine, theirs = self._decisive(), begun._decisive()
        for name, value in mine.items():
            if value != theirs[name]:
                raise InputError(
                    f"{folder}: was begun with {name.replace('_', ' ')} = {theirs[name]}, not {value}; give the same "
                    "to continue, or another --out to begin again."
                )

    def _decisive(self) -> dict[str, Any]:
        """What must be the same when learning is continued."""
        plain = self.learn.to_mapping()
        del plain["rounds"]
        return {**plain, "structure": self.structure_sha256 or self.structure, "frame": self.frame}
