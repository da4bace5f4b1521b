"""The whole chain in Python, without the command line: python examples/chain.py FOLDER [EPOCHS] [MD STEPS]

Trains on the packaged sample for a chip of 4-bit inputs and 5% read noise, asks what other hardware would
cost, and runs molecular dynamics with it in ASE.
"""

import sys
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.langevin import Langevin

from rgnn import RGNN, Chip, Hardware, RGNNCalculator, evaluate, fit
from rgnn.data.fetch.registry import make_sample_store
from rgnn.data.store.split import split_frames
from rgnn.models.settings import MessagePassingSettings
from rgnn.training.settings import TrainingSettings


def main(folder: Path, epochs: int = 4, md_steps: int = 100) -> None:
    store = make_sample_store(folder)
    train, held_out = split_frames(len(store), 0.1, seed=0)

    config, hardware = MessagePassingSettings(cutoff=store.cutoff), Hardware(bits=4, noise=0.05)
    chip = Chip.synthetic(seed=0)  # or Chip.load("chips/mine")
    model = RGNN(config, hardware, chip.matrices(RGNN.matrices(config)))
    print(f"{model.n_trained} trained weights, {model.n_fixed} on the chip")

    result = fit(model, store, train, held_out, TrainingSettings(epochs=epochs), folder / "run")
    print(f"best epoch {result.best.epoch}: {100 * result.best.relative_error:.1f}% of the mean force")

    evaluation = evaluate(result.model, store, frames=held_out, bits=[2], noise=[0.05, 0.2], repeats=1)
    for setting in evaluation.rows:
        print(f"{setting.hardware.describe():>28}: sum|dF| / sum|F| = {setting.relative_error()}")

    frame = store.frame(0)
    atoms = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    atoms.calc = RGNNCalculator(result.model, remove_net_force=True)
    atoms.set_constraint(FixCom())
    thermostat = {"temperature_K": 300, "friction": 0.01 / units.fs, "rng": np.random.default_rng(0)}
    Langevin(atoms, 1 * units.fs, fixcm=False, **thermostat).run(md_steps)
    print(f"after {md_steps} fs: {atoms.get_temperature():.0f} K")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
