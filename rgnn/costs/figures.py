"""The table of figures: what one operation takes, each figure with its source and technology node."""

from importlib.resources import files
from pathlib import Path
from typing import Self, get_args

import yaml
from pydantic import model_validator

from rgnn.base.choices import Level
from rgnn.base.errors import InputError
from rgnn.base.settings import Number, Settings, Whole, read_yaml

LEVELS: tuple[Level, ...] = get_args(Level)


class Figure(Settings):
    """One number with its source."""

    value: Number = 0.0
    """The number, in the unit of its operation."""
    node: Whole = 0
    """Technology node, nm."""
    source: str = ""
    """Publication or estimate that the number is from."""


class Range(Settings):
    """What sources say of one operation."""

    low: Figure = Figure()
    """Lowest figure."""
    nominal: Figure = Figure()
    """Figure to reckon with."""
    high: Figure = Figure()
    """Highest figure."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for level in LEVELS:
            figure = getattr(self, level)
            if not (figure.value > 0 and figure.node > 0 and figure.source):
                raise InputError(f"{level} needs a value above 0, a node in nm and a source.")
        if not self.low.value <= self.nominal.value <= self.high.value:
            raise InputError("low, nominal and high must not fall.")
        return self


class Figures(Settings):
    """The table of figures, see figures.yaml for their sources."""

    adc_energy_8_bits: Range
    """Energy of one conversion of 8 bits by an output converter, pJ."""
    adc_area_8_bits: Range
    """Area of an output converter of 8 bits, um^2."""
    adc_time: Range
    """Time of one conversion, ns."""
    row_driver_energy: Range
    """Energy of driving one row once, pJ."""
    row_driver_area: Range
    """Area of the driver of one row, um^2."""
    cell_conductance_us: Range
    """Conductance of a cell, uS."""
    read_voltage: Range
    """Voltage of a read, V."""
    read_time: Range
    """Time of one read of an array, ns."""
    cell_area_f2: Range
    """Area of a cell, squares of the technology node."""
    add_energy_32_bits: Range
    """Energy of an addition of 32 bits, pJ."""
    multiply_energy_32_bits: Range
    """Energy of a multiplication of 32 bits, pJ."""
    register_energy_bit: Range
    """Energy of a register access for each bit, pJ."""
    buffer_energy_bit: Range
    """Energy of a buffer access for each bit, pJ."""
    add_area_32_bits: Range
    """Area of an adder of 32 bits, um^2."""
    multiply_area_32_bits: Range
    """Area of a multiplier of 32 bits, um^2."""
    multiply_time: Range
    """Time of a multiplication of 32 bits, ns."""

    @classmethod
    def packaged(cls) -> "Figures":
        """The table that comes with the package."""
        text = files("rgnn.costs").joinpath("figures.yaml").read_text(encoding="utf-8")
        return cls.from_mapping(yaml.safe_load(text), "figures.yaml")

    @classmethod
    def read(cls, path: str | Path) -> "Figures":
        """A table of one's own; what it leaves out is taken from the packaged one.

        Raises:
            InputError: unknown names, or figures without a source or node.
        """
        packaged = cls.packaged().to_mapping()
        return cls.from_mapping({**packaged, **read_yaml(path)}, str(path))

    def value(self, name: str, level: Level) -> float:
        """The number."""
        return float(getattr(getattr(self, name), level).value)
