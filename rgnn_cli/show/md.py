"""Md."""

from __future__ import annotations

from pathlib import Path

from rgnn.md import MDResult, MDSettings, RunOrigin
from rgnn.models.base import ForceField
from rgnn.models.uncertainty import Uncertainty
from rgnn_cli.session.console import Meter, Reporter

# What moves the atoms, in words.
MOVED_BY = {"nvt": "Langevin", "bussi": "Bussi", "nose-hoover": "Nose-Hoover chain", "nve": "NVE"}


def _hardware(model: ForceField, settings: MDSettings) -> str:
    """In words, checked."""
    hardware = model.hardware.with_given(settings.bits, settings.noise)
    if not model.uses_chip:
        return "all digital"
    return hardware.describe() + (" (as trained)" if hardware == model.hardware else "")


def _introduce(report: Reporter, settings: MDSettings, origin: RunOrigin, hardware: str, folder: Path) -> None:
    """What is about to run, in three lines."""
    report.say(f"Structure: {origin.structure}; model: {origin.model}, {hardware}")
    report.say(f"Dynamics: {in_words(settings)}, {settings.total_steps} steps of {settings.timestep:g} fs")
    report.say(f"Run: {folder}")
    if settings.warning:
        report.warn(settings.warning)


def introduce_uncertainty(report: Reporter, known: Uncertainty | None, model: ForceField, settings: MDSettings) -> None:
    """By what the uncertainty of forces is estimated, and what it holds for; nothing where it is not."""
    if known is None:
        return
    report.say(f"Uncertainty of forces: by {known.calibration.method}, every {settings.write_every} steps")
    if model.hardware.with_given(settings.bits, settings.noise) != model.hardware:
        report.warn(
            "the uncertainty was calibrated on the hardware as trained, which this is not; take it for a trend."
        )


def in_words(settings: MDSettings) -> str:
    """What the temperature does, and what moves the atoms."""
    said = []
    for place, stage in enumerate(settings.schedule):
        ensemble = settings.ensemble_at(settings.begins(place) + 1)
        kelvin = f"{stage.begin:g} to {stage.end:g} K" if stage.is_ramp else f"{stage.begin:g} K"
        way = "from" if stage.is_ramp or ensemble == "nve" else "at"
        named = f"{stage.name} ({stage.steps} steps) " if len(settings.schedule) > 1 else ""
        said.append(f"{named}{MOVED_BY[ensemble]} {way} {kelvin}")
    return ", then ".join(said)


class Show:
    """Shows steps and temperature on a meter that begins where the run does."""

    def __init__(self, meter: Meter, total: int) -> None:
        self.meter, self.total, self.started = meter, total, False

    def __call__(self, step: int, temperature: float) -> None:
        if not self.started:
            self.meter.start(step - 1, self.total)
            self.started = True
        self.meter.update(step, f"{temperature:.0f} K")


def finish(
    report: Reporter,
    result: MDResult,
    folder: Path,
    settings: MDSettings,
    more: dict[str, str] | None = None,
    command: str = "rgnn md",
) -> None:
    """The figure, the table with `more` facts, the files, and what to type next."""
    from dataclasses import asdict
    from shlex import quote

    from rgnn.plots.dynamics import run_figure

    figure, peaks = run_figure(folder, folder / "dynamics.png")
    last = settings.ensemble_at(result.steps)
    wanted = "" if last == "nve" else f" (thermostat {settings.target(result.steps):g} K at the end)"
    facts = {"temperature": f"{result.temperature:.0f} K{wanted}"}
    facts |= {f"  of {element}": f"{kelvin:.0f} K" for element, kelvin in result.element_temperature.items()}
    facts |= {f"first peak of {pair}": f"{r:.2f} Å" for pair, r in peaks.items()}
    facts["net force, removed"] = f"{result.net_force:.3g} eV/Å"
    facts["work of the forces"] = f"{result.work:.3g} meV/atom/ps"
    if last != "nve":
        facts["heat of the thermostat"] = f"{result.heat:.3g} meV/atom/ps"
    if result.heating:
        facts["heating by the model"] = result.heating
    if result.uncertainty_checks:
        outside, checks = result.uncertainty_outside, result.uncertainty_checks
        facts["outside of training"] = f"at {outside} of {checks} looks at how sure forces are"
    facts["speed"] = f"{result.steps_per_second:.3g} steps/s, {result.ns_per_day:.3g} ns/day"
    report.facts(f"{result.steps} steps; means over the second half", {**facts, **(more or {})})
    frames = {"both": ("trajectory.traj", "trajectory.xyz")}.get(
        settings.trajectory, (f"trajectory.{settings.trajectory}",)
    )
    report.say(f"In [bold]{folder}[/]: {', '.join(('log.csv', *frames, 'final.xyz', 'summary.json', figure.name))}")
    longer = "" if settings.stages else f"   or   {command} --resume {quote(str(folder))} --steps {2 * result.steps}"
    report.say(f"Next: look at {figure}{longer}")
    report.result({"out": str(folder), "figure": str(figure), "first_peaks": peaks, **asdict(result)})
