"""What rgnn chip shows: exports, golden vectors, products, and columns that were measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rgnn.chip.exchange import ChipExport
    from rgnn.models.golden import GoldenVectors
    from rgnn.reports.chip_exchange import ComparedColumns, WrittenProduct
    from rgnn_cli.session.session import Session

# Rows of a table on the screen.
SHOWN = 24


def export(session: Session, found: ChipExport, files: Sequence[Path], out: Path) -> None:
    """Arrays with their regions, and the files."""
    layout, report = found.layout, session.report
    rows = []
    for name, w in found.weights.items():
        mine = [r for r in layout.regions if r.array == name]
        tiles = sorted({r.tile for r in mine})
        rows.append([name, f"{w.shape[0]} x {w.shape[1]}", str(len(mine)), ", ".join(map(str, tiles))])
    report.table("Arrays on the tiles", ["array", "outputs x inputs", "regions", "tiles"], rows[:SHOWN])
    if len(rows) > SHOWN:
        report.say(f"... and {len(rows) - SHOWN} more in regions.json")
    size = f"{layout.tile[0]} x {layout.tile[1]}"
    report.say(
        f"Tiles: {layout.tiles} of {size} cells, {100 * layout.utilisation:.0f}% in use; pairs in two {layout.pairs}"
    )
    if found.targets is None:
        report.say(
            "Targets: none. The cells of a measured chip were picked one by one from its map, so the regions say where "
            "a matrix would lie, not where its cells are; --program gives targets where the conductances are known."
        )
    names = [str(f.relative_to(out)) for f in files if f.parent == out]
    report.say(f"In [bold]{out}[/]: weights/, {', '.join(names)}")
    report.say(f"Next: rgnn chip import-result RESULT --of {out}")
    arrays = {name: list(w.shape) for name, w in found.weights.items()}
    session.result(
        {
            "out": str(out),
            "tiles": layout.tiles,
            "cells": layout.cells,
            "utilisation": layout.utilisation,
            "programmed": found.targets is not None,
            "arrays": arrays,
            "files": [str(file) for file in files],
        }
    )


def golden(session: Session, found: GoldenVectors, out: Path) -> None:
    """What was written, and what to type next."""
    rows, bits, tiles, columns = found.sums.shape
    report = session.report
    report.say(f"Array: {found.array}, {found.weight.shape[1]} inputs, {columns} columns, tiles: {tiles}")
    driven = float((found.codes > 0).mean())
    report.say(f"Vectors: {rows} of {bits} bits; {100 * driven:.0f}% of the inputs driven")
    if found.adc_codes is not None:
        report.say(f"Output codes: {found.adc_codes.min()} to {found.adc_codes.max()}")
    report.say(f"In [bold]{out}[/]: golden.json and NPY files of codes, planes, sums, deviation")
    report.say(f"Next: rgnn chip mvm {out}   or   rgnn chip import-result RESULT --of {out}")
    session.result(
        {"out": str(out), "array": found.array, "rows": rows, "bits": bits, "tiles": tiles, "columns": columns}
    )


def product(session: Session, found: WrittenProduct, out: Path) -> None:
    """Errors of a plain product."""
    p, report = found.product, session.report
    out_size, rows = p.exact.shape[1], p.exact.shape[0]
    report.say(f"Hardware: {p.hardware.describe()}; inputs from {p.low:.4g} to {p.high:.4g}")
    facts = {"relative error": f"{100 * p.relative_error:.3g}%"}
    facts["root mean square error"] = f"{p.to_mapping()['rms_error']:.3g}"
    if p.read_deviation is not None:
        facts["from read to read"] = f"{p.read_deviation:.3g}"
    report.facts(f"{rows} vectors, {out_size} outputs, {len(p.outputs)} read{'s' if len(p.outputs) > 1 else ''}", facts)
    report.say(f"In [bold]{out}[/]: {', '.join(file.name for file in found.files)}")
    session.result({"out": str(out), **found.to_mapping()})


def columns(session: Session, found: ComparedColumns, out: Path) -> None:
    """Gain and offset of columns, array by array."""
    from rgnn.reports.chip_exchange import columns_table

    report, table = session.report, columns_table(found.fits)
    report.table(table.title, table.columns, table.rows[:SHOWN])
    if found.equal_codes is not None:
        total, equal = found.equal_codes
        report.say(f"Codes: {equal:,} of {total:,} as expected")
    if found.within is not None:
        report.say(f"Cells within their tolerance: {100 * found.within:.1f}%")
    if found.success is not None:
        report.say(f"Cells that reached their target: {100 * found.success:.1f}%")
    for fit in found.fits:
        drifted = [str(k) for k in fit.drifted.nonzero()[0]]
        if drifted:
            more = f" and {len(drifted) - SHOWN} more" if len(drifted) > SHOWN else ""
            report.say(f"Drifted columns of {fit.array}: {', '.join(drifted[:SHOWN])}{more}")
    report.say(f"In [bold]{out}[/]: {', '.join(file.name for file in found.files)}")
    if found.chip is not None:
        report.say(f"Chip: [bold]{found.chip}[/]; next: rgnn train --chip {found.chip}")
    session.result({"out": str(out), **found.to_mapping()})
