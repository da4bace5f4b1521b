"""Chips from files of conductances: a chip folder with its figures, and what was found on the way."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rgnn.base.choices import AxisOfReads, ConductanceScheme, ConductanceUnit
from rgnn.base.errors import InputError
from rgnn.chip.chip import Chip
from rgnn.chip.measurement import ImportedChip, Measurement, read_target, to_chip
from rgnn.chip.published import is_object_array, read_conductances
from rgnn.plots.chip import chip_maps, measured_chip

# How files of the published kind end.
PUBLISHED = (".pkl", ".pt", ".pth")


@dataclass(frozen=True)
class PublishedChip:
    """A chip made of the list of signed matrices that was published.

    Attributes:
        chip: all weights.
        layers: the matrices of each layer.
        figure: file of the figures.
    """

    chip: Chip
    layers: Sequence[Sequence[Tensor]]
    figure: Path

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers; weights are in the model's units."""
        return {"figure": str(self.figure), **asdict(self.chip.statistics)}


@dataclass(frozen=True)
class MeasuredChip:
    """A chip made of a measured map.

    Attributes:
        measurement: all reads.
        imported: the chip, and what was found on the way.
        programmed: whether it is known what the cells were programmed to.
        figure: file of the figures.
    """

    measurement: Measurement
    imported: ImportedChip
    programmed: bool
    figure: Path

    @property
    def chip(self) -> Chip:
        """The chip."""
        return self.imported.chip

    def relative(self, deviation: float) -> float | None:
        """A deviation as a fraction of the mean of the cells; None for signed weights, whose mean means nothing."""
        mean = abs(self.imported.spread.mean)
        return deviation / mean if self.measurement.unit is not None and mean else None

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers; keys of cells end in _siemens unless the map has no unit."""
        dead, spread = self.imported.dead, self.imported.spread
        unit = "" if self.measurement.unit is None else "_siemens"
        return {
            "figure": str(self.figure),
            "scheme": self.imported.scheme,
            "unit": self.measurement.unit,
            "unit_reason": self.measurement.unit_reason,
            "signed": self.imported.scheme == "signed",
            "sign_reason": self.measurement.sign_reason,
            "notes": list(self.measurement.notes),
            "reads": self.measurement.n_reads,
            "dead_cells": dead.cells,
            "unread_cells": dead.unread,
            "shorted_cells": dead.shorted,
            "dead_rows": list(dead.rows),
            "dead_columns": list(dead.columns),
            "weights_left_out": self.imported.left_out,
            f"cell_mean{unit}": spread.mean,
            f"programming_spread{unit}": spread.programming,
            f"read_noise{unit}": spread.read if self.measurement.n_reads > 1 else None,
            **asdict(self.chip.statistics),
        }


def import_chip(
    source: str | Path,
    out: str | Path,
    *,
    unit: ConductanceUnit | None = None,
    scheme: ConductanceScheme | None = None,
    reference_column: int | None = None,
    target: str | Path | None = None,
    name: str | None = None,
    plus: str | None = None,
    minus: str | None = None,
    reads: AxisOfReads | None = None,
) -> PublishedChip | MeasuredChip:
    """Write a chip folder from measured conductances: what `rgnn import-conductance` does.

    Args:
        source: a map, a folder of repeated reads, or the published Conductance.pkl.
        out: chip folder.
        unit: unit of the numbers; None takes the one that the file states, or recognises siemens and microsiemens by
            their size.
        scheme: how cells make weights, see `to_chip`; None is "signed" where a number is negative, else "pair".
        reference_column: column of the scheme "reference", from 0; None is the last.
        target: map of what the cells were programmed to, in any unit.
        name: name of the map in a file that has several.
        plus: name of the map that holds G+.
        minus: name of the map that holds G-; the scheme is then "pair-halves".
        reads: axis of a stack that counts reads; None finds it.

    Raises:
        InputError: a file cannot be read, the map does not fit the scheme, or an option has no use.
    """
    source, out = Path(source), Path(out)
    if source.suffix in PUBLISHED or (source.suffix.lower() == ".npz" and is_object_array(source)):
        maps = {"unit": unit, "scheme": scheme, "reference_column": reference_column, "target": target, "name": name}
        maps |= {"plus": plus, "minus": minus, "reads": reads}
        for option, value in maps.items():
            if value is not None:
                raise InputError(
                    f"{source}: holds signed matrices, which have no use for {option.replace('_', ' ')}; leave it out."
                )
        layers = read_conductances(source)
        chip = Chip.from_matrices(layers, source.name)
        out.mkdir(parents=True, exist_ok=True)
        published = PublishedChip(chip, layers, chip_maps(layers, out / "chip.png"))
        chip.save(out)
        return published
    if reference_column is not None and scheme != "reference":
        raise InputError(
            "a reference column belongs to the scheme reference; give --scheme reference, or leave it out."
        )
    if plus is not None and scheme not in (None, "pair-halves"):
        raise InputError("G+ and G- in two maps make pairs by themselves; leave --scheme out.")
    scheme = "pair-halves" if plus is not None else scheme
    measurement = Measurement.read(source, unit, name, scheme=scheme, plus=plus, minus=minus, reads=reads)
    goal = None if target is None else read_target(target, measurement)
    imported = to_chip(measurement, scheme, -1 if reference_column is None else reference_column, goal)
    out.mkdir(parents=True, exist_ok=True)
    figure = measured_chip(measurement, imported, out / "chip.png")
    imported.chip.save(out)
    return MeasuredChip(measurement, imported, target is not None, figure)
