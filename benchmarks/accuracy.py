"""Accuracy at equal processor minutes: python benchmarks/accuracy.py --data DIR --envs DIR --results DIR [--figure PNG]

Trains presets of rgnn and other programs on the same frames, each in an environment of its own under --envs, made there
at first use, on one thread; measures force errors on frames of which none was seen or chosen on; prints one table and
draws one figure. Everything finished stays under --results, so that the command can be stopped and given again;
--programs, --sets and --minutes choose some of it, and whatever was never trained is "not run" in the table.

Minutes are those of the processor. Others' clock starts with the first step and stands still while they are tested;
rgnn is given the minutes by the wall (--minutes), reads of its store and validation included.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import ase.io
import numpy as np
from matplotlib.ticker import FuncFormatter, NullFormatter
from peers import python_of

from rgnn.chip.hardware import Hardware
from rgnn.evaluation.errors import ErrorSums, HardwareErrors
from rgnn.evaluation.intervals import Sample
from rgnn.plots import style


@dataclass(frozen=True)
class Frames:
    """A set: files to train on and to test on, with a slice of their frames behind an @; what labelled them."""

    train: tuple[str, ...]
    test: str
    labels: str


SETS = {
    "LiPO": Frames(("lipo_chgnet_train_a.xyz", "lipo_chgnet_train_b.xyz"), "lipo_chgnet_test.xyz", "CHGNet, not DFT"),
    "LiPS": Frames(("lips_aimd_dft.xyz@:600",), "lips_aimd_dft.xyz@600:", "DFT"),
    "water": Frames(("water_aimd_pbe0ts.xyz@:280",), "water_aimd_pbe0ts.xyz@280:", "DFT"),
}


@dataclass(frozen=True)
class Program:
    """What is trained.

    Attributes:
        environment: a key of `peers.PACKAGES`; None for rgnn.
        preset: of rgnn; None for others.
        cutoff: Angstrom.
        one_pass: it takes the time that it takes, whatever the minutes.
    """

    environment: str | None = None
    preset: str | None = None
    cutoff: float = 5.0
    one_pass: bool = False


PROGRAMS = {
    "rgnn energy": Program(preset="energy"),
    "rgnn moments": Program(preset="moments"),
    "rgnn ridge": Program(preset="ridge", one_pass=True),
    "rgnn default": Program(preset="default", cutoff=3.8),
    "MACE": Program("mace"),
    "NequIP": Program("nequip"),
    "Allegro": Program("nequip"),
    "linear ACE": Program("ace", one_pass=True),
}
COLOURS = (style.ACCENT, "#5f9fd8", "#16a0a0", style.GREY, style.SECOND, style.THIRD, "#8e44ad", "#b8960c")


@dataclass(frozen=True)
class Cell:
    """One training and its error on all test frames.

    Attributes:
        program, data: names.
        asked: minutes that were to be used; None for one pass.
        minutes: that it took: of the processor, and for rgnn by the wall where that is more.
        processor: minutes of the processor.
        relative_error, low, high: sum |dF| / sum |F| with its 95% interval.
        mae: of a force component, meV/Angstrom.
        frames: tested.
        steps, weights, version: of the training, where they are known.
    """

    program: str
    data: str
    asked: float | None
    minutes: float
    processor: float
    relative_error: float
    low: float | None
    high: float | None
    mae: float
    frames: int
    steps: int | None = None
    weights: int | None = None
    version: str | None = None

    def text(self) -> str:
        """As the table shows it."""
        interval = "" if self.low is None or self.high is None else f" ± {50 * (self.high - self.low):.2f}"
        took = f" in {self.minutes:.1f} min" if self.asked is None else ""
        return f"{100 * self.relative_error:.2f}{interval}%, {self.mae:.0f} meV/Å{took}"


@dataclass(frozen=True)
class Place:
    """Folders of the benchmark."""

    data: Path
    envs: Path
    results: Path

    def file(self, spec: str) -> str:
        return str((self.data / spec).absolute())

    def store(self, data: str, part: str, cutoff: float) -> Path:
        """A store of rgnn with the training or the test frames of a set."""
        out = self.results / "data" / f"{data}-{part}-{cutoff:g}.zarr"
        if not out.exists():
            frames = SETS[data]
            specs = frames.train if part == "train" else (frames.test,)
            first, _, last = specs[0].partition("@")[2].partition(":")
            chosen = [x for name, k in (("--from", first), ("--to", last)) if k for x in (name, k)]
            files = [self.file(spec.partition("@")[0]) for spec in specs]
            rgnn("convert", *files, *chosen, "--out", out, "--cutoff", cutoff, "--workers", 1, "--quiet")
        return out


@dataclass(frozen=True)
class Job:
    """A cell to be: trained and tested step by step, and nothing twice."""

    place: Place
    program: str
    data: str
    asked: float | None

    @property
    def name(self) -> str:
        return f"{self.data}-{self.program.replace(' ', '-')}" + ("" if self.asked is None else f"-{self.asked:g}")

    @property
    def cell(self) -> Path:
        return self.place.results / "cells" / f"{self.name}.json"

    @property
    def trained(self) -> Path:
        return self.place.results / "runs" / f"{self.name}.trained.json"

    @property
    def run(self) -> Path:
        return self.place.results / "runs" / self.name

    def train(self) -> None:
        """Train where that has not been done."""
        if self.trained.exists():
            return
        print(f"training {self.name}", flush=True)
        self.run.parent.mkdir(parents=True, exist_ok=True)
        before, began = _processor(), time.perf_counter()
        if (preset := PROGRAMS[self.program].preset) is not None:
            store = self.place.store(self.data, "train", PROGRAMS[self.program].cutoff)
            before, began = _processor(), time.perf_counter()
            length = () if self.asked is None else ("--minutes", self.asked)
            rgnn("train", store, "--preset", preset, *length, "--threads", 1, "--out", self.run, "--overwrite")
            known = {}
        else:
            known = self.worker("train")
        taken = {"processor": _processor() - before, "wall": time.perf_counter() - began}
        self.trained.write_text(json.dumps({**taken, **known}))

    def test(self) -> Cell:
        """Measure where that has not been done."""
        if not self.cell.exists():
            print(f"testing {self.name}", flush=True)
            taken = json.loads(self.trained.read_text())
            errors = self.by_rgnn() if PROGRAMS[self.program].preset is not None else self.by_worker()
            spent = taken.get("seconds", taken["processor"]) / 60
            minutes = spent if "seconds" in taken else max(spent, self.asked or 0.0)
            details = {name: taken[name] for name in ("steps", "weights", "version") if name in taken}
            cell = Cell(self.program, self.data, self.asked, minutes, spent, **errors, **details)
            self.cell.parent.mkdir(parents=True, exist_ok=True)
            self.cell.write_text(json.dumps(asdict(cell), indent=2) + "\n")
        return Cell(**json.loads(self.cell.read_text()))

    def by_rgnn(self) -> dict:
        """Errors on the hardware that the model was trained for, by `rgnn eval`."""
        out = self.run.with_name(f"{self.name}.eval")
        store = self.place.store(self.data, "test", PROGRAMS[self.program].cutoff)
        if not (out / "eval.json").exists():
            rgnn("eval", self.run, store, "--threads", 1, "--out", out, "--overwrite", "--no-predictions", "--quiet")
        found = json.loads((out / "eval.json").read_text())["settings"][-1]
        low, high = found["all"]["relative_error_95"]
        return {
            "relative_error": found["all"]["relative_error"], "low": low, "high": high,
            "mae": 1000 * found["all"]["mae_ev_per_angstrom"], "frames": found["frames"],
        }  # fmt: skip

    def by_worker(self) -> dict:
        """Errors of the forces that another program's worker wrote."""
        self.worker("test")
        labels = ase.io.read(self.place.file(SETS[self.data].test), self.slice_of_test())
        with np.load(self.folder / f"forces-{self.asked or 0:g}.npz") as forces:
            return errors_of(labels, [forces[name] for name in forces.files])

    def slice_of_test(self) -> str | None:
        return None if "@" in SETS[self.data].test else ":"

    @property
    def folder(self) -> Path:
        """Of another program: what its trainings of different length share."""
        return self.place.results / "runs" / f"{self.data}-{self.program.replace(' ', '-')}"

    def worker(self, stage: str) -> dict:
        frames, environment = SETS[self.data], PROGRAMS[self.program].environment
        request = {
            "program": self.program, "stage": stage, "train": [self.place.file(f) for f in frames.train],
            "test": self.place.file(frames.test), "folder": str(self.folder.absolute()),
            "minutes": self.asked or 0, "seed": 0,
        }  # fmt: skip
        script = Path(__file__).with_name("accuracy_worker.py")
        # MACE loads constants of e3nn by an older rule than torch's present one.
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
        variables.pop("PYTHONPATH", None)
        python = python_of(environment, self.place.envs)
        subprocess.run([python, "-W", "ignore", str(script), json.dumps(request)], env=variables, check=True)
        known = self.folder / f"trained-{self.asked or 0:g}.json"
        return dict(json.loads(known.read_text()))


