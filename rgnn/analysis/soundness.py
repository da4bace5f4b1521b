"""Whether a trajectory means anything: atoms that came too close, and runs that broke off."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from rgnn.analysis.trajectory import Trajectory
from rgnn.base.errors import InputError
from rgnn.base.provenance import TrainingDomain
from rgnn.base.settings import read_yaml
from rgnn.md.contacts import ContactLimits, Pair, closest_within, pair_name, pairs_of
from rgnn.md.sweep import HARDWARE
from rgnn.models.checkpoints import fingerprint, load_model

# A frame of a run that broke off is no part of what was sound where it is this many times hotter than its target, and
# by so many standard deviations of the temperature of its atoms, (2 / 3N)^(1/2) of it.
TOO_HOT, DEVIATIONS = 2.0, 6.0
# Reach of a wide look at the closest atoms, in limits: so far that a sound pair's closest distance is seen as well.
WIDE = 1.5
# Distances within so many Angstrom of each other are one; of such, the first counts.
SAME = 1e-6


@dataclass(frozen=True)
class Approach:
    """Two atoms of a pair of elements at their closest.

    Attributes:
        pair: atomic numbers, the lower first.
        distance: Angstrom.
        frame: number in the trajectory.
        time: ps; None where it is not known.
    """

    pair: Pair
    distance: float
    frame: int
    time: float | None

    @property
    def when(self) -> str:
        """As "1.2 ps" or "frame 7"."""
        return f"frame {self.frame}" if self.time is None else f"{self.time:.4g} ps"


@dataclass
class Closest:
    """The closest atoms of the frames that were looked at.

    Attributes:
        limits: what is too close.
        approaches: the closest of each pair of elements so far, where any were near enough to be seen.
        first: where a pair was too close for the first time.
    """

    limits: ContactLimits
    approaches: dict[Pair, Approach] = field(default_factory=dict)
    first: Approach | None = None

    def look(self, atoms: Atoms, frame: int, time: float | None, *, wide: bool = False) -> bool:
        """At a frame; whether two of its atoms are too close. A wide look takes longer, and measures all pairs."""
        limit = max(self.limits.limit(pair) for pair in pairs_of(atoms.numbers))
        closest = closest_within(atoms, WIDE * limit if wide else limit)
        for pair, distance in closest.items():
            if pair not in self.approaches or distance < self.approaches[pair].distance - SAME:
                self.approaches[pair] = Approach(pair, distance, frame, time)
        worst = self.limits.too_close(closest)
        if worst is not None and self.first is None:
            self.first = Approach(worst, closest[worst], frame, time)
        return worst is not None

    @property
    def worst(self) -> Approach | None:
        """The pair that was farthest below its limit, at its closest; None where all were above."""
        pair = self.limits.too_close({pair: a.distance for pair, a in self.approaches.items()})
        return None if pair is None else self.approaches[pair]

    @property
    def words(self) -> str:
        """Which pair was too close, when, and against what; empty where none was."""
        if self.first is None or self.worst is None:
            return ""
        first, worst = self.first, self.worst
        said = f"{pair_name(first.pair)} are {first.distance:.3g} Angstrom apart at {first.when}"
        if worst != first:
            other = "" if worst.pair == first.pair else f"{pair_name(worst.pair)} "
            said += f" and {other}{worst.distance:.3g} at {worst.when}"
        return f"{said}{self.limits.words(worst.pair)}"


def time_of(trajectory: Trajectory, atoms: Atoms, frame: int) -> float | None:
    """Time of a frame in ps, as it says itself or as the interval gives it; None where neither is known."""
    if "time_fs" in atoms.info:
        return float(atoms.info["time_fs"]) / 1000
    return None if trajectory.interval is None else frame * trajectory.interval


def sound_part(
    trajectory: Trajectory, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Trajectory, str]:
    """The frames before the first with atoms too close, or too hot where the run broke off; and why it ends there.

    Raises:
        InputError: there are none.
    """
    looked, end, why = Closest(limits_of(trajectory)), trajectory.length, broke_off(trajectory)
    hotness = _hotness(trajectory) if why else np.zeros(0)
    for frame, atoms in enumerate(trajectory.frames()):
        progress(frame + 1, trajectory.length)
        if looked.look(atoms, frame, time_of(trajectory, atoms, frame)):
            end, why = frame, looked.words
            break
        hot = max(TOO_HOT, 1 + DEVIATIONS * (2 / (3 * len(atoms))) ** 0.5)
        if frame < len(hotness) and hotness[frame] > hot:
            end, why = frame, f"the temperature is {hotness[frame]:.2g} times its target at frame {frame}"
            break
    if not end:
        raise InputError(f"{trajectory.path}: has no sound part: {looked.words or why} from its first frame on.")
    log = trajectory.log
    if log is not None:
        log = {name: values[:end] for name, values in log.items()}
    return replace(trajectory, length=end, log=log), why


def _hotness(trajectory: Trajectory) -> np.ndarray:
    """[rows] temperature over its target, or over 300 K where that is more, as the log has them for each frame."""
    log = trajectory.log or {}
    if "temperature_K" not in log:
        return np.zeros(0)
    target = log.get("target_K", np.full(len(log["temperature_K"]), np.nan))
    target = np.where(np.isfinite(target), target, trajectory.target or np.inf)
    return np.asarray(log["temperature_K"] / np.maximum(target, 300.0))


def limits_of(trajectory: Trajectory) -> ContactLimits:
    """What is too close in a trajectory: as its run recorded, else as its model says, else by covalent radii."""
    if not trajectory.is_run or not (trajectory.path / "config.yaml").is_file():
        return ContactLimits()
    record = read_yaml(trajectory.path / "config.yaml")
    if record.get("seen"):
        return ContactLimits.of(TrainingDomain.from_mapping(record["seen"], f"{trajectory.path}/config.yaml: seen"))
    return ContactLimits.of(_seen_by_model(trajectory.path, record))


def _seen_by_model(run: Path, record: dict[str, Any]) -> TrainingDomain:
    """Of the model of a run that has not recorded it; nothing where the model has gone or is another by now.

    The model of a sweep's run has other hardware, and so another fingerprint, than the one that lies at its path.
    """
    origin = record.get("origin")
    path = origin.get("model") if isinstance(origin, dict) else None
    if not path:
        return TrainingDomain()
    try:
        model = load_model(path)
    except (InputError, OSError):
        return TrainingDomain()
    same = (run / HARDWARE).is_file() or fingerprint(model) == record.get("model_fingerprint")
    return model.provenance.seen if same else TrainingDomain()


def broke_off(trajectory: Trajectory) -> str:
    """When a run broke off, in words; empty where it did not, and of files that are no run."""
    file = trajectory.path / "broken.xyz"
    if not (trajectory.is_run and file.is_file()):
        return ""
    try:
        info = ase.io.read(file, format="extxyz").info
        return f"the run broke off at step {int(info['step'])}, {float(info['time_fs']) / 1000:.4g} ps"
    except Exception:  # whatever ASE's reader runs into: that the file is there says enough
        return "the run broke off"
