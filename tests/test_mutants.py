"""Every answer known in advance must be able to fail: its formula is broken in a copy, and its test is run there.

Some minutes: pytest -m long tests/test_mutants.py
"""

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
    """One formula, in the text of a file of the package, and what stands in its place."""

    file: str
    right: str
    wrong: str
    test: str


CROSSBAR, CELLS, CONVERTERS = "tests/chip/test_crossbar.py", "tests/chip/test_cells.py", "tests/chip/test_converters.py"
MUTANTS = {
    "1 shift and add": Mutant(
        "analog.py", "y.div_(self.levels)", "y.div_(self.levels + 1)", f"{CROSSBAR}::test_bit_serial_product"
    ),
    "2 rounding": Mutant(
        "analog.py", "q.round_() if self.nearest", "q.ceil_() if self.nearest", f"{CROSSBAR}::test_quantisation_error"
    ),
    "3 variance of read noise": Mutant(
        "analog.py", "if self.bits is None else sum_of_squared_planes(q, self.bits)", "",
        f"{CROSSBAR}::test_mean_and_variance_of_each_sharing",
    ),
    "4 weights of planes": Mutant(
        "analog.py", "(1, 0x55555555)", "(1, 0x11111111)", f"{CROSSBAR}::test_variance_of_an_all_ones_code"
    ),
    "5 rows share planes": Mutant(
        "analog.py", "powers = 2.0 **", "powers = 1.9 **", f"{CROSSBAR}::test_rows_correlate"
    ),
    "6 closed form": Mutant(
        "analog.py", "deviation = (squares @", "deviation = 1.4 * (squares @",
        f"{CROSSBAR}::test_closed_form",
    ),
    "7 both cells fluctuate": Mutant(
        "cells.py", ".square().sum(0).sqrt()", ".sum(0)", f"{CELLS}::test_device_reference"
    ),
    "8 step of a converter": Mutant(
        "analog.py", "width / self.last,", "width / (self.last - 1),", f"{CONVERTERS}::test_error_of_a_uniform_input"
    ),
    "9 saturation": Mutant(
        "analog.py", "return code.clamp_(0, self.last).add_", "return code.add_",
        f"{CONVERTERS}::test_mean_of_a_clipped_gaussian",
    ),
    "10 number of codes": Mutant(
        "analog.py", "self.last = 2**bits - 1", "self.last = 2**bits", f"{CONVERTERS}::test_enough_bits"
    ),
    "11 tiles": Mutant(
        "analog.py", "part = slice(k, k + self.tile)", "part = slice(k, k + self.tile - 1)",
        f"{CONVERTERS}::test_tiling_changes_nothing",
    ),
    "12 a range of no width": Mutant(
        "analog.py", "torch.where(self.width > 0, self.width, torch.ones_like(self.width))", "self.width",
        f"{CROSSBAR}::test_a_constant_input",
    ),
    "13 calibrated ranges": Mutant(
        "analog.py", "q = x.sub_(self.low)", "q = x.sub_(x.min())",
        f"{CROSSBAR}::test_calibrated_products",
    ),
    "14 stuck cells": Mutant(
        "cells.py", "lot < self.on + self.off", "lot < self.off", f"{CELLS}::test_stuck_counts"
    ),
    "14 streams": Mutant(
        "cells.py", "torch_stream(chip, effect.name, *place)", "torch_stream(chip, *place)", f"{CELLS}::test_same_chip"
    ),
    "14 switches": Mutant(
        "cells.py", "torch_stream(chip, effect.name, *place)", "torch_stream(chip, effect.name, *place, len(applied))",
        f"{CELLS}::test_same_chip",
    ),
    "15 split products": Mutant(
        "analog.py", "self.variance[:, columns].T", "self.variance[:, : q.shape[1]].T",
        f"{CROSSBAR}::test_a_product_in_parts_has_the_noise",
    ),
    "16 gradients": Mutant(
        "kernels/plain.py", "linear_part = linear(x, weight)", "linear_part = linear(x, weight.abs())",
        f"{CONVERTERS}::test_no_gradient",
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
    file, (path, words) = copied / "rgnn" / mutant.file, mutant.test.split("::")
    text = file.read_text()
    assert text.count(mutant.right) == 1, "the formula is not where it was"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", path, "-k", words]
    environment = {**os.environ, "PYTHONPATH": str(copied), "PYTHONDONTWRITEBYTECODE": "1"}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=copied, env=environment, capture_output=True, text=True, check=False)

    whole = run()
    assert whole.returncode == 0, whole.stdout
    try:
        file.write_text(text.replace(mutant.right, mutant.wrong))
        broken = run()
    finally:
        file.write_text(text)
    assert broken.returncode == 1, broken.stdout
    assert "AssertionError" in broken.stdout or "assert" in broken.stdout
