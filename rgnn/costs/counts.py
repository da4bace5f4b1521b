"""Exact counts of what a forward pass does, from the shape of a model and of a graph."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from rgnn.chip.hardware import Hardware
from rgnn.graphs.graph import Graph
from rgnn.models.operations import Elementwise, MatrixUse, Operations, Workload
from rgnn.models.settings import ModelConfig


def workload(graphs: Sequence[Graph]) -> Workload:
    """The mean over frames."""
    n = len(graphs)
    return Workload(
        sum(g.n_atoms for g in graphs) / n,
        sum(g.n_edges for g in graphs) / n,
        sum(g.whole.plan.n_triplets for g in graphs) / n,
    )


def operations(config: ModelConfig, w: Workload, *, split: bool = True) -> Operations:
    """Counts for one frame.

    Args:
        config: shape of the model.
        w: shape of the frame.
        split: the first three-body product is formed by edges and added by triplets (exact); False forms it for
            every triplet, as the published program does.
    """
    if config.moments:
        return _moment_operations(config, w)
    f, layers = config.n_features, range(config.reservoir_layers)
    reservoir = [use for layer in layers for use in _reservoir_layer(layer, f, w, split)]
    first = config.reservoir_layers
    trained = [use for k in range(config.trained_layers) for use in _trained_layer(first + k, f, w, split)]
    last = first + config.trained_layers
    trained += [MatrixUse((last, "head 1"), w.edges, f, f // 2), MatrixUse((last, "head 2"), w.edges, f // 2, 1)]
    rest = Elementwise(multiplies=2 * f * w.edges, adds=f * w.edges, lookups=f * w.edges)  # Gaussians of distances
    for use in reservoir:
        rest += Elementwise(multiplies=use.vectors * use.outputs, adds=use.vectors * use.outputs)  # scale and offset
    rest += _between(config, w)
    return Operations(tuple(reservoir), tuple(trained), rest)


def _moment_operations(config: ModelConfig, w: Workload) -> Operations:
    """Of moments, a product and a sum for each of 9 K of an edge, and of their readout."""
    e, f, k, components = w.edges, config.n_features, config.moments, 9
    reservoir = [MatrixUse((0, "W"), e, len(config.elements) * f, k)]
    rest = Elementwise(multiplies=2 * f * e, adds=f * e, lookups=f * e)  # Gaussians of distances
    rest += Elementwise(multiplies=components * (k + 1) * e, adds=components * k * e)
    rest += Elementwise(multiplies=components * k * w.atoms, adds=k * w.atoms)  # standardised
    rest += Elementwise(multiplies=4 * e, adds=3 * e)  # forces
    if config.readout == "ridge":  # driven by x and by -x
        x, d = config.invariants, config.random_features
        reservoir.append(MatrixUse((1, "random features"), 2 * e, x, d))
        trained = [MatrixUse((2, "weights of a pair"), e, x + d, 1)]
        rest += Elementwise(multiplies=2 * components * k * e, adds=2 * components * k * e)  # what both ends show
        rest += Elementwise(adds=2 * d * e, lookups=d * e)
    else:
        hidden, *others = config.widths
        ranks = [(end, rank) for end in ("centre", "neighbour") for rank in range(3)]
        trained = [MatrixUse((1, f"{end}, rank {r}"), (2 * r + 1) * w.atoms, k, hidden) for end, r in ranks]
        trained.append(MatrixUse((1, "Gaussians"), e, f, hidden))
        pairs = itertools.pairwise([hidden, *others])
        trained += [MatrixUse((1, f"network {n}"), e, *ab) for n, ab in enumerate(pairs, 2)]
        trained.append(MatrixUse((1, "output of a pair"), e, config.widths[-1], 1))
        rest += Elementwise(multiplies=2 * components * hidden * e, adds=2 * components * hidden * e)
        rest += Elementwise(lookups=sum(config.widths) * e)
    for use in reservoir:
        rest += Elementwise(multiplies=use.vectors * use.outputs, adds=use.vectors * use.outputs)  # scale and offset
    return Operations(tuple(reservoir), tuple(trained), rest)


def _reservoir_layer(layer: int, f: int, w: Workload, split: bool) -> list[MatrixUse]:
    e, t = w.edges, w.triplets
    first = (
        [MatrixUse((layer, "W4, ij"), e, 3 * f, 10 * f), MatrixUse((layer, "W4, jk"), e, 2 * f, 10 * f)]
        if split
        else [MatrixUse((layer, "W4"), t, 5 * f, 10 * f)]
    )
    return [
        MatrixUse((layer, "W0"), e, 2 * f, 8 * f),
        MatrixUse((layer, "W1"), e, 8 * f, 2 * f),
        MatrixUse((layer, "W2"), e, 2 * f, 8 * f),
        MatrixUse((layer, "W3"), e, 8 * f, 2 * f),
        *first,
        MatrixUse((layer, "W5"), t, 10 * f, 2 * f),
    ]


def _trained_layer(layer: int, f: int, w: Workload, split: bool) -> list[MatrixUse]:
    e, t = w.edges, w.triplets
    first = (
        [
            MatrixUse((layer, "three-body 1, ij"), e, 3 * f, 2 * f),
            MatrixUse((layer, "three-body 1, jk"), e, 2 * f, 2 * f),
        ]
        if split
        else [MatrixUse((layer, "three-body 1"), t, 5 * f, 2 * f)]
    )
    return [
        MatrixUse((layer, "node 1"), e, 2 * f, 2 * f),
        MatrixUse((layer, "node 2"), e, 2 * f, 2 * f),
        MatrixUse((layer, "two-body 1"), e, f, f),
        MatrixUse((layer, "two-body 2"), e, f, 2 * f),
        *first,
        MatrixUse((layer, "three-body 2"), t, 2 * f, 2 * f),
    ]


def _between(config: ModelConfig, w: Workload) -> Elementwise:
    """Gates, sums over neighbours, envelope, norms, residuals; the scale of a quantiser is folded into what it meets.

    A gate of F features takes 2 F lookups and F products. Norms and residuals take one product and two sums a feature.
    """
    f, total = config.n_features, Elementwise()
    envelope = 0 if config.envelope == "none" else 1
    for layer in range(config.reservoir_layers + config.trained_layers):
        hidden = 10 * f if layer < config.reservoir_layers else 2 * f
        gates = 2 * w.edges + w.triplets
        total += Elementwise(multiplies=gates * f, lookups=2 * gates * f)
        total += Elementwise(adds=w.triplets * hidden)  # p_ij + q_jk
        total += Elementwise(multiplies=envelope * f * (w.edges + w.triplets), adds=f * (w.edges + w.triplets))
        total += Elementwise(multiplies=f * (w.atoms + 2 * w.edges), adds=2 * f * (w.atoms + 2 * w.edges))
    return total + Elementwise(multiplies=4 * w.edges, adds=3 * w.edges, lookups=config.n_features // 2 * w.edges)


@dataclass(frozen=True)
class TrainingShare:
    """What fixed weights save in training, by multiply-accumulates; full training takes two backward for one forward.

    Attributes:
        trained_weights: share of all weights.
        backward_saved: share of the backward pass's products that fixed weights make unnecessary.
        digital_saved: share of forward and backward together that is not done digitally.
    """

    trained_weights: float
    backward_saved: float
    digital_saved: float


def training_share(ops: Operations, n_trained: int, n_fixed: int) -> TrainingShare:
    """Against training every matrix of the same network.

    No gradient enters the reservoir (as published), so backward products are those of the trained matrices.
    """
    r, d = ops.reservoir_products, ops.trained_products
    whole = max(r + d, 1e-300)
    return TrainingShare(n_trained / max(1, n_trained + n_fixed), r / whole, 1 - (r + 3 * d) / (3 * whole))


def reads_for(ops: Operations, hardware: Hardware) -> tuple[float, float, float]:
    """(Array reads, input drives, output conversions) of one pass; unquantised input counts as 8 bits."""
    bits, rows = hardware.bits or 8, hardware.tile[0]
    reads = sum(use.vectors * bits * -(-use.inputs // rows) for use in ops.reservoir)
    drives = sum(use.drives(bits) for use in ops.reservoir)
    return reads, drives, sum(use.conversions(bits, rows) for use in ops.reservoir)
