"""The same molecular dynamics on several settings of the hardware: what they do to observables, not to forces.

Structure, starting velocities and the thermostat's random numbers are the same in all runs; each has a folder of its
own, with the hardware beside it. What is finished is kept, and what was cut off goes on.
"""

import copy
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from ase import Atoms
from pydantic import model_validator

from rgnn.base.errors import InputError
from rgnn.base.events import SILENT, Listener
from rgnn.base.files import write_atomic
from rgnn.base.settings import Settings, dump_yaml, read_yaml
from rgnn.chip.hardware import Hardware
from rgnn.md.run import run_atoms
from rgnn.md.settings import MDSettings, RunOrigin
from rgnn.models.base import ForceField
from rgnn.models.calibration import needs_calibration


class SweepSettings(Settings):
    """All that a sweep depends on; written to its config.yaml."""

    md: MDSettings = MDSettings()
    """How every run goes; its hardware is as trained, since each model gets another one."""
    origin: RunOrigin = RunOrigin()
    """Structure and model of all runs."""
    fingerprint: str = ""
    """SHA-256 of the model, see `rgnn.models.checkpoints.fingerprint`."""
    settings: tuple[Hardware, ...] = ()
    """Hardware of each run, the ideal chip first."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.md.bits is not None or self.md.noise is not None:
            raise InputError("md.bits and md.noise of a sweep are those of its settings; leave them out of md.")
        return self

    @classmethod
    def read(cls, folder: str | Path) -> "SweepSettings":
        """Of a sweep's folder.

        Raises:
            InputError: it holds no sweep.
        """
        file = Path(folder) / "config.yaml"
        if not file.is_file():
            raise InputError(f"{folder}: is no sweep (it has no config.yaml); name a folder such as sweeps/glass-001.")
        return cls.from_mapping(read_yaml(file), str(file))


def on_hardware(model: ForceField, hardware: Hardware) -> ForceField:
    """The same trained model on other hardware.

    Raises:
        InputError: it lacks a range that the hardware's converters need.
    """
    if needs_calibration(model, hardware):
        raise InputError(
            f"the converters of {hardware.describe()} were never calibrated for this model; train it with such "
            "hardware, or set adc_range to full or range to dynamic."
        )
    other = copy.deepcopy(model)
    other.hardware = hardware
    return other


def folder_of(out: str | Path, number: int, hardware: Hardware) -> Path:
    """Of one run: its place in the sweep, and its hardware in words."""
    words = "ideal" if number == 0 else hardware.describe()
    name = "".join(c if c.isalnum() or c in ".-" else "_" for c in words.replace("%", "pc").replace(", ", "_"))
    return Path(out) / f"{number:02d}-{name[:60]}"


def run_sweep(
    atoms: Atoms,
    model: ForceField,
    config: SweepSettings,
    out: str | Path,
    listener: Listener = SILENT,
) -> list[Path]:
    """Run, or finish, every setting; the folders of the runs.

    Args:
        atoms: where all runs start.
        model: on the device to compute on.
        config: of the sweep.
        out: folder of the sweep.
        listener: receives the steps of all runs one after the other, and may ask to stop.

    Raises:
        InputError: hardware that the model lacks a range for; nothing has run then.
        BrokenRunError, Interrupted: as in `rgnn.md.run_atoms`; the same call continues.
    """
    models = [on_hardware(model, hardware) for hardware in config.settings]
    folders = [folder_of(out, number, hardware) for number, hardware in enumerate(config.settings)]
    for number, (mine, folder) in enumerate(zip(models, folders, strict=True)):
        if (folder / "summary.json").is_file():
            continue
        resume = (folder / "restart.safetensors").is_file()
        if not resume and folder.exists():  # cut off before the first state was saved
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        note = "# The hardware of this run, in place of the model's own; goes on with rgnn sweep --resume.\n"
        write_atomic(folder / "hardware.yaml", note + dump_yaml({"hardware": mine.hardware.to_mapping()}))

        start, own = None if resume else atoms, _OneOf(number, len(folders), mine.hardware, listener)
        run_atoms(start, mine, config.md, folder, resume=resume, origin=config.origin, listener=own)
    return folders


class _OneOf(Listener):
    """Passes on the steps of one of several runs as steps of all of them."""

    def __init__(self, number: int, runs: int, hardware: Hardware, to: Listener) -> None:
        self.number, self.runs, self.hardware, self.to = number, runs, hardware, to

    def progress(self, done: float, total: float, note: str = "") -> None:
        self.to.progress(self.number * total + done, self.runs * total, f"{self.hardware.describe()}: {note}")

    def info(self, text: str) -> None:
        self.to.info(text)

    def warn(self, text: str) -> None:
        self.to.warn(text)

    def stop(self) -> bool:
        return self.to.stop()


def names(settings: Sequence[Hardware], own: Hardware) -> list[str]:
    """Of the settings in a table."""
    words = ["as trained" if h == own else h.describe() for h in settings]
    return ["ideal chip", *words[1:]]
