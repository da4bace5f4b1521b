import os

# The suite runs one process per core, and the order of a sum depends on the number of threads: commands that
# a test starts in a shell then agree with those it runs here.
os.environ["OMP_NUM_THREADS"] = "1"

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from rgnn import RGNN, Chip, Graph, Hardware, MomentForces
from rgnn.data.sample import sample_frames
from rgnn.models.base import ForceField
from rgnn.models.settings import MessagePassingSettings, MomentSettings, NetworkSettings, RidgeSettings

# The same examples on every run: a test that fails, fails for everybody.
settings.register_profile("rgnn", derandomize=True, deadline=None)
settings.load_profile("rgnn")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference numbers and measured chips, which only developers have."""
    if not SHARED.is_dir():
        pytest.skip("needs the developers' reference numbers")
    return SHARED


@pytest.fixture(scope="session")
def glass() -> Graph:
    """A labelled frame of amorphous Li3PO4, 192 atoms."""
    frame = next(iter(sample_frames()))
    return Graph.from_positions(frame.numbers, frame.positions, frame.cell, frame.pbc, 3.8, frame.forces)


@pytest.fixture(scope="session")
def cluster():
    """Make a random open cluster: (numbers, positions), atoms at least 1 Angstrom apart."""

    def make(n: int, seed: int = 0, size: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        positions = [rng.uniform(0, size, 3)]
        while len(positions) < n:
            candidate = rng.uniform(0, size, 3)
            if np.linalg.norm(np.array(positions) - candidate, axis=1).min() > 1.0:
                positions.append(candidate)
        return rng.choice([3, 8, 15], n), np.array(positions)

    return make


@pytest.fixture
def graph_of():
    """Make a graph of an open cluster."""

    def make(numbers: np.ndarray, positions: np.ndarray, cutoff: float = 3.8) -> Graph:
        return Graph.from_positions(numbers, positions, np.zeros((3, 3)), np.zeros(3, dtype=bool), cutoff)

    return make


def build(config: MessagePassingSettings, hardware: Hardware, *frames: Graph, seed: int = 0) -> RGNN:
    """An untrained model with norms and ranges as `frames` have them, and a force head that is not near zero."""
    model = RGNN(config, hardware, Chip.synthetic(seed).matrices(RGNN.matrices(config)), seed)
    with torch.no_grad():
        model.head.second.weight.mul_(5)
        for g in frames:
            model.train()(g)
    return model.eval()


@pytest.fixture(scope="session")
def small_model(glass) -> RGNN:
    """Default shape and converters, few features; ranges from the glass."""
    return build(MessagePassingSettings(n_features=6), Hardware(), glass)


def build_moments(readout: str, hardware: Hardware, *frames: Graph, seed: int = 0, **shape) -> MomentForces:
    """A model with few moments, statistics and ranges as `frames` have them, and forces that are not near zero."""
    last = RidgeSettings(random_features=24) if readout == "ridge" else NetworkSettings()
    settings = MomentSettings(elements=(3, 8, 15), channels=4, readout=last, **shape)
    model = MomentForces(settings, hardware, Chip.synthetic(seed).matrices(MomentForces.matrices(settings)), seed)
    with torch.no_grad():
        for p in model.readout.parameters():
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)) / p.shape[-1] ** 0.5)
        for g in frames:
            model.train()(g)
    return model.eval()


@pytest.fixture(scope="session")
def built_moments():
    """The builder of models with moments."""
    return build_moments


@pytest.fixture(scope="session", params=["message passing", "ridge", "network"])
def any_model(request, small_model, glass) -> ForceField:
    """A small model of each kind."""
    return small_model if request.param == "message passing" else build_moments(request.param, Hardware(), glass)


@pytest.fixture(scope="session")
def built():
    """The builder itself, for models of other shapes."""
    return build
