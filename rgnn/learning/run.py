"""Active learning: train, run, choose, label, add, and again; every stage goes on where it was cut off.

A stage is finished when its last file is there, and files appear as wholes:

    rounds/00/chosen.xyz, labels/     what learning starts from, where it is not labelled already
    rounds/NN/model/                  the training run on all frames so far
    rounds/NN/md/                     its dynamics
    rounds/NN/chosen.json, .xyz       the frames to label; the JSON is written last
    rounds/NN/labels/                 a file for each labelled frame, or a folder of input files beside it
    store.zarr                        all labelled frames, to which a round adds its own
    rounds.json, rounds.csv           the finished rounds
    best/                             the newest model
"""

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from rgnn.base.errors import InputError, Interrupted, first_line
from rgnn.base.events import SILENT, Listener
from rgnn.base.files import write_atomic
from rgnn.base.rng import numpy_stream, stream_seed
from rgnn.base.run_folder import held
from rgnn.base.settings import dump_yaml
from rgnn.data.conversion import convert
from rgnn.data.formats.labels import Keys, frame_of
from rgnn.data.formats.selection import Selection
from rgnn.data.met import Met, uses_of
from rgnn.data.store.reader import GraphStore
from rgnn.data.store.split import require_other_frames
from rgnn.evaluation.reliability import reliability
from rgnn.learning.choose import farthest_frames, random_frames
from rgnn.learning.explore import Exploration, candidates, explore
from rgnn.learning.labels import CalculatorLabels, Labeller, labeller_of, read_structures, write_structures
from rgnn.learning.rounds import Folder, Round
from rgnn.learning.settings import LearnRecord, LearnSettings
from rgnn.md.structures import read_structure
from rgnn.md.structures import read_structures as read_frames
from rgnn.models.checkpoints import find_model, load_model, save_model
from rgnn.models.uncertainty import FILE as UNCERTAINTY
from rgnn.models.uncertainty import chosen_uncertainty, forget_uncertainties
from rgnn.training.log import read_epochs
from rgnn.training.request import TrainingRequest
from rgnn.training.run import RunSettings, TrainingRun
from rgnn.training.validation import validate

# Steps of a training where no length is given: there are several, and the last need not be the best that there is.
TRAINING_STEPS = 2000

# Labels are of the same reference where forces agree to this share of them, or of this many eV/Angstrom.
SAME_FORCES, SMALL_FORCES = 0.1, 0.05

# What labels are read with: they were written in eV and Angstrom.
LABELLED, EVERYTHING = Selection(keys=Keys(units="metal")), Selection()

# Opens the listener of a stage, by what it does and what it counts.
Stage = Callable[[str, str], AbstractContextManager[Listener]]


@dataclass(frozen=True)
class Learned:
    """What active learning came to.

    Attributes:
        folder: of everything; also a model folder, of the newest model.
        rounds: the finished ones, of which the last has the model.
        inside: whether the dynamics of the last model stayed inside what it was trained on.
    """

    folder: Path
    rounds: tuple[Round, ...]
    inside: bool


