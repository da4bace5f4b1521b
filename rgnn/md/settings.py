"""What a run is asked to do, where it comes from, and what it came to."""

from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from rgnn.base.choices import (
    CellMotion,
    CloseContacts,
    Engine,
    Ensemble,
    Ghosts,
    SlowHardware,
    Trajectory,
    UncertaintyChoice,
)
from rgnn.base.errors import InputError
from rgnn.base.files import sha256
from rgnn.base.provenance import TrainingDomain
from rgnn.base.settings import Flag, Number, Settings, Whole, read_yaml, require
from rgnn.base.versions import Versions
from rgnn.chip.board.settings import BoardSettings
from rgnn.chip.hardware import MOST_NOISE

NVE_WARNING = (
    "NVE with direct forces does not conserve energy: a model without an energy and with fresh read noise heats or "
    "cools the system; take NVT unless this is what you study (Bigi et al. 2025, arXiv 2412.11569)."
)


DEFAULT_STEPS, DEFAULT_TEMPERATURE = 10_000, 300.0


def _kelvin() -> Any:
    """A temperature that may be left out."""
    return Field(default=None, gt=0, le=20_000, json_schema_extra={"unit": "K"})


class Stage(Settings):
    """A stretch of a run at one temperature, or on a straight line from one to another."""

    name: str = ""
    """Name for people."""
    steps: Whole = 0
    """Number of steps, at least 1."""
    temperature: Number | None = _kelvin()
    """Temperature that is held, K."""
    temperature_from: Number | None = _kelvin()
    """Temperature at the first step of a ramp, K."""
    temperature_to: Number | None = _kelvin()
    """Temperature at the last step of a ramp, K."""
    ensemble: Ensemble | None = None
    """Ensemble of the stage; None is the run's."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        given = (self.temperature is not None, self.temperature_from is not None, self.temperature_to is not None)
        if given not in ((True, False, False), (False, True, True)):
            raise InputError(
                f"stage '{self.name}' gives neither one temperature nor two; write temperature, or temperature_from "
                "and temperature_to."
            )
        return self

    @property
    def begin(self) -> float:
        """K at its begin."""
        first = self.temperature if self.temperature_from is None else self.temperature_from
        assert first is not None
        return first

    @property
    def end(self) -> float:
        """K at its end."""
        return self.begin if self.temperature_to is None else self.temperature_to

    @property
    def is_ramp(self) -> bool:
        """Whether the temperature changes."""
        return self.begin != self.end


class MDSettings(Settings):
    """How a run of molecular dynamics goes."""

    steps: Whole | None = Field(default=None, ge=1)
    """Number of steps in total, over all restarts; None is 10000, or with stages their sum."""
    temperature: Number | None = _kelvin()
    """Temperature of the starting velocities and of the thermostat, K; None is 300, or with stages that at the begin of
    the first."""
    timestep: Number = Field(default=1.0, gt=0, le=20, json_schema_extra={"unit": "fs"})
    """Timestep, fs."""
    ensemble: Ensemble = "nvt"
    """Ensemble and thermostat: "nvt" (Langevin), "bussi" (stochastic velocity rescaling), "nose-hoover" (a chain) or
    "nve" (velocity Verlet); "npt" and "nph" hold a pressure, with a chain and without a thermostat."""
    pressure: Number = Field(default=0.0, ge=-100, le=1000, json_schema_extra={"unit": "GPa"})
    """Pressure in the ensembles "npt" and "nph", GPa."""
    barostat_time: Number = Field(default=1000.0, gt=0, le=1e6, json_schema_extra={"unit": "fs"})
    """Time of the barostat, fs."""
    cell: CellMotion = "isotropic"
    """What of the cell moves under a pressure: its size ("isotropic"), its stretches along x, y and z ("anisotropic")
    or these and its angles ("full")."""
    friction: Number = Field(default=0.01, gt=0, le=1, json_schema_extra={"unit": "per fs"})
    """Thermostat friction, 1/fs; 0.01 couples over 100 fs. The thermostats other than Langevin take its inverse as
    their time."""
    bits: Whole | None = Field(default=None, ge=1, le=16)
    """Input bits of the chip; None is as trained."""
    noise: Number | None = Field(default=None, ge=0, le=MOST_NOISE)
    """Noise of the chip relative to its reference; None is as trained, 0 is no noise."""
    seed: Whole = Field(default=0, ge=0)
    """Seed of velocities, thermostat and read noise, each in a separate random stream."""
    write_every: Whole = Field(default=10, ge=1)
    """Steps between frames and log rows."""
    restart_every: Whole = Field(default=500, ge=1)
    """Steps between restart files."""
    any_element: Flag = False
    """Whether elements that the model was not trained on are accepted."""
    stages: tuple[Stage, ...] = ()
    """Stages of the temperature, one after the other; none is one temperature for all steps."""
    minimise: Number | None = Field(default=None, gt=0, json_schema_extra={"unit": "eV/Angstrom"})
    """Largest force to minimise the structure to before the first step, eV/Å; None leaves the structure as it is."""
    max_displacement: Number = Field(default=0.5, gt=0, json_schema_extra={"unit": "Angstrom"})
    """Distance an atom may move in one step before the run breaks off, Å."""
    trajectory: Trajectory = "both"
    """Files of frames to write: "xyz", "traj" or "both"."""
    close_contacts: CloseContacts = "stop"
    """What happens in a log row where two atoms are closer than 0.8 of the closest distance of their elements in the
    training frames: "stop" breaks the run off, "warn" says so once for each pair, "ignore" only logs the distances. A
    model without a record of its training frames only warns."""
    keep_velocities: Flag = False
    """Whether a run starts with the velocities of the structure file, and not with drawn ones."""
    engine: Engine = "ase"
    """Program that moves the atoms: "ase", or "lammps" on any number of processes."""
    ghosts: Ghosts = "exchange"
    """What the processes of LAMMPS know of each other's atoms, see `rgnn.md.lammps.forces.RankForces`."""
    uncertainty: UncertaintyChoice = "auto"
    """Uncertainty of forces at each log row, see `rgnn.models.uncertainty`: by "posterior", by "committee", "none", or
    "auto", which is the best that the model has, and none where it has none or LAMMPS moves the atoms."""

    slow_every: Whole | None = Field(default=None, ge=1, le=1000)
    """Steps from one question to a slow model to the next, see `rgnn.md.slow_model`; None has no slow model."""
    slow_hardware: SlowHardware = "trained"
    """Hardware of the slow model: "trained", as it was trained, or the "ideal" chip."""

    @model_validator(mode="after")
    def _fit_a_slow_model(self) -> Self:
        """Refuse what a slow model cannot share."""
        every = self.slow_every
        if every is None:
            return self
        if self.engine == "lammps":
            raise InputError("LAMMPS asks one model; leave slow_every out, or take the engine ase.")
        if {stage.ensemble or self.ensemble for stage in self.schedule} & {"npt", "nph"}:
            raise InputError("a pressure is held by the stress of one model; leave slow_every out, or npt and nph.")
        if self.write_every % every:
            near = every * max(1, round(self.write_every / every))
            raise InputError(
                f"write_every is {self.write_every}, but the slow model is asked every {every} steps, and only "
                f"there is an energy; take a multiple of {every}, such as {near}."
            )
        return self

    @model_validator(mode="after")
    def _agree_with_stages(self) -> Self:
        """Refuse steps and a temperature beside stages that say otherwise."""
        if self.steps not in (None, self.total_steps):
            raise InputError(f"steps is {self.steps}, but the stages add up to {self.total_steps}; leave steps out.")
        if self.temperature not in (None, first := self.initial_temperature):
            raise InputError(
                f"temperature is {self.temperature:g}, but the first stage begins at {first:g} K; leave it out."
            )
        return self

    @cached_property
    def schedule(self) -> tuple[Stage, ...]:
        """The stages; where there are none, the one that the whole run is."""
        return self.stages or (
            Stage(steps=self.steps or DEFAULT_STEPS, temperature=self.temperature or DEFAULT_TEMPERATURE),
        )

    @property
    def total_steps(self) -> int:
        """Number of steps of the schedule."""
        return sum(stage.steps for stage in self.schedule)

    @property
    def initial_temperature(self) -> float:
        """Temperature at the begin of the schedule, K."""
        return self.schedule[0].begin

    def resolved(self) -> Self:
        """The same with steps and temperature of the schedule written out, for the record of a run."""
        return self.override(steps=self.total_steps, temperature=self.initial_temperature)

    def begins(self, place: int) -> int:
        """The step that the stage at this place in the schedule begins at."""
        return sum(stage.steps for stage in self.schedule[:place])

    def stage_at(self, step: int) -> tuple[int, Stage]:
        """The stage that leads to a step, and its place in the schedule; step 0 is the first one's."""
        schedule = self.schedule
        ends = accumulate(stage.steps for stage in schedule)
        place = next((place for place, end in enumerate(ends) if step <= end), len(schedule) - 1)
        return place, schedule[place]

    def target(self, step: int) -> float:
        """K that the thermostat aims at in the step that leads to this one."""
        place, stage = self.stage_at(step)
        return stage.begin + (stage.end - stage.begin) * (step - self.begins(place)) / stage.steps

    def ensemble_at(self, step: int) -> Ensemble:
        """That of the step which leads to this one."""
        return self.stage_at(step)[1].ensemble or self.ensemble

    @property
    def warning(self) -> str:
        """What a user should know before such a run, or nothing."""
        return NVE_WARNING if "nve" in {stage.ensemble or self.ensemble for stage in self.schedule} else ""


