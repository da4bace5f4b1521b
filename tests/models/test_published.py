"""The published files and the published program's own numbers."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.neighborlist import neighbor_list

from rgnn import Graph, RGNNCalculator, kernels
from rgnn.base.errors import InputError
from rgnn.chip.published import read_conductances, read_torch_file
from rgnn.data.formats import read_frames
from rgnn.evaluation import evaluate_hardware
from rgnn.models.message_passing.published import model_from_published, published_names, read_checkpoint
from rgnn.training.published import is_published, read_published


@pytest.fixture(scope="module")
def chip(shared):
    return read_conductances(shared / "chip/Conductance.pkl")


@pytest.fixture
def model(shared, chip):
    return model_from_published(read_checkpoint(shared / "chip/checkpoint.pkl"), chip)


@pytest.fixture(scope="module")
def crystals(shared):
    return ase.io.read(shared / "reference/crystal_26_neighbours.xyz", ":")


def published_graph(atoms) -> Graph:
    """Edges in the order in which ASE finds them, which is that of the published program.

    Its floor quantiser over dynamic ranges makes chaos of the last bit of a sum, so the order counts.
    """
    i, j, vector = neighbor_list("ijD", atoms, 3.8)
    return Graph.from_arrays(atoms.numbers, np.stack([i, j]), vector, atoms.arrays["ref_forces"])


def test_the_chip(chip) -> None:
    assert sum(w.numel() for layer in chip for w in layer) == 86_832
    for w in (w for layer in chip for w in layer):
        assert 0.33 < float(w.std()) < 0.38 and abs(float(w.mean())) < 0.05
        torch.testing.assert_close(w * 4096 / 3.75, (w * 4096 / 3.75).round(), rtol=0, atol=1e-2)


def test_forces_through_the_calculator(shared, model, crystals) -> None:
    expected = np.load(shared / "reference/published_model_crystal.npz")["published_forces"]
    atoms = crystals[0].copy()
    atoms.calc = RGNNCalculator(model, noise=0)
    assert np.abs(atoms.get_forces() - expected).max() < 3e-5


@torch.no_grad()
def test_features_of_each_layer(shared, model, crystals) -> None:
    z = np.load(shared / "reference/published_model_crystal.npz")
    for layer, (n, e) in enumerate(model.layer_features(published_graph(crystals[0]), model.read())):
        assert np.abs(n.numpy() - z[f"published_node_{layer}"]).max() < 3e-4
        assert np.abs(e.numpy() - z[f"published_edge_{layer}"].reshape(-1, 18)).max() < 3e-4


@torch.no_grad()
def test_forces_of_a_batch(shared, model, crystals) -> None:
    z = np.load(shared / "reference/published_model_crystal.npz")
    forces = model(Graph.batch([published_graph(a) for a in crystals])).forces
    assert np.abs(forces.numpy().reshape(2, 64, 3) - z["published_forces_batch2"]).max() < 3e-5


@pytest.fixture
def two_threads():
    """The reference step was computed on two threads; one sums in another order, which floor turns into other codes."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_training_step(shared, chip, crystals) -> None:
    z = np.load(shared / "reference/train_step_crystal.npz")
    initial = {k.removeprefix("init/"): torch.tensor(z[k]) for k in z.files if k.startswith("init/")}
    model = model_from_published(initial, chip).train()
    g = Graph.batch([published_graph(a) for a in crystals])
    with kernels.use("plain"):  # sums in another order meet other codes of floor
        forces = model(g).forces
    loss = (forces - g.forces).square().mean()
    loss.backward()
    assert np.abs(forces.detach().numpy() - z["forces"].reshape(-1, 3)).max() < 1e-4
    assert float(loss.detach()) == pytest.approx(float(z["loss"]), abs=1e-4)

    ours, state = dict(model.named_parameters()), model.state_dict()
    compared = []
    for theirs, mine in published_names(model).items():
        if mine.startswith(("layers.2.", "head.")) and f"grad/{theirs}" in z.files:
            expected = z[f"grad/{theirs}"]
            assert np.abs(ours[mine].grad.numpy() - expected).max() <= 1e-3 * np.abs(expected).max(), mine
            compared.append(mine)
        if f"after/{theirs}" in z.files and "num_batches" not in theirs:
            np.testing.assert_allclose(state[mine].numpy(), z[f"after/{theirs}"], rtol=1e-3, atol=1e-4)
    assert sum(name.startswith("head.") for name in compared) == 4
    assert len(compared) == 4 + 12 + 6  # six linear layers and three norms


