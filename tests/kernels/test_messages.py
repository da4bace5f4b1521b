"""Messages between atoms: compiled loops against plain torch, and plain torch against derivatives by autograd."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rgnn import Graph
from rgnn.data.sample import sample_frames
from rgnn.graphs.topology import Part
from rgnn.kernels.edges import CompiledEdges
from rgnn.kernels.interface import Radial
from rgnn.kernels.plain import PLAIN

CUTOFF, GAUSSIANS, FEATURES, ELEMENTS = 4.5, 7, 5, 2


def drawn(shape: tuple[int, ...], seed: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def radial_of(vector: Tensor, part: Part) -> tuple[Radial, Tensor]:
    """Of the edges of a part, with gradients to their vectors, and their directions."""
    d = vector.norm(dim=1)
    phase = torch.pi / CUTOFF
    envelope = torch.stack([0.5 + 0.5 * torch.cos(phase * d), -0.5 * phase * torch.sin(phase * d)])
    i, j = part.ends_out
    mu = torch.linspace(0.8, 4.3, GAUSSIANS, dtype=vector.dtype)
    pair = i % ELEMENTS * ELEMENTS + j % ELEMENTS
    return Radial(mu, torch.full_like(mu, 0.6), d, envelope, pair), vector / d[:, None]


@pytest.fixture(scope="module")
def graph() -> Graph:
    frame = next(iter(sample_frames()))
    return Graph.from_positions(frame.numbers, frame.positions, frame.cell, frame.pbc, CUTOFF)


@pytest.fixture(params=["whole", "part"])
def part(request, graph: Graph) -> Part:
    whole = graph.whole
    if request.param == "whole":
        return whole
    first, last = 2, graph.n_atoms - 1
    out = slice(int(whole.first_out[first]), int(whole.first_out[last]))
    return Part.of(graph.edge_index, slice(first, last), out, out)


def inputs(graph: Graph, part: Part, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, what is sent, and what the sums are weighted by."""
    weight = drawn((GAUSSIANS, FEATURES), 1, dtype)
    return weight, drawn((graph.n_atoms, 9, FEATURES), 2, dtype), drawn((part.n_atoms, 9, FEATURES), 3, dtype)


def test_derivatives_are_those_of_the_sums(graph: Graph, part: Part) -> None:
    weight, sent, b = inputs(graph, part, torch.float64)
    vector = graph.edge_vector[part.out].double().requires_grad_()
    sent.requires_grad_()
    radial, u = radial_of(vector, part)
    energy = (PLAIN.edges.messages(part, radial, u, weight, sent) * b).sum()
    expected = torch.autograd.grad(energy, [vector, sent])
    found = PLAIN.edges.message_gradients(part, radial, u, weight, sent, b)
    others = torch.ones(graph.n_atoms, dtype=torch.bool)
    others[part.arrivals.atoms] = False
    assert not expected[1][others].any()
    for a, e in zip(found, (expected[0], expected[1][part.arrivals.atoms]), strict=True):
        torch.testing.assert_close(a, e, rtol=1e-10, atol=1e-10)


def test_compiled_messages_are_plain_ones_with_their_gradients(graph: Graph, part: Part) -> None:
    radial, u = radial_of(graph.edge_vector[part.out].double(), part)
    results = []
    for edges, dtype in ((PLAIN.edges, torch.float64), (PLAIN.edges, torch.float32), (CompiledEdges(), torch.float32)):
        given = [x.requires_grad_() for x in inputs(graph, part, dtype)]
        weight, sent, b = given
        names = ("mu", "s", "d", "envelope")
        r = replace(radial, **{name: getattr(radial, name).to(dtype) for name in names})
        table = edges.radial(r.mu, r.s, weight, CUTOFF)
        sums = edges.messages(part, r, u.to(dtype), table, sent)
        slopes, to_sent = edges.message_gradients(part, r, u.to(dtype), table, sent, b)
        terms = [(x * drawn(x.shape, k, dtype)).sum() for k, x in enumerate((sums, slopes, to_sent))]
        gradients = [torch.autograd.grad(t, given, retain_graph=True, materialize_grads=True) for t in terms]
        results.append([sums, slopes, to_sent, *(g for some in gradients for g in some)])
    for exact, single, found in zip(*results, strict=True):
        a, b, c = (x.detach().double() for x in (exact, single, found))
        scale, rounding = float(a.abs().max()), float((b - a).abs().max())
        # Between knots the cubics are as good as single precision.
        torch.testing.assert_close(c, a, rtol=0, atol=3 * rounding + 2e-7 * scale)