class RunOrigin(Settings):
    """Where structure and model of a run come from, for the record."""

    structure: str = ""
    """Path of the structure file."""
    structure_sha256: str = ""
    """SHA-256 of the structure file; empty for a folder."""
    frame: Whole = -1
    """Number of the frame in the structure file; negative numbers count from the end."""
    format: str | None = None
    """Format of the structure file; None is what ASE takes it for."""
    model: str = ""
    """Path of the model folder or training run."""
    slow_model: str = ""
    """Path of the slow model of multiple time stepping; empty where there is none."""
    board: BoardSettings = BoardSettings()
    """Board that the chip is measured on; none where it has no driver."""

    @classmethod
    def of(cls, structure: str | Path, model: str | Path, frame: int = -1, format: str | None = None) -> Self:  # noqa: A002
        """The record of these files; a folder that ASE reads has no checksum."""
        checksum = sha256(structure) if Path(structure).is_file() else ""
        return cls(structure=str(structure), structure_sha256=checksum, frame=frame, format=format, model=str(model))


class MDVersions(Versions):
    """The software that ran; the thermostat is ASE's, and LAMMPS moves the atoms where it is named."""

    ase: str = ""
    """Version of ASE."""
    lammps: str = ""
    """Version of LAMMPS; empty where ASE moves the atoms."""

    @classmethod
    def here(cls) -> "MDVersions":
        """Those of this process."""
        return cls(**vars(Versions.here()), ase=version("ase"))


