"""Estimates of energy, time and area on an analog chip and in digital hardware. Estimates: nothing here is measured.

The same network is compared with itself: its reservoir matrices on the chip, or multiplied by integer units.
Whatever is digital in both (trained matrices, gates, sums) is in both, and formed in the same, split, way.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from rgnn.base.choices import Level
from rgnn.chip.hardware import Hardware
from rgnn.costs.counts import arrays_of_a_weight, calibrations, reads_for
from rgnn.costs.figures import Figures
from rgnn.models.operations import MatrixUse, Operations

# Energy of a conversion of n bits relative to one of 8: envelope of Murmann's survey at 40 nm (arXiv 2404.06553).
ADC_ENERGY = {4: 1.41 / 2.61, 5: 1.42 / 2.61, 6: 1.62 / 2.61, 7: 2.00 / 2.61, 8: 1.0, 10: 5.03 / 2.61}
# Shares of input bits that are 1, bits of digital features, of sums, and of the digital products' operands.
BIT_DENSITY, FEATURE_BITS, SUM_BITS, OPERAND_BITS = 0.5, 16, 32, 8


def adc_relative_energy(bits: int) -> float:
    """Between the bits of the survey linearly; below 4 as for 4, above 10 times four a bit (thermal noise)."""
    known = sorted(ADC_ENERGY)
    if bits <= known[0]:
        return ADC_ENERGY[known[0]]
    if bits > known[-1]:
        return ADC_ENERGY[known[-1]] * 4.0 ** (bits - known[-1])
    below = max(b for b in known if b <= bits)
    above = min(b for b in known if b >= bits)
    share = 0.0 if above == below else (bits - below) / (above - below)
    return ADC_ENERGY[below] * (1 - share) + ADC_ENERGY[above] * share


@dataclass(frozen=True)
class CostEstimate:
    """Of one pass at one level of the figures.

    Attributes:
        energy: pJ by part.
        time: ns of the reservoir's matrices.
        area: um^2 of what holds and reads them.
    """

    energy: dict[str, float]
    time: float
    area: float

    @property
    def total(self) -> float:
        """Energy of all parts, pJ."""
        return sum(self.energy.values())

    @property
    def training(self) -> float:
        """Energy of a training step, pJ: matrices that are trained take two backward products for each forward one."""
        return self.total + 2 * self.of("products", "trained matrices")

    def of(self, *parts: str) -> float:
        """Energy of some parts, pJ; one that does not occur takes none."""
        return sum(self.energy.get(part, 0.0) for part in parts)


@dataclass(frozen=True)
class Comparison:
    """Chip and digital hardware at one level: `level` of the chip's figures, the digital ones nominal."""

    level: Level
    chip: CostEstimate
    digital: CostEstimate

    @property
    def energy_ratio(self) -> float:
        """How many times less the whole pass takes on the chip."""
        return self.digital.total / self.chip.total

    @property
    def product_ratio(self) -> float:
        """The same for the reservoir's matrices alone."""
        return self.digital.of("products") / self.chip.of(
            "converters", "drivers", "cells", "shift and add", "calibration"
        )

    @property
    def speed_ratio(self) -> float:
        """Reservoir products a second and area, chip over digital units on the same area."""
        return self.digital.time / self.chip.time


def compare(ops: Operations, hardware: Hardware, figures: Figures, level: Level) -> Comparison:
    """One pass on the chip, with its figures at `level`, and in digital hardware of the same area."""
    chip = _chip(ops, hardware, figures, level)
    return Comparison(level, chip, _digital(ops, figures, chip.area))


def _chip(ops: Operations, hardware: Hardware, figures: Figures, level: Level) -> CostEstimate:
    bits = hardware.bits or 8

    def value(name: str) -> float:
        return figures.value(name, level)

    arrays = arrays_of_a_weight(hardware)
    _, lines, conversions = reads_for(ops, hardware)
    drives = BIT_DENSITY * lines
    cells = arrays * 2 * BIT_DENSITY * bits * sum(use.products for use in ops.reservoir)
    # uS V^2 ns = 1e-15 J = fJ
    one_cell = 1e-3 * value("cell_conductance_us") * value("read_voltage") ** 2 * value("read_time")
    add = figures.value("add_energy_32_bits", "nominal")
    energy = {
        "converters": conversions * value("adc_energy_8_bits") * adc_relative_energy(hardware.adc_bits or 8),
        "drivers": drives * value("row_driver_energy"),
        "cells": cells * one_cell,
        "shift and add": conversions * add,
        **_calibration(ops, hardware, figures),
        **_shared(ops, figures),
    }
    time = _layers_in_turn(ops, lambda use: bits * _plane_time(use, hardware, figures, level))
    return CostEstimate(energy, time, _chip_area(ops, hardware, figures, level))


