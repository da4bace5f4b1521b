"""Multiple time stepping: the forces of one model at each step, and what another one adds at every n-th.

Impulses (r-RESPA; Tuckerman, Berne and Martyna, J. Chem. Phys. 97, 1990, 1992, doi 10.1063/1.463137): where the step
is a multiple of n, velocity Verlet is given

    F_fast + n (F_slow - F_fast)        and F_fast at all other steps,

so the correction acts for n steps at once, half of it on either side. The motion is that of the slow model up to an
error of second order in n times the timestep, it can be reversed, and n = 1 is the slow model alone. It holds as long
as n timesteps are short beside the fastest motion that the correction drives.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes

from rgnn.base.choices import SlowHardware
from rgnn.base.errors import InputError
from rgnn.calculator import RGNNCalculator
from rgnn.chip.hardware import Hardware
from rgnn.md.settings import MDSettings
from rgnn.models.base import ForceField

# Steps between two calls of the slow model, where nothing else is asked for.
DEFAULT_EVERY = 2


@dataclass(frozen=True)
class SlowModel:
    """A model that is asked at every n-th step.

    Attributes:
        model: on the device to compute on.
        choice: hardware that it reads.
    """

    model: ForceField
    choice: SlowHardware = "trained"

    @property
    def hardware(self) -> Hardware:
        """The hardware that it reads."""
        return self.model.hardware.ideal() if self.choice == "ideal" else self.model.hardware

    def describe(self) -> str:
        """Its hardware in words."""
        if not self.model.uses_chip:
            return "all digital"
        return self.hardware.describe() + (" (as trained)" if self.hardware == self.model.hardware else "")


class TwoModels(RGNNCalculator):
    """The calculator of the fast model, whose forces are at every n-th call those of the impulse.

    At these calls the fast model is read without noise: the correction multiplies what it gives by n - 1, and the
    noise would be multiplied as well. A board reads as it does.

    Args:
        model, bits, noise, seed: fast model, as of `RGNNCalculator`.
        slow: the slow model.
        every: n, calls from one question to the slow model to the next; the first is call 0.
        options: further ones of `RGNNCalculator`, for both.

    Attributes:
        slow: calculator of the slow model.
        model_forces: [N, 3] forces of the slow model where it was asked in the last call, eV/Angstrom; else None.
        slow_calls: of the slow model so far.
        seconds: [2] that the fast and the slow model have taken.
    """

    def __init__(
        self,
        model: ForceField,
        bits: int | None,
        noise: float | None,
        seed: int | None,
        *,
        slow: SlowModel,
        every: int,
        **options: Any,
    ) -> None:
        super().__init__(model, bits, noise, seed, **options)
        self.slow = RGNNCalculator(slow.model, seed=seed, **(options | {"uncertainty": None}))
        self.slow.hardware, self.slow.stream = slow.hardware, "slow md noise"
        self.every = every
        self.noisy, self.quiet = self.hardware, self.hardware.with_given(None, 0.0)
        self.model_forces: np.ndarray | None = None
        self.slow_calls, self.seconds = 0, np.zeros(2)

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """ASE's interface; energy and stress are those of the slow model, where it was asked."""
        due = self.calls % self.every == 0
        began, self.slow.calls = time.monotonic(), self.calls
        self.hardware, self.model_forces = self.quiet if due else self.noisy, None
        super().calculate(atoms, properties, system_changes)
        half = time.monotonic()
        fast: np.ndarray = self.results["forces"]
        self.results: dict[str, Any] = {"forces": fast}
        if due:
            self.slow.calculate(self.atoms)
            self.model_forces, self.net_force = self.slow.results["forces"], self.slow.net_force
            impulse = self.model_forces + (self.every - 1) * (self.model_forces - fast)
            self.results = self.slow.results | {"forces": impulse}
            self.slow_calls += 1
        self.seconds += half - began, time.monotonic() - half


def require_slow_model(settings: MDSettings, slow: SlowModel | None) -> None:
    """Raise InputError where a run should ask a slow model that it does not have, or has one that is never asked."""
    if settings.slow_every is not None and slow is None:
        raise InputError(
            f"slow_every is {settings.slow_every}, but no slow model is named; name it with --slow-model, or leave "
            "slow_every out."
        )
    if settings.slow_every is None and slow is not None:
        raise InputError("a slow model is named, but slow_every does not say at which steps it is asked; give it.")
