"""Molecular dynamics with a force-only model: Langevin or velocity Verlet, exact restart, safeguards.

A run folder holds config.yaml, log.csv, trajectory.traj, trajectory.xyz, restart.safetensors, final.xyz and
summary.json. Every random stream is keyed by seed and step, and a resumed run first cuts its outputs back to
the restart's step, so it ends with the same frames and rows as an unbroken one on the same device. Forces in
the files are those that moved the atoms: the net force is removed, and its size before that is logged.
"""

from rgnn.dynamics.outputs import element_temperature, read_log
from rgnn.dynamics.run import Thermostat, run_md
from rgnn.dynamics.settings import MDConfig, MDRecord, MDResult, Origin
from rgnn.dynamics.state import State
from rgnn.dynamics.structures import check_structure, read_structure

__all__ = [
    "MDConfig",
    "MDRecord",
    "MDResult",
    "Origin",
    "State",
    "Thermostat",
    "check_structure",
    "element_temperature",
    "read_log",
    "read_structure",
    "run_md",
]
