"""The table of figures: what one operation takes, each figure with its source and technology node."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml

from rgnn.base.errors import InputError
from rgnn.base.settings import Settings, read_yaml

Level = Literal["low", "nominal", "high"]
LEVELS: tuple[Level, ...] = ("low", "nominal", "high")


@dataclass(frozen=True)
class Figure(Settings):
    """One number with its source; node in nm."""

    value: float = 0.0
    node: int = 0
    source: str = ""


@dataclass(frozen=True)
class Range(Settings):
    """What sources make of one operation."""

    low: Figure = Figure()
    nominal: Figure = Figure()
    high: Figure = Figure()

    def __post_init__(self) -> None:
        for level in LEVELS:
            figure = getattr(self, level)
            if not (figure.value > 0 and figure.node > 0 and figure.source):
                raise InputError(f"{level} needs a value above 0, a node in nm and a source.")
        if not self.low.value <= self.nominal.value <= self.high.value:
            raise InputError("low, nominal and high must not fall.")


@dataclass(frozen=True)
class Figures(Settings):
    """Energy in pJ, time in ns, area in um^2; see figures.yaml for what each is."""

    adc_energy_8_bits: Range
    adc_area_8_bits: Range
    adc_time: Range
    row_driver_energy: Range
    row_driver_area: Range
    cell_conductance_us: Range
    read_voltage: Range
    read_time: Range
    cell_area_f2: Range
    add_energy_32_bits: Range
    multiply_energy_32_bits: Range
    register_energy_bit: Range
    buffer_energy_bit: Range
    add_area_32_bits: Range
    multiply_area_32_bits: Range
    multiply_time: Range

    @classmethod
    def packaged(cls) -> "Figures":
        """The table that comes with the package."""
        text = files("rgnn.costs").joinpath("figures.yaml").read_text(encoding="utf-8")
        return cls.complete(yaml.safe_load(text), "figures.yaml")

    @classmethod
    def read(cls, path: str | Path) -> "Figures":
        """A table of one's own; what it leaves out is taken from the packaged one.

        Raises:
            InputError: unknown names, or figures without a source or node.
        """
        packaged = cls.packaged().to_mapping()
        return cls.complete({**packaged, **read_yaml(path)}, str(path))

    @classmethod
    def complete(cls, mapping: dict[str, object], where: str) -> "Figures":
        """From a mapping that has them all."""
        return cls.from_mapping(mapping, where)

    def value(self, name: str, level: Level) -> float:
        """The number."""
        return float(getattr(getattr(self, name), level).value)
