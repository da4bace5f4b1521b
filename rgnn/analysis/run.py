"""All that is read off one trajectory in a single pass, and how two of them compare."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.units import kB

from rgnn.analysis.conductivity import Conductivity, charge_track, conductivity, dipole
from rgnn.analysis.diffusion import Displacements, displacements
from rgnn.analysis.hops import hops
from rgnn.analysis.observables import RadialCounts, RadialDistribution, integrated_difference, pooled
from rgnn.analysis.settings import AnalysisSettings
from rgnn.analysis.soundness import Closest, broke_off, limits_of, sound_part, time_of
from rgnn.analysis.trajectory import LOST, Trajectory
from rgnn.analysis.vibrations import Spectra, Vibrations
from rgnn.base.errors import InputError
from rgnn.base.estimate import Estimate, evenly, mean_of_parts, rate
from rgnn.md import element_temperature
from rgnn.md.constraints import freedom, is_anchored
from rgnn.md.contacts import pair_name
from rgnn.md.thermometry import against_thermostat, correlated_mean, equipartition

# Frames that g(r) is averaged over, fewer where their atoms together would be more than that.
RADIAL_FRAMES, RADIAL_ATOMS = 1000, 400_000
# Atoms times frames whose positions are kept for displacements: 96 MB. Of longer runs, every second frame or fewer.
KEPT = 4_000_000
# Part of the steps between frames that may be nearly half a cell: of uniform places a fifth are.
MOST_LOST = 0.002
# Part of a temperature that a thermostat may go up or down in what is analysed, for results to be of one temperature.
STEADY = 0.02
# Consecutive parts that g(r) is averaged over apart, for errors and for the two halves.
RADIAL_PARTS = 10


@dataclass(frozen=True)
class Shell:
    """Neighbours in the first shell.

    Attributes:
        centre, neighbour: atomic numbers.
        distance: up to which they are counted, the first minimum of g(r), Angstrom.
        number: mean, with a 95% interval from consecutive parts of the run.
    """

    centre: int
    neighbour: int
    distance: float
    number: Estimate

    @property
    def name(self) -> str:
        """As "P-O": oxygen around phosphorus."""
        return f"{chemical_symbols[self.centre]}-{chemical_symbols[self.neighbour]}"


@dataclass(frozen=True)
class Analysis:
    """What a trajectory came to, after its equilibration.

    Attributes:
        trajectory: what was analysed.
        atoms, frames: in each frame, and frames analysed.
        skipped: frames left out at the start.
        parts: g(r) of consecutive parts; none without a periodic cell.
        radial_frames: that they were averaged over.
        shells: coordination numbers, where g(r) has a minimum.
        temperature: K, with a 95% interval, of all atoms ("all") and by element; empty without velocities. The
            interval has no ends where the run is too short for one.
        displacements: None where the time between frames is not known, or too few.
        work: done by the forces, meV/atom/ps, which is what the model heats; None without a log.
        kelvin: temperature of the run: the measured mean, or as given, or as it was started; None where nobody knows.
        volume: mean of the cell, cubic Angstrom; None without one.
        conductivity: None where no charges are given, or something that it needs is not known.
        vibrations: density of states; None where frames do not hold it.
        notes: sentences on what was left out, and why.
        closest: the closest atoms of each pair of elements: in all frames of pairs that were too close, of others in
            those that g(r) was averaged over.
        unsound: why no diffusion coefficient is given: atoms that were too close, or a run that broke off; empty
            where all is well.
        thermostat: the temperature against that of the thermostat, in words; empty where there is none.
        equipartition: whether elements share one temperature, in words; empty without velocities.
        ramp: how the thermostat changed in what was analysed, in words; empty where results are of one temperature.
    """

    trajectory: Trajectory
    atoms: int
    frames: int
    skipped: int
    parts: tuple[RadialDistribution, ...]
    shells: tuple[Shell, ...]
    temperature: dict[str, Estimate]
    displacements: Displacements | None
    work: Estimate | None
    kelvin: float | None
    volume: float | None
    conductivity: Conductivity | None
    vibrations: Vibrations | None
    notes: tuple[str, ...]
    closest: Closest
    unsound: str = ""
    thermostat: str = ""
    equipartition: str = ""
    ramp: str = ""

    @property
    def name(self) -> str:
        """Of the trajectory."""
        return self.trajectory.name

    @property
    def radial(self) -> RadialDistribution | None:
        """g(r) of all parts together; None without a periodic cell."""
        return pooled(self.parts) if self.parts else None

    @property
    def halves(self) -> tuple[RadialDistribution, RadialDistribution] | None:
        """g(r) of the first half and of the second; None for a single part."""
        middle = len(self.parts) // 2
        return (pooled(self.parts[:middle]), pooled(self.parts[middle:])) if middle else None

    @property
    def floor(self) -> dict[str, float]:
        """Integrated difference of the two halves, see `differences`; empty for a single part."""
        return {} if self.halves is None else differences(*self.halves)

    @property
    def length(self) -> float | None:
        """Analysed time in ps."""
        interval = self.trajectory.interval
        return None if interval is None else interval * (self.frames - 1)


def differences(radial: RadialDistribution, reference: RadialDistribution) -> dict[str, float]:
    """Integral of |g - g_ref| over that of g_ref, of all atoms ("all") and of each pair.

    Raises:
        InputError: other elements, in other proportions, or other bins.
    """
    if not _same_composition(radial.counts, reference.counts):
        mine, theirs = (_formula(x.counts) for x in (radial, reference))
        raise InputError(f"g(r) of {mine} cannot be compared with that of {theirs}; name one of the same composition.")
    if not np.array_equal(radial.r, reference.r):
        raise InputError("the distributions have different bins; analyse both with one width and one reach.")
    found = {"all": integrated_difference(radial.r, radial.total, reference.total)}
    for pair in radial.pairs:
        found[pair_name(pair)] = integrated_difference(radial.r, radial.of(pair), reference.of(pair))
    return found


def _same_composition(a: dict[int, int], b: dict[int, int]) -> bool:
    return a.keys() == b.keys() and all(a[z] * sum(b.values()) == b[z] * sum(a.values()) for z in a)


def _formula(counts: dict[int, int]) -> str:
    return "".join(f"{chemical_symbols[z]}{n}" for z, n in counts.items())


def analyse(
    trajectory: Trajectory,
    config: AnalysisSettings,
    progress: Callable[[int, int], None] = lambda done, total: None,
    with_kinisi: bool | None = None,
) -> Analysis:
    """Read a trajectory once, a frame at a time, and take from it all that it can tell.

    Nothing is fitted to displacements of a run in which two atoms came too close, see `ContactLimits`, or that broke
    off; `AnalysisSettings.sound_part` reads it twice, and analyses what came before.

    Args:
        trajectory: from `open_trajectory`.
        config: how.
        progress: called with (done, total) frames.
        with_kinisi: as in `displacements`.

    Raises:
        InputError: nothing is left after the skip, a frame cannot be read, or no part is sound.
    """
    notes, unsound = list[str](), "" if config.sound_part else broke_off(trajectory)
    if config.sound_part:
        trajectory, why = sound_part(trajectory, progress)
        notes += [f"only the part before this: {why}"] if why else []
    first = _skipped(trajectory, config)
    gathered = _gather(trajectory, config, first, progress)
    unsound = gathered.closest.words or unsound
    if not trajectory.is_run:
        notes.append("no run of rgnn: positions were unwrapped, each step to the nearest image")
    if not gathered.parts:
        notes.append("no g(r): it needs a cell that is periodic in three directions")
    if trajectory.remark:
        notes.append(trajectory.remark)
    moved = None if unsound else _displacements(trajectory, config, gathered, with_kinisi, notes)
    series, thermostat, work, ramp = gathered.temperatures, "", None, ""
    if trajectory.log is not None:
        series, thermostat, work = _from_log(trajectory.log, gathered.start, gathered.first.numbers)
        ramp = _ramp(trajectory.log, gathered.start)
        notes += [ramp] if ramp else []
    elements = {name: values for name, values in series.items() if name != "all"}
    temperature = {name: correlated_mean(values) for name, values in series.items()}
    kelvin = temperature["all"].value if temperature else config.temperature or trajectory.target
    kelvin = kelvin or trajectory.temperature
    states: Vibrations | str | None = None
    if gathered.spectra is not None and not unsound:
        states = gathered.spectra.result(trajectory.timestep)
    if isinstance(states, str):
        notes.append(f"no vibrational density of states: {states}")
    return Analysis(
        trajectory,
        len(gathered.first),
        trajectory.length - first,
        first,
        gathered.parts,
        _shells(gathered.parts),
        temperature,
        moved,
        work,
        kelvin,
        gathered.volume,
        _conductivity(config, gathered, moved, kelvin, notes),
        states if isinstance(states, Vibrations) else None,
        tuple(notes),
        gathered.closest,
        unsound,
        thermostat,
        equipartition(elements, series["all"]).verdict if "all" in series else "",
        ramp,
    )


def _conductivity(
    config: AnalysisSettings, g: "_Gathered", moved: Displacements | None, kelvin: float | None, notes: list[str]
) -> Conductivity | None:
    charges = config.charge_numbers
    if not charges or moved is None:
        return None
    absent = [chemical_symbols[z] for z in charges if z not in g.first.numbers]
    if absent:
        raise InputError(f"--charge names {', '.join(absent)}, but there is none in the run; leave it out.")
    if kelvin is None or g.volume is None:
        missing = "the temperature is not known (--temperature gives it)" if kelvin is None else "it needs a volume"
        notes.append(f"no conductivity: {missing}")
        return None
    ions = [d for d in moved.elements if charges.get(d.element) and d.hop is not None]
    tracks, lag = [], None
    if ions:
        fastest = max(ions, key=lambda d: d.reached / d.fit[1])
        together = dipole(g.positions, g.first.numbers, g.first.get_masses(), charges)
        if together is not None:
            track, lag = charge_track(together, moved.interval, fastest, config.fit_from)
            tracks = [track]
    return conductivity(moved, charges, kelvin, g.volume, tracks, lag)


def _skipped(trajectory: Trajectory, config: AnalysisSettings) -> int:
    if config.skip_ps is None:
        return int(config.skip * trajectory.length)
    if config.skip_ps == 0:
        return 0
    if trajectory.interval is None:
        why = f"uneven ({trajectory.uneven})" if trajectory.uneven else "not known"
        raise InputError(
            f"{trajectory.path}: the time between its frames is {why}, so {config.skip_ps:g} ps cannot be skipped; "
            "give --interval, or skip a part such as 20%."
        )
    first = round(config.skip_ps / trajectory.interval)
    if first >= trajectory.length:
        length = trajectory.interval * (trajectory.length - 1)
        raise InputError(f"{trajectory.path}: is {length:g} ps long, so nothing is left after {config.skip_ps:g} ps.")
    return first


@dataclass(frozen=True)
class _Gathered:
    """What one pass over the frames leaves."""

    first: Atoms
    start: float
    parts: tuple[RadialDistribution, ...]
    positions: np.ndarray
    stride: int
    temperatures: dict[str, np.ndarray]
    volume: float | None
    spectra: Spectra | None
    lost: float
    closest: Closest


def _gather(
    trajectory: Trajectory, config: AnalysisSettings, first: int, progress: Callable[[int, int], None]
) -> _Gathered:
    n = trajectory.length - first
    series: dict[str, list[float]] = {}
    counters: list[RadialCounts] = []
    closest = Closest(limits_of(trajectory))
    start: Atoms | None = None
    spectra: Spectra | None = None
    volumes: list[float] = []
    for k, atoms in enumerate(trajectory.frames(first)):
        if start is None:
            start = atoms
            periodic = bool(atoms.pbc.all()) and atoms.cell.rank == 3
            wanted = min(RADIAL_FRAMES, max(RADIAL_PARTS, RADIAL_ATOMS // len(atoms)))
            chosen = evenly(range(n), wanted) if periodic else []
            parts = min(RADIAL_PARTS, len(chosen) // 2 * 2) or len(chosen)
            counters = [RadialCounts(config.r_max, config.width) for _ in range(parts)]
            part_of = {frame: place * parts // len(chosen) for place, frame in enumerate(chosen)}
            stride = -(-n * len(atoms) // KEPT)
            known = trajectory.interval is not None
            positions = np.empty((-(-n // stride) if known else 0, len(atoms), 3))
            if trajectory.interval is not None:
                spectra = Spectra(atoms, trajectory.interval, n)
        elif not np.array_equal(atoms.numbers, start.numbers):
            raise InputError(f"{trajectory.path}: frame {first + k} holds other atoms than the first; cut the file.")
        closest.look(atoms, first + k, time_of(trajectory, atoms, first + k), wide=k in part_of or not periodic)
        if k in part_of:
            counters[part_of[k]].add(atoms)
        if periodic:
            volumes.append(atoms.get_volume())
        if spectra is not None:
            spectra.add(atoms)
        if known and k % stride == 0:
            positions[k // stride] = atoms.positions
        if not trajectory.is_run and atoms.has("momenta"):
            _add_temperatures(series, atoms)
        progress(k + 1, n)
    if start is None:
        raise InputError(f"{trajectory.path}: no frames are left after the skip; skip less.")
    return _Gathered(
        start,
        float(start.info.get("time_fs", 0.0)),
        tuple(counter.distribution() for counter in counters),
        positions[: k // stride + 1],
        stride,
        {name: np.array(values) for name, values in series.items()},
        float(np.mean(volumes)) if volumes else None,
        spectra,
        float(atoms.info.get(LOST, 0.0)),
        closest,
    )


def _add_temperatures(series: dict[str, list[float]], atoms: Atoms) -> None:
    free = float(freedom(atoms).sum())
    series.setdefault("all", []).append(2 * atoms.get_kinetic_energy() / (free * kB) if free > 0 else 0.0)
    for z in np.unique(atoms.numbers).tolist():
        series.setdefault(chemical_symbols[z], []).append(element_temperature(atoms, z))


def _from_log(
    log: dict[str, np.ndarray], start: float, numbers: np.ndarray
) -> tuple[dict[str, np.ndarray], str, Estimate | None]:
    """Temperatures, the verdict on them, and work from the rows of the log that are analysed.

    These may be more than there are frames.
    """
    rows = log["time_fs"] >= start
    columns = {"all": "temperature_K"} | {chemical_symbols[z]: f"T_{chemical_symbols[z]}" for z in np.unique(numbers)}
    found = {name: log[column][rows] for name, column in columns.items() if column in log and rows.any()}
    target = log.get("target_K", np.full(len(rows), np.nan))[rows]
    known = "all" in found and np.isfinite(target).all()
    verdict = against_thermostat(found["all"], target) if known else ""
    if rows.sum() < 2 or "work_eV" not in log or not np.isfinite(log["work_eV"][rows]).all():
        return found, verdict, None  # it is not known where the cell moves
    return found, verdict, rate(log["time_fs"][rows] / 1000, log["work_eV"][rows] * 1000 / len(numbers))


def _ramp(log: dict[str, np.ndarray], start: float) -> str:
    """How the target of the thermostat changes in the rows from a time in fs on, in words; empty where it does not."""
    target = log.get("target_K", np.full(len(log["time_fs"]), np.nan))[log["time_fs"] >= start]
    target = target[np.isfinite(target)]
    if not len(target) or np.ptp(target) <= STEADY * target.min():
        return ""
    return (
        f"the thermostat has {target.min():.4g} to {target.max():.4g} K in what is analysed, so results are of no one "
        "temperature; leave out more of the run (--skip)"
    )


def _displacements(
    trajectory: Trajectory, config: AnalysisSettings, g: _Gathered, with_kinisi: bool | None, notes: list[str]
) -> Displacements | None:
    if trajectory.interval is None:
        why = f"is uneven: {trajectory.uneven}; cut the file there" if trajectory.uneven else "is not known"
        notes.append(f"no displacements: the time between frames {why} (--interval gives it)")
        return None
    if g.lost > MOST_LOST:
        notes.append(
            f"no displacements: {100 * g.lost:.1f}% of the steps between frames are nearly half a cell, so paths are "
            "lost; the frames are too far apart, or in no order of time"
        )
        return None
    interval = trajectory.interval * g.stride
    known = hops(pooled(g.parts) if g.parts else None, g.volume, config.hop_lengths)
    masses = g.first.get_masses()
    try:
        return displacements(
            g.positions, g.first.numbers, masses, interval, config.fit_from, with_kinisi, hops=known,
            anchored=is_anchored(g.first),
        )  # fmt: skip
    except InputError as error:
        if config.fit_from is not None:
            raise
        notes.append(f"no diffusion coefficients: {error}".rstrip("."))
        return None


def _shells(parts: tuple[RadialDistribution, ...]) -> tuple[Shell, ...]:
    """Of every ordered pair of elements whose g(r) has a first minimum."""
    if not parts:
        return ()
    radial, found = pooled(parts), []
    for pair in radial.pairs:
        distance = radial.first_minimum(pair)
        if np.isfinite(distance):
            for centre, neighbour in dict.fromkeys([pair, pair[::-1]]):
                found.append(Shell(centre, neighbour, distance, coordination(parts, centre, neighbour, distance)))
    return tuple(found)


def coordination(parts: tuple[RadialDistribution, ...], centre: int, neighbour: int, distance: float) -> Estimate:
    """Mean number of neighbours within a distance in Angstrom, with a 95% interval from the parts."""
    numbers = np.array([part.coordination(centre, neighbour, distance) for part in parts])
    return mean_of_parts(numbers, pooled(parts).coordination(centre, neighbour, distance))
