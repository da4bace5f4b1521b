"""What rgnn costs shows: counts, the share of training, estimates and their sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.costs import CostStudy, Figures
    from rgnn.costs.study import Counts
    from rgnn_cli.session.console import Reporter

ASSUMED = """Assumed: figures of 32 to 45 nm as they are, none scaled; the difference of a pair is formed before one
conversion; one converter an array, which its columns share; half of the input bits are 1; one copy of each matrix,
which waits while others work; features of 16 bits, digital products of 8-bit operands summed in 32 bits, both split
by edges; a lookup costs a product and a sum; training takes two backward products for each forward one.
Left out: main memory, neighbour list, control, leakage, programming of the cells, wires beyond buffers."""


def costs(report: Reporter, study: CostStudy) -> None:
    """All tables, with the sentences that one needs to read them."""
    frame = study.frame
    triplets = f", {frame.triplets:,.0f} triplets" if study.visits_triplets else "; no triplet is visited"
    h = study.hardware
    slices = "" if h.slices is None else f", weights in {h.slices} slices of {h.slice_bits} bits"
    report.say(
        f"Model: {study.model}, {h.bits or 8} input bits{slices}; mean frame: {frame.atoms:.0f} atoms, "
        f"{frame.edges:,.0f} edges{triplets}"
    )
    _counts(report, study)
    if study.members > 1:
        report.say(
            f"The model is the mean over {study.members} chips: everything here is of one of them, and needed "
            f"{study.members} times."
        )
    _training(report, study)
    _energy(report, study)
    _ratios(report, study)
    report.say(ASSUMED)


def _counts(report: Reporter, study: CostStudy) -> None:
    rows = [
        [name, f"{frame:.3g}", f"{epoch:.3g}"]
        for (name, frame), epoch in zip(_named(study.counts).items(), _named(study.epoch).values(), strict=True)
    ]
    report.table("Exact counts; an MD step is one frame", ["", "a frame", f"an epoch of {study.frames:,}"], rows)
    if study.unsplit > 1:
        report.say(
            "The first three-body product is split by edges, which both sides profit from: without it "
            f"{study.unsplit:.1f} times as many products."
        )
    report.say("An epoch counts trained matrices forward and backward; no gradient enters the chip.")


def _named(counts: Counts) -> dict[str, float]:
    return {
        "analog multiply-accumulates": counts.analog_products,
        "reads of an array (vector x bit plane x tile)": counts.array_reads,
        "input lines driven, at most": counts.input_drives,
        "output conversions": counts.conversions,
        "digital multiply-accumulates in trained matrices": counts.digital_products,
        "digital operations elsewhere": counts.digital_operations,
        "bytes into and out of arrays": counts.array_bytes,
        **({"sums calibrated, slope and intercept": counts.calibrations} if counts.calibrations else {}),
    }


def _training(report: Reporter, study: CostStudy) -> None:
    share = study.training
    rows = [
        ["weights that are trained", f"{100 * share.trained_weights:.1f}%", "about 9%"],
        ["backward products saved by fixed weights", f"{100 * share.backward_saved:.1f}%", "about 90%"],
        ["forward and backward products not done digitally", f"{100 * share.digital_saved:.1f}%", ""],
    ]
    report.table("Training, against training every matrix of the same network", ["", "here", "published"], rows)


def _energy(report: Reporter, study: CostStudy) -> None:
    found, n, adc_bits = study.comparisons, study.frames, study.hardware.adc_bits
    rows = [_row(name, [c.chip.energy[name] for c in found], 1e-6, ".0f") for name in found[0].chip.energy]
    rows += [
        _row("chip, all", [c.chip.total for c in found], 1e-6, ".0f"),
        _row("digital, reservoir products", [c.digital.of("products") for c in found], 1e-6, ".0f"),
        _row("digital, all", [c.digital.total for c in found], 1e-6, ".0f"),
        _row(f"chip, an epoch of {n:,}, mJ", [study.epoch_energy(c.chip) for c in found], 1e-9, ".0f"),
        _row(
            "digital, an epoch with all matrices trained, mJ",
            [study.epoch_energy(c.digital) for c in found],
            1e-9,
            ".0f",
        ),
    ]
    converter = f"{adc_bits}-bit" if adc_bits else "8-bit (assumed)"
    title = f"Energy of a frame in µJ, {converter} converters: an estimate, not measured"
    report.table(title, ["", *(c.level for c in found)], rows)


def _ratios(report: Reporter, study: CostStudy) -> None:
    found = study.comparisons
    levels = [c.level for c in found]
    rows = [
        [*_row("energy, whole pass", [c.energy_ratio for c in found], 1, ".1f"), "2.7"],
        [*_row("energy, reservoir products alone", [c.product_ratio for c in found], 1, ".1f"), ""],
        [*_row("speed of the reservoir on the same area", [c.speed_ratio for c in found], 1, ".2f"), "2.5"],
    ]
    report.table("How many times better than digital (the chip's figures vary)", ["", *levels, "published"], rows)
    rows = [
        _row("time of the reservoir's matrices, ms", [c.chip.time for c in found], 1e-6, ".1f"),
        _row("area of cells, drivers and converters, mm²", [c.chip.area for c in found], 1e-6, ".4f"),
    ]
    report.table("Chip", ["", *levels], rows)


def _row(name: str, values: list[float], unit: float, digits: str) -> list[str]:
    """A row of a table: values in a larger unit."""
    return [name, *(f"{unit * value:{digits}}" for value in values)]


def sources(report: Reporter, figures: Figures) -> None:
    """Each figure with its technology node and source."""
    for name, levels in figures:
        words = {level: f"{f.value:g} at {f.node} nm: {f.source}" for level, f in levels}
        report.facts(name.replace("_", " "), words)
