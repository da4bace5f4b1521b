"""rgnn costs: operations, energy, time and area of a model on a chip and in digital hardware."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rgnn_cli.session import options
from rgnn_cli.session.options import HARDWARE

if TYPE_CHECKING:
    from rgnn.chip.hardware import Hardware
    from rgnn.costs import Comparison, Figures, Operations, Workload
    from rgnn.costs.counts import TrainingShare
    from rgnn.models.settings import ModelSettings
    from rgnn_cli.session.console import Reporter

# Frames of a store that a mean frame is made of.
FRAMES = 20
ASSUMED = """Assumed: figures of 32 to 45 nm as they are, none scaled; the difference of a pair is formed before one
conversion; one converter an array, which its columns share; half of the input bits are 1; one copy of each matrix,
which waits while others work; features of 16 bits, digital products of 8-bit operands summed in 32 bits, both split
by edges; a lookup costs a product and a sum; training takes two backward products for each forward one.
Left out: main memory, neighbour list, control, leakage, programming of the cells, wires beyond buffers."""


def costs(
    model: Annotated[
        Path | None, typer.Argument(help="Model folder or training run; default: the newest here.")
    ] = None,
    store: Annotated[
        Path | None, typer.Argument(help="Graph store that a mean frame is taken from; default: that of the training.")
    ] = None,
    bits: options.Bits = None,
    adc_bits: Annotated[
        int | None, typer.Option(min=1, max=16, help="Bits of the output converters.", rich_help_panel=HARDWARE)
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="YAML with figures of your own, each with its source.", rich_help_panel=HARDWARE)
    ] = None,
    sources: Annotated[bool, typer.Option("--sources", help="List every figure with its source.")] = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Count what a frame, an MD step and an epoch take, and estimate energy, time and area.

    Example: rgnn costs runs/latest --bits 4

    Counts are exact. Energy, time and area are estimates, not measured: of low, nominal and high figures
    from the literature, each with its source and technology node (--sources).
    """
    from rgnn.base.errors import InputError
    from rgnn.base.estimate import evenly
    from rgnn.costs import Figures, compare, operations, training_share, workload
    from rgnn.costs.figures import LEVELS
    from rgnn.data.store.reader import GraphStore
    from rgnn.models.checkpoints import load_model
    from rgnn_cli.session.console import Reporter
    from rgnn_cli.session.find import find_here

    report = Reporter(quiet, as_json)
    path = find_here(report, "model", model, "train one with rgnn train, or name a model folder")
    loaded = load_model(path)
    if not loaded.uses_chip:
        raise InputError(f"{path}: is all digital, so there is no chip to count for; name a model with one.")
    own = Path(loaded.provenance.data)
    data = GraphStore(find_here(report, "store", store or (own if own.exists() else None), "name one"))
    frame = workload([data.graph(k) for k in evenly(range(len(data)), FRAMES)])
    resolutions = {"bits": bits, "adc_bits": adc_bits}
    hardware = loaded.hardware.override(**{name: n for name, n in resolutions.items() if n is not None})
    figures = Figures.packaged() if table is None else Figures.read(table)
    ops = operations(loaded.settings, frame)
    share = training_share(ops, loaded.n_trained, loaded.n_fixed)
    found = [compare(ops, hardware, figures, level) for level in LEVELS]
    _say_counts(report, path, loaded.settings, frame, ops, hardware, len(data))
    if (chips := len(loaded.members)) > 1:
        report.say(
            f"The model is the mean over {chips} chips: everything here is of one of them, and needed {chips} times."
        )
    _say_training(report, share, ops)
    _say_estimates(report, found, hardware, len(data))
    if sources:
        _say_sources(report, figures)
    report.result(_record(path, frame, ops, share, found, hardware, figures))


def _say_counts(
    report: Reporter,
    path: Path,
    settings: ModelSettings,
    frame: Workload,
    ops: Operations,
    hardware: Hardware,
    frames: int,
) -> None:
    from rgnn.costs import operations
    from rgnn.costs.counts import reads_for

    reads, drives, conversions = reads_for(ops, hardware)
    report.say(
        f"Model: {path}, {hardware.bits or 8} input bits; mean frame: {frame.atoms:.0f} atoms, "
        f"{frame.edges:,.0f} edges, {frame.triplets:,.0f} triplets"
    )
    e = ops.elementwise
    counts = [
        ("analog multiply-accumulates", ops.reservoir_products),
        ("reads of an array (vector x bit plane x tile)", reads),
        ("input lines driven, at most", drives),
        ("output conversions", conversions),
        ("digital multiply-accumulates in trained matrices", ops.trained_products),
        ("digital operations elsewhere", e.multiplies + e.adds + e.lookups),
        ("bytes into and out of arrays", _bytes(ops)),
    ]
    rows = [
        [name, f"{n:.3g}", f"{3 * n * frames:.3g}" if "trained" in name else f"{n * frames:.3g}"] for name, n in counts
    ]
    report.table("Exact counts; an MD step is one frame", ["", "a frame", f"an epoch of {frames:,}"], rows)
    whole = operations(settings, frame, split=False).reservoir_products / ops.reservoir_products
    if whole > 1:
        report.say(
            "The first three-body product is split by edges, which both sides profit from: without it "
            f"{whole:.1f} times as many products."
        )
    report.say("An epoch counts trained matrices forward and backward; no gradient enters the chip.")