class MDRecord(Settings):
    """The config.yaml of a run: `md` is used when it is read, the rest says where the run comes from."""

    md: MDSettings = MDSettings()
    """How the run goes."""
    origin: RunOrigin = RunOrigin()
    """Structure and model of the run."""
    model_fingerprint: str = ""
    """SHA-256 of the model, see `rgnn.models.checkpoints.fingerprint`."""
    seen: TrainingDomain = TrainingDomain()
    """What the training set of the model spans; empty in runs of before this was recorded."""
    slow_model_fingerprint: str = ""
    """SHA-256 of the slow model; empty where there is none."""
    versions: MDVersions = MDVersions()
    """Software that ran."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """From a YAML file, or the config.yaml of a run folder; what it leaves out takes its default.

        Raises:
            InputError: there is no such file, or a value in it cannot be used.
        """
        path = Path(path)
        file = path / "config.yaml" if path.is_dir() else path
        if not file.is_file():
            what = "is not a run nor a file of settings" if path.exists() else "does not exist"
            raise InputError(f"{path}: {what}; name a folder such as md/structure-001.")
        return cls.from_mapping(read_yaml(file), str(file))


@dataclass(frozen=True)
class ClosestAtoms:
    """The closest two atoms of a pair of elements in all the rows of a run's log.

    Attributes:
        distance: Angstrom.
        time: when, ps.
        trained: the closest in training, Angstrom; None where no training frame has the pair as neighbours.
        too_close: whether that is below the limit, see `rgnn.md.contacts.ContactLimits`.
    """

    distance: float
    time: float
    trained: float | None
    too_close: bool


@dataclass(frozen=True)
class MDResult:
    """What a run came to; means are over its second half, or where it has stages over that of the last one.

    Attributes:
        steps: done in total.
        temperature: K.
        element_temperature: K, of each element by its symbol.
        net_force: mean size of the sum of forces before its removal, eV/Angstrom; it grades the model.
        work: done by the model's forces, meV/atom/ps; forces of an energy average to zero in equilibrium, so
            what stays is heating by the model (direct forces, read noise), which a thermostat carries off. None, as
            the heat and the shift, where the cell moves, since the stress does work too.
        seconds, steps_per_second, ns_per_day: of this process.
        warning: as of the settings.
        heat: given to the atoms by the thermostat, meV/atom/ps.
        potential_energy: mean, eV; None from models without an energy, as all that follows from one.
        pressure: mean, GPa, with that of the motion of the atoms; None where the structure is not periodic, or has
            bonds of fixed length, whose push no model knows.
        volume: mean, Angstrom^3.
        density: mean, g/cm3.
        density_fluctuation: its standard deviation, g/cm3; 0 where the cell does not move.
        drift: of the conserved energy, meV/atom/ps; see `rgnn.md.drift`.
        drift_error: half of its 95% interval.
        conservation: the verdict on it in words.
        temperature_shift: K by which the work displaces the temperature, in NVE K/ps; see `rgnn.md.heating`.
        temperature_shift_error: one standard deviation.
        heating: the verdict on it in words.
        uncertainty_checks: log rows in which the uncertainty of forces was looked at, from the first step on.
        uncertainty_outside: those in which some atom was outside of what the model was trained on.
        uncertainty_ratio: the largest uncertainty of a force, in units of its element's limit; None where none was
            looked at, or where an element has no limit.
        uncertainty_time: ps at which it was.
        temperature_error: half of the 95% interval of the temperature, K; None where the run is too short for one.
        thermostat: the verdict on the temperature in words, however short the run is; see `rgnn.md.thermometry`.
        element_temperature_error: half of the interval of each element's, K.
        equipartition: the verdict on whether elements share one temperature, in words.
        closest: the closest atoms of each pair of elements, such as "Li-O", in the whole run.
        slow_calls: of the slow model in multiple time stepping, by this process.
        slow_time: share of the slow model in the time that both models took; None where there is none.
    """

    steps: int
    temperature: float
    element_temperature: dict[str, float]
    net_force: float
    work: float | None
    seconds: float
    steps_per_second: float
    ns_per_day: float
    warning: str = ""
    heat: float | None = None
    temperature_shift: float | None = None
    temperature_shift_error: float | None = None
    heating: str = ""
    uncertainty_checks: int = 0
    uncertainty_outside: int = 0
    potential_energy: float | None = None
    pressure: float | None = None
    volume: float | None = None
    density: float | None = None
    density_fluctuation: float | None = None
    drift: float | None = None
    drift_error: float | None = None
    conservation: str = ""
    uncertainty_ratio: float | None = None
    uncertainty_time: float | None = None
    temperature_error: float | None = None
    thermostat: str = ""
    element_temperature_error: dict[str, float | None] = field(default_factory=dict)
    equipartition: str = ""
    closest: dict[str, ClosestAtoms] = field(default_factory=dict)
    slow_calls: int = 0
    slow_time: float | None = None