def _plane_time(use: MatrixUse, hardware: Hardware, figures: Figures, level: Level) -> float:
    """Settle, then one converter takes the columns of the array in turn."""
    columns = min(use.outputs, hardware.tile[1])
    return figures.value("read_time", level) + columns * figures.value("adc_time", level)


def _layers_in_turn(ops: Operations, vector_time: Callable[[MatrixUse], float]) -> float:
    """Arrays of a layer work side by side, node update before edge update, layer after layer."""
    total = 0.0
    for layer in sorted({use.place[0] for use in ops.reservoir}):
        mine = [use for use in ops.reservoir if use.place[0] == layer]
        for node in (True, False):
            part = [use for use in mine if (use.place[1] in ("W0", "W1")) == node]
            total += max((use.vectors * vector_time(use) for use in part), default=0.0)
    return total


def _calibration(ops: Operations, hardware: Hardware, figures: Figures) -> dict[str, float]:
    """Slope and intercept of converters; nothing where they are not calibrated."""
    sums = calibrations(ops, hardware)
    multiply = figures.value("multiply_energy_32_bits", "nominal") * (FEATURE_BITS / 32) ** 2
    return {"calibration": sums * (multiply + figures.value("add_energy_32_bits", "nominal"))} if sums else {}


def _chip_area(ops: Operations, hardware: Hardware, figures: Figures, level: Level) -> float:
    """Two cells a weight and slice, a driver a row, and one converter with its adder for each array.

    Tiles that share out the inputs or outputs of a matrix are arrays of their own: they are converted at the same time.
    """
    f = figures.cell_area_f2
    cell = getattr(f, level).value * (1e-3 * getattr(f, level).node) ** 2
    inputs, sharing = Counter[tuple[int, str]](), dict[tuple[int, str], int]()
    for use in ops.reservoir:
        matrix = use.place[0], use.place[1].split(",")[0]
        inputs[matrix] += use.inputs
        sharing[matrix] = use.sharing(hardware.tile)
    arrays = sum(-(-n // hardware.tile[0]) * sharing[matrix] for matrix, n in inputs.items())
    converters = arrays * (figures.value("adc_area_8_bits", level) + figures.value("add_area_32_bits", "nominal"))
    drivers = sum(n * sharing[matrix] for matrix, n in inputs.items()) * figures.value("row_driver_area", level)
    area: float = arrays_of_a_weight(hardware) * (2 * ops.reservoir_weights * cell + converters + drivers)
    return area


def _digital(ops: Operations, figures: Figures, area: float) -> CostEstimate:
    """Integer multiply-accumulate units on the same area, always busy; weights and inputs from registers."""

    def value(name: str) -> float:
        return figures.value(name, "nominal")

    scale = (OPERAND_BITS / 32) ** 2
    one = value("multiply_energy_32_bits") * scale + value("add_energy_32_bits")
    one += (2 * OPERAND_BITS + SUM_BITS) * value("register_energy_bit")
    registers = (2 * OPERAND_BITS + SUM_BITS) * 5.98  # um^2 a bit: Aladdin, ISCA 2014, 40 nm
    unit = value("multiply_area_32_bits") * scale + value("add_area_32_bits") + registers
    units = max(1.0, area / unit)
    energy = {"products": ops.reservoir_products * one, **_shared(ops, figures)}
    return CostEstimate(energy, ops.reservoir_products / units * value("multiply_time"), area)


def _shared(ops: Operations, figures: Figures) -> dict[str, float]:
    """What is digital with and without the chip, in the same words of the same precision."""

    def value(name: str) -> float:
        return figures.value(name, "nominal")

    multiply = value("multiply_energy_32_bits") * (FEATURE_BITS / 32) ** 2
    add = value("add_energy_32_bits") * FEATURE_BITS / 32
    e = ops.elementwise
    moved = sum(use.vectors * (use.inputs * OPERAND_BITS + use.outputs * FEATURE_BITS) for use in ops.reservoir)
    moved += sum(use.vectors * (use.inputs + use.outputs) * FEATURE_BITS for use in ops.trained)
    return {
        "trained matrices": ops.trained_products * (multiply + value("add_energy_32_bits")),
        "gates, sums, norms": e.multiplies * multiply + e.adds * add + e.lookups * (multiply + add),
        "buffers": moved * value("buffer_energy_bit"),
    }
