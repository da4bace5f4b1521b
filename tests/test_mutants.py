"""Every answer known in advance must be able to fail: its formula is broken in a copy, and its test is run there.

Some minutes: pytest -m long tests/test_mutants.py
"""

import ast
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """One formula of the package, and what stands in its place.

    Attributes:
        place: module and qualified name of the function or method, "rgnn.chip.noise:RowNoise.product".
        right: the only expression of this form in the function; how it is written does not matter.
        wrong: another expression.
        test: the test that must fail, "tests/chip/test_cells.py::test_name".
    """

    place: str
    right: str
    wrong: str
    test: str


class Replace(ast.NodeTransformer):
    """Replaces expressions that are the same but for their layout, and counts them."""

    def __init__(self, right: str, wrong: str) -> None:
        self.right, self.wrong, self.found = form(ast.parse(right, mode="eval").body), wrong, 0

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and form(node) == self.right:
            self.found += 1
            return ast.parse(self.wrong, mode="eval").body
        return self.generic_visit(node)


def form(node: ast.expr) -> str:
    """What an expression is, whether it is read or assigned to."""
    return ast.dump(node).replace("ctx=Store()", "ctx=Load()")


def broken(source: str, function: str, right: str, wrong: str) -> str:
    """The source of a module whose function has another expression in one place."""
    module = ast.parse(source)
    body: list[ast.stmt] = module.body
    for name in function.split("."):
        (node,) = [n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name]
        body = node.body
    replace = Replace(right, wrong)
    replace.visit(node)
    assert replace.found == 1, f"{function} has {replace.found} expressions {right}"
    return ast.unparse(ast.fix_missing_locations(module))