def test_correlation_with_labels_it_has_never_seen(shared, model) -> None:
    """A few frames; the long check below takes them all."""
    frames = list(read_frames(shared / "data/lipo_chgnet_test.xyz"))[::20]
    assert set(correlations(model, frames)) == {300, 600, 1000, 1500, 2200}
    assert min(correlations(model, frames).values()) >= 0.94


def correlations(model, frames) -> dict[int, float]:
    graphs = [Graph.from_positions(f.numbers, f.positions, f.cell, f.pbc, 3.8, f.forces) for f in frames]

    class Frames:
        def graph(self, index: int) -> Graph:
            return graphs[index]

    [setting] = evaluate_hardware(model, Frames(), range(len(graphs)), [model.hardware])
    temperature = np.array([f.temperature for f in frames])
    return {
        int(t): float(setting.errors(frames=np.flatnonzero(temperature == t)).correlation)
        for t in np.unique(temperature)
    }


@pytest.mark.long
def test_correlation_at_every_temperature(shared, model) -> None:
    found = correlations(model, list(read_frames(shared / "data/lipo_chgnet_test.xyz")))
    assert min(found.values()) >= 0.94, found


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("was-here"),)


def torch_pickle(data: bytes) -> bytes:
    """What torch.save would write, around any pickle."""
    whole = io.BytesIO()
    torch.save([1], whole)
    changed = io.BytesIO()
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name.endswith("data.pkl") else old.read(name))
    return changed.getvalue()


@pytest.mark.parametrize("wrap", [torch_pickle, bytes])
def test_a_pickle_that_would_run_code_is_refused_unrun(tmp_path, monkeypatch, wrap) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.pkl").write_bytes(wrap(pickle.dumps(Evil(), protocol=2)))
    for read in (read_conductances, read_checkpoint):
        with pytest.raises(InputError, match=r"evil.pkl: (refused without running it|cannot be read)"):
            read("evil.pkl")
    assert not Path("was-here").exists()


