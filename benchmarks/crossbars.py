"""The same array in aihwkit and in rgnn: python benchmarks/crossbars.py --envs DIR [--draws N]

aihwkit runs in a virtual environment of its own under DIR, made there at first use. Both are given the same weights,
inputs and settings where the two models of a crossbar coincide: inputs in [0, 1] (aihwkit's input converters are
symmetric about zero, ours span what they see), output converters of the same step, noise drawn for each row or for
each call. aihwkit has no bit-serial input: there its array is read once for each bit plane, and the planes are
shifted and added outside. Compared are mean and variance of every output, and whether two rows fluctuate together.
"""

import argparse
import json
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from peers import python_of
from scipy.stats import chi2

from rgnn.base.rng import numpy_stream, torch_stream
from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.hardware import Hardware

OUT, IN, ROWS = 36, 64, 8


@dataclass(frozen=True)
class Case:
    """One setting in the words of both; None and 0 are off."""

    name: str
    bits: int | None = None
    adc_bits: int | None = None
    noise: float = 0.0  # of each weight, relative to it, or to 1 where it is additive
    additive: bool = False
    sharing: Literal["read", "product", "call"] = "product"

    @property
    def serial(self) -> bool:
        """Whether planes have to be read one by one in aihwkit."""
        return self.sharing == "read" or self.adc_bits is not None

    @property
    def hardware(self) -> Hardware:
        """Ours."""
        return Hardware(
            bits=self.bits,
            adc_bits=self.adc_bits,
            noise=(1.0 if self.additive else self.noise) or None,
            noise_reference="measured" if self.additive else "weight",
            noise_sharing=self.sharing,
        )


CASES = (
    Case("nothing but the product"),
    Case("8-bit inputs", bits=8),
    Case("4-bit inputs", bits=4),
    Case("4-bit inputs, 6-bit outputs", bits=4, adc_bits=6, sharing="read"),
    Case("10% of each weight, a product", bits=8, noise=0.1),
    Case("0.02 on each weight, a product", noise=0.02, additive=True),
    Case("10% of each weight, a call", bits=8, noise=0.1, sharing="call"),
    Case("10% of each weight, a bit plane", bits=4, noise=0.1, sharing="read"),
    Case("0.02 on each weight, a bit plane", bits=8, noise=0.02, additive=True, sharing="read"),
    Case("10%, a bit plane, 6-bit outputs", bits=4, adc_bits=6, noise=0.1, sharing="read"),
)


def ours(case: Case, weight: torch.Tensor, x: torch.Tensor, bound: float, draws: int) -> np.ndarray:
    """[draws, rows, out] by the crossbar of rgnn."""
    array = Crossbar(Cells(weight, read_deviation=torch.full_like(weight, case.noise))).eval()
    array.low, array.high = torch.tensor(0.0), torch.tensor(1.0)
    if case.adc_bits:
        array.expect_output_converters()
        span = bound * (2**case.adc_bits - 1) / (2**case.adc_bits - 2)  # ours have a step more on the same span
        array.adc_low, array.adc_high = torch.full((OUT,), -span), torch.full((OUT,), span)
    calls = (array.begin(case.hardware, torch_stream(0, case.name, k)) for k in range(draws if case.noise else 1))
    return torch.stack([call(x.clone()) for call in calls]).double().numpy()


def theirs(weight: torch.Tensor, x: torch.Tensor, bounds: list[float], draws: int, envs: Path) -> list[np.ndarray]:
    """The same for every case by aihwkit."""
    cases = [{**asdict(case), "serial": case.serial} for case in CASES]
    given = {"weight": weight.tolist(), "x": x.tolist(), "draws": draws, "cases": cases, "bounds": bounds}
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "given.json", Path(folder) / "found.json"
        question.write_text(json.dumps(given))
        worker = Path(__file__).parent / "crossbar_worker.py"
        subprocess.run([python_of("aihwkit", envs), str(worker), str(question), str(answer)], check=True)
        return [np.array(draws) for draws in json.loads(answer.read_text())]


def together(draws: np.ndarray) -> float:
    """Correlation of the first two rows."""
    a, b = (draws[:, row] - draws[:, row].mean(0) for row in (0, 1))
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=4000)
    options = parser.parse_args()
    rng, n = numpy_stream(0, "crossbars"), options.draws
    weight = torch.from_numpy(rng.normal(0, 0.2, (OUT, IN)).clip(-0.9, 0.9).astype(np.float32))
    x = torch.from_numpy(rng.uniform(0, 1, (ROWS, IN)).astype(np.float32))
    bounds = [float(weight.abs().sum(1).max()) / 2] * len(CASES)
    found = theirs(weight, x, bounds, n, options.envs)
    print(f"{OUT} x {IN} weights, {ROWS} rows, {n} draws\n")
    print(f"{'':36}{'means':>14}{'variances':>20}{'rows together':>18}")
    for case, bound, other in zip(CASES, bounds, found, strict=True):
        mine = ours(case, weight, x, bound, n)
        difference = mine.mean(0) - other.mean(0)
        if not case.noise:
            print(f"{case.name:36}{'within':>6} {np.abs(difference).max():.0e}")
            continue
        variance = mine.var(0), other.var(0)
        # One row for the test, since rows of a call may fluctuate together.
        z = difference[0] / np.sqrt((variance[0][0] + variance[1][0]) / n)
        p = chi2.sf(float(z @ z), OUT)
        ratio = (variance[0] / variance[1]).mean(0)  # over rows; the outputs are independent
        error = ratio.std() / np.sqrt(OUT)
        pair = f"{together(mine):.3f}, {together(other):.3f}"
        print(f"{case.name:36}{f'p = {p:.2f}':>14}{f'{ratio.mean():.4f} ± {error:.4f}':>20}{pair:>18}")


if __name__ == "__main__":
    main()