CROSSBAR, CELLS, CONVERTERS = "tests/chip/test_crossbar.py", "tests/chip/test_cells.py", "tests/chip/test_converters.py"
MUTANTS = {
    "1 shift and add": Mutant(
        "rgnn.chip.converters:Converter.scale", "y.div_(self.levels)", "y.div_(self.levels + 1)",
        f"{CROSSBAR}::test_bit_serial_product",
    ),
    "2 rounding": Mutant(
        "rgnn.chip.converters:Converter.codes", "q.round_()", "q.ceil_()", f"{CROSSBAR}::test_quantisation_error"
    ),
    "3 variance of read noise": Mutant(
        "rgnn.chip.noise:RowNoise.product",
        "q.square() if self.bits is None else sum_of_squared_planes(q, self.bits)", "q.square()",
        f"{CROSSBAR}::test_mean_and_variance_of_each_sharing",
    ),
    "4 weights of planes": Mutant(
        "rgnn.chip.noise:sum_of_squared_planes", "0x55555555", "0x11111111",
        f"{CROSSBAR}::test_variance_of_an_all_ones_code",
    ),
    "5 rows share planes": Mutant(
        "rgnn.chip.noise:PlaneNoise.product", "2.0", "1.9", f"{CROSSBAR}::test_rows_correlate"
    ),
    "6 closed form": Mutant(
        "rgnn.chip.noise:RowNoise.product", "squares @ self.variance[:, columns].T",
        "2 * (squares @ self.variance[:, columns].T)", f"{CROSSBAR}::test_closed_form",
    ),
    "7 both cells fluctuate": Mutant(
        "rgnn.chip.cells:Cells.reference", "self.conductances('noise_reference \\'device\\'').square().sum(0).sqrt()",
        "self.pair.sum(0)", f"{CELLS}::test_device_reference",
    ),
    "8 step of a converter": Mutant(
        "rgnn.chip.converters:Adc.__init__", "width / self.last", "width / (self.last - 1)",
        f"{CONVERTERS}::test_error_of_a_uniform_input",
    ),
    "9 saturation": Mutant(
        "rgnn.chip.converters:Adc.convert", "code.clamp_(0, self.last)", "code",
        f"{CONVERTERS}::test_mean_of_a_clipped_gaussian",
    ),
    "10 number of codes": Mutant(
        "rgnn.chip.converters:Adc.__init__", "2**bits - 1", "2**bits", f"{CONVERTERS}::test_enough_bits"
    ),
    "11 tiles": Mutant(
        "rgnn.chip.product:ConvertedPlanes.product", "k + self.tile", "k + self.tile - 1",
        f"{CONVERTERS}::test_tiling_changes_nothing",
    ),
    "12 a range of no width": Mutant(
        "rgnn.chip.converters:Converter.__init__",
        "torch.where(self.width > 0, self.width, torch.ones_like(self.width))", "self.width",
        f"{CROSSBAR}::test_a_constant_input",
    ),
    "13 calibrated ranges": Mutant(
        "rgnn.chip.converters:Converter.codes", "self.low", "x.min()", f"{CROSSBAR}::test_calibrated_products"
    ),
    "14 stuck cells": Mutant(
        "rgnn.chip.effects:StuckCells.apply", "self.on + self.off", "self.off", f"{CELLS}::test_stuck_counts"
    ),
    "14 streams": Mutant(
        "rgnn.chip.effects:apply_effects", "torch_stream(chip, effect.name, *place)", "torch_stream(chip, *place)",
        f"{CELLS}::test_same_chip",
    ),
    "14 switches": Mutant(
        "rgnn.chip.effects:apply_effects", "torch_stream(chip, effect.name, *place)",
        "torch_stream(chip, effect.name, *place, len(applied))", f"{CELLS}::test_same_chip",
    ),
    "15 split products": Mutant(
        "rgnn.chip.noise:RowNoise.product", "self.variance[:, columns]", "self.variance[:, : q.shape[1]]",
        f"{CROSSBAR}::test_a_product_in_parts_has_the_noise",
    ),
    "16 gradients": Mutant(
        "rgnn.chip.product:StraightThrough.backward", "(dy if y is None else dy * (y > 0)) @ weight",
        "(dy if y is None else dy * (y > 0)) @ weight.abs()", f"{CONVERTERS}::test_no_gradient_through",
    ),
    "17 wires": Mutant(
        "rgnn.chip.wires:effective_conductances", "one + admittance / segment", "one + 0.99 * admittance / segment",
        "tests/chip/test_wires.py::test_currents_are_those",
    ),
    "18 calibration of converters": Mutant(
        "rgnn.chip.adc_errors:AdcErrors.line", "mean - slope * middle", "mean - middle",
        "tests/chip/test_adc_errors.py::test_calibration_leaves",
    ),
    "19 spectrum of slow noise": Mutant(
        "rgnn.chip.slow:Traps.of", "hardware.slow_noise_exponent - 1", "hardware.slow_noise_exponent - 0.9",
        "tests/chip/test_slow.py::test_the_spectrum_falls",
    ),
    "20 a moment without history": Mutant(
        "rgnn.chip.slow:Traps.at", "number + 1 - phase", "number + 3 - phase",
        "tests/chip/test_slow.py::test_a_moment_needs_no_history",
    ),
    "21 digits": Mutant(
        "rgnn.chip.slices:sliced", "2.0 ** (s * bits)", "2.0 ** s",
        "tests/chip/test_slices.py::test_digits_are_the_weights_rounded",
    ),
    "16 gradients of clipped inputs": Mutant(
        "rgnn.chip.product:StraightThrough.backward", "dx if passed is None else dx * passed", "dx",
        f"{CONVERTERS}::test_no_gradient_where",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mutants")
    for name in ("rgnn", "rgnn_cli", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.nb?"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_formula_fails_its_test(name: str, copied: Path) -> None:
    mutant = MUTANTS[name]
    (module, function), (path, words) = mutant.place.split(":"), mutant.test.split("::")
    file = copied / Path(*module.split(".")).with_suffix(".py")
    text = file.read_text()
    wrong = broken(text, function, mutant.right, mutant.wrong)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", path, "-k", words]
    environment = {**os.environ, "PYTHONPATH": str(copied), "PYTHONDONTWRITEBYTECODE": "1"}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=copied, env=environment, capture_output=True, text=True, check=False)

    whole = run()
    assert whole.returncode == 0, whole.stdout
    try:
        file.write_text(wrong)
        failed = run()
    finally:
        file.write_text(text)
    assert failed.returncode == 1, failed.stdout
    assert "AssertionError" in failed.stdout or "assert" in failed.stdout
