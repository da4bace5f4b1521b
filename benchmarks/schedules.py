"""Gradients and noise in training: python benchmarks/schedules.py STORE [--seconds 300] [--seed N] [--json FILE]

The default preset from scratch, with the gradient blocked at the analog products or let straight through the
quantisers, and with each schedule of the noise. Each run has the same processor time for its steps, on 200 frames
spread evenly over the training part of STORE and at a constant rate; the moving average of the weights is then
validated on 40 frames with the noise it was trained for, with none, and with twice as much.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from rgnn.base.estimate import evenly
from rgnn.data.loader import epoch_order
from rgnn.data.store.reader import GraphStore
from rgnn.data.store.split import split_frames
from rgnn.graphs.graph import Graph
from rgnn.training.gradient import GradientFit
from rgnn.training.run import RunSettings
from rgnn.training.settings import TrainingSettings
from rgnn.training.validation import validate

TRAINING, VALIDATION = 200, 40
DEFAULT = TrainingSettings()
VARIANTS = {
    "default (blocked, constant)": DEFAULT,
    "straight_through": DEFAULT.override(gradient="straight_through"),
    "ramp": DEFAULT.override(noise_schedule="ramp", noise_ramp=300),
    "range": DEFAULT.override(noise_schedule="range"),
}


def frames(store: GraphStore, train: list[int], seed: int) -> Iterator[int]:
    for epoch in itertools.count():
        yield from epoch_order(store, train, seed, epoch)


def trained(config: RunSettings, store: GraphStore, train: list[int], seconds: float) -> GradientFit:
    """After so many seconds of processor time."""
    trainer, began = GradientFit(config.build_model(store), config.training, None), time.process_time()
    for k in frames(store, train, config.training.seed):
        trainer.step(Graph.batch([store.graph(k)]))
        if time.process_time() - began > seconds:
            break
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    store, rows = GraphStore(options.store), []
    train, validation = split_frames(len(store), 0.2, 0)
    train, validation = evenly(train, TRAINING), evenly(validation, VALIDATION)
    base = RunSettings(store=str(options.store))
    levels = {
        "as trained": base.hardware, "no noise": base.hardware.without_noise(),
        "twice the noise": base.hardware.override(noise=0.1),
    }  # fmt: skip
    print(f"{'sum|dF| / sum|F|, %':32}{'steps':>8}" + "".join(f"{level:>18}" for level in levels))
    for name, training in VARIANTS.items():
        config = base.override(training=training.override(seed=options.seed))
        trainer = trained(config, trained.read(store, train, options.seconds)).forces
        errors = {}
        for level, hardware in levels.items():
            trainer.average.hardware = hardware
            errors[level] = validate(trainer.average, store, validation, options.seed).relative
        rows.append({"name": name, "steps": trainer.progress.step, "errors": errors})
        print(f"{name:32}{trainer.progress.step:8}" + "".join(f"{100 * e:18.2f}" for e in errors.values()), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"seconds": options.seconds, "variants": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
