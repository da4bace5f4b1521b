"""The network: symmetries, a literal float64 version by loops, and continuity."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch.nn.functional import softplus

from rgnn import RGNN, Chip, Graph, Hardware, kernels
from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.data.sample import sample_frames
from rgnn.graphs.graph import Labels
from rgnn.kernels import gate
from rgnn.models.settings import MessagePassingSettings

TIGHT = {"rtol": 1e-4, "atol": 2e-5}


def close_but_for_ties(a: torch.Tensor, b: torch.Tensor) -> None:
    """Equal up to float32 rounding, which may move a few values across a step of a converter."""
    error = (a - b).abs() / b.abs().mean()
    assert float(error.median()) < 1e-4
    assert float(error.max()) < 0.05


def literal_forces(model: RGNN, g: Graph) -> torch.Tensor:
    """MODEL.md without noise, in loops over atoms and triplets; evaluation mode, in the model's float type."""

    def analog(x: torch.Tensor, array) -> torch.Tensor:
        h, w = model.hardware, array.weight
        if h.bits is None:
            return w @ x
        low, high, levels = array.low, array.high, 2**h.bits - 1
        q = ((x - low) / (high - low) * levels).round().clamp(0, levels)
        return w @ q / levels * (high - low) + low * w.sum(1)

    def norm(bn, x: torch.Tensor) -> torch.Tensor:
        return (x - bn.running_mean) / torch.sqrt(bn.running_var + bn.eps) * bn.weight + bn.bias

    def half_gate(x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2)
        return torch.sigmoid(a) * torch.tanh(b)

    i, j = g.edge_index.tolist()
    edges, cutoff = range(g.n_edges), model.settings.cutoff
    d = g.edge_vector.norm(dim=1)
    fc = [0.5 * (1 + torch.cos(torch.pi * x / cutoff)) if model.settings.envelope == "cosine" else 1.0 for x in d]
    n = [model.embedding[z] for z in g.atomic_numbers]
    e = [torch.exp(-0.5 * ((x - model.radial.mu) / model.radial.s) ** 2) for x in d]
    for layer in model.layers:
        reservoir = hasattr(layer, "crossbars")
        if reservoir:
            w = layer.crossbars
            act, node = torch.relu, lambda x, w=w: analog(torch.relu(analog(x, w[0])), w[1])
            two = lambda a, b, w=w: analog(torch.relu(analog(torch.cat([a, b]), w[2])), w[3])  # noqa: E731
            three = lambda x, w=w: analog(torch.relu(analog(x, w[4])), w[5])  # noqa: E731
        else:
            act, node = torch.tanh, layer.node
            two = lambda a, b, layer=layer: layer.two(a * b)  # noqa: E731
            three = lambda x, layer=layer: layer.three_second(torch.relu(layer.three_first(x)))  # noqa: E731
        sums = [
            sum((fc[k] * half_gate(node(torch.cat([n[a], e[k]]))) for k in edges if i[k] == a), torch.zeros_like(n[a]))
            for a in range(g.n_atoms)
        ]
        n = [act(x + norm(layer.bn_node, s)) for x, s in zip(n, sums, strict=True)]
        new = []
        for a in edges:
            z = half_gate(two(n[i[a]], n[j[a]]))
            t = sum(
                fc[b] * half_gate(three(torch.cat([n[i[a]], n[j[a]], n[j[b]], e[a], e[b]])))
                for b in edges
                if i[b] == j[a]
            )
            new.append(act(e[a] + norm(layer.bn_two, z) + norm(layer.bn_three, t)))
        e = new
    forces = torch.zeros(g.n_atoms, 3, dtype=d.dtype)
    for k in edges:
        hidden = softplus(model.head.first(e[k])) - np.log(2)
        forces[i[k]] += fc[k] * model.head.second(hidden) * g.edge_vector[k] / d[k]
    return forces


@pytest.mark.parametrize("layers", [(2, 1), (0, 2), (1, 0)])
@pytest.mark.parametrize("hardware", [Hardware(bits=6, noise=None), Hardware().ideal()])
@pytest.mark.parametrize("envelope", ["cosine", "none"])
@torch.no_grad()
def test_forces_are_those_of_the_formulas(built, cluster, graph_of, layers, hardware, envelope: str) -> None:
    g = graph_of(*cluster(6, seed=3))
    config = MessagePassingSettings(
        n_features=4, reservoir_layers=layers[0], trained_layers=layers[1], envelope=envelope
    )
    model = built(config, hardware, g).double()
    torch.testing.assert_close(model(g).forces, literal_forces(model, g), rtol=1e-9, atol=1e-10)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.booleans())
