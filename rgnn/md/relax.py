"""Relaxation of a structure to its nearest minimum, with its cell where the model has an energy."""

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS
from pydantic import Field

from rgnn.base.choices import RelaxedCell
from rgnn.base.errors import BrokenRunError, InputError, Interrupted
from rgnn.base.events import SILENT, Listener
from rgnn.base.files import write_atomic
from rgnn.base.run_folder import clear_run, held
from rgnn.base.settings import Flag, Number, Settings, Whole, dump_yaml
from rgnn.base.versions import Versions
from rgnn.calculator import RGNNCalculator
from rgnn.md.constraints import constraints_of, has_fixed_bonds, hold
from rgnn.md.contacts import ContactWatch
from rgnn.md.minimisation import minimise
from rgnn.md.outputs import extended_xyz
from rgnn.md.structures import check_structure, density_outside
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import fingerprint

COLUMNS = ("step", "energy_eV", "max_force", "pressure_GPa", "volume_A3")


class RelaxSettings(Settings):
    """How a structure is relaxed."""

    fmax: Number = Field(default=0.02, gt=0, json_schema_extra={"unit": "eV/Angstrom"})
    """Largest force, and with a moving cell the largest generalised force on it, at which to end, eV/Å."""
    steps: Whole = Field(default=500, ge=1)
    """Number of steps at most."""
    cell: RelaxedCell = "none"
    """What of the cell relaxes: nothing ("none"), its size ("isotropic") or all of it ("full")."""
    pressure: Number = Field(default=0.0, ge=-100, le=1000, json_schema_extra={"unit": "GPa"})
    """Pressure on a cell that relaxes, GPa."""
    bits: Whole | None = Field(default=None, ge=1, le=16)
    """Input bits of the chip; None is as trained."""
    any_element: Flag = False
    """Whether elements that the model was not trained on are accepted."""


@dataclass(frozen=True)
class RelaxState:
    """A structure on its way: energy in eV, largest force in eV/Angstrom, pressure in GPa, volume in Angstrom^3.

    What the model or the structure does not have is None; lattice holds lengths in Angstrom and angles in degrees.
    """

    energy: float | None
    max_force: float
    pressure: float | None
    volume: float | None
    lattice: tuple[float, ...]

    @classmethod
    def of(cls, atoms: Atoms) -> "RelaxState":
        """That of atoms with a calculator; the pressure is that of the static structure, none beside fixed bonds."""
        has_energy, periodic = atoms.calc.has_energy, bool(atoms.pbc.all())
        has_pressure = has_energy and periodic and not has_fixed_bonds(atoms)
        largest = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        return cls(
            float(atoms.get_potential_energy()) if has_energy else None,
            largest,
            float(-atoms.get_stress()[:3].mean() / units.GPa) if has_pressure else None,
            float(atoms.get_volume()) if periodic else None,
            tuple(float(x) for x in atoms.cell.cellpar()) if periodic else (),
        )


@dataclass(frozen=True)
class Relaxed:
    """What a relaxation came to.

    Attributes:
        before, after: the states at its begin and end.
        steps: of the way.
        converged: whether it reached what was asked.
        outside: in sentences, in what the result lies outside what the model was trained on.
    """

    before: RelaxState
    after: RelaxState
    steps: int
    converged: bool
    outside: tuple[str, ...] = ()


