"""The same molecular dynamics on several settings of the hardware: what they do to observables, not to forces.

Structure, starting velocities and the thermostat's random numbers are the same in all runs; each has a folder of its
own, with the hardware beside it. What is finished is kept, and what was cut off is continued. With a board, one more
run measures every product there; it goes first, since boards stop and simulations do not.
"""

import copy
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Self

import torch
from ase import Atoms
from pydantic import model_validator

from rgnn.base.errors import InputError, Interrupted, LostBoard
from rgnn.base.events import SILENT, Listener
from rgnn.base.files import sha256, write_atomic
from rgnn.base.run_folder import clear_run, held, new_folder, refuse_existing, refuse_foreign
from rgnn.base.settings import Settings, dump_yaml, read_yaml
from rgnn.chip.board.settings import BoardSettings
from rgnn.chip.hardware import Hardware
from rgnn.chip.presets import load_hardware
from rgnn.chip.variations import variations
from rgnn.md.plan import named, require_board_fits
from rgnn.md.run import run_atoms
from rgnn.md.settings import MDSettings, RunOrigin
from rgnn.md.structures import check_structure, read_structure
from rgnn.models.base import ForceField
from rgnn.models.boards import on_board
from rgnn.models.calibration import needs_calibration
from rgnn.models.checkpoints import fingerprint, load_model

HARDWARE = "hardware.yaml"  # the hardware of a run, in its folder


class SweepSettings(Settings):
    """All that a sweep depends on; written to its config.yaml."""

    md: MDSettings = MDSettings()
    """How every run goes; its hardware is as trained, since each model gets another one."""
    origin: RunOrigin = RunOrigin()
    """Structure and model of all runs."""
    fingerprint: str = ""
    """SHA-256 of the model, see `rgnn.models.checkpoints.fingerprint`."""
    settings: tuple[Hardware, ...] = ()
    """Hardware of each simulated run, the ideal chip first."""
    board: BoardSettings = BoardSettings()
    """Board of one more run; none where it has no driver."""
    measured: Hardware | None = None
    """Digital side of the run on the board: input codes and their range."""

    @property
    def runs(self) -> tuple[Hardware, ...]:
        """Hardware of all runs: the simulated ones, and then that on the board."""
        return self.settings if self.measured is None else (*self.settings, self.measured)

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
            raise InputError(
                f"{folder}: is not a sweep (it has no config.yaml); name a folder such as sweeps/glass-001."
            )
        return cls.from_mapping(read_yaml(file), str(file))


@dataclass(frozen=True)
class SweepPlan:
    """A sweep that is ready to run.

    Attributes:
        model: on the device to compute on.
        atoms: where all runs start.
        settings: all that the sweep depends on.
    """

    model: ForceField
    atoms: Atoms
    settings: SweepSettings

    @property
    def names(self) -> list[str]:
        """Name of each hardware setting in a table."""
        words = ["as trained" if h == self.model.hardware else h.describe() for h in self.settings.settings]
        measured = self.settings.measured
        return ["ideal chip", *words[1:], *([] if measured is None else [f"board, {measured.bits} bits"])]

    def run(self, out: str | Path, listener: Listener = SILENT) -> list[Path]:
        """Run what is not finished yet; the folder of each run.

        Args:
            out: folder of the sweep, see `sweep_folder`; its config.yaml is written first.
            listener: receives the steps of all runs one after the other, and may ask to stop.

        Raises:
            InputError: hardware that the model lacks a range for, or a board that cannot be started; no folder is left.
            Interrupted: the listener asked to stop; `resume_sweep` continues.
            BrokenRunError: a run broke off.
            LostBoard: the board does not answer any more; `resume_sweep` continues.
        """
        begins = not (Path(out) / "config.yaml").exists()
        Path(out).mkdir(parents=True, exist_ok=True)
        note = f"# Continue with: rgnn sweep --resume {quote(str(out))}\n"
        write_atomic(Path(out) / "config.yaml", note + dump_yaml(self.settings.to_mapping()))
        try:
            return run_sweep(self.atoms, self.model, self.settings, out, listener)
        except LostBoard as lost:
            raise LostBoard(str(lost), "sweep", Path(out)) from None
        except InputError:
            if begins and not list(Path(out).glob(f"*/{HARDWARE}")):  # a board that cannot be started, say
                clear_run(Path(out))
                Path(out).rmdir()
            raise
        except Interrupted as stopped:
            raise Interrupted(str(stopped), "sweep", Path(out)) from None


def plan_sweep(
    model: str | Path,
    structure: str | Path,
    settings: MDSettings,
    *,
    vary: Mapping[str, Sequence[Any]] | None = None,
    hardware: Hardware | str | None = None,
    chips: int = 1,
    frame: int = -1,
    device: torch.device | str = "cpu",
    board: BoardSettings | None = None,
) -> SweepPlan:
    """A sweep over the ideal chip, the hardware as trained, every combination of what is varied, and perhaps a board.

    Args:
        model: path of a model folder or training run.
        structure: structure file that all runs start from.
        settings: of every run.
        vary: setting of `Hardware` -> the values to sweep.
        hardware: what else holds in the sweep: settings, a preset or a YAML file; None is as trained.
        chips: draws of what is frozen on a chip; hardware on which something is has a run for each.
        frame: frame of the structure file; -1 is the last.
        device: where to compute.
        board: that one more run is measured on, with the input codes of `hardware`; None only simulates.

    Raises:
        InputError: no model or structure there, a model without a chip, an element that it does not know, hardware
            that it lacks a range for, or inputs that a board cannot take.
    """
    loaded = load_model(model, device)
    if not loaded.uses_chip:
        raise InputError("the model is all digital, so hardware means nothing to it; name a model with a chip.")
    base = load_hardware(hardware) if isinstance(hardware, str) else hardware or loaded.hardware
    swept = _drawn(variations(loaded.hardware, base, vary or {}), chips)
    for each in swept:
        require_ranges(loaded, each)
    measured = None
    if board is not None:
        require_board_fits(settings, board)
        if base.bits is None:
            raise InputError("a board takes bit planes, but the hardware has bits null; give --hardware with bits.")
        measured = Hardware(bits=base.bits, rounding=base.rounding, range=base.range, noise=None, tile=base.tile)
        require_ranges(loaded, measured)
    atoms = read_structure(structure, frame)
    check_structure(atoms, loaded, where=str(structure))
    known = SweepSettings(
        md=settings,
        origin=RunOrigin.of(structure, named(Path(model)), frame),
        fingerprint=fingerprint(loaded),
        settings=tuple(swept),
        board=board or BoardSettings(),
        measured=measured,
    )
    return SweepPlan(loaded, atoms, known)


