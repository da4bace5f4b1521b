"""Moments and their readouts: a literal version over triplets, the hardware in their products, and parts of a graph."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from rgnn import Chip, Graph, Hardware, MomentForces, kernels, load_model
from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.chip.converters import Counts
from rgnn.costs import operations, workload
from rgnn.costs.counts import reads_for
from rgnn.evaluation.diagnosis import diagnose
from rgnn.models.calibration import calibrate
from rgnn.models.checkpoints import fingerprint, save_model
from rgnn.models.parts.moments import GAUSSIAN_SCALE, harmonics
from rgnn.models.parts.standardise import PerElementNorm
from rgnn.models.settings import ModelSettings, MomentSettings

READOUTS = pytest.mark.parametrize("readout", ["ridge", "network"])


def literal_forces(model: MomentForces, g: Graph) -> torch.Tensor:
    """On an ideal chip, by loops over triplets j-i-k and i-j-k with the cosines of their angles."""
    layer, head, elements = model.moments, model.readout, list(model.settings.elements)
    i, j = g.edge_index.tolist()
    d = g.edge_vector.norm(dim=1)
    u = g.edge_vector / d[:, None]
    gaussians = torch.exp(-0.5 * ((d[:, None] - model.gaussians.mu) / model.gaussians.s) ** 2)
    fc = 0.5 * (1 + torch.cos(torch.pi * d / model.settings.cutoff))
    kind = [elements.index(int(z)) for z in g.atomic_numbers]
    width = gaussians.shape[1]
    rows = [slice(kind[j[e]] * width, (kind[j[e]] + 1) * width) for e in range(g.n_edges)]
    phi = [fc[e] * layer.crossbar.weight[:, rows[e]] @ gaussians[e] for e in range(g.n_edges)]

    def seen(atom: int, direction: torch.Tensor, power: int) -> torch.Tensor:
        """PerElementNorm, by the statistics of the atom's element."""
        own = [k for k in range(g.n_edges) if i[k] == atom]
        norm, a = layer.norms[power], kind[atom]
        sums = sum(phi[k] * ((u[k] @ direction) ** power - (1 / 3 if power == 2 else 0)) for k in own)
        deviation = (norm.square[a] - norm.mean[a] ** 2).clamp_min(0).sqrt()
        return (sums - norm.mean[a]) / deviation.maximum(0.01 * norm.square[a].sqrt())

    forces = torch.zeros(g.n_atoms, 3, dtype=d.dtype)
    for e in range(g.n_edges):
        a, b = kind[i[e]], kind[j[e]]
        ranks = [[seen(i[e], u[e], power), seen(j[e], -u[e], power)] for power in range(3)]
        if model.linear is not None:
            x = torch.cat([GAUSSIAN_SCALE * gaussians[e], *itertools.chain(*ranks)]).clamp(-3, 3)
            h = torch.tanh(head.gain * head.crossbar.weight @ x + head.bias)
            m = head.weight[a, b] @ torch.cat([x, h])
        else:
            h = head.gaussians.weight @ (GAUSSIAN_SCALE * gaussians[e]) + head.first.weight[a * len(elements) + b]
            for (of_centre, of_neighbour), v, w in zip(ranks, head.centre, head.neighbour, strict=True):
                h = h + of_centre @ v + of_neighbour @ w
            for linear in head.layers:
                h = linear(h * torch.sigmoid(h))
            m = h[a * len(elements) + b]
        forces[i[e]] += fc[e] * m * u[e]
    return forces


@READOUTS
@torch.no_grad()
def test_forces_are_those_of_the_formulas(built_moments, cluster, graph_of, readout: str) -> None:
    g = graph_of(*cluster(6, seed=3))
    model = built_moments(readout, Hardware().ideal(), g).double()
    torch.testing.assert_close(model(g).forces, literal_forces(model, g), rtol=1e-8, atol=1e-9)


def test_harmonics_are_orthogonal_polynomials_of_the_cosine() -> None:
    u, v = torch.nn.functional.normalize(torch.randn(2, 50, 3, dtype=torch.float64), dim=2)
    cosine = (u * v).sum(1)
    both = harmonics(u) * harmonics(v)
    torch.testing.assert_close(both[:, 1:4].sum(1), cosine)
    torch.testing.assert_close(both[:, 4:].sum(1), cosine**2 - 1 / 3)


