"""Predictions beside their labels: for figures, and as a file that ASE reads."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write as write_frames

from rgnn.base.errors import InputError, Interrupted
from rgnn.base.estimate import evenly
from rgnn.base.events import SILENT, Listener
from rgnn.base.files import writing
from rgnn.chip.hardware import Hardware
from rgnn.data.store.reader import GraphStore
from rgnn.evaluation.run import Predicted, predictions
from rgnn.graphs.graph import voigt
from rgnn.models.base import ForceField

# Frames whose forces a figure shows; more only make the cloud thicker.
SHOWN_FRAMES = 20


@dataclass(frozen=True)
class Pairs:
    """Labels and predictions of one draw of one hardware setting, the first draw that its errors come from.

    Attributes:
        hardware: the setting.
        frames: those that were predicted.
        numbers: [n] atomic numbers of the atoms of some of the frames, evenly chosen.
        forces: [2, n, 3] labels and predictions for them, eV/Angstrom.
        energy: [2, frames] of all frames, eV; not-a-number where unknown.
        stress: [2, frames, 6] of all frames in ASE's order, eV/Angstrom^3; not-a-number where unknown.
        n_atoms: [frames] atoms.
        composition: [frames] number of the composition.
    """

    hardware: Hardware
    frames: int
    numbers: np.ndarray
    forces: np.ndarray
    energy: np.ndarray
    stress: np.ndarray
    n_atoms: np.ndarray
    composition: np.ndarray

    def energy_differences(self) -> np.ndarray:
        """[2, known] labels and predictions less the mean of their composition, meV/atom."""
        known = ~np.isnan(self.energy).any(axis=0)
        found = 1000 * self.energy[:, known] / self.n_atoms[known]
        _, inside = np.unique(self.composition[known], return_inverse=True)
        for k in range(inside.max(initial=-1) + 1):
            mine = inside == k
            found[:, mine] -= found[:, mine].mean(axis=1, keepdims=True)
        return found


@dataclass
class _Gathering:
    """What `Pairs` is made of."""

    numbers: list[np.ndarray] = field(default_factory=list)
    forces: list[np.ndarray] = field(default_factory=list)
    energy: list[tuple[float, float]] = field(default_factory=list)
    stress: list[np.ndarray] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    n_atoms: list[int] = field(default_factory=list)

    def add(self, one: Predicted, shown: bool) -> None:
        labels, z = one.graph.labels, one.graph.atomic_numbers.numpy()
        assert labels.forces is not None
        if shown:
            self.numbers.append(z)
            self.forces.append(np.stack([labels.forces.numpy().astype(np.float64), one.arrays.forces]))
        nothing = np.full((1, 3, 3), np.nan)
        stresses = (None if labels.stress is None else labels.stress.numpy(), one.arrays.stress)
        energies = (None if labels.energy is None else labels.energy.numpy(), one.arrays.energy)
        self.stress.append(np.stack([voigt((nothing if s is None else s)[0]) for s in stresses]))
        label, predicted = (np.nan if e is None else float(e[0]) for e in energies)
        self.energy.append((label, predicted))
        self.contents.append(str(np.bincount(z).tolist()))
        self.n_atoms.append(len(z))

    def pairs(self, hardware: Hardware) -> Pairs:
        _, composition = np.unique(self.contents, return_inverse=True)
        return Pairs(
            hardware, len(self.n_atoms), np.concatenate(self.numbers), np.concatenate(self.forces, axis=1),
            np.array(self.energy).T, np.stack(self.stress, axis=1), np.array(self.n_atoms), composition.ravel(),
        )  # fmt: skip


def gather(
    model: ForceField,
    store: GraphStore,
    indices: Sequence[int],
    hardware: Hardware,
    seed: int = 0,
    file: str | Path | None = None,
    listener: Listener = SILENT,
) -> Pairs:
    """Predict the frames once more with the first draw of a setting, for figures and, where named, for a file.

    The file is extended XYZ: energy, forces and stress are the labels, as any calculator's, and `predicted_energy`,
    `predicted_forces` and `predicted_stress` what the model gives, in eV, eV/Angstrom and eV/Angstrom^3 (xx yy zz yz
    xz xy). `frame` is the number in the store.

    Args:
        model: ready to predict.
        store: of the frames.
        indices: numbers of the frames.
        hardware: the setting.
        seed: of the noise, as in `evaluate_hardware`.
        file: extended XYZ to write.
        listener: is given the frames that are finished, and may ask to stop.

    Raises:
        InputError: a file is wanted of a store without positions.
        Interrupted: the listener asked to stop; no file is left.
    """
    shown, found, done = set(evenly(range(len(indices)), SHOWN_FRAMES)), _Gathering(), 0
    with nullcontext() if file is None else writing(file) as out:
        for each in predictions(model, store, indices, hardware, seed):
            for one in each:
                found.add(one, one.position in shown)
                if out is not None:
                    out.write(_extended_xyz(store, int(indices[one.position]), one))
            done += len(each)
            listener.progress(done, len(indices))
            if listener.stop():
                raise Interrupted("stopped while writing predictions; finished settings are kept.")
    return found.pairs(hardware)


def has_positions(store: GraphStore) -> bool:
    """Whether frames of the store can be written as structures."""
    try:
        store.frame(0)
    except InputError:
        return False
    return True


def _extended_xyz(store: GraphStore, number: int, one: Predicted) -> bytes:
    """One frame with its labels and its prediction."""
    frame, arrays = store.frame(number), one.arrays
    atoms = frame.to_atoms()
    labels = {"energy": frame.energy, "forces": frame.forces, "stress": frame.stress}
    atoms.calc = SinglePointCalculator(atoms, **{name: value for name, value in labels.items() if value is not None})
    atoms.info["frame"] = number
    if frame.temperature is not None:
        atoms.info["temperature"] = frame.temperature
    atoms.arrays["predicted_forces"] = arrays.forces
    if arrays.energy is not None:
        atoms.info["predicted_energy"] = float(arrays.energy[0])
    if arrays.stress is not None and np.isfinite(arrays.stress).all():
        atoms.info["predicted_stress"] = voigt(arrays.stress[0])
    text = StringIO()
    write_frames(text, atoms, format="extxyz")
    return text.getvalue().encode()