@torch.no_grad()
def test_rotated_and_mirrored_atoms_have_rotated_forces(any_model, glass, seed: int, mirror: bool) -> None:
    """Edge lengths round differently, so the converters may take another code for a few of them."""
    turn = torch.tensor(Rotation.random(rng=seed).as_matrix()) * (-1 if mirror else 1)
    forces = any_model(glass).forces
    turned = any_model(replace(glass, edge_vector=glass.edge_vector @ turn)).forces
    close_but_for_ties(turned, forces @ turn.float())
    ideal = any_model.hardware.ideal()
    turned = any_model(replace(glass, edge_vector=glass.edge_vector @ turn), any_model.read(ideal)).forces
    torch.testing.assert_close(turned, any_model(glass, any_model.read(ideal)).forces @ turn.float(), **TIGHT)


@settings(max_examples=10)
@given(st.integers(0, 10**6))
@torch.no_grad()
def test_moved_wrapped_renumbered_and_repeated_atoms(any_model, seed: int) -> None:
    """Translation with periodic images, permutation, and a doubled cell, on quantised hardware."""
    frame = next(iter(sample_frames()))
    rng = np.random.default_rng(seed)
    cell = np.asarray(frame.cell)

    def forces(numbers, positions, cell=cell) -> torch.Tensor:
        return any_model(Graph.from_positions(numbers, positions, cell, np.ones(3, dtype=bool), 3.8)).forces

    before = forces(frame.numbers, frame.positions)
    moved = frame.positions + rng.normal(0, 5, 3)
    images = moved + rng.integers(-2, 3, moved.shape) @ cell
    close_but_for_ties(forces(frame.numbers, images), before)
    order = rng.permutation(len(frame.numbers))
    close_but_for_ties(forces(frame.numbers[order], frame.positions[order]), before[order])
    axis = rng.integers(3)
    doubled = np.concatenate([frame.positions, frame.positions + cell[axis]])
    longer = cell * (1 + (np.arange(3) == axis))[:, None]
    close_but_for_ties(forces(np.tile(frame.numbers, 2), doubled, longer), before.repeat(2, 1))


@torch.no_grad()
def test_forces_do_not_depend_on_batch_mates(any_model, glass, cluster, graph_of) -> None:
    other, third = graph_of(*cluster(9)), graph_of(*cluster(5, seed=2))
    other, third = (replace(g, labels=Labels(torch.zeros(g.n_atoms, 3))) for g in (other, third))
    together = any_model(Graph.batch([other, glass, third])).forces
    close_but_for_ties(together[9:201], any_model(glass).forces)
    torch.testing.assert_close(together[:9], any_model(other).forces, **TIGHT)


@pytest.mark.parametrize("hardware", [Hardware(noise=None), Hardware().ideal()])
@torch.no_grad()
def test_forces_are_continuous_at_the_cutoff(built, cluster, graph_of, hardware) -> None:
    """An atom enters the neighbourhood of others: the jump vanishes with the envelope, and only with it."""

    def jump(envelope: str) -> float:
        numbers, inside = cluster(8, size=3.0)
        model = built(
            MessagePassingSettings(n_features=6, envelope=envelope), hardware, graph_of(numbers, inside)
        ).double()
        numbers = np.append(numbers, 3)
        direction = np.array([1.0, 0.2, -0.1]) / np.linalg.norm([1.0, 0.2, -0.1])
        edge = inside @ direction
        far = inside[edge.argmax()]
        forces = [
            model(graph_of(numbers, np.vstack([inside, far + direction * (3.8 + dx)]))).forces[:-1]
            for dx in (1e-7, -1e-7)
        ]
        return float((forces[0] - forces[1]).abs().max())

    assert jump("cosine") < 1e-6
    assert jump("none") > 1e-4


@torch.no_grad()
def test_a_distant_atom_changes_nothing_beyond_the_receptive_field(built, graph_of) -> None:
    """A chain of atoms: (2 L + 1) cutoffs, no more, and no less than one cutoff a layer."""
    config = MessagePassingSettings(cutoff=2.5, n_features=4, reservoir_layers=1, trained_layers=1)
    positions = np.arange(20)[:, None] * np.array([2.0, 0, 0])
    chain = graph_of(np.full(20, 3), positions, 2.5)
    model = built(config, Hardware(noise=None), chain)
    positions[-1, 0] += 0.3
    change = (model(graph_of(np.full(20, 3), positions, 2.5)).forces - model(chain).forces).abs().amax(1)
    reach = int((38 - positions[:, 0][change > 0].min()) / 2)
    assert reach >= 2 and reach * 2.0 <= model.locality.reach == 12.5


