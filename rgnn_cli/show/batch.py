"""Several runs of rgnn md stepped together: their folders, and what is shown of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from ase import Atoms

    from rgnn.md import MDRecord, MDSettings
    from rgnn.models.base import ForceField
    from rgnn.models.uncertainty import Uncertainty
    from rgnn_cli.session.console import Reporter


@dataclass(frozen=True)
class BatchRuns:
    """The runs of a batch.

    Attributes:
        out: folder of the batch.
        folders, records: of each run.
        structures: where each run starts; None where they are resumed.
    """

    out: Path
    folders: list[Path]
    records: list[MDRecord]
    structures: list[Atoms] | None = None

    @classmethod
    def begun(
        cls, record: MDRecord, named: list[Path], frames: str | None, model: ForceField, out: Path | None
    ) -> Self:
        """New runs, one for each file or frame, each with a seed of its own and a folder OUT/NUMBER-NAME.

        Raises:
            InputError: a structure that cannot be run, or a folder that holds something else.
        """
        from rgnn.md import RunOrigin, check_structure, read_structure, read_structures
        from rgnn_cli.session import workspace

        known, records, names = record.origin, [], []
        structures: list[Atoms] = []
        for path in named:
            if frames is None:
                there = {known.frame: read_structure(path, known.frame, known.format)}
            else:
                there = read_structures(path, frames, known.format)
            origin = RunOrigin.of(path, known.model, known.frame, known.format)
            for frame, atoms in there.items():
                name = path.stem if frames is None else f"{path.stem}-{frame}"
                check_structure(atoms, model, record.md.any_element, str(path) + (f", frame {frame}" if frames else ""))
                seed = record.md.seed + len(structures)
                structures.append(atoms)
                records.append(record.override(md=record.md.override(seed=seed), origin=origin.override(frame=frame)))
                names.append(name)
        out = out or workspace.new_folder("md", "batch")
        if out.exists():
            for left in out.iterdir():
                workspace.clear_run(left)
                left.rmdir()
        width = len(str(len(names) - 1))
        return cls(out, [out / f"{k:0{width}d}-{name}" for k, name in enumerate(names)], records, structures)

    @classmethod
    def there(cls, out: Path, settings_of: Callable[[Path], MDRecord], report: Reporter) -> Self:
        """The runs of a batch to resume, but those that broke off.

        Raises:
            InputError: all of them broke off.
        """
        from rgnn.base.errors import InputError

        folders = []
        for folder in _folders(out):
            if (folder / "broken.xyz").exists():
                report.say(f"{folder}: broke off, and is left as it is.")
            else:
                folders.append(folder)
        if not folders:
            raise InputError(f"{out}: all its runs broke off; start again with other settings.")
        return cls(out, folders, [settings_of(folder) for folder in folders])

    def varied(self, vary: Callable[[MDSettings], MDSettings]) -> Self:
        """With other settings."""
        return replace(self, records=[record.override(md=vary(record.md)) for record in self.records])


def _folders(out: Path) -> list[Path]:
    return sorted(p for p in out.iterdir() if (p / "config.yaml").is_file()) if out.is_dir() else []


def is_batch(folder: Path) -> bool:
    """Whether the folder holds runs, and is none itself."""
    return not (folder / "config.yaml").is_file() and bool(_folders(folder))


def run_batch(
    report: Reporter, runs: BatchRuns, model: ForceField, uncertainty: Uncertainty | None, *, resume: bool = False
) -> None:
    """Run them together, draw the figure of each, and show one line for each.

    Raises:
        Interrupted: all states are saved.
        BrokenRunError: some broke off; the others went to their end.
    """
    from dataclasses import asdict
    from shlex import quote

    from rgnn.base.errors import BrokenRunError, Interrupted
    from rgnn.md import outside_training, run_many
    from rgnn.plots.dynamics import run_figure
    from rgnn_cli.session.signals import asked_to_stop
    from rgnn_cli.show.md import Show, in_words, introduce_uncertainty

    settings = [record.md for record in runs.records]
    n, first = len(runs.folders), settings[0]
    report.say(f"Dynamics: {n} runs together, {in_words(first)}, {first.total_steps} steps of {first.timestep:g} fs")
    report.say(f"Runs: {runs.out}")
    if first.warning:
        report.warn(first.warning)
    introduce_uncertainty(report, uncertainty, model, first)
    for folder, atoms in zip(runs.folders, runs.structures or (), strict=False):
        for message in outside_training(atoms, model):
            report.warn(f"{folder.name}: {message}")
    with asked_to_stop() as stop, report.progress("Dynamics", None, "steps") as meter:
        outcomes = run_many(
            runs.structures,
            model,
            settings,
            runs.folders,
            resume=resume,
            origins=[record.origin for record in runs.records],
            progress=Show(meter, max(c.total_steps for c in settings)),
            stop=stop,
            tell=report.say,
            warn=report.warn,
            uncertainty=uncertainty,
        )
    stopped = [outcome for outcome in outcomes if isinstance(outcome, Interrupted)]
    if stopped:
        raise Interrupted(
            f"{len(stopped)} runs stopped as asked; their states are saved, and "
            f"'rgnn md --resume {quote(str(runs.out))}' goes on."
        )
    rows = []
    outside = () if uncertainty is None else ("",)
    results: list[dict[str, Any]] = []
    for folder, outcome in zip(runs.folders, outcomes, strict=True):
        if isinstance(outcome, BrokenRunError | Interrupted):
            rows.append((folder.name, "broke off", "", "", "", *outside))
            results.append({"out": str(folder), "error": str(outcome)})
            continue
        figure, peaks = run_figure(folder, folder / "dynamics.png")
        values = (f"{outcome.temperature:.0f}", f"{outcome.work:.3g}", outcome.heating.partition(":")[0])
        looks = () if uncertainty is None else (f"{outcome.uncertainty_outside} of {outcome.uncertainty_checks}",)
        rows.append((folder.name, str(outcome.steps), *values, *looks))
        results.append({"out": str(folder), "figure": str(figure), "first_peaks": peaks, **asdict(outcome)})
    columns = ("run", "steps", "K", "work, meV/atom/ps", "heating", *(["outside of training"] if outside else []))
    report.table("Means over the second half", columns, rows)
    report.say(f"In [bold]{runs.out}[/]: a folder for each run, with its figure dynamics.png")
    report.result({"out": str(runs.out), "runs": results})
    broken = [outcome for outcome in outcomes if isinstance(outcome, BrokenRunError)]
    if broken:
        raise BrokenRunError(f"{len(broken)} of {n} runs broke off: {broken[0]}" if n > 1 else str(broken[0]))
