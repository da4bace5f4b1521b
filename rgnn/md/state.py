"""The state of a run, which is all that its future depends on, and its restart file."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.data import atomic_masses

from rgnn.base.errors import InputError
from rgnn.base.rng import numpy_stream
from rgnn.base.tensorfiles import read_tensors, write_tensors
from rgnn.md.barostat import Barostat, require_moving_cell
from rgnn.md.constraints import Plain, constraints_of, hold
from rgnn.md.settings import MDSettings
from rgnn.md.structures import check_structure, require_velocities
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import fingerprint

FORMAT, VERSION = "rgnn dynamics restart", 1


@dataclass
class State:
    """All that the future of a run depends on.

    Attributes:
        atoms: with momenta; positions are never wrapped.
        step: done so far.
        forces: [N, 3] at this step, eV/Angstrom; None before the first call of the model.
        impulse: [N, 3] that moves the atoms instead, where a slow model was asked at this step, eV/Angstrom; else None.
        work: done by the forces so far, eV.
        kinetic_start: kinetic energy at step 0, eV.
        constraints: of the structure, as plain values from which the very same are made again.
        chain: [M] velocities of a Nose-Hoover chain, 1/ASE's unit of time; None where there is none.
        energy: potential energy at this step, eV; None of models without one.
        stress: [3, 3] of the interaction at this step, eV/Angstrom^3; None without one.
        barostat: of a cell that moves; None where it does not.
        held: energy that a moving cell, the pressure and their bath hold, eV; 0 where there is no moving cell.
    """

    atoms: Atoms
    step: int
    forces: np.ndarray | None
    work: float
    kinetic_start: float
    constraints: tuple[Plain, ...] = ()
    chain: np.ndarray | None = None
    energy: float | None = None
    stress: np.ndarray | None = None
    barostat: Barostat | None = None
    held: float = 0.0
    impulse: np.ndarray | None = None

    @property
    def moving(self) -> np.ndarray | None:
        """[N, 3] what moves the atoms at this step, eV/Angstrom; None before the first call of the model."""
        return self.forces if self.impulse is None else self.impulse

    @classmethod
    def start(cls, atoms: Atoms, model: ForceField, config: MDSettings) -> "State":
        """Fresh Maxwell-Boltzmann velocities within the constraints, without drift where no atom is anchored.

        With `keep_velocities` those of the structure, from which constraints and a fixed centre of mass take their
        part.

        Raises:
            InputError: a structure that cannot be run, or one without velocities where these are to be kept.
        """
        check_structure(atoms, model, config.any_element)
        require_moving_cell(atoms, model, config)
        constraints, momenta = constraints_of(atoms), None
        if config.keep_velocities:
            require_velocities(atoms)
            momenta = atoms.get_momenta()
        atoms = _bare(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, atoms.get_masses())
        hold(atoms, constraints)
        if momenta is None:
            # Drawn here, since ASE's function for it changed its name in 3.29.
            normal = numpy_stream(config.seed, "velocities").standard_normal((len(atoms), 3))
            momenta = normal * np.sqrt(atoms.get_masses() * units.kB * config.initial_temperature)[:, None]
        atoms.set_momenta(momenta)
        return cls(atoms, 0, None, 0.0, atoms.get_kinetic_energy(), constraints)

    def copy(self) -> "State":
        """The state as it is now, to be saved when the next step goes wrong."""
        a = self.atoms
        atoms = _bare(a.numbers, a.positions, a.cell[:], a.pbc, a.get_masses())
        atoms.set_momenta(a.get_momenta())
        barostat = None if self.barostat is None else Barostat.from_array(self.barostat.to_array())
        return replace(self, atoms=atoms, barostat=barostat)

    def save(self, out: Path, model: str, config: MDSettings) -> None:
        """Write the restart file; `model` is its fingerprint."""
        a = self.atoms
        arrays = {
            "numbers": a.numbers,
            "masses": a.get_masses(),
            "positions": a.positions,
            "momenta": a.get_momenta(),
            "cell": a.cell[:],
            "pbc": a.pbc,
        }
        if self.forces is not None:
            arrays["forces"] = self.forces
        if self.impulse is not None:
            arrays["impulse"] = self.impulse
        if self.chain is not None:
            arrays["chain"] = self.chain
        if self.stress is not None:
            arrays["stress"] = self.stress
        if self.barostat is not None:
            arrays["barostat"] = self.barostat.to_array()
        settings = {
            "format": FORMAT,
            "version": VERSION,
            "step": self.step,
            "work": self.work,
            "kinetic_start": self.kinetic_start,
            "energy": self.energy,
            "held": self.held,
            "config": config.resolved().to_mapping(),
            "model": model,
            "constraints": list(self.constraints),
        }
        tensors = {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}
        write_tensors(out / "restart.safetensors", tensors, settings)

    @classmethod
    def load(cls, out: Path, model: ForceField, config: MDSettings, slow: ForceField | None = None) -> "State":
        """Read the restart file of the same run; `slow` is the slow model of multiple time stepping."""
        file = out / "restart.safetensors"
        if not file.is_file():
            raise InputError(f"{out}: has no restart file, so there is no run to resume; start it again.")
        tensors, settings = read_tensors(file, FORMAT, VERSION)
        if settings["model"] != fingerprints(model, slow):
            raise InputError(f"{file}: was written with another model; resume with that one, or start a new run.")
        mine, step = config.resolved().to_mapping(), int(settings["step"])
        # What an earlier rgnn did not know was as by default.
        theirs = MDSettings().resolved().to_mapping() | settings["config"]
        for name in sorted(set(mine) - {"steps"}):
            if theirs[name] != mine[name]:
                raise InputError(
                    f"{file}: the run was started with {name} = {theirs[name]}, not {mine[name]}; "
                    "resume with the same value, or start a new run."
                )
        if config.total_steps < step:
            raise InputError(
                f"{file}: the run has done {step} steps, but steps is {config.total_steps}; that counts the total: "
                "give more."
            )
        a = {name: tensor.numpy() for name, tensor in tensors.items()}
        atoms = _bare(a["numbers"], a["positions"], a["cell"], a["pbc"], a["masses"])
        constraints = tuple(settings.get("constraints", ()))
        hold(atoms, constraints)
        atoms.set_momenta(a["momenta"], apply_constraint=False)
        work, kinetic = float(settings["work"]), float(settings["kinetic_start"])
        barostat = Barostat.from_array(a["barostat"]) if "barostat" in a else None
        return cls(
            atoms, step, a.get("forces"), work, kinetic, constraints, a.get("chain"),
            settings.get("energy"), a.get("stress"), barostat, settings.get("held", 0.0), a.get("impulse"),
        )  # fmt: skip


def fingerprints(model: ForceField, slow: ForceField | None = None) -> str:
    """Of the model of a run, and of its slow model where it has one."""
    return fingerprint(model) if slow is None else f"{fingerprint(model)}, slow {fingerprint(slow)}"


def _bare(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, masses: np.ndarray) -> Atoms:
    """Atoms without the labels of a file, so that a resumed run writes the same frames; masses only where unusual."""
    atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=pbc)
    if not np.array_equal(masses, atomic_masses[numbers]):
        atoms.set_masses(masses)
    return atoms
