"""The toy that other tests trust: its forces and stress are derivatives of its energy."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from pair_energy import pair_energy

from rgnn import Graph, Hardware


@torch.no_grad()
def test_forces_and_stress_are_derivatives_of_the_energy() -> None:
    atoms = bulk("LiF", "rocksalt", a=4.03, cubic=True).repeat(2)
    atoms.rattle(0.1, seed=1)

    def graph(strain: np.ndarray, shift: np.ndarray) -> Graph:
        bent = np.eye(3) + strain
        return Graph.from_positions(
            atoms.numbers, (atoms.positions + shift) @ bent, atoms.cell[:] @ bent, atoms.pbc, 3.8
        )

    none, still = np.zeros((3, 3)), np.zeros_like(atoms.positions)
    model = pair_energy(graph(none, still), shift=-2.0).double()

    def predict(strain: np.ndarray, shift: np.ndarray):
        return model(graph(strain, shift), model.read(Hardware().ideal()))

    rng, h, found = np.random.default_rng(0), 1e-4, predict(none, still)
    shift, strain = rng.normal(size=still.shape), rng.normal(size=(3, 3))
    strain = strain + strain.T
    rise = predict(none, h * shift).energy - predict(none, -h * shift).energy
    assert -(found.forces.numpy() * shift).sum() == pytest.approx(float(rise[0]) / (2 * h), rel=1e-5)
    rise = predict(h * strain, still).energy - predict(-h * strain, still).energy
    assert (found.stress[0].numpy() * strain).sum() * atoms.get_volume() == pytest.approx(
        float(rise[0]) / (2 * h), rel=1e-5
    )
    assert torch.allclose(found.forces.sum(0), torch.zeros(3, dtype=torch.float64), atol=1e-10)
