"""Where frames come from: a run folder of rgnn, or any trajectory that ASE reads; one frame at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.io.formats import open_with_compression

from rgnn.base.errors import InputError, first_line
from rgnn.base.files import read_csv
from rgnn.base.settings import read_yaml
from rgnn.data.formats import safe_format, structures, times_of
from rgnn.data.formats.labels import TIMES
from rgnn.md.settings import MDSettings

# Steps of an atom beyond this part of the cell may be those of another image, and where a frame says how many were.
NEARLY_HALF, LOST = 0.4, "rgnn_lost_steps"
# Settings in which runs of the same may differ: where they start, how long they are, and what is written and watched.
# The temperature is compared apart; of stages the whole list has to agree.
FREE = {
    "seed", "steps", "temperature", "minimise", "keep_velocities", "any_element", "write_every", "restart_every",
    "trajectory", "uncertainty", "close_contacts", "max_displacement", "ghosts",
}  # fmt: skip
# A time is even within this part of the interval: files round them.
UNEVEN = 0.1
# A frame belongs to a temperature that was asked for within so many K.
SAME_TEMPERATURE = 0.5
# Positions are those of a frame written twice within so many Angstrom: files round them.
SAME_POSITION = 1e-4


@dataclass(frozen=True)
class Trajectory:
    """Frames of the same atoms, in the order of time; opened by `open_trajectory`.

    Attributes:
        name: to be shown.
        path: run folder or file, as named.
        file, format: what is read, and ASE's name for how.
        length: number of frames.
        interval: between frames in ps; None where nobody knows.
        log: columns of log.csv, where it is a run of rgnn.
        target: temperature in K that the run was started at, where it is known.
        temperature: only frames whose header says this temperature in K.
        uneven: where the times of the file are not evenly spaced, in words; there is no interval then.
        chosen: numbers of the frames in the file that are taken, which are evenly spaced; None is all of them.
        remark: which frames were left out for that, and why; empty where none were.
        timestep: of the run in fs, where it is known.
        conditions: what else than seed and structure decides on a run of rgnn, as its folder says; empty otherwise.
    """

    name: str
    path: Path
    file: Path
    format: str
    length: int = 0
    interval: float | None = None
    log: dict[str, np.ndarray] | None = None
    target: float | None = None
    temperature: float | None = None
    uneven: str = ""
    chosen: tuple[int, ...] | None = None
    remark: str = ""
    timestep: float | None = None
    conditions: str = ""

    @property
    def is_run(self) -> bool:
        """Whether rgnn wrote it: positions are then never wrapped, and there is a log."""
        return self.log is not None

    def frames(self, first: int = 0, stride: int = 1) -> Iterator[Atoms]:
        """Every `stride`-th frame from `first` on, with positions that cross the cell's faces without a jump.

        Raises:
            InputError: a frame cannot be read, or holds other atoms than the first.
        """
        numbers = (range(self.length) if self.chosen is None else self.chosen[: self.length])[first::stride]
        if self.format == "traj":
            yield from self._indexed(numbers)
            return
        wanted, last = set(numbers), max(numbers, default=-1)
        for number, atoms in enumerate(self._unwrapped()):
            if number > last:
                return
            if number in wanted:
                yield atoms

    def _indexed(self, numbers: Sequence[int]) -> Iterator[Atoms]:
        """By number, where the frames between need not be read; all of them, where steps must be followed."""
        with ase.io.Trajectory(self.file) as stored:
            if self.is_run:
                for number in numbers:
                    yield stored[number]
                return
            wanted = set(numbers)
            for number, atoms in enumerate(unwrapped(stored[k] for k in range(max(wanted, default=-1) + 1))):
                if number in wanted:
                    yield atoms

    def _unwrapped(self) -> Iterator[Atoms]:
        return self._read() if self.is_run else unwrapped(self._read())

    def _read(self) -> Iterator[Atoms]:
        """Frames as they are in the file; those of the temperature, where one is asked for."""
        reader = structures(self.file, self.format)
        number, last = (
            0,
            0 if self.temperature is not None else self.length if self.chosen is None else self.chosen[-1] + 1,
        )
        while not last or number < last:  # beyond, a frame may be half written
            try:
                atoms = next(reader, None)
            except InputError:
                raise
            except Exception as error:  # ASE's readers raise whatever their parsing runs into
                raise InputError(f"{self.file}: frame {number} cannot be read ({first_line(error)}).") from None
            if atoms is None:
                return
            number += 1
            if self.temperature is None or _is_at(atoms, self.temperature):
                yield atoms


def _is_at(atoms: Atoms, temperature: float) -> bool:
    known = atoms.info.get("temperature")
    return isinstance(known, int | float | np.number) and abs(known - temperature) <= SAME_TEMPERATURE


def unwrapped(frames: Iterator[Atoms]) -> Iterator[Atoms]:
    """The same frames with each step of an atom taken to its nearest image: exact while steps are below half a cell.

    The steps are taken in fractions of each frame's own cell, so a cell that changes carries its atoms along. Frames
    say under `LOST` which part of all steps so far was nearly half a cell, where the nearest image is a guess.
    """
    before: np.ndarray | None = None
    lost, steps = 0, 0
    for atoms in frames:
        periodic = atoms.pbc & atoms.cell[:].any(axis=1)
        if not periodic.any():
            yield atoms
            continue
        cell = atoms.cell.complete()  # a slab may have no third vector
        inside = cell.scaled_positions(atoms.positions)
        if before is not None:
            if before.shape != inside.shape:
                raise InputError(
                    f"a frame has {len(inside)} atoms where the one before had {len(before)}; cut the file."
                )
            inside -= np.round(inside - before) * periodic
            lost += int((np.abs(inside - before)[:, periodic] > NEARLY_HALF).sum())
            steps += len(inside) * int(periodic.sum())
        before = inside
        moved = atoms.copy()
        moved.info[LOST] = lost / max(1, steps)
        moved.positions = cell.cartesian_positions(inside)
        yield moved


def open_trajectory(
    path: str | Path,
    format: str | None = None,  # noqa: A002 (ASE's word)
    interval: float | None = None,
    temperature: float | None = None,
) -> Trajectory:
    """Open a run folder or a trajectory file.

    Args:
        path: of either.
        format: ASE's name for the file's, where it cannot be recognised.
        interval: between frames in ps, where the frames do not say `time_fs`.
        temperature: take only the frames whose header says `temperature` = this, in K.

    Raises:
        InputError: nothing there to read, or no frames.
    """
    path = Path(path)
    if interval is not None and not 0 < interval < float("inf"):
        raise InputError(f"--interval is {1000 * interval:g} fs, but it must be above 0.")
    if path.is_dir():
        return _open_run(path)
    kind = safe_format(path, format)
    opened = Trajectory(path.stem, path, path, kind, interval=interval, temperature=temperature)
    length = _count(opened)
    if not length:
        what = "no frames" if temperature is None else f"no frames whose header says temperature={temperature:g}"
        raise InputError(f"{path}: holds {what}; name another file.")
    opened = replace(opened, length=length)
    return opened if interval is not None else _timed(opened)


def _open_run(path: Path) -> Trajectory:
    file = next((path / name for name in ("trajectory.traj", "trajectory.xyz") if (path / name).is_file()), None)
    if file is None or not (path / "log.csv").is_file():
        raise InputError(f"{path}: is no run of rgnn md (it has no trajectory or no log.csv); name a run or a file.")
    kind = "traj" if file.suffix == ".traj" else "extxyz"
    record = read_yaml(path / "config.yaml") if (path / "config.yaml").is_file() else {}
    settings: dict[str, Any] = record["md"] if isinstance(record.get("md"), dict) else {}
    hardware = path / "hardware.yaml"  # of a run of a sweep
    # What an earlier rgnn did not know was as by default.
    decisive = {k: settings.get(k, value) for k, value in MDSettings().to_mapping().items() if k not in FREE}
    models = [record.get("model_fingerprint"), record.get("slow_model_fingerprint") or None]
    conditions = str([*models, decisive, read_yaml(hardware) if hardware.is_file() else None])
    target, timestep = (
        float(x) if isinstance(x := settings.get(name), int | float) else None for name in ("temperature", "timestep")
    )
    log = read_csv(path / "log.csv", "resume the run to mend it")
    opened = Trajectory(
        path.resolve().name, path, file, kind, log=log, target=target, timestep=timestep, conditions=conditions
    )
    length = _count(opened)
    if not length:
        raise InputError(f"{path}: its trajectory holds no frames yet; let the run continue.")
    return _timed(replace(opened, length=length))


def _count(opened: Trajectory) -> int:
    """Frames in the file; those of the temperature, where one is asked for."""
    if opened.temperature is None and opened.format == "traj":
        try:
            with ase.io.Trajectory(opened.file) as stored:
                return len(stored)
        except Exception as error:  # what a damaged file makes ASE raise
            raise InputError(f"{opened.file}: cannot be read ({first_line(error)}).") from None
    if opened.temperature is None and opened.format in ("xyz", "extxyz"):
        return _count_xyz(opened.file)
    return sum(1 for _ in opened._read())


def _count_xyz(file: Path) -> int:
    """By its lines alone: a hundred times as fast as reading the numbers. One that is cut short is left out."""
    frames = 0
    with open_with_compression(str(file), "rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                left = int(line) + 1
            except ValueError:
                raise InputError(f"{file}: frame {frames} does not start with its number of atoms.") from None
            for _ in range(left):
                if not (last := next(lines, b"")):
                    return frames
            frames += last.endswith(b"\n")
    return frames


def _timed(opened: Trajectory) -> Trajectory:
    """With the interval that the times of its frames give, or with the words of where they are uneven."""
    known = _times(opened)
    times = np.array([t for t in known if t is not None])
    if len(times) < 2 or len(times) < len(known):
        return opened
    interval = _interval(times)
    if interval is not None:
        return replace(opened, interval=interval / 1000)
    steps = np.diff(times)
    falls = np.flatnonzero(steps < -UNEVEN * np.abs(steps).max())
    if len(falls):
        k = int(falls[0])
        return replace(
            opened,
            uneven=f"time falls from {times[k]:g} to {times[k + 1]:g} fs at frame {k + 1}, so these are several runs "
            "in one file",
        )
    odd = int(np.flatnonzero(np.abs(steps - steps[0]) > UNEVEN * abs(steps[0]))[:1].sum())
    words = f"the first frames are {steps[0]:g} fs apart, but frames {odd} and {odd + 1} {steps[odd]:g} fs"
    chosen = _every(times, float(steps.max())) if steps.max() > 0 else None
    larger = None if chosen is None else _interval(times[chosen])
    if chosen is None or larger is None or not _repeats(opened, times):
        return replace(opened, uneven=words)
    left_out = len(times) - len(chosen)
    return replace(
        opened,
        interval=larger / 1000,
        chosen=tuple(chosen),
        length=len(chosen),
        remark=f"{words}; frames {larger:.4g} fs apart were taken, which leaves out {left_out} of {len(times)}",
    )


def _interval(times: np.ndarray) -> float | None:
    """Between frames in fs, where they are evenly spaced."""
    if len(times) < 2 or not times[-1] > times[0]:
        return None
    interval = float((times[-1] - times[0]) / (len(times) - 1))
    off = np.abs(times - times[0] - interval * np.arange(len(times)))
    return interval if off.max() <= UNEVEN * interval else None


def _every(times: np.ndarray, step: float) -> list[int] | None:
    """Frames from the first on at multiples of a step in fs; None where there is none at one of them."""
    wanted = times[0] + step * np.arange(int((times[-1] - times[0]) / step + UNEVEN) + 1)
    nearest = np.clip(np.searchsorted(times, wanted - UNEVEN * step), 0, len(times) - 1)
    off = np.abs(times[nearest] - wanted)
    return nearest.tolist() if off.max() <= UNEVEN * step else None


def _repeats(opened: Trajectory, times: np.ndarray) -> bool:
    """Whether frames of the same time hold the same positions, as where a run was continued from its last frame."""
    same = set((np.flatnonzero(np.diff(times) == 0) + 1).tolist())
    before: np.ndarray | None = None
    for number, atoms in enumerate(opened._read() if same else ()):
        if number in same and (before is None or not np.allclose(atoms.positions, before, atol=SAME_POSITION)):
            return False
        before = atoms.positions
    return True


def _times(opened: Trajectory) -> list[float | None]:
    """In fs, of all frames; rgnn writes a row of the log with each of its own."""
    if opened.log is not None and len(opened.log["time_fs"]) >= opened.length:
        return [float(time) for time in opened.log["time_fs"][: opened.length]]
    if opened.temperature is None and opened.format == "traj":
        with ase.io.Trajectory(opened.file) as stored:
            return [_time_of(stored[k]) for k in range(opened.length)]
    if opened.temperature is None and (found := times_of(opened.file, opened.format)) is not None:
        return found[: opened.length]
    return [_time_of(atoms) for atoms in opened._read()]


def _time_of(atoms: Atoms) -> float | None:
    """In fs, where the frame says it."""
    known = ((name, atoms.info.get(name)) for name in TIMES)
    found = (TIMES[name] * float(time) for name, time in known if isinstance(time, int | float | np.number))
    return next(found, None)
