"""What lies at a path, in numbers: a graph store, chip, model, training run or run of molecular dynamics."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from rgnn.base.errors import InputError
from rgnn.base.provenance import Provenance
from rgnn.base.settings import read_yaml
from rgnn.chip.chip import Chip, ChipStatistics
from rgnn.chip.hardware import Hardware
from rgnn.data.store.reader import GraphStore
from rgnn.data.store.summary import StoreSummary
from rgnn.learning.rounds import Folder, Round
from rgnn.learning.settings import LearnRecord
from rgnn.md import read_log
from rgnn.md.contacts import ContactLimits
from rgnn.md.record import closest_atoms
from rgnn.md.settings import ClosestAtoms, MDRecord
from rgnn.md.thermometry import Thermometer, thermometer
from rgnn.models import sample
from rgnn.models.base import Locality
from rgnn.models.checkpoints import fingerprint, load_model
from rgnn.models.uncertainty import Calibration, load_uncertainties
from rgnn.reports.dynamics import closest_mapping
from rgnn.training.log import Epoch, read_epochs
from rgnn.training.outlook import Outlook
from rgnn.training.run import RunSettings

# Units of the settings of dynamics, as they are named in a mapping.
MD_UNITS = {
    "temperature": "kelvin",
    "temperature_from": "kelvin",
    "temperature_to": "kelvin",
    "timestep": "fs",
    "friction": "per_fs",
    "minimise": "ev_per_angstrom",
    "max_displacement": "angstrom",
}


@dataclass(frozen=True)
class ChipContents:
    """What a chip folder holds.

    Attributes:
        source: where the chip comes from, in words.
        statistics: of the signed weights.
        measured: whether the chip exists.
        keeps_conductances: whether both conductances of each weight are known, and not only their difference.
        knows_read_noise: whether the read noise of each weight was measured.
    """

    source: str
    statistics: ChipStatistics
    measured: bool
    keeps_conductances: bool
    knows_read_noise: bool

    @classmethod
    def of(cls, chip: Chip) -> "ChipContents":
        """Those of a chip."""
        known = chip.conductances is not None, chip.read_deviation is not None
        return cls(chip.source, chip.statistics, chip.measured, *known)

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers; weights are in the model's units."""
        plain = asdict(self)
        return {"kind": "chip", "source": plain.pop("source"), **plain.pop("statistics"), **plain}


