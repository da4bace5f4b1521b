"""Errors of what a frame has as a whole: its energy and its stress."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import units

from rgnn.base.estimate import Estimate
from rgnn.evaluation.intervals import Ratio, Sample

# Components of a stress in ASE's order.
COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")
# eV/Angstrom^3 in one GPa.
GPA = float(units.GPa)


@dataclass(frozen=True)
class Measured:
    """Mean absolute and root mean square error over some frames, each with a 95% interval.

    Attributes:
        mae, rmse: in the unit that the maker names.
        frames: those that count.
    """

    mae: Estimate
    rmse: Estimate
    frames: int

    def to_mapping(self, unit: str, scale: float = 1.0) -> dict[str, Any]:
        """Plain numbers, times `scale`, with the unit in the keys; None where one has no meaning."""
        found: dict[str, Any] = {}
        for name, e in (("mae", self.mae), ("rmse", self.rmse)):
            found[f"{name}_{unit}"] = plain(scale * e.value)
            found[f"{name}_{unit}_95"] = [plain(scale * e.low), plain(scale * e.high)]
        return found


@dataclass(frozen=True)
class FrameErrors:
    """Predicted less labelled energies and stresses; not-a-number for frames without the label.

    Attributes:
        n_atoms: [frames] atoms.
        composition: [frames] number of the composition, equal for frames of equally many atoms of each element.
        energy: [chips, repeats, frames], eV.
        stress: [chips, repeats, frames, 6], eV/Angstrom^3, in ASE's order of components.
        sample: of the frames.
    """

    n_atoms: np.ndarray
    composition: np.ndarray
    energy: np.ndarray
    stress: np.ndarray
    sample: Sample

    @cached_property
    def with_energy(self) -> np.ndarray:
        """[known] positions of the frames whose energy is labelled."""
        return np.flatnonzero(~np.isnan(self.energy).any(axis=(0, 1)))

    @cached_property
    def with_stress(self) -> np.ndarray:
        """[known] positions of the frames whose stress is labelled and can be predicted."""
        return np.flatnonzero(~np.isnan(self.stress).any(axis=(0, 1, 3)))

    @cached_property
    def _per_atom(self) -> np.ndarray:
        """[chips, repeats, known] meV/atom."""
        return np.asarray(1000 * self.energy[:, :, self.with_energy] / self.n_atoms[self.with_energy])

    @cached_property
    def energies(self) -> Measured:
        """Of the energy per atom as it is, meV/atom."""
        return self._measured(self._per_atom, self.with_energy)

    @property
    def offset(self) -> float:
        """Mean predicted less labelled energy, meV/atom; NaN without labels. Another reference shows here."""
        return float(self._per_atom.mean()) if self._per_atom.size else float("nan")

    @cached_property
    def differences(self) -> Measured:
        """Of differences of the energy within the sample, meV/atom: what is left without a constant offset.

        The mean error of each composition on each chip is taken away, and with it what another reference of energies
        adds. With n frames of a composition the rest is scaled by sqrt(n / (n - 1)), since the mean was found from the
        same frames; a composition with a single frame has no difference and is left out.
        """
        composition = self.composition[self.with_energy]
        numbers, inside, sizes = np.unique(composition, return_inverse=True, return_counts=True)
        rest = self._per_atom.copy()
        for k in range(len(numbers)):
            mine = inside == k
            rest[:, :, mine] -= rest[:, :, mine].mean(axis=(1, 2), keepdims=True)
            rest[:, :, mine] *= (sizes[k] / max(1, sizes[k] - 1)) ** 0.5
        several = sizes[inside] > 1
        return self._measured(rest[:, :, several], self.with_energy[several])

    @cached_property
    def stresses(self) -> Measured:
        """Of all six components of the stress, eV/Angstrom^3."""
        return self._of_stress(list(range(6)))

    @cached_property
    def components(self) -> dict[str, Measured]:
        """Of each component of the stress, eV/Angstrom^3."""
        return {name: self._of_stress([k]) for k, name in enumerate(COMPONENTS)}

    @property
    def pressure_offset(self) -> float:
        """Mean predicted less labelled pressure, eV/Angstrom^3; it shifts the volume that a barostat finds."""
        known = self.stress[:, :, self.with_stress, :3]
        return -float(known.mean()) if known.size else float("nan")

    def _of_stress(self, components: list[int]) -> Measured:
        errors = self.stress[:, :, self.with_stress][..., components]
        return self._from(np.abs(errors).mean(axis=3), np.square(errors).mean(axis=3), self.with_stress)

    def _measured(self, errors: np.ndarray, frames: np.ndarray) -> Measured:
        return self._from(np.abs(errors), np.square(errors), frames)

    def _from(self, absolute: np.ndarray, square: np.ndarray, frames: np.ndarray) -> Measured:
        """From mean absolute and square errors [chips, repeats, known] of the frames at these positions."""
        if not len(frames):
            nothing = Estimate(float("nan"), -np.inf, np.inf)
            return Measured(nothing, nothing, 0)
        sample, ones = self.sample.of_frames(frames), np.ones_like(absolute)
        return Measured(Ratio(absolute, ones).estimate(sample), Ratio(square, ones).root(sample), len(frames))

    def to_mapping(self) -> dict[str, Any]:
        """All measures as plain numbers with units in the keys, None where one has no meaning."""
        total, stresses = len(self.n_atoms), self.stresses
        return {
            "energy": {
                "frames": len(self.with_energy),
                "frames_without_label": total - len(self.with_energy),
                **self.energies.to_mapping("mev_per_atom"),
                "offset_mev_per_atom": plain(self.offset),
                "differences": {"frames": self.differences.frames, **self.differences.to_mapping("mev_per_atom")},
            },
            "stress": {
                "frames": len(self.with_stress),
                "frames_without_label": total - len(self.with_stress),
                **stresses.to_mapping("gpa", 1 / GPA),
                **stresses.to_mapping("ev_per_angstrom3"),
                "pressure_offset_gpa": plain(self.pressure_offset / GPA),
                "components": {name: m.to_mapping("gpa", 1 / GPA) for name, m in self.components.items()},
            },
        }


def plain(value: float | np.ndarray) -> float | None:
    """A number for JSON: None for what is not a number or not bounded."""
    return float(value) if np.isfinite(value) else None
