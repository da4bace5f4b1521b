"""What a run is asked to do, where it comes from, and what it came to."""

from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Literal, Self

from rgnn.base.errors import InputError
from rgnn.base.files import sha256
from rgnn.base.settings import Settings, read_yaml, require
from rgnn.base.versions import Versions

NVE_WARNING = (
    "NVE with direct forces does not conserve energy: a model without an energy and with fresh read noise heats or "
    "cools the system; take NVT unless this is what you study (Bigi et al. 2025, arXiv 2412.11569)."
)


Ensemble = Literal["nvt", "bussi", "nose-hoover", "nve"]
DEFAULT_STEPS, DEFAULT_TEMPERATURE = 10_000, 300.0


def _check_temperature(name: str, value: float) -> None:
    require(0 < value <= 20_000, name, value, "above 0 and at most 20000 K")


@dataclass(frozen=True)
class Stage(Settings):
    """A stretch of a run at one temperature, or on a straight line from one to another.

    Attributes:
        name: for people.
        steps: of this stage.
        temperature: K, where it is held.
        temperature_from, temperature_to: K, where it is changed from step to step.
        ensemble: None is the run's.
    """

    name: str = ""
    steps: int = 0
    temperature: float | None = None
    temperature_from: float | None = None
    temperature_to: float | None = None
    ensemble: Ensemble | None = None

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        given = (self.temperature is not None, self.temperature_from is not None, self.temperature_to is not None)
        if given not in ((True, False, False), (False, True, True)):
            raise InputError(
                f"stage '{self.name}' gives neither one temperature nor two; write temperature, or temperature_from "
                "and temperature_to."
            )
        _check_temperature("temperature", self.begin)
        _check_temperature("temperature", self.end)

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


