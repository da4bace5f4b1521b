"""What tests/md/test_lammps.py starts under mpirun: forces of all structures of a folder, and runs into it.

python lammps_ranks.py FOLDER, which holds `model` and `*.xyz`; results go to forces-SIZE.npz, nve-SIZE and so on there.
"""

import contextlib
import sys
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase import units
from listeners import Heard

from rgnn import load_model
from rgnn.base.errors import Interrupted
from rgnn.md import MDSettings, State
from rgnn.md.lammps.engine import Engine
from rgnn.md.lammps.forces import RankForces
from rgnn.md.lammps.run import run_lammps
from rgnn.md.lammps.world import MPIWorld

torch.set_num_threads(1)
folder, world = Path(sys.argv[1]), MPIWorld()
model = load_model(folder / "model")
quiet = MDSettings(steps=30, temperature=400, write_every=3, seed=5, noise=0.0, any_element=True, engine="lammps")
hardware = model.hardware.override(noise=0)

found = {}
for file in sorted(folder.glob("*.xyz")):
    for ghosts in ("exchange", "deep"):
        if ghosts == "deep" and file.stem not in ("slab", "molecule"):
            continue  # ten thousands of ghosts
        state = State.start(ase.io.read(file), model, quiet)
        start = state.atoms.positions.copy(), state.atoms.get_momenta()
        engine = Engine(state, quiet, RankForces(model, hardware, 0, ghosts, world), world)
        if engine.update(state):
            found[f"{file.stem} {ghosts}"] = state.forces
            # What goes into LAMMPS comes out of it.
            np.testing.assert_allclose(state.atoms.positions, start[0], atol=1e-12)
            np.testing.assert_allclose(state.atoms.get_momenta(), start[1], atol=1e-12)
        engine.close()

# The thermostat alone, which makes each state nearly new: kinetic energy of each atom, in units of kT.
strong = quiet.override(friction=1.0)
state = State.start(ase.io.read(folder / "molecule.xyz"), model, strong)
engine = Engine(state, strong, RankForces(model, hardware, 0, "exchange", world), world)
kinetic = []
for number in range(4000):
    engine.thermostat(number, strong.temperature)
    if engine.update(state):
        momenta, masses = state.atoms.get_momenta(), state.atoms.get_masses()
        kinetic.append((momenta**2).sum(axis=1) / (2 * masses * units.kB * strong.temperature))
        assert np.abs(momenta.sum(axis=0)).max() < 1e-9
engine.close()
if world.rank == 0:
    found["kinetic"] = np.mean(kinetic, axis=0)

glass = ase.io.read(folder / "glass.xyz")
run_lammps(glass, model, quiet.override(ensemble="nve"), folder / f"nve-{world.size}", world)
nvt, steps = quiet.override(steps=12, temperature=600.0), iter(range(100))
run_lammps(glass, model, nvt, folder / f"nvt-{world.size}", world)
with contextlib.suppress(Interrupted):
    # Only the last rank is asked to stop.
    last = world.rank == world.size - 1
    run_lammps(
        glass, model, nvt, folder / f"cut-{world.size}", world, listener=Heard(lambda: next(steps) == 7 and last)
    )
result = run_lammps(None, model, nvt, folder / f"cut-{world.size}", world, resume=True)
assert result.steps == 12 and result.ranks == len(result.memory_gb) == world.size
noisy = quiet.override(steps=4, write_every=1, restart_every=2).override(noise=0.05)
run_lammps(glass, model, noisy, folder / f"noisy-{world.size}", world)
if world.rank == 0:
    np.savez(folder / f"forces-{world.size}.npz", **found)
