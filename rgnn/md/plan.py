"""From what a user asks of molecular dynamics to runs that are ready to start."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ase import Atoms

from rgnn.base.errors import BrokenRunError, InputError, Interrupted, LostBoard
from rgnn.base.events import SILENT, Listener
from rgnn.base.run_folder import clear_run, is_lock, new_folder, refuse_existing
from rgnn.chip.board.settings import BoardSettings
from rgnn.chip.hardware import Hardware
from rgnn.md.barostat import require_moving_cell
from rgnn.md.batch import run_batch
from rgnn.md.run import run_atoms
from rgnn.md.settings import MDRecord, MDResult, MDSettings, RunOrigin, Stage
from rgnn.md.slow_model import DEFAULT_EVERY, SlowModel, require_slow_model
from rgnn.md.structures import (
    check_structure,
    outside_training,
    read_structure,
    read_structures,
    require_velocities,
)
from rgnn.models.base import ForceField
from rgnn.models.boards import on_board
from rgnn.models.checkpoints import load_model
from rgnn.models.uncertainty import Uncertainty, chosen_uncertainty


@dataclass(frozen=True)
class MDRequest:
    """Molecular dynamics as it is asked for; what is left out comes from the file, the resumed run or the defaults.

    Attributes:
        structures: structure files; several run together.
        model: model folder or training run.
        config: a YAML file with settings, such as the config.yaml of a run.
        frame: frame of the structure file; negative numbers count from the end.
        frames: several frames of the file, run together: "0:10", "0:100:10" or "all".
        format: format of the structure file; None is what ASE takes it for.
        temperature: K, or from one to another as "300:1500".
        changes: further fields of `MDSettings`, by name.
        out: folder of the run, or of the runs.
        resume: a run, or a folder of runs, to continue.
        overwrite: replace a run that already lies at `out`.
        board: that the chip is measured on; None is that of the file or of the resumed run, or none.
        slow_model: model folder or training run that is asked at every n-th step; None is that of the file or of the
            resumed run, or none.
    """

    structures: tuple[Path, ...] = ()
    model: Path | None = None
    config: Path | None = None
    frame: int | None = None
    frames: str | None = None
    format: str | None = None
    temperature: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    out: Path | None = None
    resume: Path | None = None
    overwrite: bool = False
    board: BoardSettings | None = None
    slow_model: Path | None = None

    def __post_init__(self) -> None:
        if self.resume is None:
            return
        beside: dict[str, object] = {
            "a structure": self.structures or None,
            "--frame": self.frame,
            "--frames": self.frames,
        }
        beside |= {"--format": self.format, "--out": self.out, "--config": self.config}
        for what, value in beside.items():
            if value is not None:
                raise InputError(f"--resume takes all settings from the run, so {what} cannot be given; leave it out.")

    @property
    def together(self) -> bool:
        """Whether several new runs are asked for at once."""
        return self.resume is None and (self.frames is not None or len(self.structures) > 1)

    def record(self, newest_model: Callable[[], Path]) -> MDRecord:
        """Settings and origin of a single run, or of the first of several; `newest_model` is asked where none is named.

        Raises:
            InputError: no structure, no model, or settings that contradict each other.
        """
        known = self._known() if self.resume is None else _of_run(self.resume, self.model)
        origin = known.origin
        if not origin.model:
            origin = origin.override(model=named(newest_model()))
        if self.board is not None:
            origin = origin.override(board=self.board)
        if self.slow_model is not None:
            origin = origin.override(slow_model=named(self.slow_model))
        changed = self.changed(known.md)
        if origin.slow_model and changed.slow_every is None:
            changed = changed.override(slow_every=DEFAULT_EVERY)
        return known.override(md=changed, origin=origin)

    def _known(self) -> MDRecord:
        """Those of the file, with structure and model as named."""
        known = MDRecord() if self.config is None else MDRecord.read(self.config)
        origin = known.origin
        if not self.structures and not origin.structure:
            raise InputError("there is no structure to start from; name one, as in: rgnn md structure.xyz")
        if self.structures:  # frame and format in the file belong to the file's structure
            origin = origin.override(structure=str(self.structures[0]), structure_sha256="", frame=-1, format=None)
        changes: dict[str, Any] = {} if self.model is None else {"model": named(self.model)}
        changes |= {} if self.frame is None else {"frame": self.frame}
        changes |= {} if self.format is None else {"format": self.format}
        return known.override(origin=origin.override(**changes))

    def changed(self, settings: MDSettings) -> MDSettings:
        """Settings with what the request asks for; two temperatures make one stage of all steps.

        Raises:
            InputError: steps or a temperature that the stages contradict.
        """
        changes = dict(self.changes)
        if self.temperature is None:
            return settings.override(**changes)
        first, _, last = self.temperature.partition(":")
        try:
            kelvin, to = (float(part) if part else None for part in (first, last))
        except ValueError:
            kelvin, to = None, None
        if kelvin is None or (":" in self.temperature and to is None):
            raise InputError(f"the temperature is '{self.temperature}', but it must be one number, or two as 300:1500.")
        if to is None:
            return settings.override(**changes, temperature=kelvin)
        steps = changes.pop("steps", None) or settings.total_steps
        ramp = Stage(name="ramp", steps=steps, temperature_from=kelvin, temperature_to=to)
        return settings.override(**changes, stages=(ramp,), steps=None, temperature=None)


@dataclass(frozen=True)
class Job:
    """Runs that are ready to start.

    Attributes:
        model: the model, on its device.
        records: settings and origin of each run.
        folders: folder of each run.
        out: the folder of a single run, or the one that holds all.
        structures: where each run starts; None where they are resumed.
        uncertainty: by which forces are judged in each log row; None does not.
        resume: the runs continue from their restart files.
        left_out: runs of a resumed folder that broke off, and stay as they are.
        together: several runs with one call of the model for each step.
        slow: model of multiple time stepping; None without.
    """

    model: ForceField
    records: Sequence[MDRecord]
    folders: Sequence[Path]
    out: Path
    structures: Sequence[Atoms] | None
    uncertainty: Uncertainty | None
    resume: bool
    left_out: Sequence[Path] = ()
    together: bool = False
    slow: SlowModel | None = None

    @property
    def settings(self) -> MDSettings:
        """Settings of the first run; the others differ in the seed."""
        return self.records[0].md

    @property
    def origin(self) -> RunOrigin:
        """Origin of the first run."""
        return self.records[0].origin

    @property
    def hardware(self) -> Hardware:
        """The hardware that the runs read."""
        return self.model.hardware.with_given(self.settings.bits, self.settings.noise)

    @property
    def warnings(self) -> list[str]:
        """What a user should know before the runs start."""
        last_word = self.model if self.slow is None else self.slow.model
        warns = self.settings.warning and "energy" not in last_word.outputs
        found = [self.settings.warning] if warns else []
        if self.uncertainty is not None and self.hardware != self.model.hardware:
            found.append(
                "the uncertainty was calibrated on the hardware as trained, which this is not; take it for a trend."
            )
        for folder, atoms in zip(self.folders, self.structures or (), strict=False):
            said = outside_training(atoms, self.model)
            found += [f"{folder.name}: {message}" for message in said] if self.together else said
        return found

    def run(self, listener: Listener) -> list[MDResult | BrokenRunError | Interrupted]:
        """Run to the end; of several runs, those that break off leave the others alone.

        Returns:
            The outcome of each run.

        Raises:
            BrokenRunError, Interrupted: a single run broke off or was stopped.
            LostBoard: the board that runs are measured on does not answer any more; their states are saved.
        """
        with on_board(self.model, self.origin.board, self.origin.model, self.settings.seed, listener):
            try:
                return self._run(listener)
            except LostBoard as lost:
                kept = all((folder / "restart.safetensors").exists() for folder in self.folders)
                if lost.resume_from is None and kept:  # of several runs, each has saved its state
                    raise LostBoard(f"{lost}; the states of all runs are saved", "dynamics", self.out) from None
                raise

    def _run(self, listener: Listener) -> list[MDResult | BrokenRunError | Interrupted]:
        structures = self.structures
        if not self.together:
            atoms = None if structures is None else structures[0]
            options = {"resume": self.resume, "origin": None if self.resume else self.origin}
            result = run_atoms(
                atoms, self.model, self.settings, self.folders[0], listener=listener, uncertainty=self.uncertainty,
                slow=self.slow, **options,  # type: ignore[arg-type]
            )  # fmt: skip
            return [result]
        return run_batch(
            structures, self.model, [r.md for r in self.records], self.folders, resume=self.resume,
            origins=[r.origin for r in self.records], listener=listener, uncertainty=self.uncertainty,
        )  # fmt: skip


def plan(
    request: MDRequest, device: torch.device | str, newest_model: Callable[[], Path], folder: Path | None = None
) -> Job:
    """Load the model and the structures, and make the folders, of the runs that are asked for.

    Args:
        request: what is asked for.
        device: to compute on.
        newest_model: the model to take where neither the request, its file nor the resumed run names one.
        folder: of a new single run, which another process has prepared; None prepares one.

    Raises:
        InputError: a structure that cannot be run, no model, a folder that holds something else, or settings that
            contradict each other.
    """
    if request.resume is not None and is_batch(request.resume):
        return _resumed_batch(request, request.resume, device)
    record = request.record(newest_model)
    settings, origin = record.md, record.origin
    require_board_fits(settings, origin.board)
    if request.out is not None and folder is None:
        refuse_existing(request.out, request.overwrite, origin.model, origin.structure, *request.structures)
    model = load_model(origin.model, device)
    known = chosen_uncertainty(origin.model, model, settings.uncertainty)
    slow = _slow_model(request, settings, origin, device)
    if request.together:
        return _new_batch(request, record, model, known)
    if request.resume is not None:
        return Job(model, [record], [request.resume], request.resume, None, known, resume=True, slow=slow)
    atoms = read_structure(origin.structure, origin.frame, origin.format)
    for each in [model] if slow is None else [model, slow.model]:
        check_structure(atoms, each, settings.any_element, origin.structure)
    require_moving_cell(atoms, model, settings, origin.structure)
    if settings.keep_velocities:
        require_velocities(atoms, origin.structure)
    board, other = origin.board, origin.slow_model
    origin = RunOrigin.of(origin.structure, origin.model, origin.frame, origin.format)
    origin = origin.override(board=board, slow_model=other)
    if folder is None:
        folder = request.out or new_folder("md", Path(origin.structure).stem)
        clear_run(folder)
    return Job(model, [record.override(origin=origin)], [folder], folder, [atoms], known, resume=False, slow=slow)


def _slow_model(
    request: MDRequest, settings: MDSettings, origin: RunOrigin, device: torch.device | str
) -> SlowModel | None:
    """The model of multiple time stepping, of a single run."""
    slow = SlowModel(load_model(origin.slow_model, device), settings.slow_hardware) if origin.slow_model else None
    require_slow_model(settings, slow)
    if slow is not None and request.together:
        raise InputError("a slow model runs with one structure at a time; name one, or leave --slow-model out.")
    return slow


def require_board_fits(settings: MDSettings, board: BoardSettings) -> None:
    """Raise InputError where settings mean nothing on a board."""
    if not board.driver:
        return
    if settings.noise is not None:
        raise InputError("a board fluctuates as it does, so noise cannot be given with a driver; leave --noise out.")
    if settings.engine == "lammps":
        raise InputError("a board answers one process, not LAMMPS' several; leave --driver or --engine out.")


def _new_batch(request: MDRequest, record: MDRecord, model: ForceField, known: Uncertainty | None) -> Job:
    """New runs, one for each file or frame, each with a separate seed and a folder OUT/NUMBER-NAME."""
    origin, records, names, structures = record.origin, list[MDRecord](), list[str](), list[Atoms]()
    for path in request.structures or (Path(origin.structure),):
        if request.frames is None:
            there = {origin.frame: read_structure(path, origin.frame, origin.format)}
        else:
            there = read_structures(path, request.frames, origin.format)
        mine = RunOrigin.of(path, origin.model, origin.frame, origin.format).override(board=origin.board)
        for frame, atoms in there.items():
            which = f", frame {frame}" if request.frames else ""
            check_structure(atoms, model, record.md.any_element, f"{path}{which}")
            require_moving_cell(atoms, model, record.md, f"{path}{which}")
            if record.md.keep_velocities:
                require_velocities(atoms, f"{path}{which}")
            settings = record.md.override(seed=record.md.seed + len(structures))
            structures.append(atoms)
            records.append(record.override(md=settings, origin=mine.override(frame=frame)))
            names.append(path.stem if request.frames is None else f"{path.stem}-{frame}")
    out = request.out or new_folder("md", "batch")
    if out.exists():
        for left in sorted(out.iterdir()):
            if is_lock(left):
                left.unlink()
            else:
                clear_run(left)
                left.rmdir()
    width = len(str(len(names) - 1))
    folders = [out / f"{k:0{width}d}-{name}" for k, name in enumerate(names)]
    return Job(model, records, folders, out, structures, known, resume=False, together=True)


def _resumed_batch(request: MDRequest, out: Path, device: torch.device | str) -> Job:
    """The runs of a folder, except for those that broke off."""
    broken = [folder for folder in _run_folders(out) if (folder / "broken.xyz").exists()]
    folders = [folder for folder in _run_folders(out) if folder not in broken]
    if not folders:
        raise InputError(f"{out}: all its runs broke off; start again with other settings.")
    records = [_of_run(folder, request.model) for folder in folders]
    records = [record.override(md=request.changed(record.md)) for record in records]
    if request.board is not None:
        records = [r.override(origin=r.origin.override(board=request.board)) for r in records]
    model = load_model(records[0].origin.model, device)
    known = chosen_uncertainty(records[0].origin.model, model, records[0].md.uncertainty)
    return Job(model, records, folders, out, None, known, resume=True, left_out=broken, together=True)


def _of_run(folder: Path, model: Path | None) -> MDRecord:
    """The record of a run to resume; its model may have been moved."""
    record = MDRecord.read(folder)
    if model is None and not record.origin.model:
        raise InputError(f"{folder}/config.yaml: names no model; name it with --model.")
    return record if model is None else record.override(origin=record.origin.override(model=named(model)))


def _run_folders(out: Path) -> list[Path]:
    return sorted(p for p in out.iterdir() if (p / "config.yaml").is_file()) if out.is_dir() else []


def is_batch(folder: Path) -> bool:
    """Whether the folder holds runs, and is none itself."""
    return not (folder / "config.yaml").is_file() and bool(_run_folders(folder))


def named(model: Path) -> str:
    """The path of a model to record: a link such as runs/latest will point elsewhere tomorrow."""
    return os.path.relpath(model.resolve()) if model.is_symlink() else str(model)


def run_md(
    structure: str | Path | Atoms | None,
    model: str | Path | ForceField | None = None,
    out: str | Path | None = None,
    *,
    frame: int = -1,
    resume: str | Path | None = None,
    driver: str | None = None,
    slow_model: str | Path | ForceField | None = None,
    device: torch.device | str = "cpu",
    listener: Listener = SILENT,
    **settings: Any,
) -> MDResult:
    """Run molecular dynamics of one structure: what `rgnn md` does.

    Args:
        structure: a structure file or atoms; None on `resume`.
        model: a model folder, a training run, or a model; None on `resume` takes that of the run.
        out: run folder; None makes md/NAME-001 and so on.
        frame: frame of the structure file; -1 is the last.
        resume: a run to continue, with `steps` as its new total where it is given.
        driver: board that the chip is measured on, as of `rgnn md --driver`; None simulates it.
        slow_model: a model that corrects `model` at every `slow_every`-th step, see `rgnn.md.slow_model`; None is one
            model, or on `resume` that of the run.
        device: where to compute.
        listener: receives progress, and may ask to stop.
        settings: fields of `MDSettings`, such as steps, temperature, timestep, bits and noise.

    Raises:
        InputError, BrokenRunError, Interrupted: as `rgnn.md.run_atoms`.
    """
    if isinstance(structure, Atoms) or isinstance(model, ForceField) or isinstance(slow_model, ForceField):
        loaded = model if isinstance(model, ForceField) else load_model(_known(model), device)
        other = load_model(slow_model, device) if isinstance(slow_model, str | Path) else slow_model
        if other is not None:
            settings.setdefault("slow_every", DEFAULT_EVERY)
        atoms = structure if isinstance(structure, Atoms) or structure is None else read_structure(structure, frame)
        chosen = MDSettings(**settings)
        folder = new_folder("md", "run") if out is None and resume is None else Path(out or resume or "")
        board = BoardSettings(driver=driver or "")
        require_board_fits(chosen, board)
        with on_board(loaded, board, seed=chosen.seed):
            slow = None if other is None else SlowModel(other, chosen.slow_hardware)
            return run_atoms(atoms, loaded, chosen, folder, resume=resume is not None, listener=listener, slow=slow)
    request = MDRequest(
        () if structure is None else (Path(structure),), None if model is None else Path(model),
        frame=None if resume is not None else frame, changes=settings, out=None if out is None else Path(out),
        resume=None if resume is None else Path(resume),
        board=None if driver is None else BoardSettings(driver=driver),
        slow_model=None if slow_model is None else Path(slow_model),
    )  # fmt: skip
    (result,) = plan(request, device, lambda: _known(None)).run(listener)
    assert isinstance(result, MDResult)
    return result


def _known(model: str | Path | ForceField | None) -> Path:
    """The path of a model, which must be given."""
    if model is None or isinstance(model, ForceField):
        raise InputError("there is no model to run with; name a model folder or a training run.")
    return Path(model)
