"""What goes out to a chip and what comes back: exports, golden vectors, results, and plain products."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rgnn.base.arrayfiles import npy, read_numbers
from rgnn.base.choices import PairDirection
from rgnn.base.errors import InputError
from rgnn.base.files import write_atomic
from rgnn.chip.board.connection import connect
from rgnn.chip.board.names import array_name, place_of
from rgnn.chip.board.settings import BoardSettings
from rgnn.chip.board.simulator import siemens_of
from rgnn.chip.chip import Chip
from rgnn.chip.columns import CSV_HEADING, ColumnFit
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.exchange import ChipExport, ChipResult, read_result
from rgnn.chip.hardware import Hardware
from rgnn.chip.mvm import MatrixProduct, mvm
from rgnn.chip.regions import Layout, gathered, lay_out, targets
from rgnn.data.store.reader import GraphStore, require_cutoff
from rgnn.graphs.graph import Graph
from rgnn.md.structures import read_structure
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import load_model
from rgnn.models.golden import GoldenVectors, array_of, golden_vectors, replayed
from rgnn.plots.columns import columns_figure, product_figure
from rgnn.reports.html import Picture, Table, write_report


def export_chip(
    path: str | Path,
    out: str | Path,
    *,
    tile: tuple[int, int] | None = None,
    pairs: PairDirection = "columns",
    tolerance: float | None = None,
    program: bool = False,
) -> tuple[ChipExport, list[Path]]:
    """Write what a model asks of a chip: what `rgnn chip export` does.

    Args:
        path: model folder or training run.
        out: folder to write.
        tile: rows and columns of cells of a tile; None is that of the model's hardware.
        pairs: where the second cell of a weight lies.
        tolerance: relative to the targets; None is the programming noise of the hardware, or 5%.
        program: the conductances of a measured chip become targets too, for an array that can be programmed.

    Returns:
        The export, and its files. A measured chip has no targets unless they are asked for, and a chip that is known
        by its differences only has none.

    Raises:
        InputError: no model there, a model without a chip, or tiles without room.
    """
    model = load_model(path)
    if not model.uses_chip:
        raise InputError(f"{path}: is all digital and has nothing on a chip; name another model.")
    layout = lay_out(model.crossbars, tile or model.hardware.tile, pairs)
    programmed = program or not model.provenance.chip_is_measured
    goal = targets(model.crossbars, layout, model.hardware, tolerance) if programmed else None
    if program and goal is None:
        raise InputError(f"{path}: knows the differences of pairs only, so no cell has a target; leave --program out.")
    weights = {array_name(c): c.weight.double().numpy() for c in model.crossbars}
    siemens = {array_name(c): None if c.siemens is None else float(c.siemens) for c in model.crossbars}
    export = ChipExport(layout, weights, siemens, goal, {"model": str(path), "chip": model.provenance.chip})
    return export, export.save(out)


def make_golden(
    path: str | Path,
    frames: str | Path,
    out: str | Path,
    *,
    frame: int = 0,
    layer: int = 0,
    matrix: int = 0,
    member: int = 0,
    hardware: Hardware | None = None,
    rows: int = 256,
) -> GoldenVectors:
    """Write golden vectors of one array in the pass of one frame: what `rgnn chip golden` does.

    Args:
        path: model folder or training run.
        frames: a graph store, or a structure file.
        out: folder to write.
        frame: number of the frame; negative ones count from the end.
        layer: of the array.
        matrix: number of the array in its layer.
        member: of a committee.
        hardware: None is that of the model.
        rows: most rows; 0 takes all.

    Raises:
        InputError: no model, frame or array there, or hardware without bit planes.
    """
    model = load_model(path)
    g = _graph(model, frames, frame)
    crossbar = array_of(model, layer, matrix, member)
    about = {"model": str(path), "frames": str(frames), "frame": frame}
    found = golden_vectors(model, g, crossbar, hardware, rows, about)
    found.save(out)
    return found


def _graph(model: ForceField, frames: str | Path, frame: int) -> Graph:
    path = Path(frames)
    if (path / "zarr.json").is_file():
        store = GraphStore(path)
        require_cutoff(store, model.settings.cutoff)
        if not -len(store) <= frame < len(store):
            raise InputError(f"{path}: has no frame {frame}; it has {len(store)}, counted from 0.")
        return store.graph(frame % len(store))
    atoms = read_structure(path, frame)
    return Graph.from_positions(atoms.numbers, atoms.positions, atoms.cell[:], atoms.pbc, model.settings.cutoff)


@dataclass(frozen=True)
class ComparedColumns:
    """Measured columns beside simulated ones, and the files that say it.

    Attributes:
        fits: of each array.
        files: report, figure and tables.
        equal_codes: number of column sums, and how many came back exactly as expected; None where the counts are not
            those of the model's converters.
        chip: folder of the chip that was read back; None where no conductances came back.
        within: share of the cells that are within their tolerance; None where that is not known.
        success: share of the cells that the chip says have reached their target; None where it says nothing.
    """

    fits: Sequence[ColumnFit]
    files: Sequence[Path]
    equal_codes: tuple[int, int] | None = None
    chip: Path | None = None
    within: float | None = None
    success: float | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers."""
        equal = self.equal_codes
        return {
            "arrays": [fit_mapping(fit) for fit in self.fits],
            "sums": None if equal is None else equal[0],
            "sums_as_expected": None if equal is None else equal[1],
            "cells_within_tolerance": self.within,
            "cells_successful": self.success,
            "chip": None if self.chip is None else str(self.chip),
            "files": [str(file) for file in self.files],
        }


