"""What a trained model costs on a mean frame of a store: the study that `rgnn costs` shows."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rgnn.base.errors import InputError
from rgnn.base.estimate import evenly
from rgnn.chip.hardware import Hardware
from rgnn.costs.counts import TrainingShare, calibrations, reads_for, training_share, workload
from rgnn.costs.estimate import Comparison, CostEstimate, compare
from rgnn.costs.figures import LEVELS, Figures
from rgnn.data.store.reader import GraphStore, require_cutoff
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import load_model
from rgnn.models.families import operations
from rgnn.models.operations import Elementwise, Operations, Workload

# Frames of a store that the mean frame is made of.
FRAMES = 20
# Products of a training step for each forward product of a trained matrix: one forward, two backward.
TRAINING_PRODUCTS = 3
NOTE = "energy, time and area are estimates, not measured"


@dataclass(frozen=True)
class Counts:
    """Exact numbers of operations.

    Attributes:
        analog_products: multiply-accumulates in matrices with fixed weights.
        array_reads: reads of an array: vector, bit plane and tile.
        input_drives: input lines driven, at most.
        conversions: output conversions.
        digital_products: multiply-accumulates in trained matrices.
        elementwise: operations outside of matrices.
        array_bytes: bytes into and out of arrays, at 8 bits an input and 16 an output.
        calibrations: sums that slope and intercept of an output converter are taken out of.
    """

    analog_products: float
    array_reads: float
    input_drives: float
    conversions: float
    digital_products: float
    elementwise: Elementwise
    array_bytes: float
    calibrations: float = 0.0

    @property
    def digital_operations(self) -> float:
        """Number of operations outside of matrices."""
        return self.elementwise.multiplies + self.elementwise.adds + self.elementwise.lookups

    @classmethod
    def of(cls, ops: Operations, hardware: Hardware) -> "Counts":
        """Those of one pass on the hardware."""
        reads, drives, conversions = reads_for(ops, hardware)
        moved = sum(use.vectors * (use.inputs + 2 * use.outputs) for use in ops.reservoir)
        return cls(
            ops.reservoir_products, reads, drives, conversions, ops.trained_products, ops.elementwise, moved,
            calibrations(ops, hardware),
        )  # fmt: skip


@dataclass(frozen=True)
class CostStudy:
    """Counts and estimates for one pass of a model over a mean frame.

    Attributes:
        model: path of the model; empty for one that was not loaded from a file.
        members: chips of the model; everything here is of one of them.
        frame: the mean frame.
        frames: number of frames of the store, which make an epoch.
        hardware: what the chip's counts and estimates are for.
        counts: operations of the pass; an MD step is one.
        unsplit: how many times as many products the pass takes where the first three-body product is not split by
            edges.
        training: what fixed weights save in training.
        comparisons: chip and digital hardware, for low, nominal and high figures.
        figures: the table of figures.
        visits_triplets: whether the pass depends on the number of triplets; one of moments does not.
    """

    model: str
    members: int
    frame: Workload
    frames: int
    hardware: Hardware
    counts: Counts
    unsplit: float
    training: TrainingShare
    comparisons: tuple[Comparison, ...]
    figures: Figures

    visits_triplets: bool = True

    @property
    def epoch(self) -> Counts:
        """Operations of a training epoch: trained matrices forward and backward, all else forward only."""
        c, n = self.counts, self.frames
        e = c.elementwise
        return Counts(
            c.analog_products * n, c.array_reads * n, c.input_drives * n, c.conversions * n,
            TRAINING_PRODUCTS * c.digital_products * n, Elementwise(e.multiplies * n, e.adds * n, e.lookups * n),
            c.array_bytes * n, c.calibrations * n,
        )  # fmt: skip

    def epoch_energy(self, estimate: CostEstimate) -> float:
        """Energy of a training epoch, pJ."""
        return self.frames * estimate.training

    def to_mapping(self) -> dict[str, Any]:
        """All results as plain numbers with their units in the keys, the same as `rgnn costs --json` prints."""
        estimates = {
            c.level: {
                "chip_pj": c.chip.energy,
                "digital_pj": c.digital.energy,
                "energy_ratio": c.energy_ratio,
                "product_ratio": c.product_ratio,
                "speed_ratio": c.speed_ratio,
                "chip_ns": c.chip.time,
                "chip_um2": c.chip.area,
            }
            for c in self.comparisons
        }
        return {
            "model": self.model,
            "frame": {k: v for k, v in asdict(self.frame).items() if k != "triplets" or self.visits_triplets},
            "hardware": self.hardware.to_mapping(),
            **asdict(self.counts),
            "training": asdict(self.training),
            "estimates": estimates,
            "figures": self.figures.to_mapping(),
            "note": NOTE,
        }


def estimate_costs(
    model: ForceField | str | Path,
    store: GraphStore | str | Path | None = None,
    *,
    bits: int | None = None,
    adc_bits: int | None = None,
    figures: Figures | str | Path | None = None,
    newest_store: Callable[[], Path] | None = None,
) -> CostStudy:
    """Count what a mean frame takes, and estimate energy, time and area: what `rgnn costs` does.

    Args:
        model: a model with a chip, or the path of a model folder or training run.
        store: the graph store that the mean frame is taken from, or its path; None is that of the training.
        bits: input bits of the converters; None is as trained.
        adc_bits: bits of the output converters; None is as trained.
        figures: a table of figures, or a YAML file with some; None is the packaged table.
        newest_store: names a store where none is given and the training store is not here.

    Raises:
        InputError: no model or store there, a store of another cutoff, a model without a chip, or figures without a
            source.
    """
    path = "" if isinstance(model, ForceField) else str(model)
    loaded = model if isinstance(model, ForceField) else load_model(model)
    if not loaded.uses_chip:
        raise InputError(
            f"{path or 'the model'}: is all digital, so there is no chip to count for; name a model with one."
        )
    if store is None:
        store = _training_store(loaded, newest_store)
    data = store if isinstance(store, GraphStore) else GraphStore(store)
    require_cutoff(data, loaded.settings.cutoff)
    frame = workload([data.graph(k) for k in evenly(range(len(data)), FRAMES)])
    changes = {name: n for name, n in (("bits", bits), ("adc_bits", adc_bits)) if n is not None}
    hardware = loaded.hardware.override(**changes)
    table = (
        figures if isinstance(figures, Figures) else Figures.packaged() if figures is None else Figures.read(figures)
    )
    ops = operations(loaded.settings, frame)
    whole = operations(loaded.settings, frame, split=False).reservoir_products
    return CostStudy(
        model=path,
        members=len(loaded.members),
        frame=frame,
        frames=len(data),
        hardware=hardware,
        counts=Counts.of(ops, hardware),
        unsplit=whole / ops.reservoir_products,
        training=training_share(ops, loaded.n_trained, loaded.n_fixed),
        comparisons=tuple(compare(ops, hardware, table, level) for level in LEVELS),
        figures=table,
        visits_triplets=operations(loaded.settings, replace(frame, triplets=0.0)) != ops,
    )


def _training_store(model: ForceField, newest_store: Callable[[], Path] | None) -> Path:
    own = Path(model.provenance.data)
    if own.exists():
        return own
    if newest_store is None:
        raise InputError("the store that the model was trained on is not here; name a graph store.")
    return newest_store()
