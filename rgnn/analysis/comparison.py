"""Several runs analysed in the same way: what `rgnn analyse` and `rgnn sweep` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ase.data import chemical_symbols

from rgnn.analysis.activation import Arrhenius, activation_energies, distinct
from rgnn.analysis.joint import Joint, joined
from rgnn.analysis.run import Analysis, analyse
from rgnn.analysis.settings import AnalysisSettings
from rgnn.analysis.trajectory import Trajectory, open_trajectory
from rgnn.base.errors import InputError, Interrupted
from rgnn.base.events import SILENT, Listener
from rgnn.md.sweep import SweepPlan

# A line through fewer temperatures than this says nothing of a bend.
ENOUGH_TEMPERATURES = 3


@dataclass(frozen=True)
class Comparison:
    """Runs, what they are compared with, and activation energies.

    Attributes:
        settings: how the runs were analysed.
        runs: analysed, with different names.
        reference: that g(r) is compared with; None is the first run.
        fits: by atomic number; empty where none were asked for.
        without_fit: atomic number -> why the element has no activation energy.
        together: runs of the same as one.
    """

    settings: AnalysisSettings
    runs: list[Analysis]
    reference: Analysis | None
    fits: dict[int, Arrhenius]
    without_fit: dict[int, str]
    together: list[Joint]

    @property
    def warnings(self) -> list[str]:
        """Runs that mean nothing, and what a user should know of the activation energies."""
        found = doubts(self.runs)
        found += [f"no activation energy for {chemical_symbols[z]}: {why}." for z, why in self.without_fit.items()]
        fewest = min((distinct(fit.temperatures) for fit in self.fits.values()), default=ENOUGH_TEMPERATURES)
        if fewest < ENOUGH_TEMPERATURES:
            found.append("two temperatures always lie on a line, so the interval knows nothing of a bend; run a third.")
        return found


def doubts(runs: Sequence[Analysis]) -> list[str]:
    """Runs that mean nothing, or not what they seem to."""
    found = [
        f"{a.name}: {a.unsound}. No diffusion coefficient is given; rgnn analyse --sound-part looks at what came "
        "before."
        for a in runs
        if a.unsound
    ]
    broken = ("noticeable", "broken")
    return found + [
        f"{a.name}: temperatures of elements differ, {a.equipartition}."
        for a in runs
        if a.equipartition.startswith(broken)
    ]


def compare(
    runs: Sequence[str | Path],
    settings: AnalysisSettings | None = None,
    *,
    reference: str | Path | None = None,
    reference_temperature: float | None = None,
    arrhenius: bool = False,
    interval: float | None = None,
    format: str | None = None,  # noqa: A002
    listener: Listener = SILENT,
) -> Comparison:
    """Analyse runs, and the trajectory they are compared with.

    Args:
        runs: run folders, or trajectories that ASE reads.
        settings: how; the reference is read from its first frame on.
        reference: trajectory that g(r) is compared with; None is the first run.
        reference_temperature: only its frames with this temperature in the header, K.
        arrhenius: fit activation energies, from runs at several temperatures.
        interval: between frames in fs, where a file does not say.
        format: ASE's name for the format of the files, where it cannot tell.
        listener: receives the number of frames that are read, and may ask to stop.

    Raises:
        InputError: a trajectory cannot be read, nothing is left of it after the skip, or no element has an
            activation energy.
        Interrupted: the listener asked to stop.
    """
    if reference_temperature is not None and reference is None:
        raise InputError("a reference temperature chooses frames of the reference; name it too.")
    settings = settings or AnalysisSettings()
    ps = None if interval is None else interval / 1000
    opened = _named_apart([open_trajectory(path, format, ps) for path in runs])
    known = None if reference is None else open_trajectory(reference, format, None, reference_temperature)
    analysed = analyse_all(opened, settings, listener)
    against = None
    if known is not None:
        (against,) = analyse_all([known], settings.override(skip=0.0, skip_ps=0.0), listener)
    together = joined(analysed, settings)
    fits, without = activation_energies(analysed, together) if arrhenius else ({}, {})
    if arrhenius and not fits:
        if unsound := next((a for a in analysed if a.unsound), None):
            raise InputError(
                f"no activation energy: {unsound.name}: {unsound.unsound}; leave it out, or give --sound-part for what "
                "came before."
            )
        if changed := next((a for a in analysed if a.ramp), None):
            raise InputError(f"no activation energy: {changed.name}: {changed.ramp}.")
        found = ", ".join(f"{chemical_symbols[z]} ({why})" for z, why in without.items())
        raise InputError(f"no activation energy for {found or 'any element'}; run longer, or at more temperatures.")
    return Comparison(settings, analysed, against, fits, without, together)


def analyse_all(
    trajectories: Sequence[Trajectory], settings: AnalysisSettings, listener: Listener = SILENT
) -> list[Analysis]:
    """Analyse one trajectory after the other.

    Raises:
        InputError: as `analyse`.
        Interrupted: the listener asked to stop.
    """
    found, before, total = list[Analysis](), 0, sum(t.length for t in trajectories)
    for trajectory in trajectories:

        def progress(done: int, _: int, name: str = trajectory.name, before: int = before) -> None:
            if listener.stop():
                raise Interrupted("analysis stopped; nothing was written")
            listener.progress(before + done, total, name)

        found.append(analyse(trajectory, settings, progress))
        before += trajectory.length
    return found


def analyse_sweep(
    plan: SweepPlan, folders: Sequence[Path], settings: AnalysisSettings, listener: Listener = SILENT
) -> list[Analysis]:
    """Analyse the runs of a sweep, each named by its hardware.

    Raises:
        InputError: as `analyse`.
        Interrupted: the listener asked to stop; the runs are kept.
    """
    opened = [replace(open_trajectory(path), name=name) for path, name in zip(folders, plan.names, strict=True)]
    try:
        return analyse_all(opened, settings, listener)
    except Interrupted:
        raise Interrupted("stopped after the last run; all runs are kept", "sweep", folders[0].parent) from None


def _named_apart(opened: Sequence[Trajectory]) -> list[Trajectory]:
    """With the path as name where two would have the same."""
    names = [t.name for t in opened]
    return [replace(t, name=str(t.path)) if names.count(t.name) > 1 else t for t in opened]
