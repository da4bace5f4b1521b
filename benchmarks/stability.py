"""What makes the validation error jump: python benchmarks/stability.py STORE --start MODEL [--twin MODEL] --out FOLDER

Goes on training a model by the published settings, then with one change at a time, then with all of them, and validates
the weights every few steps. STORE is of frames of several temperatures, MODEL has the published shape (an imported one,
or one trained by `rgnn train --preset published`), the twin is all digital (`--preset gnnff`). Every case starts from
the same weights and takes the same frames in the same order; the rate stays as it is. FOLDER keeps a file for each case
and seed, and the model; a later call adds to it, and at its end all that lie there are shown and drawn.

The same weights are validated in several ways, to tell where a jump comes from: with other noise; after the statistics
of the batch norms have been taken anew from 20 training frames, in batches of 2 as in training; and with the moving
average of the weights and of all that follows batches. Shown of the mean squared error, as the published log has it,
after the first third: the scatter (deviation of its logarithm from one validation to the next, over the square root of
2), the largest rise from one to the next, and the largest climb over any earlier value.
"""

import argparse
import copy
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.ticker import FuncFormatter
from torch import nn

from rgnn import RGNN
from rgnn.base.estimate import evenly
from rgnn.base.rng import torch_stream
from rgnn.chip.hardware import Hardware
from rgnn.data.loader import epoch_order
from rgnn.data.store.reader import GraphStore
from rgnn.data.store.split import split_frames
from rgnn.graphs.graph import Graph
from rgnn.models.checkpoints import load_model, save_model
from rgnn.plots import style
from rgnn.training.gradient import GradientFit
from rgnn.training.run import RunSettings

TRAINING, VALIDATION = 120, 10  # frames, spread evenly
BETWEEN, TOTAL, ANEW = 24, 720, 20  # frames trained on from one validation to the next, in all, and for statistics anew
PUBLISHED = RunSettings.preset("published")
AVERAGE = 0.999
WAYS = {
    "plain": "as it is",
    "other noise": "other noise",
    "anew": "statistics taken anew",
    "average": "average of the weights",
}


@dataclass(frozen=True)
class Case:
    """Training settings, the momentum of the running statistics, and in which ways the weights are validated."""

    config: RunSettings
    momentum: float = 0.1
    ways: tuple[str, ...] = ("plain", "average")


def hardware(**changes: object) -> Case:
    return Case(PUBLISHED.override(hardware=PUBLISHED.hardware.override(**changes)))


def training(**changes: object) -> Case:
    return Case(PUBLISHED.override(training=PUBLISHED.training.override(**changes)))


READ = {"noise_sharing": "read", "offset": "clean"}
CASES = {
    "published": Case(PUBLISHED, ways=tuple(WAYS)),
    "calibrated ranges": hardware(range="calibrated"),
    "read noise": hardware(**READ),
    "no noise": hardware(noise=None, offset="clean"),
    "rounding to nearest": hardware(rounding="nearest"),
    "batches of 8": training(batch_size=8),
    "slower statistics": Case(PUBLISHED, momentum=0.01),
    "a quarter of the rate": training(learning_rate=1.25e-4),
    "four times the rate": training(learning_rate=2e-3),
    "all of the hardware": hardware(range="calibrated", rounding="nearest", **READ),
    "default": Case(RunSettings().override(model=PUBLISHED.model)),
    "digital twin": Case(PUBLISHED.override(hardware=Hardware())),
}


@dataclass(frozen=True)
class Trace:
    """Errors at each validation: `sums` [way][validation, frame, 4] of |dF|, dF^2, |F| and 1 over force components."""

    losses: list[float]
    sums: dict[str, np.ndarray]

    @classmethod
    def read(cls, file: Path) -> "Trace":
        rows = json.loads(file.read_text())
        return cls([r["loss"] for r in rows], {way: np.array([r[way] for r in rows]) for way in rows[0] if way in WAYS})

    def squared(self, way: str) -> np.ndarray:
        """The mean squared error of each validation, (eV/Angstrom)^2."""
        total = self.sums[way].sum(1)
        return total[:, 1] / total[:, 3]

    def relative(self, way: str) -> np.ndarray:
        """Sum |dF| / sum |F|."""
        total = self.sums[way].sum(1)
        return total[:, 0] / total[:, 2]