def _processor() -> float:
    """Seconds of the processor of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rgnn(*command: object) -> None:
    code = "from rgnn_cli.app import main; main()"
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, *map(str, command)], env=variables, check=True)


def errors_of(labels: Sequence, forces: Sequence[np.ndarray]) -> dict:
    """Errors by the measures of rgnn: its relative force error, its intervals."""
    pairs = zip(forces, labels, strict=True)
    sums = np.stack([ErrorSums.of(f, label.get_forces()).sums for f, label in pairs])
    temperatures = np.array([float(label.info.get("temperature", np.nan)) for label in labels])
    sample = Sample.of(np.arange(len(labels)), np.zeros(len(labels), int), temperatures)
    errors = HardwareErrors(Hardware(), (0,), sums[None, None, :, None], sample=sample)
    found = errors.relative_error()
    low, high = (float(x) if np.isfinite(x) else None for x in (found.low, found.high))
    mae = 1000 * float(errors.errors().mae)
    return {"relative_error": found.value, "low": low, "high": high, "mae": mae, "frames": len(labels)}


def table(cells: Sequence[Cell], minutes: Sequence[float]) -> str:
    """Markdown: a line for each program, a column for each set and each number of minutes."""
    columns = [(data, m) for data in SETS for m in minutes if any(c.data == data for c in cells)]
    lines = [["", *(f"{data}, {m:g} min" for data, m in columns)], ["---"] * (len(columns) + 1)]
    for name in PROGRAMS:
        found = [
            [c for c in cells if (c.program, c.data) == (name, data) and (c.asked == m or fits(c, m))]
            for data, m in columns
        ]
        lines.append([name, *(cell[0].text() if cell else "not run" for cell in found)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fits(cell: Cell, minutes: float) -> bool:
    """Whether what took one pass had ended by then."""
    return cell.asked is None and cell.minutes <= minutes


def draw(cells: Sequence[Cell], path: Path) -> Path:
    """Error against minutes, a panel for each set."""
    names = [data for data in SETS if any(c.data == data for c in cells)]
    drawing = style.figure(3.6 * len(names) + 0.6, 4.0)
    for axes, data in zip(drawing.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for colour, program in zip(COLOURS, PROGRAMS, strict=True):
            mine = sorted((c for c in cells if (c.data, c.program) == (data, program)), key=lambda c: c.minutes)
            if mine:
                marker = "D" if mine[0].asked is None else "o" if program.startswith("rgnn") else "s"
                values = [100 * c.relative_error for c in mine]
                axes.plot([c.minutes for c in mine], values, f"{marker}-", color=colour, ms=6, lw=1.2, label=program)
        every = [100 * c.relative_error for c in cells if c.data == data]
        low, high = 0.8 * min(every), 1.25 * max(every)
        axes.set(xscale="log", yscale="log", xlabel="processor minutes", title=f"{data} ({SETS[data].labels})")
        axes.set(xlim=(0.8, 40), ylim=(low, high))
        axes.set_xticks([1, 3, 10, 30])
        axes.set_yticks([y for y in (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50) if low <= y <= high])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.grid(which="major", color=style.GREY, alpha=0.2, lw=0.6)
        axes.legend(frameon=False, fontsize="small")
        style.tidy(axes)
    drawing.axes[0].set_ylabel("relative force error on test frames (%)")
    return style.save(drawing, path)


def chosen(text: str | None, known: Sequence[str]) -> list[str]:
    names = list(known) if text is None else text.split(",")
    if wrong := [name for name in names if name not in known]:
        raise SystemExit(f"{wrong[0]}: not known; choose of {', '.join(known)}.")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the extended XYZ files")
    parser.add_argument("--envs", type=Path, required=True, help="folder of the other programs' environments")
    parser.add_argument("--results", type=Path, required=True, help="folder of what is finished")
    parser.add_argument("--programs", help=f"some of {','.join(PROGRAMS)}; default: all")
    parser.add_argument("--sets", help=f"some of {','.join(SETS)}; default: all")
    parser.add_argument("--minutes", default="10,30", help="processor minutes; default: 10,30")
    parser.add_argument("--stage", choices=("all", "train", "table"), default="all", help="how far to go; default: all")
    parser.add_argument("--figure", type=Path, help="PNG to draw")
    given = parser.parse_args()
    place, minutes = Place(given.data, given.envs, given.results), [float(m) for m in given.minutes.split(",")]
    programs, sets = chosen(given.programs, list(PROGRAMS)), chosen(given.sets, list(SETS))
    jobs = [
        Job(place, name, data, m)
        for data in sets
        for m in [*sorted(minutes), None]
        for name in programs
        if PROGRAMS[name].one_pass == (m is None)
    ]
    if given.stage != "table":
        for job in jobs:
            job.train()
            if given.stage == "all":
                job.test()
    cells = [Cell(**json.loads(file.read_text())) for file in sorted((place.results / "cells").glob("*.json"))]
    print(table(cells, sorted(minutes)))
    if given.figure and cells:
        print(draw(cells, given.figure))


if __name__ == "__main__":
    main()
