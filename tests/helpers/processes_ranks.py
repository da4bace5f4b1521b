"""What tests/training/test_distributed.py starts under torchrun and repeats alone: short trainings.

torchrun --nproc-per-node 2 processes_ranks.py FOLDER, in which each case has a run folder.
"""

import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from listeners import Asked

import rgnn
from rgnn import Chip, Graph, Hardware, fit
from rgnn.base.errors import Interrupted
from rgnn.data.sample import sample_frames
from rgnn.graphs.graph import Labels
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import fingerprint
from rgnn.models.families import build, family_of
from rgnn.models.settings import EnergySettings, MessagePassingSettings, MomentSettings, NetworkSettings, RidgeSettings
from rgnn.training.distributed import ALONE, Processes
from rgnn.training.linear import LinearFit
from rgnn.training.settings import TrainingSettings
from rgnn.training.validation import FitResult

# 9 frames in batches of 4: the last batch of an epoch has one, and nothing for a second process.
TRAIN, VALIDATION = range(9), range(9, 12)
CONFIG = TrainingSettings(epochs=2, batch_size=4, learning_rate=0.01, loss="mse", average=0.9, seed=3)
NOISY = Hardware(bits=4, noise=0.05)


class Glass:
    """Frames of the packaged sample."""

    def __init__(self) -> None:
        every = islice(sample_frames(), 12)
        self.graphs = []
        for f in every:
            g = Graph.from_positions(f.numbers, f.positions, f.cell, f.pbc, 3.8, f.forces)
            energy = torch.tensor([f.energy], dtype=torch.float64)
            self.graphs.append(replace(g, labels=Labels(g.forces, energy)))

    def graph(self, index: int) -> Graph:
        return self.graphs[index]


SMALL = MomentSettings(gaussians=18, channels=4, elements=(3, 8, 15))
NETWORK = SMALL.override(readout=NetworkSettings(widths=(8,)))
CASES = {
    "clean": (NETWORK, NOISY.without_noise()),
    "noisy": (NETWORK, NOISY),
    "converted": (NETWORK, NOISY.override(adc_bits=7)),
    "messages": (MessagePassingSettings(n_features=4, reservoir_layers=1), NOISY),
    "energy": (EnergySettings(gaussians=18, channels=4, mixtures=4, widths=(8,), elements=(3, 8, 15)), NOISY),
    "ridge": (SMALL.override(readout=RidgeSettings(random_features=12)), NOISY),
}


def untrained(name: str) -> ForceField:
    config, hardware = CASES[name]
    return build(config, hardware, Chip.synthetic(0).matrices(family_of(config).matrices(config)), seed=3)


def train(name: str, frames: Glass, out: Path, processes: Processes = ALONE, **settings: Any) -> FitResult:
    """The case of this name; settings are those of the training, or arguments of `fit`."""
    given = {key: settings.pop(key) for key in ("resume", "listener") if key in settings}
    if name == "energy":
        settings = {"energy_weight": 0.5, "rate_schedule": "cosine", **settings}
    config = CONFIG.override(**settings)
    return fit(untrained(name), frames, TRAIN, VALIDATION, config, out, processes=processes, **given)


def solve(frames: Glass, out: Path, processes: Processes = ALONE) -> ForceField:
    ridge = LinearFit(untrained("ridge"), CONFIG, out, processes)
    return ridge.run(frames, TRAIN, VALIDATION).model


def torchrun(*arguments: object, folder: Path | None = None) -> subprocess.Popen:
    """Two processes of a script, of a module after "-m", or of a program after "--no-python"."""
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    path = os.pathsep.join([str(Path(rgnn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [*launcher, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def main(folder: Path) -> None:
    processes, frames = Processes.join(), Glass()
    torch.set_num_threads(1)
    trained = ("clean", "noisy", "converted", "messages", "energy")
    models = [train(name, frames, folder / name, processes).model for name in trained]
    # Only the last process is asked to stop, and all stop before the same step.
    calls, last = iter(range(100)), processes.rank == processes.count - 1
    with contextlib.suppress(Interrupted):
        train("noisy", frames, folder / "cut", processes, listener=Asked(lambda: last and next(calls) == 4))
        raise AssertionError("was not stopped")
    models.append(train("noisy", frames, folder / "cut", processes, resume=True).model)
    # Their clocks differ, their rates and lengths must not.
    models.append(train("energy", frames, folder / "minutes", processes, minutes=0.02).model)
    models.append(solve(frames, folder / "ridge", processes))
    (folder / f"prints-{processes.rank}").write_text("\n".join(fingerprint(model) for model in models))
    processes.leave()
    assert "torch._dynamo" not in sys.modules  # its compiler, which costs as much as the rest of torch


if __name__ == "__main__":
    main(Path(sys.argv[1]))
