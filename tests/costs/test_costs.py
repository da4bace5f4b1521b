import pytest
import yaml

from rgnn import Hardware
from rgnn.base.errors import InputError
from rgnn.chip.converters import Counts
from rgnn.costs import Figures, MatrixUse, Workload, compare, operations, training_share, workload
from rgnn.costs.counts import reads_for
from rgnn.costs.estimate import BIT_DENSITY, adc_relative_energy
from rgnn.costs.figures import Level
from rgnn.models.operations import Elementwise, Operations
from rgnn.models.settings import MessagePassingSettings, MomentSettings

FRAME = Workload(192, 4182, 91844)
PUBLISHED = MessagePassingSettings.published()
# Energy grows with the node to this power: the same envelope's 2.61, 1.33 and 0.85 pJ at 40, 28 and 22 nm.
NODE_POWER = 1.88
# NeuRRAM comes out within this factor (Wan et al., Nature 608, 504 (2022): 43.1 and 6.44 TOPS/W).
TOLERANCE = 1.5


def test_a_frame_is_counted(glass) -> None:
    frame = workload([glass])
    into = glass.edge_index[1].bincount(minlength=glass.n_atoms)
    out = glass.edge_index[0].bincount(minlength=glass.n_atoms)
    assert (frame.atoms, frame.edges, frame.triplets) == (192, glass.n_edges, int((into * out).sum()))


