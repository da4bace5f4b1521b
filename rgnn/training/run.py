"""A training run from its settings: store, chip, model, split and fit, all repeatable from config.yaml."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self, get_args

import torch
from pydantic import Field, model_validator

from rgnn.base.choices import Preset
from rgnn.base.errors import InputError, LostBoard
from rgnn.base.events import SILENT, Listener
from rgnn.base.files import write_atomic
from rgnn.base.provenance import Provenance, ranges_of
from rgnn.base.rng import stream_seed
from rgnn.base.run_folder import held
from rgnn.base.settings import Flag, Number, Settings, Whole, dump_yaml, read_yaml
from rgnn.base.versions import Versions
from rgnn.chip.board.settings import BoardSettings
from rgnn.chip.cells import Cells
from rgnn.chip.chip import Chip
from rgnn.chip.hardware import Hardware
from rgnn.chip.reuse import Reuse, statistics
from rgnn.data.domain import training_domain
from rgnn.data.heldout import ValidatedElsewhere
from rgnn.data.met import Met, doubtful, kept_apart
from rgnn.data.store.reader import GraphStore, require_cutoff
from rgnn.data.store.split import FILE as SPLIT_FILE
from rgnn.data.store.split import Partition, partition
from rgnn.graphs.graph import LabelledFrames
from rgnn.models import families
from rgnn.models.base import ForceField
from rgnn.models.boards import on_board, set_tap
from rgnn.models.committee import Committee
from rgnn.models.settings import EnergySettings, MessagePassingSettings, ModelSettings, MomentSettings
from rgnn.training.chip_size import narrowed, require_room, weights_on_chip
from rgnn.training.distributed import ALONE, Processes
from rgnn.training.fit import fitter_for, require_frames_for
from rgnn.training.frames import LABEL_OF, adding, require_labels, validated_elsewhere
from rgnn.training.outlook import Outlook, outlook
from rgnn.training.resumed import same_numbers
from rgnn.training.settings import TrainingSettings
from rgnn.training.start import Beginning, Memory, begun, read_start
from rgnn.training.validation import FitResult, validate


class RunSettings(Settings):
    """All that a training run depends on; written to its config.yaml."""

    store: str = ""
    """Path of the graph store."""
    chip: str | None = None
    """Path of a chip folder; None is the synthetic chip of the run's seed."""
    chips: Whole = Field(default=1, ge=1)
    """Number of chips that models are trained on, with the mean of their forces as force: other synthetic chips, or
    other cells of the one named."""
    reuse_cells: Flag = False
    """Whether a chip with too few weights gives them several times, in other orders of rows and columns."""
    adds_to: str | None = None
    """Path of a run with a ridge readout, to whose sums over its own frames this run adds; None starts from none."""
    split_file: str | None = None
    """Path of a file with the numbers of the frames that train, validate and test; None is `training.split`."""
    validation_store: str | None = None
    """Path of a store of frames to validate on, in place of frames that are held out; all of `store` then trains."""
    from_model: str | None = None
    """Path of a trained model whose weights the training begins with, on its own cells unless a chip is named."""
    replay: str | None = None
    """Path of a store whose frames are trained on among those of the run, lest the model that it began with forgets."""
    replay_share: Number = Field(default=0.25, ge=0, lt=1)
    """Share of the frames of an epoch that are replayed; with 0 what is forgotten is only measured."""
    model: ModelSettings = MessagePassingSettings()
    """Shape of the model."""
    hardware: Hardware = Hardware()
    """Hardware that the model is trained for."""
    training: TrainingSettings = TrainingSettings()
    """How the model is trained."""
    board: BoardSettings = BoardSettings()
    """Board that the products of the reservoir are measured on in training; none where it has no driver."""
    versions: Versions = Versions()
    """Software that ran, recorded and not used."""
    processes: Whole = 1
    """Number of processes that shared the run, recorded and not used."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.reuse_cells and self.chip is None:
            raise InputError("reuse_cells is for a measured chip, and a synthetic one has cells enough; name a chip.")
        if self.split_file is not None and self.validation_store is not None:
            raise InputError("a split file and a validation store each say what to validate on; give one of them.")
        weighted = [name for name in LABEL_OF if getattr(self.training, name)]
        if weighted and "energy" not in families.family_of(self.model).outputs:
            raise InputError(
                f"{weighted[0]} is for models with an energy, and this one has none; leave it out, or take --preset "
                "energy."
            )
        if self.from_model is not None and self.chips > 1:
            raise InputError("a training that begins with a model has the one chip of that; leave chips out.")
        if self.replay is not None and self.from_model is None:
            raise InputError(
                "replay is for a training that begins with a model; name that, or convert both stores to one."
            )
        return self

    @classmethod
    def preset(cls, name: Preset) -> "RunSettings":
        """Settings to start from.

        Args:
            name: "default", "published" (Xu et al. 2025), "gnnff" (the all-digital twin), or with moments in place of
                message passing "ridge" (solved for in one pass), "moments" (trained in minutes) or "energy" (the same,
                with forces and stress as derivatives of an energy).

        Raises:
            InputError: no such preset.
        """
        if name == "published":
            return cls(
                model=MessagePassingSettings.published(),
                hardware=Hardware.published(),
                training=TrainingSettings.published(),
            )
        # What is trained here keeps atoms apart where no frame has them; settings of before this was built do not.
        models: dict[str, ModelSettings] = {
            "default": MessagePassingSettings(),
            "gnnff": MessagePassingSettings.gnnff(),
            "ridge": MomentSettings.ridge(),
            "moments": MomentSettings.network(),
            "energy": EnergySettings(mixtures=32),
        }
        trainings = {"moments": TrainingSettings.moments(), "energy": TrainingSettings.energy()}
        if name in models:
            model = models[name].override(repulsion="zbl")
            return cls(model=model, training=trainings.get(name, TrainingSettings()).override(split="auto"))
        raise InputError(f"there is no preset '{name}'; take default, published, gnnff, ridge, moments or energy.")

    @classmethod
    def read(cls, path: str | Path) -> "RunSettings":
        """From a YAML file; what it leaves out takes its default."""
        return cls.from_mapping(read_yaml(path), str(path))

    @classmethod
    def adding_to(cls, run: str | Path) -> "RunSettings":
        """The settings of a run, for more frames: only the store is still to be named.

        Raises:
            InputError: no run there, or one that was not solved for.
        """
        config = cls.read(Path(run) / "config.yaml")
        if not config.model.is_solved:
            raise InputError(
                f"{run}: has no ridge readout, and frames can be added only to a run that has; train on all frames."
            )
        return config.override(store="", adds_to=str(run))

    @classmethod
    def beginning_with(cls, model: str | Path, store: str | Path, chip: str | Path | None = None) -> "RunSettings":
        """Settings of a training on a store that begins with a trained model.

        Args:
            model: folder of the model, or a run.
            store: path of the graph store.
            chip: folder of another chip; None keeps the cells of the model.

        Raises:
            InputError: no model or store there, or a model whose weights are solved for.
        """
        found = read_start(model)
        moved = chip is not None or not set(GraphStore(store).elements) <= set(found.provenance.elements)
        preset = cls.preset(found.settings.training_preset).training
        return cls(
            store=str(store),
            chip=None if chip is None else str(chip),
            from_model=str(model),
            model=found.settings,
            hardware=found.hardware,
            training=preset.continued(moved=moved),
        )

    def _member(
        self, number: int, measured: Chip | None, shapes: Sequence[Sequence[tuple[int, int]]]
    ) -> tuple[Chip, list[list[Cells]], int]:
        """Chip, cells and seed of a member of a committee; the first has the run's seed."""
        own = self.training.seed
        seed = stream_seed(own, "member", number) if number else own
        if measured is None:
            chip = Chip.synthetic(seed)
            return chip, chip.matrices(shapes, seed), seed
        return measured, measured.matrices(shapes, own, number, reuse=self.reuse_cells), seed

    def narrowed(self) -> Self:
        """The settings with the widest model of their kind that has room on the chip.

        Raises:
            InputError: there is none, or the chip or the store cannot be read.
        """
        if self.chip is None or self.from_model is not None:
            return self
        shape = self.model.for_elements(GraphStore(self.store).elements)
        return self.override(model=narrowed(shape, Chip.load(self.chip)))

    def begin(self, store: GraphStore, train: Sequence[int], memory: Memory | None) -> ForceField:
        """The model that the training begins with, ready for the training frames of a store and those of before.

        Raises:
            InputError: as `rgnn.training.start.begun`.
        """
        t, chip = self.training, None if self.chip is None else Chip.load(self.chip)
        assert self.from_model is not None
        model = begun(self.from_model, self.model, self.hardware, chip, store, train, t.seed, self.reuse_cells, memory)
        model.provenance = model.provenance.override(
            data=self.store,
            data_checksum=store.checksum,
            validation=t.validation,
            split=t.split,
            seed=t.seed,
            started_from=self.from_model,
            rgnn=version("rgnn"),
        )
        return model

    def build_model(self, store: GraphStore) -> ForceField:
        """The untrained model for a store.

        Raises:
            InputError: the store has another cutoff or other elements, or the chip is too small.
        """
        require_cutoff(store, self.model.cutoff)
        seed = self.training.seed
        try:
            shape = self.model.for_elements(store.elements)
        except InputError as error:
            raise InputError(f"{self.store}: {error}") from None
        measured = None if self.chip is None else Chip.load(self.chip)
        if measured is not None and not self.reuse_cells:
            others = ((name, self.preset(name).model.for_elements(store.elements)) for name in get_args(Preset))
            require_room(shape, measured, others)
        shapes = families.family_of(shape).matrices(shape)
        chips, cells, seeds = zip(*(self._member(k, measured, shapes) for k in range(self.chips)), strict=True)
        n, source = self.chips, chips[0].source
        models = [families.build(shape, self.hardware, cells[k], seeds[k], k) for k in range(n)]
        model = models[0] if n == 1 else Committee(models)
        if n > 1:
            source += f", and {n - 1} more" if self.chip is None else f", {n} choices of its cells"
        model.provenance = Provenance(
            elements=store.elements,
            chip=source if model.uses_chip else "none (all digital)",
            chip_is_measured=chips[0].measured,
            cells_are_reused=measured is not None and weights_on_chip(shape) > len(measured.weights),
            data=self.store,
            data_checksum=store.checksum,
            validation=self.training.validation,
            split=self.training.split,
            seed=seed,
            rgnn=version("rgnn"),
        )
        return model


