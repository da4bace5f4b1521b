"""What tests/md/test_lammps_energy.py starts under mpirun, in a folder with `model`, `start.xyz` and `*.lammps`."""

import sys
from pathlib import Path

import ase.io
import pair_energy  # noqa: F401 (which registers the family)
import torch

from rgnn import load_model
from rgnn.md import MDSettings
from rgnn.md.lammps.run import run_lammps
from rgnn.md.lammps.script import run_script
from rgnn.md.lammps.world import MPIWorld

torch.set_num_threads(1)
folder, world = Path(sys.argv[1]), MPIWorld()
model = load_model(folder / "model")
quiet = model.hardware.with_given(None, 0.0)
settings = MDSettings(steps=30, temperature=300, write_every=3, seed=5, noise=0.0, engine="lammps", ensemble="nve")
run_lammps(ase.io.read(folder / "start.xyz"), model, settings, folder / f"nve-{world.size}", world)
for script in sorted(folder.glob(f"*-{world.size}.lammps")):
    run_script(script, model, ["Li", "F"], world, hardware=quiet)
