"""Files that go out to a chip and come back: regions, targets, and what was read and measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from rgnn.base.arrayfiles import npy, read_npy, read_npz
from rgnn.base.errors import InputError, first_line
from rgnn.base.files import read_csv, write_atomic
from rgnn.chip.regions import Layout, Region, Targets

FORMAT, VERSION = "rgnn chip export", 1
HEADING = "tile,row,column,target_siemens,tolerance_siemens,mask"


@dataclass(frozen=True)
class ChipExport:
    """What a model asks of a chip.

    Attributes:
        layout: regions of tiles.
        weights: [out, in] signed weights of each array by name, in the model's units.
        siemens: conductance of one unit of weight of each array; None where it is not known.
        targets: of all cells; None where the chip is not programmed.
        about: model and chip, in plain values.
    """

    layout: Layout
    weights: Mapping[str, np.ndarray]
    siemens: Mapping[str, float | None]
    targets: Targets | None
    about: Mapping[str, Any]

    def save(self, folder: str | Path) -> list[Path]:
        """Write regions.json, a file of weights for each array, and the targets as tables and arrays; all the files."""
        folder, files = Path(folder), list[Path]()
        folder.mkdir(parents=True, exist_ok=True)

        def write(name: str, data: bytes | str) -> None:
            (folder / name).parent.mkdir(exist_ok=True)
            write_atomic(folder / name, data)
            files.append(folder / name)

        for name, weight in self.weights.items():
            write(f"weights/{name}.npy", npy(weight.astype(np.float32)))
        if self.targets is not None:
            write("target.npy", npy(self.targets.conductance))
            write("tolerance.npy", npy(self.targets.tolerance))
            write("mask.npy", npy(self.targets.used))
            write("targets.csv", _table(self.targets))
        layout = self.layout
        arrays = {
            name: {"outputs": w.shape[0], "inputs": w.shape[1], "siemens_per_weight": self.siemens[name]}
            for name, w in self.weights.items()
        }
        plain = {"format": FORMAT, "version": VERSION, **self.about, "programmed": self.targets is not None}
        plain |= {"tile": list(layout.tile), "pairs": layout.pairs, "tiles": layout.tiles, "arrays": arrays}
        write(
            "regions.json", json.dumps(plain | {"regions": [r.to_mapping() for r in layout.regions]}, indent=2) + "\n"
        )
        return files

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a folder that `save` has written.

        Raises:
            InputError: none is there, or it is damaged.
        """
        folder = Path(folder)
        file = folder / "regions.json"
        if not file.is_file():
            raise InputError(f"{folder}: holds no export of a chip (no regions.json); make one with rgnn chip export.")
        try:
            plain = json.loads(file.read_text(encoding="utf-8"))
            if plain.pop("format") != FORMAT or plain.pop("version") != VERSION:
                raise InputError(f"{file}: is not of the format '{FORMAT}' {VERSION}; export the model again.")
            regions = tuple(
                Region(**{**r, "inputs": tuple(r["inputs"]), "outputs": tuple(r["outputs"])}) for r in plain["regions"]
            )
            rows, columns = plain["tile"]
            layout = Layout((rows, columns), plain["pairs"], plain["tiles"], regions)
            siemens = {name: a["siemens_per_weight"] for name, a in plain["arrays"].items()}
            names = [Path(name).name for name in plain["arrays"]]
            programmed = plain["programmed"]
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
            raise InputError(f"{file}: is damaged ({first_line(error)}); export the model again.") from None
        weights = {name: read_npy(folder / "weights" / f"{name}.npy").astype(np.float64) for name in names}
        targets = None
        if programmed:
            targets = Targets(*(read_npy(folder / f"{name}.npy") for name in ("target", "tolerance", "mask")))
        return cls(layout, weights, siemens, targets, {"model": plain.get("model", ""), "chip": plain.get("chip", "")})


