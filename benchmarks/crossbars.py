"""The same array in aihwkit and in rgnn: python benchmarks/crossbars.py --envs DIR [--draws N]

aihwkit runs in a virtual environment of its own under DIR, made there at first use. Both are given the same weights,
inputs and settings where the two models of a crossbar coincide: inputs in [0, 1] (aihwkit's input converters are
symmetric about zero, ours span what they see), output converters of the same step, noise drawn for each row or for
each call. aihwkit has no bit-serial input: there its array is read once for each bit plane, and the planes are
shifted and added outside. Compared are mean and variance of every output, and whether two rows fluctuate together.

Wires: aihwkit has those of the columns only, so the case that both know is a column of single cells, whose rows are one
segment long in rgnn. aihwkit cuts a column into segments (8 unless said); with one for each cell it is a ladder too.
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
from rgnn.chip.wires import effective_conductances

OUT, IN, ROWS = 36, 64, 8
# Columns of single cells on a wire, for each resistance of a segment; aihwkit's segments of a column.
CELLS, COLUMNS, VECTORS, OHM, SEGMENTS = 256, 32, 4, (0.1, 1.0, 3.0, 10.0), (256, 8)


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


def lines() -> dict[str, np.ndarray]:
    """Columns of single cells [cells, columns], S, and which rows are driven [vectors, cells]."""
    rng = numpy_stream(0, "lines")
    driven = (rng.random((VECTORS, CELLS)) < 0.5).astype(float)
    return {"siemens": rng.normal(14.25e-6, 2.46e-6, (CELLS, COLUMNS)).clip(1e-9), "driven": driven}


def theirs(
    weight: torch.Tensor, x: torch.Tensor, bounds: list[float], draws: int, envs: Path
) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """The same for every case by aihwkit, and currents of lines for each resistance and number of segments, uA."""
    cases = [{**asdict(case), "serial": case.serial} for case in CASES]
    given = {"weight": weight.tolist(), "x": x.tolist(), "draws": draws, "cases": cases, "bounds": bounds}
    given |= {"line": {name: x.tolist() for name, x in lines().items()}, "ohm": OHM, "segments": SEGMENTS}
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "given.json", Path(folder) / "found.json"
        question.write_text(json.dumps(given))
        worker = Path(__file__).parent / "crossbar_worker.py"
        subprocess.run([python_of("aihwkit", envs), str(worker), str(question), str(answer)], check=True)
        found = json.loads(answer.read_text())
    wires = [[np.array(currents) for currents in each] for each in found["wires"]]
    return [np.array(draws) for draws in found["draws"]], wires


def together(draws: np.ndarray) -> float:
    """Correlation of the first two rows."""
    a, b = (draws[:, row] - draws[:, row].mean(0) for row in (0, 1))
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def compare_wires(found: list[list[np.ndarray]]) -> None:
    """A table of the currents of lines."""
    g, driven = lines().values()
    print(
        f"\n{CELLS} cells on the wire of a column, {COLUMNS} columns, {VECTORS} vectors; RMS differences of currents\n"
    )
    heading = [f"aihwkit, {segments} segments" for segments in SEGMENTS]
    print(f"{'ohm':>5}{'current lost':>14}{heading[0]:>23}{heading[1]:>23}")
    for ohm, currents in zip(OHM, found, strict=True):
        ours = 1e6 * np.stack([driven @ effective_conductances(c[:, None], 1 / ohm)[:, 0] for c in g.T], 1)
        lost = 1 - ours.sum() / (1e6 * driven @ g).sum()
        apart = [float(np.sqrt(np.mean((each - ours) ** 2) / np.mean(ours**2))) for each in currents]
        print(f"{ohm:5g}{lost:14.1%}{apart[0]:23.2%}{apart[1]:23.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=4000)
    options = parser.parse_args()
    rng, n = numpy_stream(0, "crossbars"), options.draws
    weight = torch.from_numpy(rng.normal(0, 0.2, (OUT, IN)).clip(-0.9, 0.9).astype(np.float32))
    x = torch.from_numpy(rng.uniform(0, 1, (ROWS, IN)).astype(np.float32))
    bounds = [float(weight.abs().sum(1).max()) / 2] * len(CASES)
    found, wires = theirs(weight, x, bounds, n, options.envs)
    print(f"{OUT} x {IN} weights, {ROWS} rows, {n} draws\n")
    print(f"{'':36}{'means':>14}{'variances':>20}{'in errors':>11}{'rows together':>18}")
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
        print(f"{case.name:36}{f'p = {p:.2f}':>14}{f'{ratio.mean():.4f} ± {error:.4f}':>20}"
              f"{(ratio.mean() - 1) / error:11.1f}{pair:>18}")  # fmt: skip
    compare_wires(wires)


if __name__ == "__main__":
    main()
