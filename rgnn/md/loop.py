"""The loop over steps of every run: safeguards, outputs and restart, whatever moves the atoms."""

import json
import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np

from rgnn.base.errors import BrokenRunError, Interrupted, LostBoard
from rgnn.base.events import SILENT, Listener
from rgnn.base.files import write_atomic
from rgnn.md.contacts import ContactWatch
from rgnn.md.domain_watch import UncertaintyMonitor
from rgnn.md.outputs import Outputs, extended_xyz, labelled_frame
from rgnn.md.record import summarise
from rgnn.md.settings import MDResult, MDSettings
from rgnn.md.state import State, fingerprints
from rgnn.models.base import ForceField

# A run this many times hotter than asked for (or than 300 K) has left the region where the model means anything.
HOTTEST = 20.0


class Mover(Protocol):
    """What moves the atoms of a run, one step at a time. Where several processes share a run, all call in turn.

    Attributes:
        state: of the run.
        writes: whether this process writes the files.
        net_force: size of the sum of the forces before its removal, eV/Angstrom.
        sigma: [N] standard deviation of a force component, eV/Angstrom; None where it was not estimated.
    """

    state: State
    writes: bool

    @property
    def net_force(self) -> float:
        """Size of the sum of the forces before its removal, eV/Angstrom."""

    @property
    def sigma(self) -> np.ndarray | None:
        """[N] standard deviation of a force component, eV/Angstrom; None where it was not estimated."""

    def start(self) -> None:
        """Compute the forces at the first step, where the state has none."""

    def stopping(self, asked: bool) -> bool:
        """Whether any of the processes was asked to stop."""

    def step(self, estimate: bool) -> float:
        """Make the next step and add the work of the forces to the state; the temperature after it, K.

        Args:
            estimate: the uncertainty of the new forces is wanted.
        """

    def fault(self) -> str | None:
        """What has stopped to mean anything since the step before, in words; None where all is well."""

    def hottest(self) -> str:
        """Words on where a runaway temperature comes from, beginning with a comma; empty where that is not known."""

    def good(self) -> State | None:
        """A copy of the state, to be saved if the next step goes wrong; None where the last restart file must do."""

    def update(self) -> bool:
        """Bring the state up to date; False on processes that do not hold all of it."""

    def result(self, found: MDResult | None) -> MDResult:
        """The result of the run on all processes, from that of the one that writes."""

    def close(self) -> None:
        """Free what the mover holds."""


