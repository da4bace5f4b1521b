"""A run of one structure in ASE: from a structure or a restart file to a finished folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.constraints import FixCom

from rgnn.base.errors import InputError
from rgnn.base.events import SILENT, Listener
from rgnn.base.files import write_atomic
from rgnn.base.run_folder import held
from rgnn.calculator import RGNNCalculator
from rgnn.md.constraints import constraints_of, hold
from rgnn.md.domain_watch import UncertaintyMonitor
from rgnn.md.integrators import AseMover
from rgnn.md.loop import Loop
from rgnn.md.minimisation import minimise
from rgnn.md.outputs import extended_xyz
from rgnn.md.record import write_record
from rgnn.md.settings import MDResult, MDSettings, RunOrigin
from rgnn.md.slow_model import SlowModel, require_slow_model
from rgnn.md.state import State
from rgnn.md.structures import check_structure
from rgnn.models.base import ForceField
from rgnn.models.uncertainty import Uncertainty

# Steps of a minimisation at most.
MINIMISATION = 500


def run_atoms(
    atoms: Atoms | None,
    model: ForceField,
    settings: MDSettings,
    out: str | Path,
    *,
    resume: bool = False,
    origin: RunOrigin | None = None,
    listener: Listener = SILENT,
    uncertainty: Uncertainty | None = None,
    slow: SlowModel | None = None,
) -> MDResult:
    """Run molecular dynamics of a structure into the folder `out`.

    Velocities start from a Maxwell-Boltzmann distribution, or with `keep_velocities` from those of the structure. Its
    constraints hold.

    Args:
        atoms: where to start; None on `resume`, which starts from the restart file.
        model: on the device to compute on.
        settings: how to run; on `resume` the same, except for the number of steps.
        out: run folder; made where absent.
        resume: continue from out/restart.safetensors.
        origin: where atoms and model come from, for config.yaml.
        listener: receives (steps, temperature), a sentence on a minimisation, and a warning when the run leaves what
            the model was trained on, once for each element; it may ask to stop.
        uncertainty: of this model, looked at in each log row; None does not look.
        slow: asked at every `settings.slow_every`-th step, with `model` for the fast forces; None is one model.

    Raises:
        InputError: a structure or restart that does not fit, or a folder that holds a run already or in which one is
            at work.
        BrokenRunError: absurd forces, an atom too fast or lost, or a runaway temperature; the restart file keeps the
            last good step, and broken.xyz holds the frame that failed.
        Interrupted: the listener asked to stop; the state is saved.
    """
    with held(out):
        return prepare_run(
            atoms, model, settings, Path(out), resume=resume, origin=origin, listener=listener, uncertainty=uncertainty,
            slow=slow,
        ).run()  # fmt: skip


def prepare_run(
    atoms: Atoms | None,
    model: ForceField,
    settings: MDSettings,
    out: Path,
    *,
    resume: bool = False,
    origin: RunOrigin | None = None,
    listener: Listener = SILENT,
    uncertainty: Uncertainty | None = None,
    slow: SlowModel | None = None,
    calculator: Callable[..., RGNNCalculator] = RGNNCalculator,
) -> Loop:
    """Read or make the state, and write config.yaml; errors as of `run_atoms`.

    Args:
        atoms: where to start; None on `resume`.
        model: on the device to compute on.
        settings: how to run.
        out: run folder; made where absent.
        resume: continue from the restart file.
        origin: where atoms and model come from.
        listener: receives steps and sentences, and may ask to stop.
        uncertainty: of this model; None does not look.
        slow: as of `run_atoms`.
        calculator: makes the calculator of the run.
    """
    require_slow_model(settings, slow)
    other = None if slow is None else slow.model
    if other is not None and atoms is not None:
        check_structure(atoms, other, settings.any_element)
    state = opened_state(atoms, model, settings, out, resume, listener, other)
    mover = AseMover(state, model, settings, calculator, uncertainty, slow)
    monitor = None if uncertainty is None else UncertaintyMonitor(uncertainty, state.atoms.numbers, listener.warn)
    out.mkdir(parents=True, exist_ok=True)
    write_record(out, model, settings, origin, resume, slow=other)
    return Loop(mover, model, settings, out, resumed=resume, monitor=monitor, listener=listener, slow=other)


def opened_state(
    atoms: Atoms | None, model: ForceField, settings: MDSettings, out: Path, resume: bool, listener: Listener = SILENT,
    slow: ForceField | None = None,
) -> State:  # fmt: skip
    """The state that a run starts from: that of its restart file, or the structure, minimised where that is asked for.

    Raises:
        InputError: as `run_atoms`.
    """
    if resume:
        return State.load(out, model, settings, slow)
    if atoms is None:
        raise InputError("there is nothing to start from; give a structure, or resume a run.")
    if (out / "log.csv").exists():
        raise InputError(f"{out}: holds a run already; resume it, or choose another folder.")
    if settings.minimise is not None:
        atoms = _minimised(atoms, model, settings, out, listener)
    state = State.start(atoms, model, settings)
    if settings.keep_velocities:
        kelvin = state.atoms.get_temperature()
        listener.info(f"Velocities are those of the structure: {kelvin:.0f} K.")
    return state


def _minimised(atoms: Atoms, model: ForceField, settings: MDSettings, out: Path, listener: Listener) -> Atoms:
    """The structure after its forces were followed downhill, on the chip without read noise; out/minimised.xyz."""
    assert settings.minimise is not None
    check_structure(atoms, model, settings.any_element)
    out.mkdir(parents=True, exist_ok=True)
    atoms = atoms.copy()
    hold(atoms, constraints_of(atoms))
    options: dict[str, Any] = {"remove_net_force": True, "any_element": settings.any_element}
    atoms.calc = RGNNCalculator(model, settings.bits, 0.0, **options)
    done = minimise(atoms, settings.minimise, MINIMISATION, listener.stop)
    way = f"from {done.before:.3g} to {done.after:.3g} eV/Angstrom in {done.steps} steps"
    atoms.set_constraint([c for c in atoms.constraints if type(c) is not FixCom])
    write_atomic(out / "minimised.xyz", extended_xyz(atoms))
    listener.info(
        f"Minimised: the largest force went {way}."
        if done.converged
        else f"Minimisation stopped after {MINIMISATION} steps short of {settings.minimise:g} eV/Angstrom: the largest "
        f"force went {way}; dynamics starts from there."
    )
    return atoms
