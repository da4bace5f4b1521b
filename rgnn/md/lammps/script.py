"""A user's LAMMPS input, which does everything except the forces."""

import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers

from rgnn.base.errors import BrokenRunError, InputError, first_line
from rgnn.chip.hardware import Hardware
from rgnn.md.lammps.engine import start_lammps
from rgnn.md.lammps.fix import ForceFix
from rgnn.md.lammps.forces import RankForces
from rgnn.md.lammps.world import MPIWorld, peak_memory
from rgnn.models.base import ForceField

# Commands that ask for an energy or a stress, which models of forces have not.
_NEEDS_ENERGY = re.compile(r"^\s*(minimize|fix\s+\S+\s+\S+\s+(npt|nph|press/berendsen|box/relax))\b", re.MULTILINE)
# Forces come before the first run, and before the label of a loop that may run in it.
_FIRST_RUN = re.compile(r"^\s*(run|label)\b", re.MULTILINE)


@dataclass(frozen=True)
class ScriptResult:
    """What came of a user's input.

    Attributes:
        steps: forces were asked for so many times.
        ranks: processes that shared it.
        net_force: mean size of the sum of forces before its removal, eV/Angstrom.
        seconds, steps_per_second: from the first force to the end.
        memory_gb: peak memory of each rank, in GB.
    """

    steps: int
    ranks: int
    net_force: float
    seconds: float
    steps_per_second: float
    memory_gb: tuple[float, ...]


def run_script(
    path: str | Path,
    model: ForceField,
    elements: Sequence[str],
    world: MPIWorld,
    *,
    hardware: Hardware | None = None,
    seed: int = 0,
    ghosts: str = "exchange",
    any_element: bool = False,
) -> ScriptResult:
    """Run a LAMMPS input file with the model's forces; every rank must call.

    Before its first `run` (or the first `label`) a fix named rgnn is inserted, with the neighbour settings it needs.
    LAMMPS prints and writes as the file says.

    Args:
        path: the input file, with `units metal` and atom ids.
        model: on the device to compute on.
        elements: of the atom types 1, 2, ...
        world: the ranks.
        hardware: None is the model's.
        seed: of the read noise.
        ghosts: see `RankForces`.
        any_element: accept elements that the model was not trained on.

    Raises:
        FetchError: LAMMPS is not installed.
        InputError: a file, elements or hardware that cannot be used.
        BrokenRunError: LAMMPS stopped with an error.
    """
    text = _read(path, has_energy="energy" in model.outputs)
    numbers = _numbers(elements, model, any_element)
    forces = RankForces(model, hardware or model.hardware, seed, "deep" if ghosts == "deep" else "exchange", world)
    start = _FIRST_RUN.search(text)
    if start is None:
        raise InputError(f"{path}: has no run command, before which rgnn would put its forces; write one.")
    lmp = start_lammps(world)
    try:
        lmp.commands_string(text[: start.start()])
        _check(path, lmp, len(numbers))
        fix = ForceFix(lmp, forces, world, numbers, world.fail)
        began = time.monotonic()
        with tempfile.NamedTemporaryFile("w", suffix=".lammps", encoding="utf-8") as rest:  # loops jump within a file
            rest.write(text[start.start() :].rstrip() + "\n")
            rest.flush()
            lmp.file(rest.name)
        seconds = time.monotonic() - began
    except (InputError, BrokenRunError):
        raise
    except Exception as error:  # what LAMMPS raises is nothing more special
        raise BrokenRunError(f"{path}: LAMMPS stopped ({first_line(error)}).") from None
    finally:
        lmp.close()
    memory = world.all_to_all([np.array([peak_memory()])] * world.size)
    steps = max(fix.calls - 1, 0)
    return ScriptResult(
        steps,
        world.size,
        fix.net_forces / max(fix.calls, 1),
        seconds,
        steps / max(seconds, 1e-9),
        tuple(round(float(m[0]), 3) for m in memory),
    )


def _read(path: str | Path, *, has_energy: bool) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); name a LAMMPS input file.") from None
    found = _NEEDS_ENERGY.search(text)
    if found and not has_energy:
        what = " ".join(found.group(0).split())
        raise InputError(f"{path}: '{what}' needs an energy or a stress, but the model gives forces only; take it out.")
    return text


def _numbers(elements: Sequence[str], model: ForceField, any_element: bool) -> np.ndarray:
    """[types] atomic numbers."""
    strange = [name for name in elements if name not in atomic_numbers or name == "X"]
    if strange or not elements:
        raise InputError(
            f"elements are {', '.join(elements) or 'not given'}, but each type needs one, as in: --elements Li,O,P"
        )
    numbers = np.array([atomic_numbers[name] for name in elements])
    if model.elements and not any_element:
        unknown = [name for name in elements if atomic_numbers[name] not in model.elements]
        if unknown:
            raise InputError(
                f"the model was not trained on {', '.join(unknown)}; allow any element (--any-element) if you know why."
            )
    return numbers


def _check(path: str | Path, lmp: object, n_types: int) -> None:
    """Refuse a system whose numbers would be misread."""
    units, types = lmp.extract_global("units"), lmp.extract_setting("ntypes")  # type: ignore[attr-defined]
    if units != "metal":
        raise InputError(f"{path}: has units {units}, but forces are in eV/Angstrom; write 'units metal'.")
    if not lmp.extract_setting("box_exist") or types != n_types:  # type: ignore[attr-defined]
        raise InputError(
            f"{path}: makes {types} atom types before its first run, but {n_types} elements are named; "
            "--elements takes one for each type."
        )