@pytest.mark.parametrize("slices", [None, 2])
def test_conversions_are_what_the_simulator_converts(small_model, glass, slices: int | None) -> None:
    """The formula against the program itself: every conversion and every code is counted as it happens."""
    hardware = Hardware(bits=3, adc_bits=8, adc_range="full", tile=(16, 16), slices=slices)
    seen: dict[tuple[int, int], Counts] = {}
    list(small_model.layer_features(glass, small_model.read(hardware, monitor=seen)))
    ops = operations(small_model.settings, workload([glass]))
    reads, drives, conversions = reads_for(ops, hardware)
    assert conversions == sum(c.conversions for c in seen.values())
    n = slices or 1
    arrays = {crossbar.place: -(-crossbar.weight.shape[0] // 16) for crossbar in small_model.crossbars}
    assert drives == n * 3 * sum(c.codes * arrays[place] for place, c in seen.items())
    assert reads == n * sum(use.vectors * 3 * -(-use.inputs // 16) * -(-use.outputs // 16) for use in ops.reservoir)


def test_weights_are_those_of_the_model(small_model) -> None:
    ops = operations(small_model.settings, FRAME)
    assert ops.reservoir_weights == small_model.n_fixed


def test_products_by_hand() -> None:
    """Two layers of E (36 144 4) + E (90 180) + T 180 36, and one trained layer with its head."""
    e, t = FRAME.edges, FRAME.triplets
    ops = operations(PUBLISHED, FRAME)
    assert ops.reservoir_products == 2 * (e * 36 * 144 * 4 + e * 90 * 180 + t * 180 * 36)
    trained = e * (36 * 36 * 2 + 18 * 18 + 18 * 36 + 90 * 36) + t * 36 * 36 + e * (18 * 9 + 9)
    assert ops.trained_products == trained
    whole = operations(PUBLISHED, FRAME, split=False)
    assert whole.reservoir_products == 2 * (e * 36 * 144 * 4 + t * 90 * 180 + t * 180 * 36)
    assert whole.reservoir_products / ops.reservoir_products == pytest.approx(2.9, abs=0.05)


def test_conversions_of_one_matrix() -> None:
    use = MatrixUse((0, "W"), 10, 300, 7)
    assert use.conversions(bits=4, rows=256) == 10 * 7 * 4 * 2
    assert use.conversions(bits=4, rows=300) == 10 * 7 * 4


def test_published_share_of_training() -> None:
    """91% of the backward products, 61% of forward and backward together, 9% of the weights."""
    share = training_share(operations(PUBLISHED, FRAME), 8900, 86_832)
    assert share.backward_saved == pytest.approx(0.91, abs=0.005)
    assert share.digital_saved == pytest.approx(0.61, abs=0.005)
    assert share.trained_weights == pytest.approx(0.09, abs=0.005)


def efficiency(
    figures: Figures, level: Level, *, rows: int, columns: int, in_bits: int, adc_bits: int, node: int
) -> float:
    """TOPS/W of one array whose columns integrate all input bits before one conversion, as NeuRRAM's do.

    An operation is a multiplication or an addition; the figures are scaled to `node` nm by `NODE_POWER`, but
    for the cells'. Published: 43.1 TOPS/W at 1 input and 3 output bits to 6.44 at 8 and 10, 256 x 256 cells at
    130 nm (Wan et al., Nature 608, 504 (2022)).
    """

    def scaled(name: str) -> float:
        figure = getattr(getattr(figures, name), level)
        return float(figure.value) * (node / figure.node) ** NODE_POWER

    pulses = in_bits
    adc = columns * scaled("adc_energy_8_bits") * adc_relative_energy(adc_bits)
    drivers = BIT_DENSITY * rows * pulses * scaled("row_driver_energy")
    cell = 1e-3 * figures.value("cell_conductance_us", level) * figures.value("read_voltage", level) ** 2
    cells = BIT_DENSITY * rows * columns * pulses * cell * figures.value("read_time", level)
    return 2 * rows * columns / (adc + drivers + cells)


@pytest.mark.parametrize(("in_bits", "adc_bits", "published"), [(1, 3, 43.1), (8, 10, 6.44)])
def test_efficiencies_of_neurram(in_bits: int, adc_bits: int, published: float) -> None:
    figures = Figures.packaged()
    ours = {
        level: efficiency(figures, level, rows=256, columns=256, in_bits=in_bits, adc_bits=adc_bits, node=130)
        for level in ("low", "nominal", "high")
    }
    assert published / TOLERANCE < ours["nominal"] < published * TOLERANCE
    assert ours["high"] < published < ours["low"]


def test_cheaper_figures_and_fewer_bits_cost_less() -> None:
    figures, ops = Figures.packaged(), operations(PUBLISHED, FRAME)
    levels = [compare(ops, Hardware(), figures, level) for level in ("low", "nominal", "high")]
    totals = [c.chip.total for c in levels]
    assert totals == sorted(totals) and len({c.digital.total for c in levels}) == 1
    assert levels[0].energy_ratio > levels[1].energy_ratio > levels[2].energy_ratio
    by_bits = [compare(ops, Hardware(bits=b), figures, "nominal").chip for b in (2, 4, 8)]
    assert by_bits[1].energy["converters"] == 2 * by_bits[0].energy["converters"]
    assert by_bits[2].time == pytest.approx(4 * by_bits[0].time)
    assert by_bits[0].energy["gates, sums, norms"] == by_bits[2].energy["gates, sums, norms"]


def test_energy_of_cells_by_hand() -> None:
    """G V^2 t = 14.25 uS (0.2 V)^2 10 ns = 5.7 fJ for each of two cells, half of all bits."""
    ops = operations(PUBLISHED, FRAME)
    cells = compare(ops, Hardware(bits=8), Figures.packaged(), "nominal").chip.energy["cells"]
    assert cells == pytest.approx(ops.reservoir_products * 8 * 5.7e-3)


def test_converters_by_bits() -> None:
    energies = [adc_relative_energy(b) for b in range(1, 15)]
    assert energies == sorted(energies)
    assert adc_relative_energy(8) == 1 and adc_relative_energy(9) == pytest.approx((1 + 5.03 / 2.61) / 2)


def test_every_figure_has_a_source_and_own_tables_must(tmp_path) -> None:
    mine = tmp_path / "mine.yaml"
    good = {level: {"value": v, "node": 28, "source": "us"} for level, v in (("low", 1), ("nominal", 2), ("high", 3))}
    mine.write_text(yaml.safe_dump({"adc_energy_8_bits": good}))
    figures = Figures.read(mine)
    assert figures.value("adc_energy_8_bits", "nominal") == 2
    assert figures.value("read_time", "nominal") == Figures.packaged().value("read_time", "nominal")
    for change, words in (
        ({"source": ""}, "a source"),
        ({"node": 0}, "a node in nm"),
        ({"value": 9}, "must not fall"),
    ):
        mine.write_text(yaml.safe_dump({"adc_energy_8_bits": {**good, "nominal": {**good["nominal"], **change}}}))
        with pytest.raises(InputError, match=words):
            Figures.read(mine)
    mine.write_text("adc_energy: 1")
    with pytest.raises(InputError, match="unknown key 'adc_energy'"):
        Figures.read(mine)


def test_slices_are_arrays_side_by_side() -> None:
    """n times the cells, reads and conversions, on n times the area, in the same time."""
    figures, ops = Figures.packaged(), operations(PUBLISHED, FRAME)
    whole, sliced = (compare(ops, Hardware(slices=n), figures, "nominal").chip for n in (None, 3))
    for part in ("converters", "drivers", "cells", "shift and add"):
        assert sliced.of(part) == pytest.approx(3 * whole.of(part))
    assert (sliced.area, sliced.time) == (pytest.approx(3 * whole.area), whole.time)
    assert sliced.of("trained matrices", "buffers") == whole.of("trained matrices", "buffers")
    assert reads_for(ops, Hardware(slices=3)) == pytest.approx(tuple(3 * n for n in reads_for(ops, Hardware())))


def test_calibration_is_an_operation_for_each_column_and_tile() -> None:
    """Not for each bit plane: the planes are added first. One multiplication of 16 bits and one addition."""
    figures, ops = Figures.packaged(), operations(PUBLISHED, FRAME)
    plain = Hardware(adc_bits=8, adc_gain=0.02)
    calibrated = plain.override(adc_calibration="linear")
    sums = sum(use.vectors * use.outputs * -(-use.inputs // 256) for use in ops.reservoir)
    found = [compare(ops, h, figures, "nominal").chip for h in (plain, calibrated)]
    assert found[1].total - found[0].total == pytest.approx(sums * (12.68 / 4 + 0.21), rel=1e-6)
    assert found[1].of("calibration") and not found[0].of("calibration")


def test_tiles_that_share_the_inputs_of_a_matrix_have_a_converter_each() -> None:
    """144 inputs of four elements: three tiles of 64 rows are read and converted at the same time."""
    settings = MomentSettings(elements=(1, 3, 8, 15))
    ops, table = operations(settings, FRAME), Figures.packaged()
    assert [use.inputs for use in ops.reservoir] == [4 * settings.gaussians] and settings.gaussians == 36
    cut, whole = (compare(ops, Hardware(tile=(rows, 256)), table, "nominal").chip for rows in (64, 1024))
    each = table.value("adc_area_8_bits", "nominal") + table.value("add_area_32_bits", "nominal")
    assert cut.area - whole.area == pytest.approx(2 * each)
    assert cut.time == whole.time


def test_tiles_that_share_the_outputs_of_a_matrix_are_driven_and_converted_for_themselves() -> None:
    """They were counted as one array: a converter took all columns in turn, and one row of drivers served them."""
    use = MatrixUse((0, "W"), 10, 48, 200)
    ops, table = Operations((use,), (), Elementwise()), Figures.packaged()
    hardware = [Hardware(bits=4, tile=(64, columns)) for columns in (50, 200)]
    reads, drives, conversions = zip(*(reads_for(ops, h) for h in hardware), strict=True)
    assert reads == (4 * 40, 40) and drives == (4 * 40 * 48, 40 * 48) and conversions == (40 * 200, 40 * 200)
    cut, whole = (compare(ops, h, table, "nominal").chip for h in hardware)
    each = table.value("adc_area_8_bits", "nominal") + table.value("add_area_32_bits", "nominal")
    assert cut.area - whole.area == pytest.approx(3 * (each + 48 * table.value("row_driver_area", "nominal")))
    settle, convert = (table.value(name, "nominal") for name in ("read_time", "adc_time"))
    assert cut.time == pytest.approx(40 * (settle + 50 * convert)) and cut.of("drivers") == 4 * whole.of("drivers")
    assert whole.time == pytest.approx(40 * (settle + 200 * convert))