def fit_mapping(fit: ColumnFit) -> dict[str, Any]:
    """Plain numbers of the columns of one array, NaN as None."""
    relative = fit.gain / fit.unit
    known = relative[np.isfinite(relative)]
    return {
        "array": fit.array,
        "columns": len(fit.gain),
        "drifted": np.flatnonzero(fit.drifted).tolist(),
        "counts_per_weight": fit.unit,
        "gain_deviation": float(known.std()) if len(known) else None,
        "offset_deviation": float(np.nanstd(fit.offset)),
        "residual": float(np.sqrt(np.nanmean(fit.residual**2))),
    }


def columns_table(fits: Sequence[ColumnFit]) -> Table:
    """One line for each array."""
    rows = []
    for fit in fits:
        m = fit_mapping(fit)
        spread = "" if m["gain_deviation"] is None else f"{100 * m['gain_deviation']:.2g}%"
        rows.append(
            [fit.array, f"{len(m['drifted'])} of {m['columns']}", f"{fit.unit:.4g}", spread,
             f"{m['offset_deviation']:.2g}", f"{m['residual']:.2g}"]
        )  # fmt: skip
    return Table(
        "Measured against simulated, by array",
        ["array", "drifted", "unit", "gain spread", "offset spread", "residual"],
        rows,
    )


