"""What rgnn md shows of runs, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from rgnn.base.errors import BrokenRunError, Interrupted
from rgnn_cli.session import workspace
from rgnn_cli.session.sample import EXAMPLE_STEPS, example_structure

if TYPE_CHECKING:
    from rgnn.md import MDResult, MDSettings
    from rgnn.md.plan import Job, MDRequest
    from rgnn_cli.session.session import Session

# What moves the atoms, in words.
MOVED_BY = {
    "nvt": "Langevin",
    "bussi": "Bussi",
    "nose-hoover": "Nose-Hoover chain",
    "nve": "NVE",
    "npt": "NPT",
    "nph": "NPH",
}
# What of a cell moves under a pressure, in words.
CELLS = {"isotropic": "cell in size", "anisotropic": "cell along x, y and z", "full": "cell with its angles"}


def with_example(session: Session, request: MDRequest) -> MDRequest:
    """The request, with the packaged structure and model where no structure is named and no other model is meant."""
    r = request
    if r.structures or r.config is not None or r.resume is not None:
        return r
    if r.model is None and workspace.last("model") is not None:
        return r
    if r.model is not None and str(r.model) != "sample":
        return r
    changes = {"steps": EXAMPLE_STEPS, **r.changes}
    return replace(r, structures=(example_structure(session.report),), model=Path("sample"), changes=changes)


def introduction(session: Session, job: Job) -> None:
    """What is about to run, in a few lines."""
    say, settings = session.report.say, job.settings
    steps = f"{settings.total_steps} steps of {settings.timestep:g} fs"
    for folder in job.left_out:
        say(f"{folder}: broke off, and is left as it is.")
    if job.together:
        say(f"Model: {job.origin.model}, {hardware_in_words(job)}")
        say(f"Dynamics: {len(job.folders)} runs together, {in_words(settings)}, {steps}")
        say(f"Runs: {job.out}")
    else:
        say(f"Structure: {job.origin.structure}; model: {job.origin.model}, {hardware_in_words(job)}")
        say(f"Dynamics: {in_words(settings)}, {steps}")
        say(f"Run: {job.out}")
    if job.slow is not None:
        every = f"every {settings.slow_every} steps" if settings.slow_every != 1 else "every step"
        say(f"Slow model: {job.origin.slow_model}, {job.slow.describe()}, {every}")
    if job.uncertainty is not None:
        say(f"Uncertainty of forces: by {job.uncertainty.calibration.method}, every {settings.write_every} steps")
    for message in job.warnings:
        session.report.warn(message)


def hardware_in_words(job: Job) -> str:
    """The hardware that the runs read."""
    if not job.model.uses_chip:
        return "all digital"
    if job.origin.board.driver:
        return f"{job.hardware.bits or 8} bits, measured on the board '{job.origin.board.driver}'"
    return job.hardware.describe() + (" (as trained)" if job.hardware == job.model.hardware else "")


def in_words(settings: MDSettings) -> str:
    """What the temperature does, and what moves the atoms."""
    said = []
    for place, stage in enumerate(settings.schedule):
        ensemble = settings.ensemble_at(settings.begins(place) + 1)
        kelvin = f"{stage.begin:g} to {stage.end:g} K" if stage.is_ramp else f"{stage.begin:g} K"
        way = "from" if stage.is_ramp or ensemble in ("nve", "nph") else "at"
        named = f"{stage.name} ({stage.steps} steps) " if len(settings.schedule) > 1 else ""
        held = f" and {settings.pressure:g} GPa, {CELLS[settings.cell]}" if ensemble in ("npt", "nph") else ""
        said.append(f"{named}{MOVED_BY[ensemble]} {way} {kelvin}{held}")
    return ", then ".join(said)


def result(session: Session, job: Job, outcomes: Sequence[MDResult | BrokenRunError | Interrupted]) -> None:
    """The figures, a table of results, the files, and what to type next.

    Raises:
        Interrupted: runs were stopped; all states are saved.
        BrokenRunError: some of several runs broke off; the others went to their end.
    """
    if not job.together:
        (only,) = outcomes
        assert not isinstance(only, BrokenRunError | Interrupted)
        finish(session, only, job.out, job.settings)
        return
    stopped = [outcome for outcome in outcomes if isinstance(outcome, Interrupted)]
    if stopped:
        raise Interrupted(f"{len(stopped)} runs stopped as asked; their states are saved", "dynamics", job.out)
    _table(session, job, outcomes)
    broken = [outcome for outcome in outcomes if isinstance(outcome, BrokenRunError)]
    if broken:
        n = len(outcomes)
        raise BrokenRunError(f"{len(broken)} of {n} runs broke off: {broken[0]}" if n > 1 else str(broken[0]))


def _table(session: Session, job: Job, outcomes: Sequence[MDResult | BrokenRunError | Interrupted]) -> None:
    """One line for each of several runs."""
    from rgnn.plots.dynamics import run_figure
    from rgnn.reports.dynamics import closest_words, dynamics_mapping

    rows, results = [], list[dict[str, Any]]()
    outside = () if job.uncertainty is None else ("",)
    for folder, outcome in zip(job.folders, outcomes, strict=True):
        if isinstance(outcome, BrokenRunError | Interrupted):
            rows.append((folder.name, "broke off", "", "", "", *outside))
            results.append({"out": str(folder), "error": str(outcome)})
            continue
        figure, peaks = run_figure(folder, folder / "dynamics.png")
        work = "" if outcome.work is None else f"{outcome.work:.3g}"
        values = (f"{outcome.temperature:.0f}", work, outcome.heating.partition(":")[0])
        looks = () if not outside else (f"{outcome.uncertainty_outside} of {outcome.uncertainty_checks}",)
        rows.append((folder.name, str(outcome.steps), *values, *looks))
        results.append({"out": str(folder), "figure": str(figure), **dynamics_mapping(outcome, job.settings, peaks)})
    for folder, outcome in zip(job.folders, outcomes, strict=True):
        if not isinstance(outcome, BrokenRunError | Interrupted) and any(c.too_close for c in outcome.closest.values()):
            session.report.warn(f"{folder.name}: atoms came too close ({closest_words(outcome.closest)}).")
    columns = ("run", "steps", "K", "work, meV/atom/ps", "heating", *(["outside of training"] if outside else []))
    session.report.table(f"Means over {_half(job.settings)}", columns, rows)
    session.report.say(f"In [bold]{job.out}[/]: a folder for each run, with its figure dynamics.png")
    session.result({"out": str(job.out), "runs": results})


def _half(settings: MDSettings) -> str:
    """What means are over."""
    return "the second half of the last stage" if settings.stages else "the second half"


def energy_facts(result: MDResult) -> dict[str, str]:
    """Energy, pressure, density and conservation, as far as the model gives them."""
    facts = {}
    if result.potential_energy is not None:
        facts["potential energy"] = f"{result.potential_energy:.6g} eV"
    if result.pressure is not None:
        facts["pressure"] = f"{result.pressure:.3g} GPa"
    if result.volume is not None and result.density is not None:
        facts["volume"] = f"{result.volume:.6g} Å³"
        facts["density"] = f"{result.density:.4g} g/cm³"
        if result.density_fluctuation:
            facts["density"] += f", which fluctuates by {result.density_fluctuation:.2g} (one standard deviation)"
    if result.conservation:
        facts["energy conservation"] = result.conservation
    return facts


def _outside(result: MDResult) -> str:
    """How often some force was more uncertain than in training, and by how much at most."""
    said = f"at {result.uncertainty_outside} of {result.uncertainty_checks} looks at how sure forces are"
    if result.uncertainty_time is None:
        return said
    worst = (
        "an element without a limit"
        if result.uncertainty_ratio is None
        else f"{result.uncertainty_ratio:.2g} of the limit"
    )
    return f"{said}; at most {worst}, at {result.uncertainty_time:.4g} ps"


def finish(
    session: Session,
    result: MDResult,
    folder: Path,
    settings: MDSettings,
    more: dict[str, str] | None = None,
    command: str = "rgnn md",
) -> None:
    """The figure, the table with `more` facts, the files, and what to type next."""
    from rgnn.md.thermometry import with_half
    from rgnn.plots.dynamics import run_figure
    from rgnn.reports.dynamics import closest_table, closest_words, dynamics_mapping

    report = session.report
    figure, peaks = run_figure(folder, folder / "dynamics.png")
    last = settings.ensemble_at(result.steps)
    wanted = "" if last in ("nve", "nph") else f" (thermostat {settings.target(result.steps):g} K at the end)"
    facts = {"temperature": f"{with_half(result.temperature, result.temperature_error)} K{wanted}"}
    facts |= {"  judged": result.thermostat} if result.thermostat else {}
    errors = result.element_temperature_error
    means = result.element_temperature
    facts |= {f"  of {name}": f"{with_half(kelvin, errors.get(name))} K" for name, kelvin in means.items()}
    facts |= {"equipartition": result.equipartition} if result.equipartition else {}
    facts |= {f"first peak of {pair}": f"{r:.2f} Å" for pair, r in peaks.items()}
    facts["net force" if result.potential_energy is not None else "net force, removed"] = f"{result.net_force:.3g} eV/Å"
    facts |= energy_facts(result)
    if result.work is not None:
        facts["work of the forces"] = f"{result.work:.3g} meV/atom/ps"
    if result.heat is not None and last != "nve":
        facts["heat of the thermostat"] = f"{result.heat:.3g} meV/atom/ps"
    if result.heating:
        facts["heating by the model"] = result.heating
    if result.uncertainty_checks:
        facts["outside of training"] = _outside(result)
    if closest := closest_words(result.closest):
        facts["closest atoms"] = closest
    if result.slow_time is not None:
        facts["slow model"] = f"{result.slow_calls} calls, {100 * result.slow_time:.0f}% of the time of both"
    facts["speed"] = f"{result.steps_per_second:.3g} steps/s, {result.ns_per_day:.3g} ns/day"
    report.facts(f"{result.steps} steps; means over {_half(settings)}", {**facts, **(more or {})})
    if result.closest:
        table = closest_table(result.closest)
        report.table(table.title, table.columns, table.rows)
    if any(each.too_close for each in result.closest.values()):
        report.warn(f"atoms came too close ({closest}), so nothing that this run gives means anything from there on.")
    frames = {"both": ("trajectory.traj", "trajectory.xyz")}.get(
        settings.trajectory, (f"trajectory.{settings.trajectory}",)
    )
    report.say(f"In [bold]{folder}[/]: {', '.join(('log.csv', *frames, 'final.xyz', 'summary.json', figure.name))}")
    longer = "" if settings.stages else f"   or   {command} --resume {quote(str(folder))} --steps {2 * result.steps}"
    report.say(f"Next: look at {figure}{longer}")
    session.result({"out": str(folder), "figure": str(figure), **dynamics_mapping(result, settings, peaks)})
