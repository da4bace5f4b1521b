"""What a model of moments does in a forward pass."""

import itertools

from rgnn.models.operations import Elementwise, MatrixUse, Operations, Workload
from rgnn.models.settings import MomentSettings, NetworkSettings, RidgeSettings


def moment_operations(settings: MomentSettings, w: Workload) -> Operations:
    """Exact counts of a forward pass over one frame: 9 K products and sums for each edge, and the readout."""
    e, f, k, components = w.edges, settings.gaussians, settings.channels, 9
    reservoir = [MatrixUse((0, "W"), e, len(settings.elements) * f, k)]
    rest = Elementwise(multiplies=2 * f * e, adds=f * e, lookups=f * e)  # Gaussians of distances
    rest += Elementwise(multiplies=components * (k + 1) * e, adds=components * k * e)
    rest += Elementwise(multiplies=components * k * w.atoms, adds=k * w.atoms)  # standardised
    rest += Elementwise(multiplies=4 * e, adds=3 * e)  # forces
    readout = settings.readout
    if isinstance(readout, RidgeSettings):  # driven by x and by -x
        x, d = settings.invariants, readout.random_features
        reservoir.append(MatrixUse((1, "random features"), 2 * e, x, d))
        trained = [MatrixUse((2, "weights of a pair"), e, x + d, 1)]
        rest += Elementwise(multiplies=2 * components * k * e, adds=2 * components * k * e)  # what both ends show
        rest += Elementwise(adds=2 * d * e, lookups=d * e)
    else:
        assert isinstance(readout, NetworkSettings)
        hidden, *others = readout.widths
        ranks = [(end, rank) for end in ("centre", "neighbour") for rank in range(3)]
        trained = [MatrixUse((1, f"{end}, rank {r}"), (2 * r + 1) * w.atoms, k, hidden) for end, r in ranks]
        trained.append(MatrixUse((1, "Gaussians"), e, f, hidden))
        pairs = itertools.pairwise([hidden, *others])
        trained += [MatrixUse((1, f"network {n}"), e, *ab) for n, ab in enumerate(pairs, 2)]
        trained.append(MatrixUse((1, "output of a pair"), e, readout.widths[-1], 1))
        rest += Elementwise(multiplies=2 * components * hidden * e, adds=2 * components * hidden * e)
        rest += Elementwise(lookups=sum(readout.widths) * e)
    for use in reservoir:
        rest += Elementwise(multiplies=use.vectors * use.outputs, adds=use.vectors * use.outputs)  # scale and offset
    return Operations(tuple(reservoir), tuple(trained), rest)