def write_columns(
    folder: Path,
    fits: Sequence[ColumnFit],
    clouds: Sequence[tuple[np.ndarray, np.ndarray]],
    title: str,
    facts: Mapping[str, object],
    what: str = "column sum",
    unit: str = "",
) -> list[Path]:
    """Write columns.csv, columns.png and report.html into a folder; these files."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "columns.csv", "\n".join([CSV_HEADING, *(row for f in fits for row in f.csv_rows())]) + "\n")
    figure = columns_figure(fits, clouds, folder / "columns.png", what, unit)
    picture = Picture("Columns", figure, "Line: the median gain. Bars: 95% intervals. Orange: drifted columns.")
    page = write_report(folder / "report.html", title, facts, [columns_table(fits)], [picture])
    return [page, figure, folder / "columns.csv"]


def import_result(source: str | Path, of: str | Path, out: str | Path) -> ComparedColumns:
    """Compare what came back from a chip with what was sent: what `rgnn chip import-result` does.

    Args:
        source: file or folder of results, see `rgnn.chip.exchange.read_result`.
        of: the export or the golden vectors that they answer.
        out: folder to write.

    Raises:
        InputError: results that do not fit what was sent, or nothing to compare.
    """
    of, out = Path(of), Path(out)
    if (of / "golden.json").is_file():
        golden = GoldenVectors.load(of)
        result = read_result(source)
        if result.sums is None:
            raise InputError(f"{source}: has no sums, which golden vectors ask for; name an array 'codes' or 'sums'.")
        return compare_with_golden(golden, result.sums, out, str(source))
    export = ChipExport.load(of)
    shape = (export.layout.tiles, *export.layout.tile)
    result = read_result(source, shape)
    if result.conductance is None:
        raise InputError(f"{source}: has no conductances, which an export asks for; name an array 'conductance'.")
    return _compare_cells(export, result, out, str(source))


def compare_with_golden(
    golden: GoldenVectors, measured: np.ndarray, out: Path | None, source: str, title: str = "Measured columns"
) -> ComparedColumns:
    """Sums that came back beside those that were expected.

    Args:
        golden: what was sent.
        measured: [rows, bits, tiles, out], [rows, bits, out] or [rows, out] counts of columns.
        out: folder of the report; None writes none.
        source: of the measured sums, in words.
        title: of the report.

    Raises:
        InputError: sums of another shape.
    """
    measured = np.asarray(measured)
    expected, codes = golden.sums, golden.adc_codes
    if measured.ndim == expected.ndim and measured.shape == expected.shape:
        pass
    elif measured.ndim == 3 and measured.shape == golden.by_plane.shape:
        expected = golden.by_plane
        codes = None if codes is None or golden.sums.shape[2] > 1 else codes[:, :, 0]
    elif measured.ndim == 2:
        expected, codes = np.einsum("rbo,b->ro", golden.by_plane, 2.0 ** np.arange(golden.bits)), None
    if measured.shape != expected.shape:
        raise InputError(
            f"{source}: has sums of shape {list(measured.shape)}, but {list(golden.by_plane.shape)} were asked for "
            "(rows, bits, columns), or without the bits where they are added up."
        )
    is_codes = codes is not None and measured.dtype.kind in "iu"
    simulated = codes if is_codes and codes is not None else expected
    fit = ColumnFit.of(golden.array, measured, simulated)
    equal = (measured.size, int((measured == simulated).sum())) if is_codes else None
    files = list[Path]()
    if out is not None:
        facts = {"Sent": f"{golden.array}, {len(golden.codes)} rows of {golden.bits} bits", "Came back": source}
        if equal is not None:
            facts["Codes as expected"] = f"{equal[1]:,} of {equal[0]:,}"
        what = "code" if is_codes else "column sum"
        files = write_columns(out, [fit], [(simulated.ravel(), measured.ravel())], title, facts, what)
    return ComparedColumns([fit], files, equal)


def _compare_cells(export: ChipExport, result: ChipResult, out: Path, source: str) -> ComparedColumns:
    """Conductances that were read back beside their targets or the model's weights; and the chip that they make."""
    assert result.conductance is not None
    read = by_array(export, result.conductance)
    goal = None if export.targets is None else by_array(export, export.targets.conductance)
    fits, clouds, weights, pairs, scales = [], [], [], [], []
    for name, cells in read.items():
        weight, siemens = export.weights[name], export.siemens[name]
        if not np.isfinite(cells).all():
            lost = int((~np.isfinite(cells)).sum())
            raise InputError(f"{source}: {lost} cells of {name} have no conductance; read all cells of its regions.")
        measured, simulated = cells, None if goal is None else goal[name]
        if simulated is None:
            measured, simulated = cells[0] - cells[1], weight * (siemens or 1.0)
        scales.append(siemens or siemens_of(cells[0] - cells[1], weight))
        # An output is a column of the chip: cells [.., out, in] with the outputs last.
        measured, simulated = (np.moveaxis(1e6 * a, -2, -1) for a in (measured, simulated))
        fits.append(ColumnFit.of(name, measured, simulated))
        clouds.append((simulated.ravel(), measured.ravel()))
        weights.append(((cells[0] - cells[1]) / scales[-1]).ravel())
        pairs.append(cells.reshape(2, -1))
    _require_siemens(fits, export, source)
    within = success = None
    if export.targets is not None:
        used, t = export.targets.used, export.targets
        within = float(np.mean(np.abs(result.conductance - t.conductance)[used] <= t.tolerance[used]))
    if result.success is not None:
        used = ~np.isnan(by_cells(export.layout))
        success = float(result.success[used].mean())
    facts: dict[str, object] = {"Export": export.about["model"], "Came back": source}
    facts |= {} if within is None else {"Cells within their tolerance": f"{100 * within:.1f}%"}
    facts |= {} if success is None else {"Cells that reached their target": f"{100 * success:.1f}%"}
    files = write_columns(out, fits, clouds, "Cells that were read back", facts, "conductance", " (µS)")
    chip = _chip(weights, pairs, scales, source)
    chip.save(out / "chip")
    return ComparedColumns(fits, files, None, out / "chip", within, success)


# Median gain of cells that were read back, beyond which they are in another unit.
FARTHEST = 5.0


def _require_siemens(fits: Sequence[ColumnFit], export: ChipExport, source: str) -> None:
    """Raise InputError where conductances are so far from what was sent that they must be in another unit."""
    for fit in fits:
        known = export.siemens[fit.array] is not None
        if known and not 1 / FARTHEST < fit.unit < FARTHEST:
            raise InputError(
                f"{source}: conductances of {fit.array} are {fit.unit:.3g} times those of the export; give them in "
                "siemens."
            )


def by_array(export: ChipExport, cells: np.ndarray) -> dict[str, np.ndarray]:
    """[2, out, in] of each array, of what is known of each cell of the tiles."""
    return gathered(list(export.weights.items()), export.layout, cells)