def _table(targets: Targets) -> str:
    """One line for each cell of all tiles; cells that are not used have no target, and the mask 0."""
    lines = [HEADING]
    for place in np.ndindex(*targets.used.shape):
        used = bool(targets.used[place])
        values = f"{targets.conductance[place]:.6g},{targets.tolerance[place]:.3g},1" if used else ",,0"
        lines.append(f"{place[0]},{place[1]},{place[2]},{values}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class ChipResult:
    """What came back from a chip; what was not measured is None.

    Attributes:
        conductance: [tiles, rows, columns] read back, siemens; NaN where a cell was not read.
        success: of the same shape, which cells reached their target.
        sums: [rows, bits, out] or [rows, out] counts of the columns, for the golden vectors that were sent.
    """

    conductance: np.ndarray | None = None
    success: np.ndarray | None = None
    sums: np.ndarray | None = None


# Names that arrays may have in files of results.
NAMES = {
    "conductance": ("conductance", "conductances", "G", "g", "readback", "read_back"),
    "success": ("success", "success_mask", "mask", "done"),
    "sums": ("codes", "adc_codes", "sums", "counts", "outputs", "mvm_out"),
}


def read_result(source: str | Path, tiles: tuple[int, int, int] | None = None) -> ChipResult:
    """What a file or folder of results holds.

    Args:
        source: an NPZ file or a folder of NPY files with arrays of the names in `NAMES`; or a table with the columns
            tile, row, column and conductance_siemens, and success where it is known.
        tiles: [tiles, rows, columns] of the export that a table belongs to.

    Raises:
        InputError: nothing of that, or arrays of other shapes.
    """
    source = Path(source)
    if not source.exists():
        raise InputError(f"{source}: there is no such file or folder; name what came back from the chip.")
    if source.suffix.lower() in (".csv", ".txt"):
        return _of_table(source, tiles)
    if source.is_dir():
        arrays = {file.stem: read_npy(file) for file in sorted(source.glob("*.npy"))}
    else:
        arrays = read_npz(source)
    found: dict[str, np.ndarray] = {}
    for field, names in NAMES.items():
        there = [name for name in names if name in arrays]
        if len(there) > 1:
            raise InputError(
                f"{source}: has both '{there[0]}' and '{there[1]}' for the {field}; leave one of them out."
            )
        if there:
            found[field] = arrays[there[0]]
    if not found:
        known = "; ".join(f"{field} as {' or '.join(names[:3])}" for field, names in NAMES.items())
        raise InputError(f"{source}: has {', '.join(arrays) or 'no arrays'}, but nothing that is known: {known}.")
    for name in ("conductance", "success"):
        if name in found and tiles is not None and found[name].ndim == 2 and tiles[0] == 1:
            found[name] = found[name][None]  # of the only tile
        if name in found and tiles is not None and found[name].shape != tiles:
            shape, wanted = (" x ".join(map(str, s)) for s in (found[name].shape, tiles))
            raise InputError(f"{source}: {name} is {shape}, but the export has {wanted} (tiles, rows, columns).")
    if "success" in found:
        found["success"] = found["success"].astype(bool)
    return ChipResult(**found)


def _of_table(file: Path, tiles: tuple[int, int, int] | None) -> ChipResult:
    if tiles is None:
        raise InputError(f"{file}: a table of cells belongs to an export; name its folder with --of.")
    columns = read_csv(file, "write it with the columns tile, row, column, conductance_siemens")
    missing = [name for name in ("tile", "row", "column", "conductance_siemens") if name not in columns]
    if missing:
        raise InputError(f"{file}: has no column '{missing[0]}'; name it so.")
    names = ("tile", "row", "column")
    for name in names:
        whole = np.floor(columns[name]) == columns[name]
        if not whole.all():
            raise InputError(f"{file}: {name} is {columns[name][~whole][0]:g} in a line, but it counts from 0.")
    place = tuple(columns[name].astype(int) for name in names)
    for axis, (name, numbers) in enumerate(zip(names, place, strict=True)):
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < tiles[axis]):
            raise InputError(f"{file}: {name} goes to {numbers.max()}, but the export has {tiles[axis]}, from 0.")
    cells, times = np.unique(np.stack(place), axis=1, return_counts=True)
    if (times > 1).any():
        tile, row, column = cells[:, times > 1][:, 0]
        raise InputError(
            f"{file}: lists the cell of tile {tile}, row {row} and column {column} more than once; give each one line, "
            "the mean of its reads for example."
        )
    conductance, success = np.full(tiles, np.nan), None
    conductance[place] = columns["conductance_siemens"]
    if "success" in columns:
        success = np.zeros(tiles, dtype=bool)
        success[place] = columns["success"] != 0
    return ChipResult(conductance, success)
