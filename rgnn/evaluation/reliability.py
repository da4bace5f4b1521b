"""How well the uncertainty of forces tells their errors, on labelled frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import erf
from scipy.stats import spearmanr

from rgnn.base.errors import Interrupted
from rgnn.base.events import SILENT, Listener
from rgnn.base.rng import torch_stream
from rgnn.graphs.graph import LabelledFrames
from rgnn.models.base import ForceField
from rgnn.models.uncertainty import Uncertainty

# Of equally many atoms, from the surest to the least sure.
BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Predicted and actual errors of atoms.

    Attributes:
        method: of the uncertainty.
        numbers: [n] atomic numbers.
        sigma: [n] predicted standard deviation of a force component, eV/Angstrom.
        limit: [n] sigma beyond which an atom is outside of what was trained on.
        error: [n, 3] of the forces, eV/Angstrom.
        frame: [n] position of the atom's frame among those looked at.
    """

    method: str
    numbers: np.ndarray
    sigma: np.ndarray
    limit: np.ndarray
    error: np.ndarray
    frame: np.ndarray

    def of(self, atoms: np.ndarray) -> "Reliability":
        """Of the atoms chosen by a mask [n]."""
        each = (x[atoms] for x in (self.numbers, self.sigma, self.limit, self.error, self.frame))
        return Reliability(self.method, *each)

    @property
    def spearman(self) -> float:
        """Rank correlation of sigma with |dF|; NaN where one of them is constant."""
        size = np.linalg.norm(self.error, axis=1)
        if len(size) < 2 or np.ptp(size) == 0 or np.ptp(self.sigma) == 0:
            return float("nan")
        return float(spearmanr(self.sigma, size).statistic)

    def within(self, k: float) -> float:
        """Part of force components that are off by no more than k sigma."""
        return float((np.abs(self.error) <= k * self.sigma[:, None]).mean())

    @staticmethod
    def expected_within(k: float) -> float:
        """That of normal errors of standard deviation sigma."""
        return float(erf(k / 2**0.5))

    @property
    def likelihood(self) -> float:
        """Mean negative log likelihood of a force component under a normal distribution, F in eV/Angstrom."""
        return _likelihood(self.error, self.sigma)

    @property
    def gain(self) -> float:
        """What the likelihood gains by sigma over one constant for each element, the best for these very atoms."""
        constant = np.empty_like(self.sigma)
        for z in np.unique(self.numbers):
            mine = self.numbers == z
            constant[mine] = _rms(self.error[mine])
        return _likelihood(self.error, constant) - self.likelihood

    @property
    def outside(self) -> float:
        """Part of atoms that are outside of what was trained on."""
        return float((self.sigma > self.limit).mean())

    def bins(self) -> np.ndarray:
        """[BINS, 2] root mean square of sigma and of a component's error of equally many atoms, the surest first."""
        order = np.argsort(self.sigma, kind="stable")
        parts = [part for part in np.array_split(order, BINS) if len(part)]
        return np.array([[_rms(self.sigma[part]), _rms(self.error[part])] for part in parts])

    def to_mapping(self, groups: Mapping[str, Sequence[int]] | None = None) -> dict[str, Any]:
        """All measures as plain numbers with units in the keys, None where one has no meaning.

        Args:
            groups: name of a group of frames -> their positions; each is measured for itself.
        """

        def measures(r: "Reliability") -> dict[str, Any]:
            numbers = {
                "atoms": len(r.sigma),
                "sigma_ev_per_angstrom": _rms(r.sigma),
                "rmse_ev_per_angstrom": _rms(r.error),
                "spearman": r.spearman,
                "within_1_sigma": r.within(1),
                "within_2_sigma": r.within(2),
                "negative_log_likelihood": r.likelihood,
                "outside": r.outside,
            }
            return {name: value if np.isfinite(value) else None for name, value in numbers.items()}

        elements = {str(z): measures(self.of(self.numbers == z)) for z in np.unique(self.numbers)}
        named = {name: measures(self.of(np.isin(self.frame, frames))) for name, frames in (groups or {}).items()}
        gain = {"gain_over_constants": self.gain} if np.isfinite(self.gain) else {}
        whole = {"method": self.method, **measures(self), **gain, "bins_ev_per_angstrom": self.bins().tolist()}
        return {**whole, "elements": elements, "groups": named}


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x).mean()))


def _likelihood(error: np.ndarray, sigma: np.ndarray) -> float:
    s = np.maximum(sigma, 1e-12)[:, None]
    return float((np.log(s) + 0.5 * np.square(error / s)).mean() + 0.5 * np.log(2 * np.pi))


def reliability(
    model: ForceField,
    uncertainties: Sequence[Uncertainty],
    frames: LabelledFrames,
    indices: Sequence[int],
    seed: int = 0,
    listener: Listener = SILENT,
) -> list[Reliability]:
    """For each uncertainty of a model, on the hardware it was trained for, with one draw of the noise.

    Raises:
        Interrupted: the listener asked to stop.
    """
    found = []
    for number, uncertainty in enumerate(uncertainties):
        rows = list[np.ndarray]()
        for position, index in enumerate(indices):
            if listener.stop():
                raise Interrupted("stopped while looking at the uncertainty of forces; finished settings are kept.")
            g = frames.graph(int(index)).to(model.device)
            assert g.forces is not None
            noise = torch_stream(seed, "uncertainty noise", int(index))
            forces, sigma = uncertainty(model, g, model.read(None, noise))
            columns = [g.atomic_numbers, sigma, *(forces - g.forces).unbind(1), torch.full_like(sigma, position)]
            rows.append(torch.stack([c.double() for c in columns], dim=1).cpu().numpy())
            listener.progress(number * len(indices) + position + 1, len(uncertainties) * len(indices))
        table = np.concatenate(rows)
        z, place = table[:, 0].astype(int), table[:, 5].astype(int)
        limit = uncertainty.calibration.limits(z).astype(float)
        method = uncertainty.calibration.method
        found.append(Reliability(method, z, table[:, 1], limit, table[:, 2:5], place))
    return found