def scatter(values: np.ndarray) -> float:
    """Deviation of the logarithm from one value to the next, over sqrt 2: of one value, where they are independent."""
    return float(np.diff(np.log(values)).std() / 2**0.5)


def rise(values: np.ndarray) -> float:
    return float(np.exp(np.diff(np.log(values)).max()))


def climb(values: np.ndarray) -> float:
    """The largest value over any before it."""
    return float((values / np.minimum.accumulate(values)).max())


def settled(values: np.ndarray) -> np.ndarray:
    return values[len(values) // 3 :]


def norms(model: RGNN) -> list[nn.BatchNorm1d]:
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]


class Probe:
    """Validates a model in training in the ways of `WAYS`."""

    def __init__(self, store: GraphStore, train: Sequence[int], validation: Sequence[int], seed: int) -> None:
        self.frames = {k: store.graph(k) for k in validation}
        pairs = torch.randperm(len(train), generator=torch_stream(seed, "anew"))[:ANEW].view(-1, 2).tolist()
        self.batches = [Graph.batch([store.graph(train[k]) for k in pair]) for pair in pairs]
        self.seed = seed

    def __call__(self, trainer: GradientFit, way: str) -> list[list[float]]:
        if way == "average":
            return self.errors(trainer.average)
        if way == "anew":
            return self.errors(self.with_statistics_anew(trainer.model))
        return self.errors(trainer.model.eval(), "validation noise" if way == "plain" else way)

    @torch.no_grad()
    def errors(self, model: RGNN, noise: str = "validation noise") -> list[list[float]]:
        rows = []
        for k, g in self.frames.items():
            assert g.forces is not None
            d = (model(g, model.read(generator=torch_stream(self.seed, noise, k))).forces - g.forces).double()
            rows.append([float(d.abs().sum()), float(d.square().sum()), float(g.forces.abs().sum()), d.numel()])
        return rows

    @torch.no_grad()
    def with_statistics_anew(self, model: RGNN) -> RGNN:
        model = copy.deepcopy(model).train()
        for norm in norms(model):
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean of all batches
        for k, batch in enumerate(self.batches):
            model(batch, model.read(generator=torch_stream(self.seed, "anew", k)))
        return model.eval()