@torch.no_grad()
def test_read_noise_is_fresh_unbiased_and_repeats_with_its_stream(any_model, glass) -> None:
    clean = any_model(glass).forces
    a, b, c = (any_model(glass, any_model.read(generator=torch_stream(seed, "noise"))).forces for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    spread = float((a - clean).square().mean().sqrt())
    assert 0 < spread < 0.5 * float(clean.square().mean().sqrt())
    assert torch.equal(any_model(glass, any_model.read(Hardware(noise=None), torch_stream(0, "noise"))).forces, clean)


@torch.no_grad()
def test_atoms_without_neighbours(any_model, graph_of) -> None:
    apart = graph_of(np.array([3, 8]), np.array([[0.0, 0, 0], [9, 0, 0]]))
    assert any_model(apart).forces.tolist() == [[0, 0, 0]] * 2
    pair = graph_of(np.array([3, 8, 15]), np.array([[0.0, 0, 0], [2, 0, 0], [9, 0, 0]]))
    forces = any_model(pair).forces
    assert torch.isfinite(forces).all() and forces[2].tolist() == [0, 0, 0]


def test_gradients_reach_all_that_is_trained_and_none_of_the_chip(built, glass) -> None:
    model = built(MessagePassingSettings(n_features=6), Hardware(), glass).train()
    loss = (model(glass, model.read(generator=torch_stream(0, "noise"))).forces - glass.forces).square().mean()
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    silent = [name for name, p in model.named_parameters() if not p.grad.abs().any()]
    assert silent == []
    assert not any("arrays" in name for name, _ in model.named_parameters())


def test_gradients_are_those_of_finite_differences(built, cluster, graph_of) -> None:
    """The trained layer and the head, behind a quantised and therefore piecewise constant reservoir."""
    g = graph_of(*cluster(6))
    model = built(MessagePassingSettings(n_features=4, reservoir_layers=1), Hardware(noise=None), g).double().eval()
    direction = torch.linspace(-1, 1, 18, dtype=torch.float64).view(6, 3)
    tail = [p for part in (*list(model.layers)[1:], model.head) for p in part.parameters()]
    grads = torch.autograd.grad((model(g).forces * direction).sum(), tail)
    with torch.no_grad():
        for p, grad in zip(tail, grads, strict=True):
            index = int(grad.abs().argmax())
            values = []
            for step in (1e-6, -2e-6):
                p.view(-1)[index] += step
                values.append(float((model(g).forces * direction).sum()))
            p.view(-1)[index] += 1e-6
            assert (values[0] - values[1]) / 2e-6 == pytest.approx(float(grad.view(-1)[index]), rel=1e-4, abs=1e-7)


def test_gate_is_sigmoid_times_tanh() -> None:
    for rows in (1, 5, 64):
        x = torch.randn(rows, 8, dtype=torch.float64)
        a, b = x.chunk(2, dim=-1)
        torch.testing.assert_close(gate(x), torch.sigmoid(a) * torch.tanh(b))


def test_the_published_shape_trains_about_nine_percent() -> None:
    config = MessagePassingSettings.published()
    model = RGNN(config, Hardware.published(), Chip.synthetic().matrices(RGNN.matrices(config)))
    assert model.n_fixed == 86_832
    assert 0.08 < model.n_trained / (model.n_trained + model.n_fixed) < 0.10


def test_seeds_of_weights() -> None:
    config = MessagePassingSettings(n_features=4, reservoir_layers=0)
    a, b, c = (RGNN(config, Hardware(), seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["head.first.weight"], c["head.first.weight"])
    before = torch.get_rng_state()
    RGNN(config, Hardware(), seed=3)
    assert torch.equal(before, torch.get_rng_state())


def test_a_chip_of_other_shapes_is_refused() -> None:
    with pytest.raises(InputError, match="the chip gives matrices of shapes"):
        RGNN(MessagePassingSettings(), Hardware())


@pytest.mark.parametrize("name", ["plain", "compiled"])
@pytest.mark.parametrize("hardware", [Hardware(noise=None), Hardware(noise_sharing="plane"), Hardware(range="dynamic")])
def test_a_large_graph_is_worked_on_in_parts(glass, monkeypatch, name: str, hardware: Hardware) -> None:
    """Where rows may be read apart, they are; where not, the result does not depend on how many there are."""
    config = MessagePassingSettings()
    model = RGNN(config, hardware, Chip.synthetic().matrices(RGNN.matrices(config)))
    with torch.no_grad(), kernels.use(name):
        model.train()(glass)
        model.eval()
        expected = model(glass, model.read(generator=torch_stream(0, "noise"))).forces
        monkeypatch.setattr("rgnn.graphs.topology.PART", 500)
        g = Graph.from_arrays(glass.atomic_numbers.numpy(), glass.edge_index.numpy(), glass.edge_vector.numpy())
        assert len(g.parts) > 5
        found = model(g, model.read(generator=torch_stream(0, "noise"))).forces
    close_but_for_ties(found, expected)


def test_read_noise_in_parts_is_as_strong_as_in_one(glass, monkeypatch) -> None:
    config = MessagePassingSettings()
    model = RGNN(config, Hardware(), Chip.synthetic().matrices(RGNN.matrices(config)))
    with torch.no_grad():
        model.train()(glass)
        model.eval()
        clean = model(glass).forces
        spread = []
        for part in (10**6, 500):
            monkeypatch.setattr("rgnn.graphs.topology.PART", part)
            g = Graph.from_arrays(glass.atomic_numbers.numpy(), glass.edge_index.numpy(), glass.edge_vector.numpy())
            spread.append(
                float((model(g, model.read(generator=torch_stream(0, "noise"))).forces - clean).square().mean().sqrt())
            )
    assert spread[1] == pytest.approx(spread[0], rel=0.3)