def _bytes(ops: Operations) -> float:
    return sum(use.vectors * (use.inputs + 2 * use.outputs) for use in ops.reservoir)


def _say_training(report: Reporter, share: TrainingShare, ops: Operations) -> None:
    rows = [
        ["weights that are trained", f"{100 * share.trained_weights:.1f}%", "about 9%"],
        ["backward products saved by fixed weights", f"{100 * share.backward_saved:.1f}%", "about 90%"],
        ["forward and backward products not done digitally", f"{100 * share.digital_saved:.1f}%", ""],
    ]
    report.table("Training, against training every matrix of the same network", ["", "here", "published"], rows)


def _say_estimates(report: Reporter, found: list[Comparison], hardware: Hardware, frames: int) -> None:
    levels = [c.level for c in found]
    parts = list(found[0].chip.energy)
    rows = [[name, *(f"{1e-6 * c.chip.energy[name]:.0f}" for c in found)] for name in parts]
    rows.append(["chip, all", *(f"{1e-6 * c.chip.total:.0f}" for c in found)])
    rows.append(["digital, reservoir products", *(f"{1e-6 * c.digital.of('products'):.0f}" for c in found)])
    rows.append(["digital, all", *(f"{1e-6 * c.digital.total:.0f}" for c in found)])
    for name, energies in (
        (f"chip, an epoch of {frames:,}, mJ", [c.chip.training for c in found]),
        ("digital, an epoch with all matrices trained, mJ", [c.digital.training for c in found]),
    ):
        rows.append([name, *(f"{1e-9 * frames * energy:.0f}" for energy in energies)])
    converter = f"{hardware.adc_bits}-bit" if hardware.adc_bits else "8-bit (assumed)"
    report.table(f"Energy of a frame in µJ, {converter} converters: an estimate, not measured", ["", *levels], rows)
    rows = [
        ["energy, whole pass", *(f"{c.energy_ratio:.1f}" for c in found), "2.7"],
        ["energy, reservoir products alone", *(f"{c.product_ratio:.1f}" for c in found), ""],
        ["speed of the reservoir on the same area", *(f"{c.speed_ratio:.2f}" for c in found), "2.5"],
    ]
    report.table("How many times better than digital (the chip's figures vary)", ["", *levels, "published"], rows)
    rows = [
        ["time of the reservoir's matrices, ms", *(f"{1e-6 * c.chip.time:.1f}" for c in found)],
        ["area of cells, drivers and converters, mm²", *(f"{1e-6 * c.chip.area:.4f}" for c in found)],
    ]
    report.table("Chip", ["", *levels], rows)
    report.say(ASSUMED)


def _say_sources(report: Reporter, figures: Figures) -> None:
    from rgnn.costs.figures import LEVELS

    for name, levels in vars(figures).items():
        words: dict[str, object] = {}
        for level in LEVELS:
            f = getattr(levels, level)
            words[level] = f"{f.value:g} at {f.node} nm: {f.source}"
        report.facts(name.replace("_", " "), words)


def _record(
    path: Path,
    frame: Workload,
    ops: Operations,
    share: TrainingShare,
    found: list[Comparison],
    hardware: Hardware,
    figures: Figures,
) -> dict[str, Any]:
    from rgnn.costs.counts import reads_for

    reads, drives, conversions = reads_for(ops, hardware)
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
        for c in found
    }
    return {
        "model": str(path),
        "frame": vars(frame),
        "hardware": hardware.to_mapping(),
        "analog_products": ops.reservoir_products,
        "array_reads": reads,
        "input_drives": drives,
        "conversions": conversions,
        "digital_products": ops.trained_products,
        "elementwise": vars(ops.elementwise),
        "array_bytes": _bytes(ops),
        "training": vars(share),
        "estimates": estimates,
        "figures": figures.to_mapping(),
        "note": "energy, time and area are estimates, not measured",
    }
