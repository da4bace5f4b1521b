"""What an energy model does in a pass that gives energy, forces and stress."""

import itertools

from rgnn.models.operations import Elementwise, MatrixUse, Operations, Workload
from rgnn.models.settings import EnergySettings

COMPONENTS = 9


def energy_operations(settings: EnergySettings, w: Workload) -> Operations:
    """Counts over one frame: three reads of an edge, the digital part of atoms and messages, and its derivative."""
    e, f, k, h = w.edges, settings.gaussians, settings.channels, settings.mixtures
    s, m = len(settings.elements), settings.features
    reads = MatrixUse((0, "W"), 3 * e, s * f, k)
    rest = Elementwise(multiplies=4 * f * e, adds=2 * f * e, lookups=f * e)  # Gaussians and their slopes
    rest += Elementwise(multiplies=reads.vectors * k, adds=reads.vectors * k)  # scale and offset
    rest += Elementwise(multiplies=COMPONENTS * (k + 1) * e, adds=COMPONENTS * k * e)  # moments
    rest += Elementwise(multiplies=2 * COMPONENTS * k * w.atoms, adds=k * w.atoms)  # standardised, and its derivative
    # Every matrix of the digital part is used twice: forwards for the energy, transposed for its derivative.
    uses = [((2 * r + 1) * w.atoms, k, h, f"mixtures of rank {r}") for r in range(3)]
    layers = [4 * h, *settings.widths]
    uses += [(w.atoms, a, b, f"network {n}") for n, (a, b) in enumerate(itertools.pairwise(layers), 1)]
    uses += [(w.atoms, layers[-1], 1, "output of an element"), (w.atoms, 4 * h, 1, "linear in the invariants")]
    uses += [(w.atoms, layers[-1], m, "sent scalars")]
    uses += [((2 * r + 1) * w.atoms, h, m, f"sent of rank {r}") for r in (1, 2)]
    uses += [(w.atoms, layers[-1] + 3 * m, layers[-1], "second network"), (w.atoms, layers[-1], 1, "its output")]
    trained = [MatrixUse((1, name), n, a, b) for n, a, b, name in uses]
    trained += [MatrixUse((2, f"{name}, transposed"), n, b, a) for n, a, b, name in uses]
    pairs = [(f"{name}{part}", n) for name, n in (("pair potential", 1), ("messages", m)) for part in ("", ", slope")]
    trained += [MatrixUse((3, name), e, f, n) for name, n in pairs]
    rest += Elementwise(multiplies=4 * f * e, adds=2 * f * e)
    hidden = sum(settings.widths) + settings.widths[-1]
    rest += Elementwise(lookups=2 * hidden * w.atoms, multiplies=3 * hidden * w.atoms)
    rest += Elementwise(multiplies=60 * h * w.atoms, adds=40 * h * w.atoms)  # invariants, and their derivatives
    # Messages: what is sent along an edge, its sum, what comes back to the edge and the sender, and two gradients.
    rest += Elementwise(multiplies=6 * COMPONENTS * m * e, adds=6 * COMPONENTS * m * e)
    rest += Elementwise(multiplies=5 * m * e + 5 * COMPONENTS * m * w.atoms, adds=m * e + 12 * m * w.atoms)
    # Forces: two contractions over the channels of an edge, and a few operations for each of its harmonics.
    rest += Elementwise(multiplies=2 * COMPONENTS * k * e, adds=2 * COMPONENTS * k * e)
    rest += Elementwise(multiplies=(5 * COMPONENTS + 20) * e, adds=(4 * COMPONENTS + 20) * e)
    return Operations((reads,), tuple(trained), rest)