def test_files_that_are_something_else(tmp_path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "other.pkl")
    with pytest.raises(InputError, match="holds something else than matrices"):
        read_conductances(tmp_path / "other.pkl")
    with pytest.raises(InputError, match="holds no model of the published program"):
        read_checkpoint(tmp_path / "other.pkl")
    (tmp_path / "text.pkl").write_text("hello")
    with pytest.raises(InputError, match=r"text.pkl"):
        read_torch_file(tmp_path / "text.pkl")
    whole = (tmp_path / "other.pkl").read_bytes()
    (tmp_path / "short.pkl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"short.pkl: cannot be read"):
        read_torch_file(tmp_path / "short.pkl")


@pytest.mark.parametrize("legacy", [True, False])
def test_damaged_files_are_refused_wherever_they_are_cut(tmp_path, legacy: bool) -> None:
    torch.save([[torch.ones(1, 2, 2)] * 6], tmp_path / "c.pkl", _use_new_zipfile_serialization=not legacy)
    whole = (tmp_path / "c.pkl").read_bytes()
    assert read_conductances(tmp_path / "c.pkl")[0][0].shape == (2, 2)
    for keep in range(0, len(whole) - 1, max(1, len(whole) // 40)):
        (tmp_path / "cut.pkl").write_bytes(whole[:keep])
        with pytest.raises(InputError, match=r"cut.pkl"):
            read_conductances(tmp_path / "cut.pkl")


@pytest.mark.parametrize(
    "matrix",
    [torch.ones(2, 2, 3, 3), torch.ones(3), torch.ones(3, 3, dtype=torch.int64), torch.full((1, 2, 2), torch.nan)],
)
def test_conductances_that_are_no_matrices(tmp_path, matrix) -> None:
    torch.save([[matrix] * 6], tmp_path / "c.pkl")
    with pytest.raises(InputError, match=r"something else than matrices|is not finite"):
        read_conductances(tmp_path / "c.pkl")


def test_checkpoints_that_only_look_like_one(tmp_path, shared, chip) -> None:
    name = "gnn.initial_node_embedding.weight"
    for state in ({name: 3}, {name: torch.ones(4)}, {name: torch.ones(4, 18), "x": "y"}):
        torch.save({"model": state}, tmp_path / "c.pkl")
        with pytest.raises(InputError, match="is not a matrix"):
            read_checkpoint(tmp_path / "c.pkl")
    with pytest.raises(InputError, match=r"has no tensor|trained_layers"):
        model_from_published({name: torch.ones(100, 18), "gnn.message_passings.x": torch.ones(1)}, chip)


def test_numpy_scalars_beside_tensors_are_read(tmp_path) -> None:
    torch.save({"loss": np.float64(0.5), "w": torch.ones(2)}, tmp_path / "plain.pkl")
    content = read_torch_file(tmp_path / "plain.pkl")
    assert content["loss"] == 0.5 and torch.equal(content["w"], torch.ones(2))


def test_a_checkpoint_of_another_shape_is_refused(shared, chip) -> None:
    state = read_checkpoint(shared / "chip/checkpoint.pkl")
    with pytest.raises(InputError, match="has no tensor"):
        model_from_published({k: v for k, v in state.items() if "offset" not in k}, chip)
    with pytest.raises(InputError, match="expected"):
        model_from_published({**state, "gnn.initial_edge_embedding.offset": torch.ones(5)}, chip)


def test_the_other_published_maps(shared) -> None:
    """Of the Hamiltonian and of the wave-function program: seven and eight kinds of matrices."""
    hamiltonian = read_conductances(shared / "chip/conductance_hamiltonian.pkl")
    assert [len(layer) for layer in hamiltonian] == [4, 4, 4]
    assert hamiltonian[0][2].shape == (320, 56)
    waves = read_conductances(shared / "chip/conductance_wavefunction.npz")
    assert [tuple(w.shape) for w in waves[0]][:4] == [(32, 64), (32, 64), (4, 126), (4, 126)]
    assert sum(w.numel() for layer in waves for w in layer) == 239_104
    assert all(w.dtype == torch.float32 and torch.isfinite(w).all() for layer in waves for w in layer)


def test_an_object_array_that_would_run_code_is_refused_unrun(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("evil.npz", layers=np.array(Evil(), dtype=object))
    with pytest.raises(InputError, match=r"refused without running it, because it asks for '.*', which is not plain"):
        read_conductances("evil.npz")
    assert not Path("was-here").exists()


def test_room_that_an_object_array_asks_for_is_not_given(tmp_path) -> None:
    """numpy.ndarray((2**34,)) would take 128 GB."""
    np.savez(tmp_path / "c.npz", layers=np.array({"a": 1}, dtype=object))
    with zipfile.ZipFile(tmp_path / "c.npz") as archive:
        data = archive.read("layers.npy")
    start = 10 + int.from_bytes(data[8:10], "little")
    asked = pickle.PROTO + b"\x04" + b"cnumpy\nndarray\n" + pickle.dumps((2**34,), protocol=2)[2:-1] + b"\x85R."
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("layers.npy", data[:start] + asked)
    with pytest.raises(InputError, match="cannot be read"):
        read_conductances(tmp_path / "c.npz")


def test_settings_of_the_published_program(shared) -> None:
    found = read_published(shared / "chip/published_train.json")
    training, model = found.run.training, found.run.model
    assert (training.batch_size, training.learning_rate, training.epochs, training.seed) == (2, 5e-4, 500, 1907679005)
    assert (training.plateau_factor, training.plateau_patience, training.min_learning_rate) == (0.8, 25, 1e-6)
    assert training.validation == pytest.approx(1 / 11)
    assert (model.n_features, model.reservoir_layers, model.trained_layers, model.cutoff) == (18, 2, 1, 3.8)
    assert "conductance_path" in found.unused and "lr" not in found.unused


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_edge_feature": 20}, "18 node and 20 edge features"),
        ({"share_weights": True}, "shares the weights"),
        ({"n_message_passing": 0}, "n_message_passing is 0"),
        ({"split": [1]}, "split is"),
        ({"lr": -1}, "learning_rate is -1"),
    ],
)
def test_settings_that_mean_nothing_here(change: dict, words: str, tmp_path) -> None:
    values = {"mode": "train", "n_message_passing": 3, "n_edge_feature": 18, "n_node_feature": 18, **change}
    (tmp_path / "train.json").write_text(json.dumps(values))
    assert is_published(tmp_path / "train.json")
    with pytest.raises(InputError, match=words):
        read_published(tmp_path / "train.json")
