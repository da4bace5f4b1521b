"""Error against training time: python benchmarks/learning.py --run KIND=RUN[,RUN] [--run ...] [--out PNG] [--json FILE]

Reads the log.csv of run folders made by `rgnn train`, draws the validation error of all of them in one figure, and
prints for each kind of run the mean of the best error so far after some minutes, and how far its seeds lie apart. Time
is that of training, without validation; a run that has ended keeps its best error. A run of another seed has another
chip, other initial weights and other validation frames: the spread over seeds holds all three. The rise is the largest
of the validation error from one epoch to the next, after the tenth.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from rgnn.plots import style
from rgnn.training.log import Epoch, read_epochs

MINUTES = (1, 2, 5, 10, 30)
SETTLED = 10  # epochs after which the error should no longer rise
COLOURS = (style.ACCENT, style.SECOND, style.THIRD, "#8e44ad", "#b8960c", "#16a0a0", "#333333")


@dataclass(frozen=True)
class Curve:
    """One run: minutes of training at the end of each epoch, and the error sum|dF| / sum|F| there."""

    minutes: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, history: Sequence[Epoch]) -> "Curve":
        return cls(np.cumsum([row.seconds for row in history]) / 60, np.array([row.relative_error for row in history]))

    def best_at(self, minutes: float) -> float | None:
        """The best error so far; None where no epoch had ended."""
        return float(self.error[self.minutes <= minutes].min()) if self.minutes[0] <= minutes else None

    @property
    def best(self) -> float:
        return float(self.error.min())

    @property
    def rise(self) -> float | None:
        """The largest of error[k + 1] / error[k] - 1 after the tenth epoch; 0 where it fell, None in short runs."""
        ratio = self.error[SETTLED:] / self.error[SETTLED - 1 : -1]
        return max(0.0, float(ratio.max()) - 1) if len(ratio) else None


@dataclass(frozen=True)
class Kind:
    """What the runs of one kind have in common; fractions, not percent.

    Attributes:
        seeds: number of runs.
        minutes: of training, mean.
        at: mean of the best errors after so many minutes, where all of them had ended an epoch.
        best: mean of the errors of the kept models.
        spread, deviation: largest less smallest of those, and standard deviation, over their mean.
        rise: the largest of all runs.
    """

    name: str
    seeds: int
    minutes: float
    at: dict[str, float | None]
    best: float
    spread: float | None
    deviation: float | None
    rise: float | None

    @classmethod
    def of(cls, name: str, curves: Sequence[Curve]) -> "Kind":
        best = np.array([c.best for c in curves])
        several = len(curves) > 1
        return cls(
            name,
            len(curves),
            float(np.mean([c.minutes[-1] for c in curves])),
            {str(m): mean_of([c.best_at(m) for c in curves]) for m in MINUTES},
            float(best.mean()),
            float(np.ptp(best) / best.mean()) if several else None,
            float(best.std(ddof=1) / best.mean()) if several else None,
            max((c.rise for c in curves if c.rise is not None), default=None),
        )


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean; None where one of them is."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def read(folder: str) -> Curve:
    history = read_epochs(folder)
    if not history:
        raise SystemExit(f"{folder}: has no log.csv with a finished epoch; name a folder made by rgnn train.")
    return Curve.of(history)


def named(text: str) -> tuple[str, list[Curve]]:
    name, _, folders = text.partition("=")
    if not folders:
        raise SystemExit(f"--run {text}: write KIND=FOLDER,FOLDER.")
    return name, [read(folder) for folder in folders.split(",")]


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def table(kinds: Sequence[Kind]) -> str:
    head = ["%", "seeds", "minutes", *(f"{m} min" for m in MINUTES), "best", "max - min", "std", "rise"]
    rows = [
        [
            k.name,
            str(k.seeds),
            f"{k.minutes:.1f}",
            *map(percent, [*k.at.values(), k.best, k.spread, k.deviation, k.rise]),
        ]
        for k in kinds
    ]
    first = max(len(row[0]) for row in [head, *rows])
    return "\n".join(f"{row[0]:{first}}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in [head, *rows])


def draw(runs: Sequence[tuple[str, list[Curve]]], path: Path) -> Path:
    """Error against minutes, both logarithmic; a run of one epoch is a point."""
    drawing = style.figure(7, 4.4)
    axes = drawing.subplots()
    for k, (name, curves) in enumerate(runs):
        colour, mean = COLOURS[k % len(COLOURS)], float(np.mean([c.best for c in curves]))
        for number, c in enumerate(curves):
            solved = len(c.error) == 1
            label = f"{name}: {100 * mean:.1f}%" if number == 0 else None
            axes.plot(
                c.minutes, 100 * c.error, "D" if solved else "-", color=colour, lw=1.2, ms=6, alpha=0.85, label=label
            )
            if not solved:
                axes.plot(c.minutes[-1], 100 * c.error[-1], "o", color=colour, ms=4)
    axes.set(xscale="log", yscale="log", xlabel="minutes of training", ylabel="validation, relative force error (%)")
    for axis, labelled in ((axes.xaxis, (1, 2, 5)), (axes.yaxis, (1, 1.5, 2, 3, 4, 6, 8))):
        axis.set_major_locator(LogLocator(subs=labelled))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(which="major", color=style.GREY, alpha=0.2, lw=0.6)
    axes.legend(frameon=False)
    style.tidy(axes)
    return style.save(drawing, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="append", required=True, help="KIND=RUN,RUN: runs that differ by the seed only")
    parser.add_argument("--out", type=Path, help="PNG to draw")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    options = parser.parse_args()
    runs = [named(text) for text in options.run]
    kinds = [Kind.of(name, curves) for name, curves in runs]
    print(table(kinds))
    if options.json:
        options.json.write_text(json.dumps([asdict(k) for k in kinds], indent=2) + "\n")
    if options.out:
        print(draw(runs, options.out))


if __name__ == "__main__":
    main()
