"""What every family of models promises, and that a new one needs no edit anywhere else."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from listeners import Asked
from scipy.spatial.transform import Rotation
from toy_family import PairForces, PairSettings

from rgnn import Chip, Graph, Hardware, RGNNCalculator, fit, load_model, save_model
from rgnn.base.errors import Interrupted
from rgnn.base.rng import torch_stream
from rgnn.costs import operations, workload
from rgnn.data.sample import sample_frames
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import fingerprint
from rgnn.models.families import FAMILIES, build, family_of
from rgnn.models.settings import (
    EnergySettings,
    MessagePassingSettings,
    ModelSettings,
    MomentSettings,
    NetworkSettings,
    RidgeSettings,
)
from rgnn.training.settings import TrainingSettings

SHAPES = {
    "message passing": MessagePassingSettings(n_features=4),
    "ridge": MomentSettings(channels=4, elements=(3, 8, 15), readout=RidgeSettings(random_features=12)),
    "network": MomentSettings(channels=4, elements=(3, 8, 15), readout=NetworkSettings(widths=(6,))),
    "energy": EnergySettings(channels=4, mixtures=4, widths=(6,), elements=(3, 8, 15)),
    "toy": PairSettings(),
}


@pytest.fixture(scope="module", params=SHAPES)
def model(request, glass) -> ForceField:
    """A model of the family with ranges and statistics of a frame, and weights that are not zero."""
    settings = SHAPES[request.param]
    cells = Chip.synthetic(0).matrices(family_of(settings).matrices(settings))
    model = build(settings, Hardware(bits=6), cells, seed=1)
    with torch.no_grad():
        for k, p in enumerate(p for p in model.parameters() if p.requires_grad and not p.any()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(k)) / p.shape[-1] ** 0.5)
        for k in range(2):
            model.train()(glass, model.read(None, torch_stream(0, "contract", k)))
    return model.eval()


@pytest.fixture
def exact(model) -> ForceField:
    """The same in float64."""
    copy = build(model.settings, model.hardware, [[torch.zeros(s) for s in layer] for layer in type(model).matrices(
        model.settings)])  # fmt: skip
    copy.load_state_dict(model.state_dict())
    return copy.double().eval()


@torch.no_grad()
def forces(model: ForceField, g: Graph) -> torch.Tensor:
    return model(g, model.read(Hardware().ideal())).forces


def test_a_prediction_has_what_the_family_promises(model, glass) -> None:
    with torch.no_grad():
        found = model(glass)
    assert found.forces.shape == (glass.n_atoms, 3) and found.forces.dtype == model.dtype
    assert (found.energy is not None) == ("energy" in model.outputs)
    assert (found.stress is not None) == ("stress" in model.outputs)
    assert model.locality.reach >= model.locality.cutoff == model.settings.cutoff


def test_forces_turn_and_move_with_the_atoms(exact, cluster, graph_of) -> None:
    numbers, positions = cluster(9, seed=4)
    turn = Rotation.random(rng=3).as_matrix()
    before = forces(exact, graph_of(numbers, positions))
    assert before.abs().max() > 1e-3
    moved = forces(exact, graph_of(numbers, positions @ turn.T + np.array([1.0, -2.0, 0.5])))
    torch.testing.assert_close(moved, before @ torch.tensor(turn).T, rtol=1e-8, atol=1e-10)
    order = np.random.default_rng(0).permutation(len(numbers))
    permuted = forces(exact, graph_of(numbers[order], positions[order]))
    torch.testing.assert_close(permuted, before[torch.tensor(order)], rtol=1e-8, atol=1e-10)


def test_atoms_apart_feel_nothing(model, graph_of) -> None:
    apart = graph_of(np.array([3, 8]), np.array([[0.0, 0, 0], [50.0, 0, 0]]))
    assert torch.equal(forces(model, apart), torch.zeros(2, 3))


def test_parts_give_what_the_whole_gives(exact, glass, monkeypatch) -> None:
    whole = forces(exact, glass)
    monkeypatch.setattr("rgnn.graphs.topology.PART", 700)
    parts = Graph.from_arrays(glass.atomic_numbers.numpy(), glass.edge_index.numpy(), glass.edge_vector.numpy())
    assert len(parts.parts) > 3
    torch.testing.assert_close(forces(exact, parts), whole, rtol=1e-9, atol=1e-11)


def test_a_saved_model_is_the_same(model, glass, tmp_path) -> None:
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert type(again) is type(model) and again.settings == model.settings
    assert fingerprint(again) == fingerprint(model)
    noise = [torch_stream(0, "noise") for _ in range(2)]
    with torch.no_grad():
        assert torch.equal(
            again(glass, again.read(None, noise[0])).forces, model(glass, model.read(None, noise[1])).forces
        )


def test_matrices_and_counts_are_those_of_the_model(model, glass) -> None:
    shapes = [size for layer in type(model).matrices(model.settings) for size in layer]
    assert shapes == [tuple(crossbar.weight.shape) for crossbar in model.crossbars]
    counted = operations(model.settings, workload([glass]))
    assert counted.reservoir_weights == model.n_fixed


def test_settings_are_read_by_family(model) -> None:
    assert FAMILIES[model.family] is type(model)
    plain = json.loads(json.dumps(model.settings.to_mapping()))
    assert ModelSettings.from_mapping(plain) == model.settings


# A family that no module of the program names


class Frames:
    """A few frames of the sample."""

    def __init__(self) -> None:
        self.graphs = [
            Graph.from_positions(f.numbers, f.positions, f.cell, f.pbc, 3.8, f.forces)
            for _, f in zip(range(6), sample_frames(), strict=False)
        ]

    def graph(self, index: int) -> Graph:
        return self.graphs[index]


def untrained() -> PairForces:
    return PairForces(PairSettings(), Hardware(), Chip.synthetic(0).matrices(PairForces.matrices(PairSettings())), 2)


def test_a_new_family_trains_resumes_and_learns(tmp_path) -> None:
    frames, settings = Frames(), TrainingSettings(epochs=4, learning_rate=0.05, average=0.0, seed=1)
    whole = fit(untrained(), frames, range(4), [4, 5], settings, tmp_path / "whole")
    assert whole.history[-1].relative_error < whole.history[0].relative_error
    asked = iter([False] * 6 + [True])
    with pytest.raises(Interrupted):
        fit(untrained(), frames, range(4), [4, 5], settings, tmp_path / "cut", listener=Asked(lambda: next(asked)))
    resumed = fit(untrained(), frames, range(4), [4, 5], settings, tmp_path / "cut", resume=True)
    assert fingerprint(resumed.model) == fingerprint(whole.model)


def test_a_new_family_in_every_command(tmp_path, monkeypatch) -> None:
    """Settings file, training, evaluation, costs, dynamics and info, without an edit in any other module."""
    from typer.testing import CliRunner

    from rgnn_cli.app import app

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> dict:
        done = CliRunner().invoke(app, [*arguments, "--json"])
        assert done.exit_code == 0, done.output + repr(done.exception)
        return json.loads(done.stdout)

    run("fetch-data", "sample")
    Path("pair.yaml").write_text("model: {family: pair, channels: 8}\ntraining: {epochs: 1, batch_size: 8}\n")
    run("train", "data/sample.zarr", "--config", "pair.yaml", "--out", "runs/pair")
    found = run("eval", "runs/pair", "--bits", "4,8", "--repeats", "1", "--frames", "2", "--out", "eval/pair")
    assert len(found["settings"]) >= 2
    assert run("costs", "runs/pair")
    assert run("info", "runs/pair/best")
    frame = next(iter(sample_frames()))
    from ase import Atoms

    atoms = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    atoms.calc = RGNNCalculator("runs/pair", seed=1)
    assert np.isfinite(atoms.get_forces()).all()
    atoms.calc = None
    atoms.write("glass.xyz")
    result = run("md", "glass.xyz", "--steps", "3", "--temperature", "300", "--out", "md/pair")
    assert result["steps"] == 3