@dataclass(frozen=True)
class MDSettings(Settings):
    """How a run goes.

    Attributes:
        steps: in total, over all restarts; with stages, their sum.
        temperature: K; of the starting velocities and of the thermostat; with stages, that at the begin of the first.
        timestep: fs.
        ensemble: "nvt" (Langevin), "bussi" (stochastic velocity rescaling), "nose-hoover" (a chain) or "nve"
            (velocity Verlet).
        friction: of the thermostat, 1/fs; 0.01 couples over 100 fs. The others than Langevin take its inverse as
            their time.
        bits, noise: hardware; None is as trained.
        seed: of velocities, thermostat and read noise, each in a stream of its own.
        write_every, restart_every: steps between frames and log rows, and between restart files.
        any_element: accept elements that the model was not trained on.
        stages: what the temperature does, one after the other; none is one temperature for all steps.
        minimise: largest force in eV/Angstrom to minimise the structure to before the first step; None leaves it.
        max_displacement: Angstrom that an atom may move in one step before the run breaks off.
        trajectory: which files of frames are written.
        engine: what moves the atoms: "ase", or "lammps" on any number of processes.
        ghosts: what LAMMPS' processes know of each other's atoms, see `rgnn.md.lammps.forces.RankForces`.
        uncertainty: of forces at each log row, see `rgnn.models.uncertainty`: "auto" is by the best that the model
            has, and none where it has none or LAMMPS moves the atoms; or by "posterior" or "committee", or "none".
    """

    steps: int = DEFAULT_STEPS
    temperature: float = DEFAULT_TEMPERATURE
    timestep: float = 1.0
    ensemble: Ensemble = "nvt"
    friction: float = 0.01
    bits: int | None = None
    noise: float | None = None
    seed: int = 0
    write_every: int = 10
    restart_every: int = 500
    any_element: bool = False
    stages: tuple[Stage, ...] = ()
    minimise: float | None = None
    max_displacement: float = 0.5
    trajectory: Literal["both", "xyz", "traj"] = "both"
    engine: Literal["ase", "lammps"] = "ase"
    ghosts: Literal["exchange", "deep"] = "exchange"
    uncertainty: Literal["auto", "posterior", "committee", "none"] = "auto"

    def __post_init__(self) -> None:
        if self.stages:
            self._follow_stages()
        for name in ("steps", "write_every", "restart_every"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _check_temperature("temperature", self.temperature)
        require(0 < self.timestep <= 20, "timestep", self.timestep, "above 0 and at most 20 fs")
        require(0 < self.friction <= 1, "friction", self.friction, "above 0 and at most 1 per fs")
        require(self.seed >= 0, "seed", self.seed, "0 or more")
        require(self.minimise is None or self.minimise > 0, "minimise", self.minimise, "above 0 eV/Angstrom")
        require(self.max_displacement > 0, "max_displacement", self.max_displacement, "above 0 Angstrom")

    def _follow_stages(self) -> None:
        """Take steps and temperature from the stages; another value given beside them is a contradiction."""
        total, first = sum(stage.steps for stage in self.stages), self.stages[0].begin
        if self.steps not in (DEFAULT_STEPS, total):
            raise InputError(f"steps is {self.steps}, but the stages add up to {total}; leave steps out.")
        if self.temperature not in (DEFAULT_TEMPERATURE, first):
            raise InputError(
                f"temperature is {self.temperature:g}, but the first stage begins at {first:g} K; leave it out."
            )
        object.__setattr__(self, "steps", total)
        object.__setattr__(self, "temperature", first)

    @property
    def schedule(self) -> tuple[Stage, ...]:
        """The stages, where there are none the one that the whole run is."""
        return self.stages or (Stage(steps=self.steps, temperature=self.temperature),)

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


@dataclass(frozen=True)
class RunOrigin(Settings):
    """Where structure and model come from, for the record: paths, the structure's SHA-256, and its frame."""

    structure: str = ""
    structure_sha256: str = ""
    frame: int = -1
    format: str | None = None
    model: str = ""

    @classmethod
    def of(cls, structure: str | Path, model: str | Path, frame: int = -1, format: str | None = None) -> Self:  # noqa: A002
        """The record of these files; a folder that ASE reads has no checksum."""
        checksum = sha256(structure) if Path(structure).is_file() else ""
        return cls(str(structure), checksum, frame, format, str(model))


@dataclass(frozen=True)
class MDVersions(Versions):
    """What ran; the thermostat is ASE's, and LAMMPS moves the atoms where it is named."""

    ase: str = ""
    lammps: str = ""

    @classmethod
    def here(cls) -> "MDVersions":
        """Those of this process."""
        return cls(**vars(Versions.here()), ase=version("ase"))


@dataclass(frozen=True)
class MDRecord(Settings):
    """The config.yaml of a run: `md` is used when it is read, the rest tells where the run came from."""

    md: MDSettings = MDSettings()
    origin: RunOrigin = RunOrigin()
    model_fingerprint: str = ""
    versions: MDVersions = MDVersions()

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """From a YAML file, or the config.yaml of a run folder; what it leaves out takes its default."""
        path = Path(path)
        file = path / "config.yaml" if path.is_dir() else path
        return cls.from_mapping(read_yaml(file), str(file))


@dataclass(frozen=True)
class MDResult:
    """What a run came to; means are over its second half.

    Attributes:
        steps: done in total.
        temperature: K.
        element_temperature: K, of each element by its symbol.
        net_force: mean size of the sum of forces before its removal, eV/Angstrom; it grades the model.
        work: done by the model's forces, meV/atom/ps; forces of an energy average to zero in equilibrium, so
            what stays is heating by the model (direct forces, read noise), which a thermostat carries off.
        seconds, steps_per_second, ns_per_day: of this process.
        warning: as of the settings.
        heat: given to the atoms by the thermostat, meV/atom/ps.
        temperature_shift: K by which the work displaces the temperature, in NVE K/ps; see `rgnn.md.heating`.
        temperature_shift_error: one standard deviation.
        heating: the verdict on it in words.
        uncertainty_checks: log rows in which the uncertainty of forces was looked at, from the first step on.
        uncertainty_outside: those in which some atom was outside of what the model was trained on.
    """

    steps: int
    temperature: float
    element_temperature: dict[str, float]
    net_force: float
    work: float
    seconds: float
    steps_per_second: float
    ns_per_day: float
    warning: str = ""
    heat: float = 0.0
    temperature_shift: float = 0.0
    temperature_shift_error: float = 0.0
    heating: str = ""
    uncertainty_checks: int = 0
    uncertainty_outside: int = 0