class Loop:
    """One run.

    Args:
        mover: what moves the atoms.
        model, settings, out: of the run.
        resumed: the run continues from its restart file.
        monitor: looks at the uncertainty of forces at each log row; None does not.
        listener: receives (steps, temperature) and sentences, and may ask to stop.
        slow: model of multiple time stepping, whose energy the run has; None without.
    """

    def __init__(
        self,
        mover: Mover,
        model: ForceField,
        settings: MDSettings,
        out: Path,
        *,
        resumed: bool = False,
        monitor: UncertaintyMonitor | None = None,
        listener: Listener = SILENT,
        slow: ForceField | None = None,
    ) -> None:
        self.mover, self.model, self.settings, self.out = mover, model, settings, out
        self.monitor, self.listener, self.resumed = monitor, listener, resumed
        self.state = mover.state
        self.first = self.state.step
        self.fingerprint = fingerprints(model, slow)
        self.has_energy = "energy" in (slow or model).outputs
        self.good: State | None = None
        reach = model.settings.cutoff
        self.contacts = ContactWatch(model.provenance.seen, settings.close_contacts, listener.warn, reach)
        self.too_close: str | None = None

    def run(self) -> MDResult:
        """Run to the last step, and write all the outputs.

        Raises:
            BrokenRunError: a step went wrong. The last good state is kept, and broken.xyz holds the frame that failed.
            Interrupted: the listener asked to stop; the state is saved.
        """
        self.began = time.monotonic()
        self.saved = self.began, self.first
        try:
            with self._outputs() as outputs:
                try:
                    self._steps(outputs)
                except BrokenRunError:
                    self._keep_what_broke(outputs)
                    raise
            return self._finish()
        finally:
            self.mover.close()

    def _outputs(self) -> "Outputs | nullcontext[None]":
        if not self.mover.writes:
            return nullcontext()
        cut_back_to, uncertain = self.first if self.resumed else None, self.monitor is not None
        return Outputs(
            self.out, self.state.atoms, self.settings, cut_back_to, uncertain=uncertain, has_energy=self.has_energy
        )

    def _steps(self, outputs: Outputs | None) -> None:
        state, settings, mover, total = self.state, self.settings, self.mover, self.settings.total_steps
        if not self.resumed or state.forces is None:
            mover.start()
            self._check(None)
            self._compare_with_training()
            self._write(outputs, save=True)
            self._require_distance()
        while state.step < total:
            if mover.stopping(self.listener.stop()):
                self._write(outputs, save=True, again=True)
                raise Interrupted(f"stopped at step {state.step} as asked; the state is saved", "dynamics", self.out)
            self.good = mover.good()
            due = (state.step + 1) % settings.write_every == 0
            try:
                temperature = mover.step(estimate=due and self.monitor is not None)
            except LostBoard as lost:
                raise self._lost(lost, outputs) from None
            self._check(temperature)
            self._write(outputs, save=state.step % settings.restart_every == 0 or state.step == total)
            if due:
                self._require_distance()
            self.listener.progress(state.step, total, f"{temperature:.0f} K")

    def _write(self, outputs: Outputs | None, *, save: bool, again: bool = False) -> None:
        """What is due at this step, unless it is written `again`, and the restart file; all processes take part."""
        state, mover = self.state, self.mover
        due = state.step % self.settings.write_every == 0 and not again
        if not (due or save) or not mover.update() or outputs is None:
            return
        sigma, ratio = mover.sigma, math.nan
        if due and self.monitor is not None and sigma is not None:
            self.monitor.look(state.step, sigma)
            ratio = self.monitor.ratio(sigma)
        if due:
            self.too_close = self.contacts.look(state.step, state.atoms)
            outputs.write(state, mover.net_force, sigma, ratio, self.contacts)
        if save:
            outputs.flush()
            state.save(self.out, self.fingerprint, self.settings)
            now, step = time.monotonic(), state.step
            outputs.write_speed(step, step - self.saved[1], now - self.saved[0])
            self.saved = now, step

    def _check(self, temperature: float | None) -> None:
        """Raise BrokenRunError where the run has stopped to mean anything."""
        if (fault := self.mover.fault()) is not None:
            raise self._broken(fault)
        if temperature is None:
            return
        if not temperature <= HOTTEST * max(self.settings.target(self.state.step), 300.0):
            raise self._broken(f"the temperature reached {temperature:.4g} K{self.mover.hottest()}")

    def _require_distance(self) -> None:
        """Raise BrokenRunError, on all processes alike, where the one that writes has found atoms too close."""
        if self.mover.stopping(self.too_close is not None):
            raise self._broken(self.too_close or "atoms came closer than in any training frame")

    def _broken(self, what: str) -> BrokenRunError:
        step, kept = self.state.step, "the restart file keeps an earlier state"
        if self.good is not None:
            kept = f"the restart file keeps step {self.good.step}, broken.xyz what came after"
        elif not step:
            kept = "nothing has moved yet"
        return BrokenRunError(
            f"{self.out}: at step {step} {what}; {kept}. Start again after a minimisation, with a smaller timestep or "
            "a lower temperature, or train the model further on frames like these."
        )

    def _keep_what_broke(self, outputs: Outputs | None) -> None:
        """Save the last good step, and beside it the frame that was not."""
        if self.good is None or outputs is None:
            return
        write_atomic(self.out / "broken.xyz", self._frame())
        if self.good.forces is not None:
            outputs.flush()
            self.good.save(self.out, self.fingerprint, self.settings)

    def _lost(self, lost: LostBoard, outputs: Outputs | None) -> LostBoard:
        """The board has stopped in a step: the state of before is saved."""
        good = self.good
        if good is None or good.forces is None or outputs is None:
            return lost
        outputs.flush()
        good.save(self.out, self.fingerprint, self.settings)
        return LostBoard(f"{lost}; the state of step {good.step} is saved", "dynamics", self.out)

    def _compare_with_training(self) -> None:
        """Say so where forces at the start are far beyond those that the model has seen."""
        seen, forces = self.model.provenance.seen.largest_force, self.state.forces
        if forces is None or not seen:
            return
        largest = float(np.linalg.norm(forces, axis=1).max())
        if largest > seen:
            self.listener.info(
                f"The largest force at the start is {largest:.3g} eV/Angstrom, where the training set has {seen:.3g} "
                "at most; a minimisation relaxes the structure first."
            )

    def _finish(self) -> MDResult:
        """Write the last structure and the summary."""
        seconds, found = time.monotonic() - self.began, None
        self.mover.update()
        if self.mover.writes:
            write_atomic(self.out / "final.xyz", self._frame())
            (self.out / "broken.xyz").unlink(missing_ok=True)  # of an earlier end
            limits = self.contacts.limits
            found = summarise(self.out, self.state, self.settings, seconds, self.first, limits)
        result = self.mover.result(found)
        if self.mover.writes:
            write_atomic(self.out / "summary.json", json.dumps(asdict(result), indent=2) + "\n")
        return result

    def _frame(self) -> str:
        """The state in extended XYZ."""
        return extended_xyz(labelled_frame(self.state, self.settings.timestep))
