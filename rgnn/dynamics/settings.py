"""What a run is asked to do, where it comes from, and what it came to."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Self

from rgnn.config import Settings, read_yaml, require
from rgnn.files import sha256
from rgnn.runs import Versions

NVE_WARNING = (
    "NVE with direct forces does not conserve energy: a model without an energy and with fresh read noise heats or "
    "cools the system; take NVT unless this is what you study (Bigi et al. 2025, arXiv 2412.11569)."
)


@dataclass(frozen=True)
class MDConfig(Settings):
    """How a run goes.

    Attributes:
        steps: in total, over all restarts.
        temperature: K; of the starting velocities, and in NVT of the thermostat.
        timestep: fs.
        ensemble: "nvt" (Langevin) or "nve" (velocity Verlet).
        friction: of the Langevin thermostat, 1/fs; 0.01 couples over 100 fs.
        bits, noise: hardware; None is as trained.
        seed: of velocities, thermostat and read noise, each in a stream of its own.
        write_every, restart_every: steps between frames and log rows, and between restart files.
        any_element: accept elements that the model was not trained on.
        engine: what moves the atoms: "ase", or "lammps" on any number of processes.
        ghosts: what LAMMPS' processes know of each other's atoms, see `rgnn.lammps.forces.RankForces`.
    """

    steps: int = 10_000
    temperature: float = 300.0
    timestep: float = 1.0
    ensemble: Literal["nvt", "nve"] = "nvt"
    friction: float = 0.01
    bits: int | None = None
    noise: float | None = None
    seed: int = 0
    write_every: int = 10
    restart_every: int = 500
    any_element: bool = False
    engine: Literal["ase", "lammps"] = "ase"
    ghosts: Literal["exchange", "deep"] = "exchange"

    def __post_init__(self) -> None:
        for name in ("steps", "write_every", "restart_every"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(0 < self.temperature <= 20_000, "temperature", self.temperature, "above 0 and at most 20000 K")
        require(0 < self.timestep <= 20, "timestep", self.timestep, "above 0 and at most 20 fs")
        require(0 < self.friction <= 1, "friction", self.friction, "above 0 and at most 1 per fs")
        require(self.seed >= 0, "seed", self.seed, "0 or more")

    @property
    def warning(self) -> str:
        """What a user should know before such a run, or nothing."""
        return NVE_WARNING if self.ensemble == "nve" else ""


@dataclass(frozen=True)
class Origin(Settings):
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

    md: MDConfig = MDConfig()
    origin: Origin = Origin()
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
