"""Whether a run is still where its model was trained: how sure its forces are, against those of validation frames."""

from collections.abc import Callable

import numpy as np
from ase.data import chemical_symbols

from rgnn.models.uncertainty import Uncertainty


class UncertaintyMonitor:
    """Looks at the atoms of one run, and warns of the first of each element that is outside.

    Args:
        uncertainty: of the model.
        atomic_numbers: [N] of the atoms.
        warn: called with a sentence.
    """

    def __init__(self, uncertainty: Uncertainty, atomic_numbers: np.ndarray, warn: Callable[[str], None]) -> None:
        self.numbers, self.warn = atomic_numbers, warn
        self.limits = uncertainty.calibration.limits(atomic_numbers)
        self._told = set[int]()

    def ratio(self, sigma: np.ndarray) -> float:
        """The largest sigma in units of its element's limit: above 1, some atom is outside."""
        return float(self._ratios(sigma).max())

    def _ratios(self, sigma: np.ndarray) -> np.ndarray:
        ratio = sigma / self.limits
        return np.where(np.isfinite(ratio), ratio, np.inf)  # an element that training frames lack

    def look(self, step: int, sigma: np.ndarray) -> None:
        """At sigma [N] of a step, eV/Angstrom."""
        ratio = self._ratios(sigma)
        for element in sorted(set(self.numbers[ratio > 1].tolist()) - self._told):
            worst = int(np.where(self.numbers == element, ratio, 0).argmax())
            self._told.add(element)
            self.warn(
                f"at step {step} the force on atom {worst} ({chemical_symbols[element]}) is uncertain by "
                f"{sigma[worst]:.3g} eV/Angstrom, where validation frames set the limit at {self.limits[worst]:.3g}: "
                "the run leaves what the model was trained on. The log follows it (uncertainty_ratio); "
                "train further on frames like these."
            )