@dataclass(frozen=True)
class TrainingRun:
    """A training run made ready: everything is read and checked, and nothing written yet.

    Attributes:
        config: complete settings.
        store, model: of the run; the model is untrained.
        parts: frames that train and validate.
        validated: the store of the validation frames, where it is another one.
        processes: that share the run; the first of them writes.
        memory: frames that the model it begins with was trained on; None where there are none.
        new_elements: atomic numbers that this model was not trained on.
        doubt: a sentence that says why the validation error may be too low; empty where no reason is known.
    """

    config: RunSettings
    store: GraphStore
    model: ForceField
    parts: Partition
    validated: GraphStore | None = None
    processes: Processes = ALONE
    memory: Memory | None = None
    new_elements: tuple[int, ...] = ()
    doubt: str = ""

    @classmethod
    def prepare(
        cls, config: RunSettings, device: torch.device | str = "cpu", processes: Processes = ALONE
    ) -> "TrainingRun":
        """Read the store and build the model.

        Raises:
            InputError: no store, another cutoff, too small a chip, or too few frames.
        """
        if not config.model.is_solved:
            require_frames_for(config.training, processes)
        store = GraphStore(config.store)
        t = config.training
        validated = None if config.validation_store is None else GraphStore(config.validation_store)
        if validated is None:
            parts = partition(store, t.validation, t.seed, config.split_file or t.split)
        else:
            parts = validated_elsewhere(store, validated)
        require_labels(t, store, parts.train)
        begins = None if config.from_model is None else Beginning(config.from_model, store, validated, config.replay)
        doubt, memory, new = "", None, tuple[int, ...]()
        if begins is not None:
            if validated is None and config.split_file is None:
                parts = kept_apart(parts, store, begins.met, t.validation, t.seed)
            doubt = begins.doubt(parts.validation)
            new = tuple(sorted(set(store.elements) - set(begins.card.provenance.elements)))
            memory = begins.memory(parts.train, config.replay_share, t.seed)
        train = parts.train
        model = (config.build_model(store) if begins is None else config.begin(store, train, memory)).to(device)
        mine = model.provenance.override(
            seen=training_domain(store, train).joined(model.provenance.seen),
            held_out=() if validated is not None else tuple(ranges_of(parts.test or parts.validation)),
            validation_data=config.validation_store or "",
            used=(
                *parts.used(store, validated),
                *(() if memory is None else memory.used),
                *(() if begins is None else begins.uses),
            ),
        )
        for member in model.members:
            if member.repulsion is not None:
                member.repulsion.fit(mine.seen, mine.elements)
        if config.adds_to is not None:
            mine = adding(model, mine, config.adds_to, store)
            if validated is not None:
                doubt = doubtful(Met.by(mine.used, store, validated), config.adds_to, validated, parts.validation)
        model.provenance = mine
        frames, atoms = len(train), float(store.column("n_atoms").mean())
        if memory is not None:
            frames, atoms = memory.epoch(frames, atoms)
        config = config.override(training=t.with_length(frames, atoms))
        return cls(config, store, model, parts, validated, processes, memory, new, doubt)

    @property
    def train(self) -> list[int]:
        """Numbers of the training frames."""
        return self.parts.train

    @property
    def validation(self) -> list[int]:
        """Numbers of the validation frames in their store."""
        return self.parts.validation

    @property
    def validation_store(self) -> GraphStore:
        """The store of the validation frames."""
        return self.store if self.validated is None else self.validated

    def outlook(self, result: FitResult) -> Outlook | None:
        """What the validation error says of other trajectories; None where it is that of other trajectories."""
        if self.parts.whole:
            return None
        error, seed = result.best.relative_error, self.config.training.seed
        return outlook(result.model, self.store, self.train, self.validation, error, seed)

    def remembered(self, model: ForceField) -> float | None:
        """Relative force error of a model on held-out frames of the training before, on the hardware of this one.

        None where nothing is replayed or measured, or where no such frame is left.
        """
        if self.memory is None or not self.memory.held_out:
            return None
        mode = model.training
        found = validate(model.eval(), self.memory.store, self.memory.held_out, self.config.training.seed)
        model.train(mode)
        return found.relative

    @property
    def reuse(self) -> Reuse | None:
        """How cells of the chip are used several times; None where they are not."""
        if self.config.chip is None or not self.model.provenance.cells_are_reused:
            return None
        weights = Chip.load(self.config.chip).weights
        return statistics(weights, self.model.members[0].n_fixed, self.config.training.seed)

    def run(
        self,
        out: str | Path,
        *,
        resume: bool = False,
        listener: Listener = SILENT,
    ) -> FitResult:
        """Train into the run folder `out`.

        Args:
            out: made where absent.
            resume: continue from the state in `out`, or from the start where it has none yet.
            listener: as in `fit`.

        Raises:
            InputError, BrokenRunError, Interrupted, OSError: as in `fit`.
            LostBoard: the board does not answer any more; the state is saved.
        """
        out, processes, board = Path(out), self.processes, self.config.board
        if self.doubt and processes.first:
            listener.warn(self.doubt)
        if board.driver and processes.count > 1:
            raise InputError("a board answers one process, not several; leave torchrun or the driver out.")
        with (
            held(out) if processes.first else nullcontext(),
            on_board(self.model, board, seed=self.config.training.seed, listener=listener),
        ):
            try:
                result = self._run(out, resume, listener)
            except LostBoard as lost:
                if lost.resume_from is None:
                    raise LostBoard(f"{lost}; the run begins again", "training", out) from None
                raise
        set_tap(result.model, None)
        return result

    def _run(self, out: Path, resume: bool, listener: Listener) -> FitResult:
        processes = self.processes
        adds_to = None if self.config.adds_to is None else Path(self.config.adds_to)
        fitter = fitter_for(
            self.model, self.config.training, out, processes, adds_to, self.config.from_model is not None
        )
        frames: LabelledFrames = self.store if self.memory is None else self.memory.frames
        validation = self.validation
        if self.validated is not None:
            frames = ValidatedElsewhere(frames, self.validated)
            validation = frames.numbers(self.validation)
        if processes.first:
            if resume and (out / "state.safetensors").exists():
                fitter.restore()
                same_numbers(fitter.numbers, self.train, validation, out)  # before anything is written
            else:
                fitter.start()
            out.mkdir(parents=True, exist_ok=True)
            note = f"# Goes on with: rgnn train --resume {out}\n# Repeats with: rgnn train --config {out}/config.yaml\n"
            record = self.config.override(
                model=self.model.settings, versions=Versions.here(), processes=processes.count
            )
            write_atomic(out / "config.yaml", note + dump_yaml(record.to_mapping()))
            if self.validated is None:
                self.parts.save(out / SPLIT_FILE)
        return fitter.run(frames, self.train, validation, listener)
