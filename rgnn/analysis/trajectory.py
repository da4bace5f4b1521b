"""Where frames come from: a run folder of rgnn, or any trajectory that ASE reads; one frame at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.io.formats import open_with_compression

from rgnn.base.errors import InputError, first_line
from rgnn.base.files import read_csv
from rgnn.base.settings import read_yaml
from rgnn.data.formats import safe_format, structures, times_of
from rgnn.data.formats.labels import TIMES

# A time is even within this part of the interval: files round them.
UNEVEN = 0.1
# A frame belongs to a temperature that was asked for within so many K.
SAME_TEMPERATURE = 0.5


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

    @property
    def is_run(self) -> bool:
        """Whether rgnn wrote it: positions are then never wrapped, and there is a log."""
        return self.log is not None

    def frames(self, first: int = 0, stride: int = 1) -> Iterator[Atoms]:
        """Every `stride`-th frame from `first` on, with positions that cross the cell's faces without a jump.

        Raises:
            InputError: a frame cannot be read, or holds other atoms than the first.
        """
        if self.format == "traj":
            yield from self._indexed(range(first, self.length, stride))
            return
        for number, atoms in enumerate(self._unwrapped()):
            if number >= self.length:
                return
            if number >= first and (number - first) % stride == 0:
                yield atoms

    def _indexed(self, numbers: range) -> Iterator[Atoms]:
        """By number, where the frames between need not be read; all of them, where steps must be followed."""
        with ase.io.Trajectory(self.file) as stored:
            if self.is_run:
                for number in numbers:
                    yield stored[number]
                return
            for number, atoms in enumerate(unwrapped(stored[k] for k in range(self.length))):
                if number in numbers:
                    yield atoms

    def _unwrapped(self) -> Iterator[Atoms]:
        return self._read() if self.is_run else unwrapped(self._read())

    def _read(self) -> Iterator[Atoms]:
        """Frames as they are in the file; those of the temperature, where one is asked for."""
        reader = structures(self.file, self.format)
        number, last = 0, self.length if self.temperature is None else 0
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

    The steps are taken in fractions of each frame's own cell, so a cell that changes carries its atoms along.
    """
    before: np.ndarray | None = None
    for atoms in frames:
        if not atoms.pbc.any() or atoms.cell.rank < 3:
            yield atoms
            continue
        inside = atoms.cell.scaled_positions(atoms.positions)
        if before is not None:
            if before.shape != inside.shape:
                raise InputError(
                    f"a frame has {len(inside)} atoms where the one before had {len(before)}; cut the file."
                )
            inside -= np.round(inside - before) * atoms.pbc
        before = inside
        moved = atoms.copy()
        moved.positions = atoms.cell.cartesian_positions(inside)
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
    settings = read_yaml(path / "config.yaml").get("md") if (path / "config.yaml").is_file() else None
    target = settings.get("temperature") if isinstance(settings, dict) else None
    target = float(target) if isinstance(target, int | float) else None
    log = read_csv(path / "log.csv", "resume the run to mend it")
    opened = Trajectory(path.resolve().name, path, file, kind, log=log, target=target)
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
    interval = (times[-1] - times[0]) / (len(times) - 1)
    off = np.abs(times - times[0] - interval * np.arange(len(times)))
    if interval > 0 and off.max() <= UNEVEN * interval:
        return replace(opened, interval=float(interval) / 1000)
    steps = np.diff(times)
    odd = int(np.flatnonzero(np.abs(steps - steps[0]) > UNEVEN * abs(steps[0]))[:1].sum())
    return replace(
        opened,
        uneven=f"the first frames are {steps[0]:g} fs apart, but frames {odd} and {odd + 1} {steps[odd]:g} fs",
    )


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
