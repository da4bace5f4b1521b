"""What rgnn relax shows at its end."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rgnn.md.relax import Relaxed, RelaxSettings, RelaxState
    from rgnn_cli.session.session import Session

UNITS = {"energy": "_ev", "max_force": "_ev_per_angstrom", "pressure": "_gpa", "volume": "_cubic_angstrom"}


def result(session: Session, found: Relaxed, settings: RelaxSettings, folder: Path) -> None:
    """A table of before and after, the figure and the files."""
    from rgnn.plots.relax import relax_figure

    figure = relax_figure(folder, folder / "relax.png", settings.fmax)
    rows = [(name, *pair) for name, *pair in zip(NAMES, _words(found.before), _words(found.after), strict=True)]
    rows = [row for row in rows if row[1]]
    way = "reached" if found.converged else "not reached; give more --steps"
    title = f"{found.steps} steps; {settings.fmax:g} eV/Å {way}"
    session.report.table(title, ("", "before", "after"), rows)
    for sentence in found.outside:
        session.report.warn(sentence)
    names = ("final.xyz", "trajectory.xyz", "log.csv", "summary.json", figure.name)
    session.report.say(f"In [bold]{folder}[/]: {', '.join(names)}")
    session.report.say(f"Next: rgnn md {folder / 'final.xyz'}")
    plain = {"out": str(folder), "figure": str(figure), "steps": found.steps, "converged": found.converged}
    plain |= {"outside_of_training": list(found.outside)}
    session.result({**plain, "before": _plain(found.before), "after": _plain(found.after)})


NAMES = ("energy, eV", "largest force, eV/Å", "pressure, GPa", "volume, Å³", "a, b, c, Å", "angles, degrees")


def _words(state: RelaxState) -> tuple[str, ...]:
    numbers = (state.energy, state.max_force, state.pressure, state.volume)
    said = ["" if x is None else f"{x:.{digits}g}" for x, digits in zip(numbers, (8, 3, 3, 6), strict=True)]
    lengths, angles = state.lattice[:3], state.lattice[3:]
    return (*said, " ".join(f"{x:.4f}" for x in lengths), " ".join(f"{x:.2f}" for x in angles))


def _plain(state: RelaxState) -> dict[str, Any]:
    values = asdict(state)
    lattice = values.pop("lattice")
    named = {f"{name}{UNITS[name]}": value for name, value in values.items()}
    return {**named, "lengths_angstrom": list(lattice[:3]), "angles_degrees": list(lattice[3:])}
