"""Arrays with wires in rgnn and badcrossbar: python benchmarks/wires.py --envs DIR [--size N]

badcrossbar runs in a virtual environment of its own under DIR, made there at first use, without what its plots need.
Both are given the same cells (14.25 +- 2.46 uS) and rows, half of which are driven at random. badcrossbar solves for
the voltages of all nodes, vector by vector; rgnn eliminates them once and multiplies. The last column is what rgnn
does not cover: currents of an array whose other rows float, where rgnn has them held at 0 V.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

from rgnn.base.rng import numpy_stream
from rgnn.chip.wires import effective_conductances

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from nodal import nodal_currents

OHMS = (0.1, 1.0, 3.0, 10.0)
MEAN, DEVIATION, VECTORS = 14.25e-6, 2.46e-6, 4


def python_of_badcrossbar(envs: Path) -> str:
    """The interpreter of its environment, which is made where it is not there."""
    folder = envs / "badcrossbar"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        print(f"installing badcrossbar into {folder}", flush=True)
        venv.create(folder, with_pip=True)
        for packages in (["numpy", "scipy", "sigfig", "pathvalidate"], ["--no-deps", "badcrossbar>=1.1"]):
            subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return str(python)


def theirs(cases: list[dict], envs: Path) -> list[dict]:
    """Currents [vectors, columns] of each case, A at 1 V, and the seconds they took."""
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "given.json", Path(folder) / "found.json"
        question.write_text(json.dumps(cases))
        worker = Path(__file__).parent / "wires_worker.py"
        command = [python_of_badcrossbar(envs), str(worker), str(question), str(answer)]
        subprocess.run(command, check=True, capture_output=True)  # it says that it cannot plot
        return json.loads(answer.read_text())


def rms(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative to the root mean square of what is expected."""
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=Path, required=True)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    rng = numpy_stream(0, "wires")
    g = rng.normal(MEAN, DEVIATION, (options.size, options.size)).clip(1e-9)
    driven = (rng.random((VECTORS, options.size)) < 0.5).astype(float)
    cases = [{"g": g.tolist(), "driven": driven.tolist(), "ohm": ohm} for ohm in OHMS]
    print(f"{options.size} x {options.size} cells, {VECTORS} vectors; RMS errors of the currents, and of pairs: the\n"
          "differences of neighbouring columns, which are what a weight is\n")  # fmt: skip
    print(f"{'ohm':>5} {'current lost':>13} {'error':>9} {'of pairs':>9} {'without wires':>14} {'of pairs':>9} "
          f"{'floating rows':>14} {'seconds: rgnn, badcrossbar':>27}")  # fmt: skip
    for ohm, other in zip(OHMS, theirs(cases, options.envs), strict=True):
        began = time.perf_counter()
        effective = effective_conductances(g, 1 / ohm)
        seconds = time.perf_counter() - began
        ours, exact, ideal = driven @ effective, np.array(other["currents"]), driven @ g
        floats = nodal_currents(g, 1 / ohm, np.where(driven > 0, driven, np.nan))
        pairs, exact_pairs, ideal_pairs = (x[:, 0::2] - x[:, 1::2] for x in (ours, exact, ideal))
        print(f"{ohm:5g} {1 - exact.sum() / ideal.sum():13.1%} {rms(ours, exact):9.0e} {rms(pairs, exact_pairs):9.0e} "
              f"{rms(ideal, exact):14.0%} {rms(ideal_pairs, exact_pairs):9.0%} {rms(ours, floats):14.1%} "
              f"{seconds:14.1f}, {other['seconds']:10.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
