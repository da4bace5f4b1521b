"""Exact counts of what a forward pass does, from the shape of a model and of a graph."""

from collections.abc import Sequence
from dataclasses import dataclass

from rgnn.chip.hardware import Hardware
from rgnn.graphs.graph import Graph
from rgnn.models.operations import Operations, Workload


def workload(graphs: Sequence[Graph]) -> Workload:
    """The mean over frames."""
    n = len(graphs)
    return Workload(
        sum(g.n_atoms for g in graphs) / n,
        sum(g.n_edges for g in graphs) / n,
        sum(g.whole.plan.n_triplets for g in graphs) / n,
    )


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
    bits, tile, slices = hardware.bits or 8, hardware.tile, arrays_of_a_weight(hardware)
    reads = sum(use.vectors * bits * use.arrays(tile) for use in ops.reservoir)
    drives = sum(use.drives(bits) * use.sharing(tile) for use in ops.reservoir)
    return slices * reads, slices * drives, slices * sum(use.conversions(bits, tile[0]) for use in ops.reservoir)


def arrays_of_a_weight(hardware: Hardware) -> int:
    """Arrays that hold a weight together: one for each slice, which work side by side."""
    return hardware.slices or 1


def calibrations(ops: Operations, hardware: Hardware) -> float:
    """Sums of a pass that slope and intercept are taken out of, by a multiplication and an addition each.

    All bit planes of a column and tile pass the same converter, so they are added first.
    """
    if hardware.adc_calibration == "none":
        return 0.0
    return arrays_of_a_weight(hardware) * sum(use.conversions(1, hardware.tile[0]) for use in ops.reservoir)
