"""The whole chain in Python, without the command line: python examples/chain.py FOLDER [EPOCHS] [MD STEPS]

Trains on the packaged sample for a chip of 4-bit inputs and 5% read noise, asks what other hardware would
cost, and runs molecular dynamics, first by `rgnn`, then by an integrator of ASE.
"""

import sys
from pathlib import Path

import numpy as np
from ase import units
from ase.constraints import FixCom
from ase.io import read
from ase.md.langevin import Langevin

import rgnn


def main(folder: Path, epochs: int = 4, md_steps: int = 100) -> None:
    store = rgnn.make_sample_store(folder)
    print(store)

    # The published architecture on a synthetic chip; chip="chips/mine" takes a measured one.
    trained = rgnn.train(store, folder / "run", bits=4, noise=0.05, epochs=epochs)
    print(trained.model)
    print(f"best epoch {trained.best.epoch}: relative force error {100 * trained.best.relative_error:.1f}%")

    evaluation = rgnn.evaluate(folder / "run", bits=[2], noise=[0.05, 0.2], repeats=1)
    for row in evaluation.rows:
        print(f"{row.hardware.describe():>28}: relative force error {row.relative_error()}")

    structure = store.frame(0).to_atoms()
    run = rgnn.run_md(structure, folder / "run", folder / "md", steps=md_steps, temperature=600)
    print(f"{run.steps} steps, {run.temperature:.0f} K: {folder / 'md'}")

    atoms = read(folder / "md" / "final.xyz")
    atoms.calc = rgnn.RGNNCalculator(folder / "run", bits=4, noise=0.05, seed=1, remove_net_force=True)
    atoms.set_constraint(FixCom())
    thermostat = {"temperature_K": 600, "friction": 0.01 / units.fs, "rng": np.random.default_rng(0)}
    Langevin(atoms, 1 * units.fs, fixcm=False, **thermostat).run(md_steps)
    print(f"after {md_steps} fs more in ASE: {atoms.get_temperature():.0f} K")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
