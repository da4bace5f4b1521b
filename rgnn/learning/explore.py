"""The dynamics of a round: until the model does not know enough frames any more, or to its last step."""

import math
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase import Atoms

from rgnn.base.errors import BrokenRunError, InputError
from rgnn.base.events import Listener
from rgnn.base.files import read_csv
from rgnn.base.run_folder import clear_run
from rgnn.base.tensorfiles import read_tensors
from rgnn.learning.settings import LearnSettings
from rgnn.md.contacts import ContactWatch
from rgnn.md.run import run_atoms
from rgnn.md.settings import MDSettings
from rgnn.md.state import FORMAT, VERSION
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import load_model
from rgnn.models.uncertainty import chosen_uncertainty

RESTART = "restart.safetensors"
# The dynamics is looked at each time so many frames have come.
LOOK = 10
# A run with no more of its frames outside than this share is inside: of many atoms one is now and then.
TOLERATED = 0.02
# Frames outside for each that is labelled, so that there is something to choose from.
ENOUGH = 4
# So far outside, as a multiple of the limit, there is nothing to be learned by going on.
FAR = 3.0


@dataclass(frozen=True)
class Exploration:
    """What the dynamics of a round came to.

    Attributes:
        steps: done.
        frames: looked at.
        outside: those of them in which some atom was outside of what the model was trained on.
        first_outside: step of the first of them; None where there is none.
        ended: why the run ended before its last step, in words; empty where it did not.
    """

    steps: int
    frames: int
    outside: int
    first_outside: int | None
    ended: str = ""

    @property
    def is_inside(self) -> bool:
        """Whether the run stayed where the model was trained, to its last step."""
        return not self.ended and self.outside <= TOLERATED * self.frames


def explore(
    atoms: Atoms,
    model: Path,
    out: Path,
    settings: LearnSettings,
    seed: int,
    listener: Listener,
    device: torch.device | str = "cpu",
) -> Exploration:
    """Run dynamics into `out` until enough frames are outside, the run breaks off, or its steps are done.

    A run that was cut off goes on from its restart file.

    Args:
        atoms: where to start.
        model: training run.
        out: folder of the run.
        settings: of the learning.
        seed: of velocities, thermostat and read noise.
        listener: receives steps, and may ask to stop.
        device: to compute on.

    Raises:
        InputError: the model does not know how sure it is.
        Interrupted: the listener asked to stop; the state is saved.
    """
    loaded = load_model(model, device)
    known = chosen_uncertainty(model, loaded)
    if known is None:
        raise InputError(f"{model}: does not know how sure its forces are; train it again.")
    stride, restarts, ended = settings.every * LOOK, out / RESTART, ""
    if out.exists() and not restarts.is_file():
        clear_run(out)
    while not ended:
        done = _saved_step(out)
        ended = _enough(out, settings, done) if done and (done % stride == 0 or done == settings.steps) else ""
        if ended or done >= settings.steps:
            break
        run = MDSettings(
            steps=min(settings.steps, stride * (done // stride + 1)),
            temperature=settings.temperature,
            timestep=settings.timestep,
            write_every=settings.every,
            restart_every=stride,
            trajectory="xyz",
            seed=seed,
        )
        start, steps = None if restarts.is_file() else atoms, _Steps(listener, settings)
        try:
            run_atoms(start, loaded, run, out, resume=start is None, listener=steps, uncertainty=known)
        except BrokenRunError as broken:
            ended = _reason(broken, out)
    steps_done, ratios = _ratios(out)
    outside = steps_done[~(ratios <= 1)].astype(int).tolist()
    first = outside[0] if outside else None
    return Exploration(int(steps_done.max(initial=0)), len(steps_done), len(outside), first, ended)


def _saved_step(out: Path) -> int:
    """The step of the restart file of a run; 0 where there is none."""
    file = out / RESTART
    return int(read_tensors(file, FORMAT, VERSION)[1]["step"]) if file.is_file() else 0


class _Steps(Listener):
    """Passes on the steps, of all that there may be, and the wish to stop; the warnings are what is looked for."""

    def __init__(self, to: Listener, settings: LearnSettings) -> None:
        self.to, self.total = to, settings.steps

    def progress(self, done: float, total: float, note: str = "") -> None:
        """The steps so far."""
        self.to.progress(done, self.total, note)

    def stop(self) -> bool:
        """As the receiver says."""
        return self.to.stop()


def _ratios(out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Steps [n] that were looked at, and [n] the largest uncertainty of an atom over its limit."""
    log = read_csv(out / "log.csv", "remove the folder, and learn again")
    _, first = np.unique(log["step"], return_index=True)  # a run that was stopped has written its last step twice
    return log["step"][first], log["uncertainty_ratio"][first]


def _enough(out: Path, settings: LearnSettings, done: int) -> str:
    """Why no more steps than those done are needed, in words; empty where they are."""
    steps, ratios = _ratios(out)
    ratios = ratios[steps <= done]
    if (~(ratios <= 1)).sum() >= ENOUGH * settings.batch:
        return "enough frames outside"
    return "" if (ratios <= FAR).all() else f"a frame {FAR:g} times beyond the limit"


def _reason(broken: BrokenRunError, out: Path) -> str:
    """What broke a run off, without the folder and the way out."""
    said = str(broken).removeprefix(f"{out}: ")
    return said.partition(";")[0]


def candidates(out: Path, model: ForceField) -> list[Atoms]:
    """Structures of a run that may be labelled: without those whose atoms are closer than matter can be."""
    watch = ContactWatch(model.provenance.seen, "stop", lambda text: None)
    found: dict[int, Atoms] = {}  # by step: a run that was stopped has written its last step twice
    for atoms in ase.io.iread(out / "trajectory.xyz", index=":", format="extxyz"):
        step = int(atoms.info["step"])
        if watch.look(step, atoms) is None and math.isfinite(float(np.abs(atoms.positions).max())):
            found[step] = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    return list(found.values())
