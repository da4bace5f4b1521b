"""Other potentials beside rgnn: python benchmarks/potentials.py --envs DIR [--rounds N] [--threads N] [--json FILE]

Each runs in a virtual environment of its own under DIR, made there at first use, and all are asked in turns for the
forces of one frame of the packaged sample (192 atoms of Li3PO4, moved a little each time) and for a few steps of
molecular dynamics. Compare times only: the weights of most are untrained.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from peers import python_of
from potential_worker import MD_STEPS, POTENTIALS

from rgnn.data.sample import sample_frames

# The environment of each; None is that of rgnn.
ENVIRONMENTS: dict[str, str | None] = {
    "rgnn": None,
    "rgnn, all digital (GNNFF)": None,
    "CHGNet": "chgnet",
    "MACE 128x0e, 5 A": "mace",
    "MACE 64x0e, 4 A": "mace",
    "M3GNet (matgl)": "matgl",
    "TensorNet (matgl)": "matgl",
    "NequIP l=1, 32 features, 5 A": "nequip",
    "GNNFF (PyTorch Geometric)": "gnnff",
}


class Worker:
    """A process that answers what it is asked."""

    def __init__(self, name: str, envs: Path, structure: Path, threads: int) -> None:
        command = [python_of(ENVIRONMENTS[name], envs), str(Path(__file__).parent / "potential_worker.py"), name]
        self.name, self.force, self.md = name, list[float](), list[float]()
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (as long as the process)
        # MACE loads constants of e3nn by an older rule than torch's present one.
        environment = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
        self.process = subprocess.Popen(
            [*command, str(structure), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment,
        )  # fmt: skip

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def ask(self, what: str) -> float:
        assert self.process.stdin
        print(what, file=self.process.stdin, flush=True)
        said = self.answer()
        if not said:
            raise RuntimeError(f"{self.name}: {self.why()}")
        return float(said)

    def why(self) -> str:
        self.log.seek(0)
        return ([line.strip() for line in self.log if line.strip()] or ["no reason given"])[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"some of: {'; '.join(POTENTIALS)}; default: all")
    parser.add_argument("--envs", type=Path, required=True, help="folder of the environments")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    f = next(iter(sample_frames()))
    with tempfile.TemporaryDirectory() as folder:
        structure = Path(folder) / "frame.xyz"
        ase.io.write(structure, Atoms(f.numbers, positions=f.positions, cell=f.cell, pbc=f.pbc))
        workers = []
        for name in options.names or POTENTIALS:
            worker = Worker(name, options.envs, structure, options.threads)
            if worker.answer() == "ready":
                workers.append(worker)
            else:
                print(f"{name}: left out, {worker.why()}")
        for number in range(-1, options.rounds):
            for worker in workers:
                force, md = worker.ask("force"), worker.ask("md")
                if number >= 0:
                    worker.force.append(force)
                    worker.md.append(md / MD_STEPS)
        for worker in workers:
            worker.process.kill()
    rows = [
        {"name": w.name, "force_seconds": float(np.median(w.force)), "md_seconds": float(np.median(w.md))}
        for w in workers
    ]
    first = rows[0]
    print(f"{'192 atoms':32}{'forces, ms':>12}{'x':>7}{'MD, steps/s':>13}{'x':>7}")
    for r in rows:
        ratios = r["force_seconds"] / first["force_seconds"], r["md_seconds"] / first["md_seconds"]
        print(
            f"{r['name']:32}{1e3 * r['force_seconds']:12.1f}{ratios[0]:7.1f}{1 / r['md_seconds']:13.2f}{ratios[1]:7.1f}"
        )
    if options.json:
        options.json.write_text(json.dumps({"threads": options.threads, "potentials": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