def test_statistics_are_those_of_all_that_was_seen() -> None:
    """Of each group for itself; where vectors are not centred only their length counts, over all components."""
    group = torch.arange(40) % 2
    x = torch.randn(5, 40, 3, 4) * (1 + group)[:, None, None] + group[:, None, None]
    for centred in (True, False):
        norm = PerElementNorm(2, 4, centred=centred)
        for batch in x:
            norm.train()(batch, group)
        z = norm.eval()(x.flatten(0, 1), group.repeat(5))
        for k in range(2):
            rows = z[group.repeat(5) == k].flatten(0, 1)
            if centred:
                torch.testing.assert_close(rows.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
            torch.testing.assert_close(rows.square().mean(0), torch.ones(4), atol=1e-4, rtol=0)


def test_a_group_that_was_not_seen_leaves_its_statistics_alone() -> None:
    norm = PerElementNorm(2, 3, centred=True).train()
    for _ in range(3):
        norm(torch.ones(4, 1, 3), torch.zeros(4, dtype=torch.int64))
    assert torch.equal(norm.mean, torch.tensor([[1.0] * 3, [0.0] * 3]))
    assert norm.batches.tolist() == [3, 0]
    constant = norm.eval()(torch.full((1, 1, 3), 1.1), torch.zeros(1, dtype=torch.int64))
    torch.testing.assert_close(constant, torch.full((1, 1, 3), 10.0))  # a hundredth of the mean is the least deviation


@READOUTS
@torch.no_grad()
def test_bits_and_noise_matter(built_moments, glass, readout: str) -> None:
    """Forces of fewer bits and of more noise differ more from those of an ideal chip, in proportion to the noise."""
    model = built_moments(readout, Hardware(), glass)
    clean = model(glass, model.read(Hardware().ideal())).forces

    def error(hardware: Hardware) -> float:
        return float(
            (model(glass, model.read(hardware, torch_stream(0, "noise"))).forces - clean).square().mean().sqrt()
        )

    by_bits = [error(Hardware(bits=bits, noise=None)) for bits in (2, 4, 8)]
    by_noise = [error(Hardware(bits=None, noise=noise, noise_sharing="product")) for noise in (0.1, 0.05, 0.02)]
    assert by_bits[0] > 2 * by_bits[1] > 4 * by_bits[2] > 0
    assert by_noise[0] / by_noise[1] == pytest.approx(2, rel=0.3)
    assert by_noise[1] / by_noise[2] == pytest.approx(2.5, rel=0.3)


@torch.no_grad()
def test_rows_at_rest_add_no_noise(built_moments, glass) -> None:
    """An input of zero drives nothing: invariants of zero give the features of their bias, exactly; others do not."""
    model = built_moments("ridge", Hardware(noise=0.2), glass)
    reading = model.read(None, torch_stream(0, "noise"))
    (inputs,) = model.edge_inputs(glass, reading)
    rest = {name: torch.zeros_like(getattr(inputs, name)) for name in ("gaussians", "centre", "neighbour")}
    h = model.readout.features(replace(inputs, **rest), reading)[:, model.settings.invariants :]
    assert torch.equal(h, torch.tanh(model.readout.bias).expand(len(h), -1))
    h = model.readout.features(replace(inputs, **rest | {"gaussians": inputs.gaussians * 0 + 1}), reading)
    assert float(h[:, model.settings.invariants :].std(0).min()) > 0


@READOUTS
@pytest.mark.parametrize("hardware", [Hardware(), Hardware(noise_sharing="plane"), Hardware(adc_bits=8)])
@torch.no_grad()
def test_compiled_and_plain_kernels_agree(built_moments, glass, readout: str, hardware: Hardware) -> None:
    model = built_moments(readout, hardware, glass)
    forces = []
    for name in ("plain", "compiled"):
        with kernels.use(name):
            forces.append(model(glass, model.read(generator=torch_stream(1, "noise"))).forces)
    assert float((forces[0] - forces[1]).abs().median() / forces[0].abs().mean()) < 3e-3  # noise is rounded coarsely


@READOUTS
@pytest.mark.parametrize("hardware", [Hardware(noise=None), Hardware(), Hardware(noise_sharing="plane")])
@torch.no_grad()
def test_a_large_graph_is_worked_on_in_parts(built_moments, glass, monkeypatch, readout: str, hardware) -> None:
    model = built_moments(readout, hardware, glass)
    clean, expected = model(glass).forces, model(glass, model.read(generator=torch_stream(0, "noise"))).forces
    monkeypatch.setattr("rgnn.graphs.topology.PART", 500)
    g = Graph.from_arrays(glass.atomic_numbers.numpy(), glass.edge_index.numpy(), glass.edge_vector.numpy())
    assert len(g.parts) > 5
    found = model(g, model.read(generator=torch_stream(0, "noise"))).forces
    if hardware.noise is None or not hardware.rows_are_independent:
        assert float((found - expected).abs().median()) < 1e-4 * float(expected.abs().mean())
    else:
        spread = [float((f - clean).square().mean().sqrt()) for f in (found, expected)]
        assert spread[0] == pytest.approx(spread[1], rel=0.3)


@torch.no_grad()
def test_a_distant_atom_changes_nothing_beyond_two_cutoffs(built_moments, graph_of) -> None:
    positions, numbers = np.arange(12)[:, None] * np.array([2.0, 0, 0]), np.full(12, 3)
    chain = graph_of(numbers, positions, 2.5)
    model = built_moments("ridge", Hardware().ideal(), chain, cutoff=2.5)
    positions[-1, 0] += 0.3
    change = (model(graph_of(numbers, positions, 2.5)).forces - model(chain).forces).abs().amax(1)
    assert np.flatnonzero(change > 0).tolist() == [9, 10, 11]
    assert model.locality.reach == 5.0


@pytest.mark.parametrize("envelope", ["cosine", "none"])
@torch.no_grad()
def test_forces_are_continuous_at_the_cutoff(built_moments, cluster, graph_of, envelope: str) -> None:
    numbers, inside = cluster(8, size=3.0)
    model = built_moments("network", Hardware().ideal(), graph_of(numbers, inside), envelope=envelope).double()
    numbers, far = np.append(numbers, 3), inside[inside[:, 0].argmax()]
    near, away = (
        model(graph_of(numbers, np.vstack([inside, far + np.array([3.8 + dx, 0, 0])]))).forces[:-1]
        for dx in (-1e-7, 1e-7)
    )
    jump = float((near - away).abs().max())
    assert jump < 1e-6 if envelope == "cosine" else jump > 1e-4


def test_compiled_and_plain_gradients_agree(built_moments, glass) -> None:
    """Of weights that atoms show to both ends of their edges."""
    model, gradients = built_moments("network", Hardware(), glass), []
    for name in ("plain", "compiled"):
        model.zero_grad()
        with kernels.use(name):
            (model(glass).forces - glass.forces).square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in model.readout.named_parameters()})
    for name, plain in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], plain, rtol=1e-3, atol=1e-3 * float(plain.abs().max()))