@dataclass(frozen=True)
class ModelContents:
    """What a model folder holds.

    Attributes:
        family: of the model, by name.
        layers: layers and readout in words.
        members: number of chips that forces are the mean of.
        locality: how far the model sees.
        fixed_weights, trained_weights: their numbers.
        hardware: that the model was trained for.
        provenance: where it comes from.
        uncertainty: calibration of each known uncertainty of forces.
        fingerprint: SHA-256 of the model.
    """

    family: str
    layers: str
    members: int
    locality: Locality
    fixed_weights: int
    trained_weights: int
    hardware: Hardware
    provenance: Provenance
    uncertainty: tuple[Calibration, ...]
    fingerprint: str

    @classmethod
    def read(cls, path: Path) -> "ModelContents":
        """Those of a model folder.

        Raises:
            InputError: its files are damaged.
        """
        model = load_model(path)
        return cls(
            family=model.settings.family,
            layers=model.kind,
            members=len(model.members),
            locality=model.locality,
            fixed_weights=model.n_fixed,
            trained_weights=model.n_trained,
            hardware=model.hardware,
            provenance=model.provenance,
            uncertainty=tuple(known.calibration for known in load_uncertainties(path, model).values()),
            fingerprint=fingerprint(model),
        )

    @property
    def elements(self) -> list[str]:
        """Symbols of the elements of the training data; empty where they are not recorded."""
        return [chemical_symbols[z] for z in self.provenance.elements]

    @property
    def smallest_distances(self) -> dict[str, float]:
        """Smallest distance of each pair of elements in the training set, such as "Li-O", Å."""
        pairs = self.provenance.seen.closest
        return {f"{chemical_symbols[c.first]}-{chemical_symbols[c.second]}": c.distance for c in pairs}

    @property
    def limits(self) -> dict[str, dict[str, float]]:
        """By method and element: the uncertainty beyond which an atom is outside of training, eV/Å."""
        return {c.method: {chemical_symbols[s.element]: s.limit for s in c.scales} for c in self.uncertainty}

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers, with their units in the keys; null where nothing is recorded."""
        p, seen = self.provenance, self.provenance.seen
        return {
            "kind": "model",
            "family": self.family,
            "layers": self.layers,
            "members": self.members,
            "cutoff_angstrom": self.locality.cutoff,
            "reach_angstrom": self.locality.reach,
            "weights": self.fixed_weights + self.trained_weights,
            "trained_weights": self.trained_weights,
            "hardware": self.hardware.to_mapping(),
            "elements": self.elements,
            "chip": p.chip,
            "chip_is_measured": p.chip_is_measured,
            "data": p.data,
            "training_frames": seen.frames or None,
            "largest_force_ev_per_angstrom": seen.largest_force if seen.frames else None,
            "density_g_per_cm3": list(seen.density) or None,
            "smallest_distances_angstrom": self.smallest_distances or None,
            "uncertainty_limits_ev_per_angstrom": self.limits,
            "rgnn": p.rgnn,
            "fingerprint": self.fingerprint,
        }


def epoch_mapping(row: Epoch) -> dict[str, Any]:
    """An epoch as plain numbers, with their units in the keys; the relative error is a fraction."""
    units = {"mae": "_ev_per_angstrom", "rmse": "_ev_per_angstrom", "energy_error": "_ev_per_atom"}
    return {f"{name}{units.get(name, '')}": value for name, value in asdict(row).items()}


def outlook_mapping(expected: Outlook) -> dict[str, Any]:
    """What validation says of other trajectories as plain numbers; errors are fractions."""
    n = expected.nearness
    return {
        "training_relative_error": expected.trained,
        "displacement_to_training_angstrom": n.displacement,
        "displacement_of_unrelated_frames_angstrom": n.unrelated,
        "neighbourhood_distance": n.neighbourhood,
        "neighbourhood_distance_elsewhere": n.elsewhere,
        "factor_elsewhere": expected.factor,
    }


@dataclass(frozen=True)
class TrainingContents:
    """What a training run has come to.

    Attributes:
        settings: of the run.
        history: its finished epochs.
    """

    settings: RunSettings
    history: tuple[Epoch, ...]

    @property
    def best(self) -> Epoch | None:
        """The epoch of the smallest relative error on the validation frames; None before the first has finished."""
        return min(self.history, key=lambda row: row.relative_error, default=None)

    @property
    def seconds(self) -> float:
        """Time of all epochs, s."""
        return sum(row.seconds for row in self.history)

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers, with their units in the keys; errors are those of the best epoch, null before the first."""
        run, best = self.settings, self.best
        return {
            "kind": "training run",
            "data": run.store,
            "chip": run.chip or None,
            "chips": run.chips,
            "seed": run.training.seed,
            "hardware": run.hardware.to_mapping() if run.model.uses_chip else None,
            "one_pass": run.model.is_solved,
            "epochs": 1 if run.model.is_solved else run.training.epochs,
            "finished_epochs": self.history[-1].epoch if self.history else 0,
            "best_epoch": None if best is None else best.epoch,
            "validation_error": None if best is None else best.relative_error,
            "mae_ev_per_angstrom": None if best is None else best.mae,
            "rmse_ev_per_angstrom": None if best is None else best.rmse,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class DynamicsContents:
    """What a run of molecular dynamics is, and what its watches have seen so far.

    Attributes:
        record: its settings, where it comes from, and the software that ran.
        closest: the closest atoms of each pair of elements; empty in runs of before this was logged.
        measured: its temperatures; None before the first row of the log.
        summary: its summary.json, empty where it has not ended.
        broke_off: whether it broke off.
    """

    record: MDRecord
    closest: dict[str, ClosestAtoms] = field(default_factory=dict)
    measured: Thermometer | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    broke_off: bool = False

    @classmethod
    def read(cls, folder: Path) -> "DynamicsContents":
        """Those of a run folder.

        Raises:
            InputError: its settings, log or summary are damaged.
        """
        record, summary = MDRecord.read(folder), _json(folder / "summary.json", "resume the run")
        broken = (folder / "broken.xyz").is_file()
        if not (folder / "log.csv").is_file() or not len((log := read_log(folder))["step"]):
            return cls(record, summary=summary, broke_off=broken)
        symbols = {name for column in log if column.startswith("closest_") for name in column[8:].split("-")}
        numbers = np.array([atomic_numbers[name] for name in symbols if name in atomic_numbers], dtype=int)
        closest = closest_atoms(log, numbers, ContactLimits.of(record.seen))
        return cls(record, closest, thermometer(log, record.md), summary, broken)

    def to_mapping(self) -> dict[str, Any]:
        """The settings with their units in the keys, the origin of the run, and what its watches have seen."""
        plain = self.record.to_mapping()
        settings = _with_units(plain["md"])
        settings["stages"] = [_with_units(stage) for stage in settings["stages"]]
        seen = {"closest": closest_mapping(self.closest), "broke_off": self.broke_off}
        if self.measured is not None:
            seen |= {"thermostat": self.measured.verdict, "equipartition": self.measured.equipartition.verdict}
        return {"kind": "dynamics run", **plain, "md": settings, **seen, "summary": self.summary}


@dataclass(frozen=True)
class RelaxationContents:
    """What a relaxation has come to: its config.yaml and its summary.json, empty where it has not ended."""

    record: dict[str, Any]
    summary: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "RelaxationContents":
        """Those of a folder of rgnn relax.

        Raises:
            InputError: its summary is damaged.
        """
        return cls(read_yaml(folder / "config.yaml"), _json(folder / "summary.json", "relax the structure again"))

    def to_mapping(self) -> dict[str, Any]:
        """Settings and origin, and what came out."""
        return {"kind": "relaxation", **self.record, "summary": self.summary}


def _json(file: Path, remedy: str) -> dict[str, Any]:
    """What a file of JSON holds; nothing where there is none."""
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError:
        raise InputError(f"{file}: is damaged; {remedy}.") from None
    return found


@dataclass(frozen=True)
class LearningContents:
    """What active learning has come to: what was asked for, and its finished rounds."""

    record: LearnRecord
    rounds: tuple[Round, ...]

    @classmethod
    def read(cls, folder: Path) -> "LearningContents":
        """Those of a folder of rgnn learn.

        Raises:
            InputError: its files are damaged.
        """
        return cls(LearnRecord.read(folder), tuple(Folder(folder).rounds()))

    def to_mapping(self) -> dict[str, Any]:
        """Settings and origin, and the rounds with their units in the keys."""
        rounds = [row.to_mapping() for row in self.rounds]
        return {"kind": "active learning", **self.record.to_mapping(), "rounds": rounds}


def _with_units(settings: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}_{MD_UNITS[name]}" if name in MD_UNITS else name: value for name, value in settings.items()}


Contents = (
    StoreSummary
    | ChipContents
    | ModelContents
    | TrainingContents
    | DynamicsContents
    | RelaxationContents
    | LearningContents
)


def contents(path: str | Path, verify: bool = False) -> Contents:
    """What lies at a path.

    Args:
        path: a store, chip, model folder, training run, run of molecular dynamics, relaxation or folder of learning.
        verify: read a store whole and check its checksums.

    Raises:
        InputError: there is nothing that rgnn knows, or it is damaged.
    """
    path = Path(path)
    if str(path) == sample.NAME and not path.exists():
        path = sample.FOLDER
    if not path.exists():
        raise InputError(f"{path}: there is nothing of this name.")
    if (path / "zarr.json").is_file() or path.suffix == ".zarr":
        store = GraphStore(path)
        if verify:
            store.verify()
        return store.summary()
    if (path / "chip.safetensors").is_file():
        return ChipContents.of(Chip.load(path))
    if (path / "model.safetensors").is_file():
        return ModelContents.read(path)
    if (path / "config.yaml").is_file():
        parts = read_yaml(path / "config.yaml").keys()
        if "learn" in parts:
            return LearningContents.read(path)
        if "relax" in parts:
            return RelaxationContents.read(path)
        if "model_fingerprint" in parts:
            return DynamicsContents.read(path)
        if "training" in parts:
            return TrainingContents(RunSettings.read(path / "config.yaml"), tuple(read_epochs(path)))
        raise InputError(f"{path}: holds the results of an evaluation, analysis or sweep; see its report.html.")
    raise InputError(f"{path}: is neither a store, chip, model nor run of rgnn; convert a trajectory to look into it.")
