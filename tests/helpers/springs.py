"""Runs for tests of dynamics: a crystal, models that are springs, and what lies in a run folder."""

from typing import Literal

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.io.trajectory import Trajectory

from rgnn import Hardware
from rgnn.base.settings import Number
from rgnn.base.tensorfiles import read_tensors
from rgnn.md import MDSettings
from rgnn.models.base import ForceField, Locality, Prediction
from rgnn.models.settings import ModelSettings

DISTANCE = 2.015  # Angstrom, nearest neighbours in the crystal


class SpringSettings(ModelSettings):
    """No more than the name of the family."""

    family: Literal["springs"] = "springs"
    cutoff: Number = 2.6


def crystal(repeat=1) -> Atoms:
    return bulk("LiF", "rocksalt", a=2 * DISTANCE, cubic=True).repeat(repeat)


class Springs(ForceField):
    """Forces of an energy: springs between neighbours. What a model would be that knew physics."""

    family, outputs = "springs", frozenset({"forces"})

    def __init__(self, stiffness: float = 2.0) -> None:
        super().__init__(SpringSettings(), Hardware())
        self.stiffness = stiffness

    @property
    def locality(self) -> Locality:
        return Locality(2.6, 2.6)

    def predict(self, g, reading) -> Prediction:
        d = g.edge_length[:, None]
        forces = torch.zeros(g.n_atoms, 3, dtype=torch.float64).index_add(
            0, g.edge_index[0], self.stiffness * (d - DISTANCE) * g.edge_vector / d
        )
        return Prediction(forces)

    def layer_features(self, g, reading):
        yield g.atomic_numbers, g.edge_length


class Scripted(Springs):
    """Springs until a call of a given number, then something else."""

    def __init__(self, at: int, change) -> None:
        super().__init__()
        self.at, self.change, self.calls = at, change, 0

    def predict(self, g, reading) -> Prediction:
        found = super().predict(g, reading)
        self.calls += 1
        return Prediction(self.change(found.forces)) if self.calls > self.at else found


CONFIG = MDSettings(steps=24, temperature=200, write_every=3, restart_every=10, seed=7)


def contents(out):
    tensors, settings = read_tensors(out / "restart.safetensors", "rgnn dynamics restart", 1)
    frames = [(f.positions, f.get_momenta(), f.get_forces(), f.info) for f in Trajectory(out / "trajectory.traj")]
    texts = [(out / name).read_text() for name in ("log.csv", "trajectory.xyz", "final.xyz")]
    return {name: tensor.numpy() for name, tensor in tensors.items()}, settings, frames, texts


def assert_same(a, b) -> None:
    for one, other in zip(contents(a)[:2], contents(b)[:2], strict=True):
        assert one.keys() == other.keys()
    for name, values in contents(a)[0].items():
        np.testing.assert_array_equal(values, contents(b)[0][name], err_msg=name)
    assert {k: v for k, v in contents(a)[1].items() if k != "config"} == {
        k: v for k, v in contents(b)[1].items() if k != "config"
    }
    for one, other in zip(contents(a)[2], contents(b)[2], strict=True):
        for x, y in zip(one[:3], other[:3], strict=True):
            np.testing.assert_array_equal(x, y)
        assert one[3] == other[3]
    assert contents(a)[3] == contents(b)[3]


class StopAt:
    """A stop function that says yes from its n-th question on."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0
