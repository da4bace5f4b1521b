"""Model folders that rgnn 0.1 wrote before there were families; the files are its own, with the forces it gave."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rgnn import Graph, load_model
from rgnn.models.committee import Committee

FILES = Path(__file__).with_name("version_1")


@pytest.mark.parametrize("name", ["message-passing", "network", "ridge", "committee"])
@torch.no_grad()
def test_a_model_of_version_1_gives_the_forces_it_gave(name: str) -> None:
    known = json.loads((FILES / "forces.json").read_text())
    numbers, positions = np.array(known["numbers"]), np.array(known["positions"])
    g = Graph.from_positions(numbers, positions, np.zeros((3, 3)), np.zeros(3, bool), 3.8)
    model = load_model(FILES / name)
    torch.testing.assert_close(model(g).forces, torch.tensor(known["forces"][name]), rtol=2e-3, atol=1e-4)
    assert isinstance(model, Committee) == (name == "committee")
