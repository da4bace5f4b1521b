"""What moves the statistics of batch norms: python benchmarks/norms.py STORE MODEL [--json FILE]

In training a batch norm takes the mean and variance of its batch, in validation the running ones of the batches before,
10 or so at the usual momentum of 0.1. MODEL, of the published shape, keeps its weights here; there are three tables.

1. How much the mean of a batch moves from one to the next, in deviations of a feature, and the logarithm of its
variance: where the batches are of other frames, and where they are the same but read with other noise. Standard
deviations over 8 batches, root mean square over features and over the layers of a kind.
2. The running statistics follow 160 batches of 2 frames in training mode. After every 10 the model is validated: how
far its mean squared error scatters though no weight has changed, and the largest of these errors over the smallest.
3. The mean squared error with the running statistics that the model came with, and with those of some of its norms
taken anew from 20 training frames: of a model saved in a jump this tells in which norms the jump is.
"""

import argparse
import copy
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from stability import TRAINING, VALIDATION, Probe, norms, scatter
from torch import Tensor, nn

from rgnn import RGNN
from rgnn.base.estimate import evenly
from rgnn.base.rng import numpy_stream, torch_stream
from rgnn.chip.hardware import Hardware
from rgnn.data.store.reader import GraphStore
from rgnn.data.store.split import split_frames
from rgnn.graphs.graph import Graph
from rgnn.models.checkpoints import load_model
from rgnn.models.message_passing.layers import ReservoirLayer, TrainedLayer

BATCHES, FOLLOWED, EVERY = 8, 160, 10
PUBLISHED = Hardware.published()
READ = PUBLISHED.override(noise_sharing="read", offset="clean")
QUIET = PUBLISHED.without_noise()


@dataclass(frozen=True)
class Condition:
    """What changes from batch to batch, and what reads it."""

    name: str
    hardware: Hardware
    batch_size: int = 2
    other_frames: bool = False
    momentum: float = 0.1


MOVES = (
    Condition("other frames, published ranges", QUIET, other_frames=True),
    Condition("other frames, unquantised", Hardware(bits=None, noise=None), other_frames=True),
    Condition("noise shared by the batch", PUBLISHED),
    Condition("the same, batches of 8", PUBLISHED, batch_size=8),
    Condition("noise of each read", READ),
)
FOLLOWING = (
    Condition("noise shared by the batch", PUBLISHED),
    Condition("the same, momentum 0.01", PUBLISHED, momentum=0.01),
    Condition("noise of each read", READ),
    Condition("no noise", QUIET),
)
WHICH: dict[str, tuple[type[nn.Module], ...]] = {
    "as it came": (),
    "reservoir layers anew": (ReservoirLayer,),
    "trained layers anew": (TrainedLayer,),
    "all anew": (ReservoirLayer, TrainedLayer),
}


def batches(store: GraphStore, condition: Condition, seed: int) -> Iterator[Graph]:
    """Endless batches of training frames, or one batch again and again."""
    train, _ = split_frames(len(store), 0.2, 0)
    random = numpy_stream(seed, "batches")
    while True:
        batch = Graph.batch([store.graph(int(k)) for k in random.choice(train, condition.batch_size, replace=False)])
        yield batch
        while not condition.other_frames:
            yield batch


@contextmanager
def watched(model: RGNN, told: Callable[[str, Tensor], None]) -> Iterator[None]:
    """`told` is given the inputs of each norm, and its kind in words."""
    handles = []
    for layer in model.layers:
        place = "reservoir" if isinstance(layer, ReservoirLayer) else "trained"
        for kind in ("node", "two", "three"):
            norm = getattr(layer, f"bn_{kind}")
            handles.append(norm.register_forward_pre_hook(lambda _, x, name=f"{place}, {kind}": told(name, x[0])))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def spread(moments: Tensor, layers: int) -> tuple[float, float]:
    """[batches * layers, 2, F] means and variances -> deviation of means over that of a feature, of log variances."""
    mean, variance = moments.view(-1, layers, *moments.shape[1:]).unbind(2)
    shift = mean.var(0) / variance.mean(0)
    return float(shift.mean().sqrt()), float(variance.log().var(0).mean().sqrt())


@torch.no_grad()
def moves(model: RGNN, store: GraphStore, condition: Condition, seed: int) -> dict[str, tuple[float, float]]:
    """Of each kind of norm."""
    model = copy.deepcopy(model).train()
    seen: dict[str, list[Tensor]] = defaultdict(list)
    with watched(model, lambda name, x: seen[name].append(torch.stack([x.mean(0), x.var(0)]))):
        for k, batch in zip(range(BATCHES), batches(store, condition, seed), strict=False):
            model(batch, model.read(condition.hardware, torch_stream(seed, "moves", k)))
    return {name: spread(torch.stack(moments), len(moments) // BATCHES) for name, moments in seen.items()}


@torch.no_grad()
def followed(model: RGNN, store: GraphStore, condition: Condition, seed: int) -> np.ndarray:
    """Mean squared errors, each after `EVERY` batches more."""
    train, validation = split_frames(len(store), 0.2, 0)
    probe, model = Probe(store, train, evenly(validation, VALIDATION), seed), copy.deepcopy(model)
    model.hardware = condition.hardware
    model = probe.with_statistics_anew(model)
    for norm in norms(model):
        norm.momentum = condition.momentum
    errors = []
    for k, batch in zip(range(FOLLOWED), batches(store, replace(condition, other_frames=True), seed), strict=False):
        model.train()(batch, generator=torch_stream(seed, "followed", k))
        if (k + 1) % EVERY == 0:
            sums = np.sum(probe.errors(model.eval()), axis=0)
            errors.append(float(sums[1] / sums[3]))
    return np.array(errors)


@torch.no_grad()
def taken_anew(model: RGNN, store: GraphStore, seed: int) -> dict[str, float]:
    """Mean squared errors."""
    train, validation = split_frames(len(store), 0.2, 0)
    probe = Probe(store, evenly(train, TRAINING), evenly(validation, VALIDATION), seed)
    anew = probe.with_statistics_anew(model)
    errors = {}
    for name, kinds in WHICH.items():
        mixed = copy.deepcopy(model)
        for mine, new in zip(mixed.layers, anew.layers, strict=True):
            if isinstance(mine, kinds):
                mine.load_state_dict({k: t for k, t in new.state_dict().items() if ".running_" in k}, strict=False)
        sums = np.sum(probe.errors(mixed.eval()), axis=0)
        errors[name] = float(sums[1] / sums[3])
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    model, store = load_model(options.model), GraphStore(options.store)
    results: dict[str, object] = {}
    for condition in MOVES:
        row = moves(model, store, condition, options.seed)
        results[condition.name] = row
        print(f"{condition.name:34}" + "  ".join(f"{k} {m:.3f} {v:.3f}" for k, (m, v) in row.items()), flush=True)
    for condition in FOLLOWING:
        mse = followed(model, store, condition, options.seed)
        results[f"followed: {condition.name}"] = mse.tolist()
        numbers = f"scatter {scatter(mse):.3f}  mean {mse.mean():.4f}  largest / smallest {mse.max() / mse.min():.2f}"
        print(f"{condition.name:34}{numbers}", flush=True)
    results["statistics taken anew"] = errors = taken_anew(model, store, options.seed)
    for name, error in errors.items():
        print(f"{name:34}MSE {error:.4f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