def test_gradients_reach_the_network_and_nothing_else(built_moments, glass) -> None:
    model = built_moments("network", Hardware(), glass).train()
    (model(glass, model.read(generator=torch_stream(0, "noise"))).forces - glass.forces).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().any() for p in model.readout.parameters())
    assert all(p.grad is None for p in model.gaussians.parameters())
    assert model.n_trained == sum(p.numel() for p in model.readout.parameters())


@READOUTS
def test_saved_and_loaded(built_moments, glass, tmp_path, readout: str) -> None:
    model = built_moments(readout, Hardware(), glass)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert fingerprint(again) == fingerprint(model) and again.settings == model.settings
    with torch.no_grad():
        assert torch.equal(again(glass).forces, model(glass).forces)


@READOUTS
def test_counts_are_what_the_simulator_converts(built_moments, glass, readout: str) -> None:
    model = built_moments(readout, Hardware(), glass)
    hardware = Hardware(bits=3, adc_bits=8, adc_range="full", tile=(16, 16))
    seen: dict[tuple[int, int], Counts] = {}
    with torch.no_grad():
        model(glass, model.read(hardware, monitor=seen))
    ops = operations(model.settings, workload([glass]))
    reads, drives, conversions = reads_for(ops, hardware)
    assert conversions == sum(c.conversions for c in seen.values())
    arrays = {crossbar.place: -(-crossbar.weight.shape[0] // 16) for crossbar in model.crossbars}
    assert drives == 3 * sum(c.codes * arrays[place] for place, c in seen.items())
    assert reads == sum(use.vectors * 3 * -(-use.inputs // 16) * -(-use.outputs // 16) for use in ops.reservoir)
    assert ops.reservoir_weights == model.n_fixed


class One:
    """A store of one frame."""

    def __init__(self, g: Graph) -> None:
        self.graph = lambda _: g


@READOUTS
def test_calibration_and_diagnosis(built_moments, glass, readout: str) -> None:
    model = built_moments(readout, Hardware(bits=None, noise=None), glass)
    for array in model.crossbars:
        array.low.fill_(torch.nan)
    hardware = Hardware(bits=4, adc_bits=6)
    calibrate(model, [glass], hardware)
    found = diagnose(model, One(glass), [0], hardware)
    assert 0 < found.edge[0] < 60 and 0 < found.node[0] < 60 and 0 < found.force < 60
    assert found.clipped < 1e-3


def test_what_makes_no_sense_is_refused(built_moments, glass) -> None:
    for mapping, words in (
        ({"family": "moments", "trained_layers": 1}, "unknown key 'trained_layers'"),
        ({"family": "moments", "readout": {"kind": "head"}}, "must be one of ridge, network"),
        ({"family": "moments", "readout": {"widths": []}}, "one or more"),
        ({"family": "moments", "elements": [8, 3]}, "ascending"),
        ({"family": "tree"}, "must be one of message-passing, energy, moments"),
        ({"readout": {"kind": "network"}}, "unknown key 'readout'"),
    ):
        with pytest.raises(InputError, match=words):
            ModelSettings.from_mapping(mapping)
    with pytest.raises(InputError, match="known to a model with moments"):
        MomentForces.matrices(MomentSettings.ridge())
    with pytest.raises(InputError, match="too small"):
        Chip.synthetic(cells=10_000).matrices(MomentForces.matrices(MomentSettings.ridge().for_elements((3, 8, 15))))
    model = built_moments("ridge", Hardware(), glass)
    with pytest.raises(InputError, match=r"atomic numbers \[26\] are not among"):
        model(
            replace(glass, topology=replace(glass.topology, atomic_numbers=torch.full_like(glass.atomic_numbers, 26)))
        )