def _drawn(settings: Sequence[Hardware], chips: int) -> list[Hardware]:
    """The settings with each draw of what is frozen on them; the first of `chips` is the setting's own."""
    found = []
    for hardware in settings:
        draws = chips if hardware.is_frozen_random or hardware.follows_calls else 1
        found += [hardware, *(hardware.override(chip=hardware.chip + k) for k in range(1, draws))]
    return list(dict.fromkeys(found))


def resume_sweep(
    folder: str | Path, device: torch.device | str = "cpu", board: BoardSettings | None = None
) -> SweepPlan:
    """The sweep that was begun in a folder.

    Args:
        folder: of the sweep.
        device: where to compute.
        board: other way to the board of the sweep; None is the one it was begun with.

    Raises:
        InputError: there is none, it has no board to be reached otherwise, or its model or structure has changed since.
    """
    settings = SweepSettings.read(folder)
    if board is not None:
        if settings.measured is None:
            raise InputError(f"{folder}: was begun without a board; leave --driver out, or start a new sweep.")
        settings = settings.override(board=board)
    origin = settings.origin
    model = load_model(origin.model, device)
    changed = {origin.model: fingerprint(model) != settings.fingerprint}
    if origin.structure_sha256:
        changed[origin.structure] = sha256(origin.structure) != origin.structure_sha256
    for what, is_changed in changed.items():
        if is_changed:
            raise InputError(f"{what}: has changed since {folder} was begun; start a new sweep.")
    return SweepPlan(model, read_structure(origin.structure, origin.frame, origin.format), settings)


def sweep_folder(plan: SweepPlan, out: Path | None = None, overwrite: bool = False) -> Path:
    """An empty folder for a new sweep: `out`, or where it is None sweeps/NAME-001 and so on.

    Raises:
        InputError: `out` exists and may not be replaced, or holds something that no sweep has written.
    """
    origin = plan.settings.origin
    if out is None:
        return new_folder("sweeps", Path(origin.structure).stem)
    refuse_existing(out, overwrite, origin.structure, origin.model)
    if out.is_dir():
        runs = [path for path in out.iterdir() if (path / HARDWARE).is_file()]
        refuse_foreign(out, beside={path.name for path in runs})
        for run in runs:
            refuse_foreign(run, beside={HARDWARE})
        for run in runs:
            shutil.rmtree(run)
    clear_run(out)
    return out


def require_ranges(model: ForceField, hardware: Hardware) -> None:
    """Raise InputError where a model lacks a range that the hardware's converters need."""
    if needs_calibration(model, hardware):
        raise InputError(
            f"the converters of {hardware.describe()} were never calibrated for this model; train it with such "
            "hardware, or set adc_range to full or range to dynamic."
        )


def on_hardware(model: ForceField, hardware: Hardware) -> ForceField:
    """The same trained model on other hardware.

    Raises:
        InputError: it lacks a range that the hardware's converters need.
    """
    require_ranges(model, hardware)
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
    with held(out):
        return _run_sweep(atoms, model, config, out, listener)


def _run_sweep(
    atoms: Atoms, model: ForceField, config: SweepSettings, out: str | Path, listener: Listener
) -> list[Path]:
    models = [on_hardware(model, hardware) for hardware in config.runs]
    folders = [folder_of(out, number, hardware) for number, hardware in enumerate(config.settings)]
    order = list(range(len(folders)))
    if config.measured is not None:
        folders.append(Path(out) / f"{len(folders):02d}-board")
        order.insert(0, len(order))
    for place, number in enumerate(order):
        mine, folder, origin = models[number], folders[number], config.origin
        if (folder / "summary.json").is_file():
            continue
        resume = (folder / "restart.safetensors").is_file()
        if not resume and folder.exists():  # cut off before the first state was saved
            refuse_foreign(folder, beside={HARDWARE})
            shutil.rmtree(folder)
        own = _OneOf(place, len(folders), mine.hardware, listener)
        board = config.board if number == len(config.settings) else BoardSettings()
        with on_board(mine, board, origin.model, config.md.seed, own):
            folder.mkdir(parents=True, exist_ok=True)
            note = "# The hardware of this run, in place of the model's own; continue with rgnn sweep --resume.\n"
            write_atomic(folder / HARDWARE, note + dump_yaml({"hardware": mine.hardware.to_mapping()}))
            start = None if resume else atoms
            run_atoms(
                start, mine, config.md, folder, resume=resume, origin=origin.override(board=board), listener=own
            )  # fmt: skip
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