def relax(
    atoms: Atoms, model: ForceField, settings: RelaxSettings, out: str | Path, *, listener: Listener = SILENT,
    origin: dict[str, str] | None = None,
) -> Relaxed:  # fmt: skip
    """Relax a structure on the chip without read noise, into the folder `out`.

    A model with an energy is followed by ASE's L-BFGS, on the structure or on its cell too (Frechet filter); one with
    forces only by FIRE on forces, without its cell. Constraints of the structure hold while its cell stays. The folder
    gets config.yaml, log.csv, trajectory.xyz, final.xyz and summary.json.

    Args:
        atoms: the structure, which is left as it is.
        model: in evaluation mode, on the device to compute on.
        settings: how to relax.
        out: folder; made where absent, and emptied of a run that lies there.
        listener: receives (steps, largest force), and may ask to stop.
        origin: paths of structure and model, for config.yaml.

    Raises:
        InputError: a structure that cannot be run, or a cell that cannot relax.
        BrokenRunError: a force that is not finite.
        Interrupted: the listener asked to stop; nothing is left behind.
    """
    out = Path(out)
    check_structure(atoms, model, settings.any_element)
    require_relaxable(atoms, model, settings)
    work = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, masses=atoms.get_masses())
    hold(work, constraints_of(atoms)) if settings.cell == "none" else None
    work.calc = RGNNCalculator(model, settings.bits, 0.0, remove_net_force=True, any_element=settings.any_element)
    before, rows, frames = RelaxState.of(work), list[str](), list[str]()

    def note() -> None:
        if listener.stop():
            raise Interrupted("stopped while relaxing, so there is nothing to resume; start again.")
        state = RelaxState.of(work)
        if not np.isfinite(state.max_force):
            raise BrokenRunError("relaxation met forces that are not finite; check the structure for atoms too close.")
        shown = [
            "nan" if v is None else f"{v:.8g}" for v in (state.energy, state.max_force, state.pressure, state.volume)
        ]
        rows.append(",".join([str(len(rows)), *shown]))
        frames.append(extended_xyz(_plain(work)))
        listener.progress(min(len(rows), settings.steps), settings.steps, f"{state.max_force:.3g} eV/Å")

    steps, converged = _follow(work, settings, note)
    outside = density_outside(work, model)
    ContactWatch(model.provenance.seen, "warn", outside.append).look(steps, work)
    result = Relaxed(before, RelaxState.of(work), steps, converged, tuple(outside))
    clear_run(out)
    with held(out):
        out.mkdir(parents=True, exist_ok=True)
        record = {"relax": settings.to_mapping(), "origin": origin or {}, "model_fingerprint": fingerprint(model)}
        write_atomic(out / "config.yaml", dump_yaml({**record, "versions": Versions.here().to_mapping()}))
        write_atomic(out / "log.csv", "\n".join([",".join(COLUMNS), *rows]) + "\n")
        write_atomic(out / "trajectory.xyz", "".join(frames))
        write_atomic(out / "final.xyz", extended_xyz(_plain(work)))
        write_atomic(out / "summary.json", json.dumps(asdict(result), indent=2) + "\n")
    return result


def require_relaxable(atoms: Atoms, model: ForceField, settings: RelaxSettings, where: str = "the structure") -> None:
    """Refuse a cell that cannot relax.

    Raises:
        InputError: the model has no stress, or the structure is not periodic in three directions or has constraints;
            or a pressure without a cell that relaxes.
    """
    if settings.cell == "none":
        if settings.pressure:
            raise InputError(
                f"the pressure is {settings.pressure:g} GPa, but the cell does not relax; give --cell full."
            )
        return
    if "stress" not in model.outputs:
        raise InputError(
            f"--cell is {settings.cell}, which needs a stress, but the model gives forces only; leave --cell out, or "
            "train a model with an energy (rgnn train --preset energy)."
        )
    if not atoms.pbc.all():
        raise InputError(
            f"{where}: --cell is {settings.cell}, but the structure is not periodic in all three directions; leave "
            "--cell out."
        )
    if constraints_of(atoms, where):
        raise InputError(f"{where}: has constraints, which do not hold while the cell relaxes; remove them.")


def _follow(atoms: Atoms, settings: RelaxSettings, note: Callable[[], None]) -> tuple[int, bool]:
    """Steps to the minimum and whether it was reached; `note` is called at each of them, the first and last too."""
    if not atoms.calc.has_energy:

        def never() -> bool:
            note()
            return False

        found = minimise(atoms, settings.fmax, settings.steps, never)
        return found.steps, found.converged
    target: Any = atoms
    if settings.cell != "none":
        pressure = settings.pressure * units.GPa
        target = FrechetCellFilter(atoms, scalar_pressure=pressure, hydrostatic_strain=settings.cell == "isotropic")
    optimiser = LBFGS(target, logfile=None)
    optimiser.attach(note)
    with warnings.catch_warnings():  # of a logarithm of the strain that is exact to 1e-12
        warnings.filterwarnings("ignore", "logm result", RuntimeWarning)
        converged = bool(optimiser.run(fmax=settings.fmax, steps=settings.steps))
    return int(optimiser.nsteps), converged


def _plain(atoms: Atoms) -> Atoms:
    """A frame with what was computed for it, and only the constraints of the structure."""
    frame = atoms.copy()
    frame.set_constraint([c for c in frame.constraints if type(c).__name__ != "FixCom"])
    frame.calc = atoms.calc
    return frame
