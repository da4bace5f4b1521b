"""Where the matrices of a model lie on the tiles of a chip, and what its cells are programmed to.

A weight is a pair of cells, w = (G+ - G-) / siemens. A tile has rows, which are driven, and columns, whose currents
are summed. The pair lies in two columns 2c and 2c + 1, whose sums are subtracted ("columns"); or in two rows 2r and
2r + 1, driven in opposite directions, as NeuRRAM has them (Wan et al., Nature 608, 504 (2022)) ("rows"). A matrix that
is larger than a tile is cut, as the simulator cuts it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rgnn.base.choices import PairDirection
from rgnn.base.errors import InputError
from rgnn.chip.board.names import array_name
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.hardware import Hardware


@dataclass(frozen=True)
class Region:
    """A part of an array on one tile.

    Attributes:
        array: name of the array.
        tile: number of the tile, from 0.
        row, column: of its first cell on the tile.
        rows, columns: cells that it takes.
        inputs, outputs: [first, last) of the matrix that lie here.
    """

    array: str
    tile: int
    row: int
    column: int
    rows: int
    columns: int
    inputs: tuple[int, int]
    outputs: tuple[int, int]

    def to_mapping(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "inputs": list(self.inputs), "outputs": list(self.outputs)}


@dataclass(frozen=True)
class Layout:
    """All regions of a model.

    Attributes:
        tile: rows and columns of cells of a tile.
        pairs: where the second cell of a weight lies.
        tiles: number of tiles.
        regions: of all arrays.
    """

    tile: tuple[int, int]
    pairs: PairDirection
    tiles: int
    regions: tuple[Region, ...]

    @property
    def cells(self) -> int:
        """Cells in use."""
        return sum(r.rows * r.columns for r in self.regions)

    @property
    def utilisation(self) -> float:
        """Share of the cells of all tiles that is in use."""
        return self.cells / (self.tiles * self.tile[0] * self.tile[1])

    def cells_of(self, region: Region) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns on the tile, each [2, outputs, inputs], of the cells G+ and G- of a region."""
        outputs, inputs = np.indices((region.outputs[1] - region.outputs[0], region.inputs[1] - region.inputs[0]))
        second = np.arange(2)[:, None, None]
        if self.pairs == "columns":
            rows, columns = np.broadcast_to(inputs, (2, *inputs.shape)), 2 * outputs + second
        else:
            rows, columns = 2 * inputs + second, np.broadcast_to(outputs, (2, *outputs.shape))
        return region.row + rows, region.column + columns


def lay_out(crossbars: Sequence[Crossbar], tile: tuple[int, int], pairs: PairDirection = "columns") -> Layout:
    """Place the matrices, in their order, on as few tiles as shelves of one block after the other allow.

    Args:
        crossbars: of a model.
        tile: rows and columns of cells of a tile.
        pairs: where the second cell of a weight lies.

    Raises:
        InputError: the tile has no room for one pair.
    """
    across, down = (1, 2) if pairs == "columns" else (2, 1)  # cells of a weight along rows and columns of the tile
    most_inputs, most_outputs = tile[0] // across, tile[1] // down
    if not (most_inputs and most_outputs):
        raise InputError(f"a tile of {tile[0]} x {tile[1]} cells has no room for a pair of cells; give larger tiles.")
    shelves, regions = _Shelves(tile), []
    for crossbar in crossbars:
        out, n = crossbar.weight.shape
        for i in range(0, n, most_inputs):
            for o in range(0, out, most_outputs):
                inputs, outputs = (i, min(n, i + most_inputs)), (o, min(out, o + most_outputs))
                size = (inputs[1] - i) * across, (outputs[1] - o) * down
                place = shelves.place(*size)
                regions.append(Region(array_name(crossbar), *place, *size, inputs, outputs))
    return Layout(tile, pairs, shelves.tile_number + 1, tuple(regions))


class _Shelves:
    """Blocks side by side on a shelf, shelves one below the other, then the next tile."""

    def __init__(self, tile: tuple[int, int]) -> None:
        self.tile, self.tile_number, self.row, self.column, self.height = tile, 0, 0, 0, 0

    def place(self, rows: int, columns: int) -> tuple[int, int, int]:
        """Tile, row and column of the first cell of the next block."""
        if self.column + columns > self.tile[1]:
            self.row, self.column, self.height = self.row + self.height, 0, 0
        if self.row + rows > self.tile[0]:
            self.tile_number, self.row, self.column, self.height = self.tile_number + 1, 0, 0, 0
        place = self.tile_number, self.row, self.column
        self.column, self.height = self.column + columns, max(self.height, rows)
        return place


@dataclass(frozen=True)
class Targets:
    """What the cells of all tiles are to be, siemens.

    Attributes:
        conductance: [tiles, rows, columns], NaN where a cell is not used.
        tolerance: [tiles, rows, columns] that a cell may miss its target by, NaN where it is not used.
        used: [tiles, rows, columns] which cells are.
    """

    conductance: np.ndarray
    tolerance: np.ndarray
    used: np.ndarray


def targets(
    crossbars: Sequence[Crossbar], layout: Layout, hardware: Hardware, tolerance: float | None = None
) -> Targets | None:
    """The targets of all cells; None where the cells are known by their differences only.

    Args:
        crossbars: those that were laid out.
        layout: where they lie.
        hardware: whose programming noise is the tolerance where none is given; without it, 5% of the target.
        tolerance: relative to the target; None as above.
    """
    known = {array_name(c): c for c in crossbars}
    if any(c.pair is None or c.siemens is None for c in crossbars):
        return None
    noise = None if hardware.programming_law is not None else hardware.programming_noise
    relative = tolerance if tolerance is not None else noise or DEFAULT_TOLERANCE
    shape = (layout.tiles, *layout.tile)
    conductance = np.full(shape, np.nan)
    for region in layout.regions:
        crossbar = known[region.array]
        assert crossbar.pair is not None and crossbar.siemens is not None
        siemens = float(crossbar.siemens) * crossbar.pair.double().cpu().numpy()
        rows, columns = layout.cells_of(region)
        conductance[region.tile, rows, columns] = siemens[:, slice(*region.outputs), slice(*region.inputs)]
    return Targets(conductance, relative * conductance, np.isfinite(conductance))


# Of a target, where nobody says otherwise.
DEFAULT_TOLERANCE = 0.05


def gathered(arrays: Sequence[tuple[str, np.ndarray]], layout: Layout, cells: np.ndarray) -> dict[str, np.ndarray]:
    """What is known of each cell of the tiles, such as conductances read back, as [2, out, in] of each array.

    Args:
        arrays: name and weights [out, in] of each.
        layout: where they lie.
        cells: [tiles, rows, columns].
    """
    found = {name: np.full((2, *weight.shape), np.nan) for name, weight in arrays}
    for region in layout.regions:
        rows, columns = layout.cells_of(region)
        found[region.array][:, slice(*region.outputs), slice(*region.inputs)] = cells[region.tile, rows, columns]
    return found