class Learning:
    """Active learning in a folder.

    Args:
        record: what is asked for.
        out: the folder; made where absent, and continued where it was begun with the same.
        device: to compute on.

    Raises:
        InputError: the folder was begun with something else, or the structure or what labels cannot be used.
    """

    def __init__(self, record: LearnRecord, out: str | Path, device: torch.device | str = "cpu") -> None:
        self.record, self.settings, self.folder, self.device = record, record.learn, Folder(out), device
        assert record.learn.seed is not None  # a record has it, see `LearnSettings.resolved`
        self.seed: int = record.learn.seed
        path = self.folder.path
        if (path / "config.yaml").is_file():
            record.require_same(LearnRecord.read(path), path)
        elif path.exists() and any(path.iterdir()):
            raise InputError(f"{path}: holds something that learning has not written; give another --out.")
        self.atoms = read_structure(record.structure, record.frame, record.format)
        self.labeller: Labeller = labeller_of(self.settings)

    def run(self, stage: Stage, each: Callable[[Round], None]) -> Learned:
        """Go on to the last round, or until a model's dynamics stays inside.

        Args:
            stage: opens the listener of each stage.
            each: called with each round as soon as it is finished.

        Raises:
            Interrupted: a listener asked to stop; the same call goes on.
            Awaited: labels are to come from outside; the same call goes on when they are there.
            InputError: data that cannot be used.
            BrokenRunError: a training diverged.
        """
        with held(self.folder.path):
            self._write_config()
            self._start(stage)
            rows = self.folder.rounds()
            for number in range(1, self.settings.rounds + 2):
                last = number > self.settings.rounds
                known = rows[number - 1] if len(rows) >= number else None
                if known is None or (known.steps is None and not last):
                    try:
                        row = self._round(number, last, stage)
                    except Interrupted as stopped:
                        said = str(stopped).partition(";")[0]
                        raise Interrupted(f"{said}, in round {number}; the same command goes on") from None
                    rows = [*rows[: number - 1], row]
                    self.folder.keep(rows)
                    each(row)
                if rows[number - 1].inside:
                    break
        return Learned(self.folder.path, tuple(rows), rows[-1].inside)

    def _write_config(self) -> None:
        self.folder.path.mkdir(parents=True, exist_ok=True)
        note = "# The same rgnn learn goes on where it was cut off.\n"
        write_atomic(self.folder.path / "config.yaml", note + dump_yaml(self.record.to_mapping()))

    # What learning starts from

    def _start(self, stage: Stage) -> None:
        """The store of the labelled frames to start from, and that of the test."""
        s, folder = self.settings, self.folder
        if not folder.store.exists():
            if s.frames is not None and not s.relabel:
                self._convert([Path(s.frames)], folder.store, stage)
                self._compare_labels(stage)
            else:
                begin = folder.round(0)
                if not (begin / "chosen.xyz").is_file():
                    write_structures(self._structures_to_start_from(), begin / "chosen.xyz")
                self._convert(self._labelled(begin, stage), folder.store, stage, LABELLED)
        store = GraphStore(folder.store)
        if len(store) < 2:
            raise InputError(f"{folder.path}: starts from {len(store)} frame, but training needs two; give more.")
        if strange := sorted(set(self.atoms.numbers.tolist()) - set(store.elements)):
            symbols = ", ".join(Atoms(numbers=strange).get_chemical_symbols())
            raise InputError(
                f"{self.record.structure}: has {symbols}, which the frames to start from lack; give frames with them, "
                "or none, to start from distorted copies of the structure."
            )
        if s.test is not None and not folder.test.exists():
            self._convert([Path(s.test)], folder.test, stage)
        if s.test is not None:
            self._require_unseen(store, GraphStore(folder.test))

    def _compare_labels(self, stage: Stage) -> None:
        """Say where the frames to start from have other forces than the calculator, which labels all others, gives."""
        if not isinstance(self.labeller, CalculatorLabels):
            return
        store = GraphStore(self.folder.store)
        number = len(store) // 2
        frame = store.frame(number)
        with stage("Labels to start from", "frames") as listener:
            try:
                found = frame_of(self.labeller.by.label(frame.to_atoms()), f"{self.settings.frames}: frame {number}")
            except Exception as error:  # what a calculator raises at a structure it cannot treat
                said = f"{self.settings.label} fails at frame {number} of {self.settings.frames} ({first_line(error)})"
                listener.warn(f"{said}; whether its labels are of the same reference is not known.")
                return
            apart = float(np.sqrt(np.square(found.forces - frame.forces).mean()))
            if apart > SAME_FORCES * max(float(np.sqrt(np.square(frame.forces).mean())), SMALL_FORCES):
                listener.warn(
                    f"{self.settings.frames}: forces of its frame {number} are {apart:.2g} eV/Angstrom (rms) off those "
                    f"of {self.settings.label}, which labels all other frames; --relabel labels these again."
                )

    def _require_unseen(self, store: GraphStore, test: GraphStore) -> None:
        """Raise InputError where frames of the test are trained on, here or by the model that trainings begin with."""
        way_out = f"name other frames than those of {self.settings.test} to test on"
        require_other_frames(store, test, way_out)
        start = self.settings.from_model
        before = () if start is None else uses_of(load_model(start).provenance, test)
        if twice := int(Met.by(before, test).of(test, "trained").sum()):
            raise InputError(f"{test.path}: {start} was trained on {twice} of its {len(test)} frames; {way_out}.")

    def _structures_to_start_from(self) -> list[Atoms]:
        """Structures without labels: evenly chosen of those named, or distorted copies of the structure."""
        s = self.settings
        if s.frames is not None:
            there = list(read_frames(s.frames, "all").values())
            return [there[k] for k in sorted(set(np.linspace(0, len(there) - 1, min(s.start, len(there))).astype(int)))]
        return [self._distorted(k, (k + 1) / s.start) for k in range(s.start)]

    def _distorted(self, number: int, share: float) -> Atoms:
        """The structure with atoms displaced and its cell stretched, by a share of the largest of both."""
        rng, atoms = numpy_stream(self.seed, "distorted", number), self.atoms.copy()
        if atoms.pbc.all():
            stretch = 1 + share * self.settings.strain * rng.uniform(-1, 1, 3)
            atoms.set_cell(atoms.cell[:] * stretch[:, None], scale_atoms=True)
        atoms.positions += share * self.settings.rattle * rng.standard_normal((len(atoms), 3))
        return atoms

    def _convert(
        self, sources: list[Path], out: Path, stage: Stage, wanted: Selection = EVERYTHING, append: bool = False
    ) -> None:
        """Labelled frames into a store, checked as `rgnn convert` does; what is left out is said."""
        with stage(f"Frames into {out.name}", "frames") as listener:
            cutoff = None if append else self.settings.cutoff
            outcome = convert(sources, out, cutoff, wanted, append=append, warn=listener.warn)
            for reason, n in outcome.left_out.items() if not outcome.already else ():
                frames = "1 labelled frame is" if n == 1 else f"{n} labelled frames are"
                listener.warn(f"{frames} left out ({reason}): {outcome.examples.get(reason, sources[0])}")

    def _labelled(self, folder: Path, stage: Stage) -> list[Path]:
        """Files of the chosen frames of a round with their labels."""
        with stage(f"Labels of round {int(folder.name)}", "frames") as listener:
            return self.labeller.label(folder, read_structures(folder / "chosen.xyz"), listener)

    # A round

    def _round(self, number: int, last: bool, stage: Stage) -> Round:
        folder = self.folder.round(number)
        chosen = folder / "chosen.json"
        if not chosen.is_file():
            row = self._trained(number, folder / "model", stage)
            if last:
                return row
            with stage(f"Dynamics of round {number}", "steps") as listener:
                seed = stream_seed(self.seed, "dynamics", number) % 2**31
                model = folder / "model"
                found = explore(self.atoms, model, folder / "md", self.settings, seed, listener, self.device)
            row = _with_dynamics(row, found)
            structures = [] if row.inside else self._choice(number, folder)
            write_structures(structures, folder / "chosen.xyz")
            write_atomic(chosen, json.dumps(row.to_mapping()) + "\n")
        row = Round.from_mapping(json.loads(chosen.read_text("utf-8")))
        return row if row.inside else self._learned(row, folder, stage)

    def _trained(self, number: int, out: Path, stage: Stage) -> Round:
        """Train on all frames so far; the row of the round as far as it is known by then."""
        s, store = self.settings, GraphStore(self.folder.store)
        request = TrainingRequest(
            self.folder.store,
            s.preset,
            _path(s.config),
            chip=_path(s.chip),
            hardware_changes=s.hardware,
            training=s.training,
            from_model=_path(s.from_model),
        )
        settings = request.settings(lambda: self.folder.store)
        with stage(f"Training of round {number}, {len(store)} frames", "steps") as listener:
            run = TrainingRun.prepare(self._with_length(settings), self.device)
            run.run(out, resume=True, listener=_WithoutEpochs(listener))
        self._publish(out)
        best = min(read_epochs(out), key=lambda epoch: epoch.relative_error)
        row = Round(number, len(store), self._bought(number), best.relative_error, best.mae)
        if s.test is None:
            return row
        test = GraphStore(self.folder.test)
        e = validate(load_model(out, self.device), test, range(len(test)), self.seed)
        return replace(row, test_error=e.relative, test_mae=e.mae, test_energy=e.energy)

    def _with_length(self, settings: RunSettings) -> RunSettings:
        """With `TRAINING_STEPS` steps, where nobody has said how long a training is."""
        s = self.settings
        if s.epochs is not None or s.minutes is not None or s.config is not None or settings.model.is_solved:
            return settings
        return settings.override(training=settings.training.override(steps=TRAINING_STEPS, rate_schedule="cosine"))

    def _bought(self, number: int) -> int:
        """Labels that the reference has given before a round."""
        return sum(len(list((self.folder.round(k) / "labels").glob("*.xyz"))) for k in range(number))

    def _publish(self, run: Path) -> None:
        """Make the folder of learning a model folder of this run's model."""
        forget_uncertainties(self.folder.best)
        save_model(load_model(run), self.folder.best)
        write_atomic(self.folder.best / UNCERTAINTY, (find_model(run) / UNCERTAINTY).read_bytes())

    def _choice(self, number: int, folder: Path) -> list[Atoms]:
        """The frames of the dynamics that are worth a label."""
        model, store, s = load_model(folder / "model", self.device), GraphStore(self.folder.store), self.settings
        found = candidates(folder / "md", model)
        if not found:
            raise InputError(
                f"{folder / 'md'}: its dynamics left no frame that could be labelled; begin again from more "
                "frames, or from frames nearer to the structure."
            )
        if s.choice == "random":
            return [found[k] for k in random_frames(len(found), s.batch, self.seed, number)]
        trained = np.flatnonzero(Met.by(uses_of(model.provenance, store), store).of(store, "trained")).tolist()
        return [found[k] for k in farthest_frames(model, store, trained, found, s.batch)]

    def _learned(self, row: Round, folder: Path, stage: Stage) -> Round:
        """Label the chosen frames, add them to the store, and compare them with what the model had said."""
        self._convert(self._labelled(folder, stage), self.folder.store, stage, LABELLED, append=True)
        store = GraphStore(self.folder.store)
        new = range(row.frames, len(store))
        if not new:
            return replace(row, added=0)
        path = folder / "model"
        model = load_model(path, self.device)
        known = chosen_uncertainty(path, model)
        assert known is not None
        (found,) = reliability(model, [known], store, new, self.seed)
        return replace(
            row,
            added=len(new),
            added_mae=float(np.abs(found.error).mean()),
            added_rmse=float(np.sqrt(np.square(found.error).mean())),
            added_sigma=float(np.sqrt(np.square(found.sigma).mean())),
            added_rank=found.spearman if math.isfinite(found.spearman) else None,
        )


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def _with_dynamics(row: Round, found: Exploration) -> Round:
    known = asdict(found)
    known["looked"] = known.pop("frames")
    return replace(row, **known, inside=found.is_inside)