def run(name: str, start: Path, store: GraphStore, seed: int, file: Path) -> None:
    """Train one case, validate every `BETWEEN` frames, and write all that into `file`."""
    case, model = CASES[name], load_model(start)
    model.hardware = case.config.hardware
    for norm in norms(model):
        norm.momentum = case.momentum
    train, validation = (
        evenly(x, n) for x, n in zip(split_frames(len(store), 0.2, 0), (TRAINING, VALIDATION), strict=True)
    )
    probe = Probe(store, train, validation, seed)
    # The average takes no part in training, so one run tells of both.
    trainer = GradientFit(model, case.config.training.override(average=AVERAGE, seed=seed), None)
    order = [k for epoch in range(-(-TOTAL // TRAINING)) for k in epoch_order(store, train, seed, epoch)][:TOTAL]
    size, rows, began = case.config.training.batch_size, list[dict[str, Any]](), time.monotonic()
    for first in range(0, TOTAL, BETWEEN):
        some = order[first : first + BETWEEN]
        batches = [Graph.batch([store.graph(k) for k in some[b : b + size]]) for b in range(0, BETWEEN, size)]
        loss = float(np.mean([trainer.step(batch) for batch in batches]))
        rows.append({"frames": first + BETWEEN, "loss": loss} | {way: probe(trainer, way) for way in case.ways})
        sums = {way: np.array(rows[-1][way]).sum(0) for way in case.ways}
        errors = "  ".join(f"{way} {x[1] / x[3]:.4f} {100 * x[0] / x[2]:.2f}%" for way, x in sums.items())
        seconds = time.monotonic() - began
        print(f"{name}: {first + BETWEEN:5} frames  loss {loss:.4f}  {errors}  {seconds:.0f} s", flush=True)
    save_model(model, file.with_suffix(""))  # for norms.py
    file.write_text(json.dumps(rows) + "\n")


def file_of(name: str, seed: int | str, folder: Path) -> Path:
    return folder / f"{name.replace(' ', '_')}-{seed}.json"


def table(traces: dict[str, list[Trace]]) -> str:
    head = ("", "way", "seeds", "scatter", "rise", "climb", "MSE", "error, %")
    lines = [f"{head[0]:24}{head[1]:30}" + "".join(f"{cell:>10}" for cell in head[2:])]
    for name, runs in traces.items():
        for way in runs[0].sums:
            mse = [settled(t.squared(way)) for t in runs]
            numbers = (
                float(np.mean([scatter(m) for m in mse])), max(map(rise, mse)), max(map(climb, mse)),
                float(np.mean([np.median(m[-10:]) for m in mse])),
                float(np.mean([100 * np.median(t.relative(way)[-10:]) for t in runs])),
            )  # fmt: skip
            cells = "".join(f"{x:10.{digits}f}" for x, digits in zip(numbers, (3, 2, 2, 4, 2), strict=True))
            lines.append(f"{name:24}{WAYS[way]:30}{len(runs):10}{cells}")
        if "other noise" in runs[0].sums:
            apart = [settled(t.squared("plain") / t.squared("other noise")) for t in runs]
            lines.append(f"{'':24}{'noise alone':30}{'':10}{np.mean([np.log(a).std() / 2**0.5 for a in apart]):10.3f}")
    return "\n".join(lines)


def draw(traces: dict[str, list[Trace]], path: Path) -> Path:
    """Left: one run by the published settings, validated in several ways. Right: the scatter of each case."""
    drawing = style.figure(10, 4.2)
    left, right = drawing.subplots(1, 2, width_ratios=[1.2, 1])
    first = traces["published"][0]
    for way, colour in (("plain", style.SECOND), ("anew", style.THIRD), ("average", style.ACCENT)):
        squared = first.squared(way)
        left.semilogy(BETWEEN * np.arange(1, len(squared) + 1), squared, ".-", color=colour, lw=1, label=WAYS[way])
    left.set(xlabel="training frames", ylabel="validation MSE (eV²/Å²)", title="published settings")
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.legend(frameon=False)
    for k, runs in enumerate(reversed(traces.values())):
        for way, colour in (("plain", style.SECOND), ("average", style.ACCENT)):
            values = [100 * scatter(settled(t.squared(way))) for t in runs]
            right.plot(values, [k] * len(values), "o", ms=5, color=colour, label=WAYS[way] if k == 0 else None)
    right.set(xlabel="scatter of the MSE (%)", xlim=(0, None), yticks=range(len(traces)))
    right.set_yticklabels(list(reversed(traces)))
    right.grid(axis="y", color=style.GREY, alpha=0.2, lw=0.6)
    right.legend(frameon=False, loc="center right")
    for axes in (left, right):
        style.tidy(axes)
    return style.save(drawing, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--start", type=Path, required=True, help="the model that all cases start from")
    parser.add_argument("--twin", type=Path, help="that of the digital twin")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--cases", default=",".join(CASES), help=f"some of: {', '.join(CASES)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    store = GraphStore(options.store)
    for name in options.cases.split(","):
        start, file = (
            options.twin if name == "digital twin" else options.start,
            file_of(name, options.seed, options.out),
        )
        if start and not file.exists():
            run(name, start, store, options.seed, file)
    found = {name: sorted(options.out.glob(file_of(name, "*", options.out).name)) for name in CASES}
    traces = {name: [Trace.read(file) for file in files] for name, files in found.items() if files}
    print(table(traces))
    if "published" in traces:
        print(draw(traces, options.out / "stability.png"))


if __name__ == "__main__":
    main()
