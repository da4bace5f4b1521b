"""Tables of what moves: diffusion, conductivity and vibrations, of each run and of runs of the same as one."""

from collections.abc import Sequence

from ase.data import chemical_symbols

from rgnn.analysis import Analysis, Conductivity, Diffusion, Joint
from rgnn.analysis.vibrations import PER_CM
from rgnn.reports.html import Table
from rgnn.reports.text import interval


def transport_tables(runs: Sequence[Analysis], together: Sequence[Joint]) -> list[Table | None]:
    """Diffusion, conductivity, and vibrations; None where there is nothing to show."""
    return [_diffusion(runs, together), _conductivity(runs, together), _vibrations(runs)]


def coefficient(d: Diffusion) -> str:
    """In 10⁻⁵ square centimetres per second with its interval, or the bound."""
    if d.coefficient is not None:
        return interval(d.coefficient, 1e5)
    return "unknown" if d.bound is None else f"< {1e5 * d.bound:.2g}"


def _diffusion(runs: Sequence[Analysis], together: Sequence[Joint]) -> Table | None:
    moved = [(a.name, d) for a in runs if a.displacements is not None for d in a.displacements.elements]
    moved += [(joint.name, d) for joint in together for d in joint.elements]
    rows = []
    for name, d in moved:
        fit = f"{d.fit[0]:.3g} to {d.fit[1]:.3g}"
        passed = f"{_square(d.reached)} / {'?' if d.hop is None else format(d.hop.square, '.3g')}"
        symbol = chemical_symbols[d.element]
        rows.append([f"{name}: {symbol}", coefficient(d), fit, passed, f"{d.exponent:.2f}"])
    title = (
        "Diffusion coefficients (MSD: squared displacement at the longer lag of the fit, which has to pass that of a "
        "hop; t^x: its growth, 0 rattles, 1 diffuses, 2 flies)"
    )
    columns = ["", "D, 10⁻⁵ cm²/s\n[95%]", "lags, ps", "MSD / hop,\nÅ²", "t^x"]
    return Table(title, columns, rows) if rows else None


def _square(x: float) -> str:
    return "0" if x < 1e-6 else f"{x:.3g}"


def _conductivity(runs: Sequence[Analysis], together: Sequence[Joint]) -> Table | None:
    found = [(a.name, a.conductivity) for a in runs if a.conductivity is not None]
    found += [(joint.name, joint.conductivity) for joint in together if joint.conductivity is not None]
    if not found:
        return None
    title = "Ionic conductivity, mS/cm [95%] (Haven ratio: that of ions alone over that of all charges together)"
    columns = ["", "T, K", "Nernst-Einstein", "collective", "Haven ratio", "lags, ps"]
    return Table(title, columns, [[name, *_conducts(c)] for name, c in found])


def _conducts(c: Conductivity) -> list[str]:
    alone = "" if c.bound is None else f"< {c.bound:.2g}"
    alone = interval(c.alone) if c.alone is not None else alone or "unknown"
    together = "" if c.together is None else interval(c.together)
    haven = "" if c.haven is None else interval(c.haven, digits=2)
    lags = "" if c.fit is None else f"{c.fit[0]:.3g} to {c.fit[1]:.3g}"
    return [f"{c.temperature:.0f}", alone, together, haven, lags]


def _vibrations(runs: Sequence[Analysis]) -> Table | None:
    rows = []
    for a in runs:
        if (v := a.vibrations) is None:
            continue
        for z in v.density:
            middle, top = v.mean(z), v.below(z, 0.99)
            shown = [f"{middle:.1f}", f"{PER_CM * middle:.0f}", f"{top:.1f}", f"{PER_CM * top:.0f}"]
            rows.append([f"{a.name}: {chemical_symbols[z]}", *shown, f"{v.frequency[1]:.2g}"])
    title = "Vibrations: mean frequency, and the frequency that 99% of an element's states are below"
    columns = ["", "mean, THz", "1/cm", "99% below, THz", "1/cm", "resolution, THz"]
    return Table(title, columns, rows) if rows else None


def notes(runs: Sequence[Analysis], together: Sequence[Joint] = ()) -> list[str]:
    """Sentences on what the temperatures say, and on what was left out, and why."""
    said = []
    for a in runs:
        said += [f"{a.name}: temperature {a.thermostat}."] if a.thermostat else []
        said += [f"{a.name}: equipartition {a.equipartition}."] if a.equipartition else []
    return said + remarks(runs, together)


def remarks(runs: Sequence[Analysis], together: Sequence[Joint]) -> list[str]:
    """Sentences on elements without a coefficient and on conductivities that are missing, run by run."""
    said = []
    for a in runs:
        elements = () if a.displacements is None else a.displacements.elements
        said += [f"{a.name}: {d.sentence}" for d in elements if not d.is_diffusive]
        said += [f"{a.name}: {note}" for note in (() if a.conductivity is None else a.conductivity.notes)]
        said += [f"{a.name}: {note}" for note in a.notes]
    for joint in together:
        said += [f"{joint.name}: {d.sentence}" for d in joint.elements if not d.is_diffusive]
        said += [f"{joint.name}: {note}" for note in (() if joint.conductivity is None else joint.conductivity.notes)]
        said += [f"{joint.name}: {note}" for note in joint.notes]
    return [f"{sentence}." for sentence in said]
