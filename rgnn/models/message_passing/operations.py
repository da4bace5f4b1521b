"""What message passing does in a forward pass: products of matrices, and everything else."""

from rgnn.models.operations import Elementwise, MatrixUse, Operations, Workload
from rgnn.models.settings import MessagePassingSettings


def message_passing_operations(settings: MessagePassingSettings, w: Workload, *, split: bool = True) -> Operations:
    """Exact counts of a forward pass over one frame.

    Args:
        settings: shape of the model.
        w: shape of the frame.
        split: the first three-body product is formed by edges and added by triplets (exact); False forms it for
            every triplet, as the published program does.
    """
    f, layers = settings.n_features, range(settings.reservoir_layers)
    reservoir = [use for layer in layers for use in _reservoir_layer(layer, f, w, split)]
    first = settings.reservoir_layers
    trained = [use for k in range(settings.trained_layers) for use in _trained_layer(first + k, f, w, split)]
    last = first + settings.trained_layers
    trained += [MatrixUse((last, "head 1"), w.edges, f, f // 2), MatrixUse((last, "head 2"), w.edges, f // 2, 1)]
    rest = Elementwise(multiplies=2 * f * w.edges, adds=f * w.edges, lookups=f * w.edges)  # Gaussians of distances
    for use in reservoir:
        rest += Elementwise(multiplies=use.vectors * use.outputs, adds=use.vectors * use.outputs)  # scale and offset
    rest += _between(settings, w)
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


def _between(settings: MessagePassingSettings, w: Workload) -> Elementwise:
    """Gates, sums over neighbours, envelope, norms, residuals; the scale of a quantiser is folded into what it meets.

    A gate of F features takes 2 F lookups and F products. Norms and residuals take one product and two sums a feature.
    """
    f, total = settings.n_features, Elementwise()
    envelope = 0 if settings.envelope == "none" else 1
    for layer in range(settings.reservoir_layers + settings.trained_layers):
        hidden = 10 * f if layer < settings.reservoir_layers else 2 * f
        gates = 2 * w.edges + w.triplets
        total += Elementwise(multiplies=gates * f, lookups=2 * gates * f)
        total += Elementwise(adds=w.triplets * hidden)  # p_ij + q_jk
        total += Elementwise(multiplies=envelope * f * (w.edges + w.triplets), adds=f * (w.edges + w.triplets))
        total += Elementwise(multiplies=f * (w.atoms + 2 * w.edges), adds=2 * f * (w.atoms + 2 * w.edges))
    return total + Elementwise(multiplies=4 * w.edges, adds=3 * w.edges, lookups=settings.n_features // 2 * w.edges)