class _WithoutEpochs(Listener):
    """Passes on all but the epochs, of which there are many."""

    def __init__(self, to: Listener) -> None:
        self.to = to

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Passed on."""
        self.to.progress(done, total, note)

    def time_left(self, seconds: float | None) -> None:
        """Passed on."""
        self.to.time_left(seconds)

    def warn(self, text: str) -> None:
        """Passed on."""
        self.to.warn(text)

    def stop(self) -> bool:
        """As the receiver says."""
        return self.to.stop()


def learn(
    structure: str | Path,
    out: str | Path,
    *,
    frame: int = -1,
    format: str | None = None,  # noqa: A002 (ASE's word)
    device: torch.device | str = "cpu",
    listener: Listener = SILENT,
    **settings: Any,
) -> Learned:
    """Learn a material actively: what `rgnn learn` does. The same call goes on where it was cut off.

    Args:
        structure: structure file that dynamics starts from.
        out: folder of everything; afterwards a model folder too.
        frame: frame of the structure file; -1 is the last.
        format: format of the structure file; None is what ASE takes it for.
        device: where to compute.
        listener: receives progress, and may ask to stop.
        settings: fields of `LearnSettings`, such as label, frames, temperature, rounds and preset.

    Raises:
        Interrupted, Awaited, InputError, BrokenRunError: as `Learning.run`.
    """
    record = LearnRecord.of(LearnSettings(**settings), Path(structure), frame, format)
    return Learning(record, out, device).run(lambda what, unit: nullcontext(listener), lambda row: None)