def by_cells(layout: Layout) -> np.ndarray:
    """[tiles, rows, columns] 1 where a cell is used, NaN where not."""
    used = np.full((layout.tiles, *layout.tile), np.nan)
    for region in layout.regions:
        rows, columns = layout.cells_of(region)
        used[region.tile, rows, columns] = 1
    return used


def _chip(weights: list[np.ndarray], pairs: list[np.ndarray], scales: list[float], source: str) -> Chip:
    """The arrays one after the other: `Chip.matrices` of the same model cuts them out again."""
    w = torch.from_numpy(np.concatenate(weights).astype(np.float32))
    if max(scales) - min(scales) > 1e-9 * max(scales):  # one chip has one unit
        return Chip(w, f"read back, {Path(source).name}", measured=True)
    g = torch.from_numpy(np.concatenate(pairs, axis=1).astype(np.float32))
    return Chip(w, f"read back, {Path(source).name}", g, siemens=scales[0], measured=True)


@dataclass(frozen=True)
class WrittenProduct:
    """A plain product and the files that hold it."""

    product: MatrixProduct
    files: Sequence[Path]

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers."""
        return {**self.product.to_mapping(), "files": [str(file) for file in self.files]}


def multiply(
    matrix: str | Path,
    vectors: str | Path,
    out: str | Path,
    hardware: Hardware,
    *,
    input_range: tuple[float, float] | None = None,
    reads: int = 1,
    seed: int = 0,
) -> WrittenProduct:
    """Multiply the vectors of a file with the matrix of another: what `rgnn chip mvm` does.

    Args:
        matrix: NPY file or table, [out, in], or NPY [2, out, in] with G+ and G- in siemens.
        vectors: NPY file or table, [rows, in].
        out: folder to write.
        hardware: that is read.
        input_range: of the input converters; None spans the vectors.
        reads: times that each product is read.
        seed: of the noise.

    Raises:
        InputError: a file that cannot be read, or as of `mvm`.
    """
    out = Path(out)
    product = mvm(
        read_numbers(matrix), read_numbers(vectors), hardware, input_range=input_range, reads=reads, seed=seed
    )
    out.mkdir(parents=True, exist_ok=True)
    names = {"outputs": product.outputs, "exact": product.exact, "codes": product.codes}
    files = [product_figure(product.exact, product.outputs, out / "product.png")]
    for name, array in names.items():
        if array is not None:
            write_atomic(out / f"{name}.npy", npy(array))
            files.append(out / f"{name}.npy")
    write_atomic(out / "product.json", json.dumps(product.to_mapping(), indent=2) + "\n")
    return WrittenProduct(product, [*files, out / "product.json"])


def replay(
    folder: str | Path, out: str | Path, *, noisy: bool = False, seed: int = 0, board: BoardSettings | None = None
) -> ComparedColumns:
    """Golden vectors on the simulator or a board, compared with what they expect: what `rgnn chip mvm GOLDEN` does.

    Args:
        folder: of golden vectors.
        out: folder to write.
        noisy: on the simulator, with their read noise.
        seed: of the noise.
        board: that is measured; None takes the simulator.

    Raises:
        InputError: no golden vectors there, or no such board.
        LostBoard: the board does not answer.
    """
    golden = GoldenVectors.load(folder)
    if board is not None:
        return _replay_on_board(golden, Path(out), board, seed)
    sums, codes = replayed(golden, noisy=noisy, seed=seed)
    measured = sums if golden.adc_codes is None else codes
    source = "the simulator" + (" with read noise" if noisy else " without noise")
    write_out = Path(out)
    found = compare_with_golden(golden, measured, write_out, source, "Golden vectors on the simulator")
    write_atomic(write_out / "codes.npy", npy(measured))
    return ComparedColumns(found.fits, [*found.files, write_out / "codes.npy"], found.equal_codes)


def _replay_on_board(golden: GoldenVectors, out: Path, board: BoardSettings, seed: int) -> ComparedColumns:
    """Column sums of each plane from a board, in units of the weight, beside those that are expected."""
    crossbar = Crossbar(torch.from_numpy(golden.weight))
    place = place_of(golden.array)
    if place is not None:
        crossbar.place, crossbar.member = place
    connection = connect(board.driver, [crossbar], board.timeout, board.retries, seed)
    try:
        measured = connection.by_plane(array_name(crossbar), golden.codes, golden.bits)
    finally:
        connection.close()
    source = f"the board '{connection.info.name}'"
    found = compare_with_golden(golden, measured, out, source, "Golden vectors on a board")
    write_atomic(out / "sums.npy", npy(measured))
    return ComparedColumns(found.fits, [*found.files, out / "sums.npy"], found.equal_codes)
