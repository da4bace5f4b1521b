"""Molecular dynamics with a force-only model: ensembles, stages, constraints, exact restart, safeguards.

A run folder holds config.yaml, log.csv, speed.csv, trajectory.traj, trajectory.xyz, restart.safetensors, final.xyz and
summary.json, after a minimisation minimised.xyz, and of a run that broke off broken.xyz. Every random stream is keyed
by seed and step, and a resumed run first cuts its outputs back to the restart's step, so it ends with the same frames
and rows as an unbroken one on the same device. Forces in the files are those that moved the atoms: the net force is
removed, and its size before that is logged.
"""

from rgnn.md.batch import run_batch
from rgnn.md.integrators import Thermostat
from rgnn.md.minimisation import Minimised, minimise
from rgnn.md.outputs import element_temperature, opened, read_log
from rgnn.md.run import run_atoms
from rgnn.md.settings import MDRecord, MDResult, MDSettings, RunOrigin, Stage
from rgnn.md.state import State
from rgnn.md.structures import check_structure, outside_training, read_structure, read_structures
from rgnn.md.sweep import SweepPlan, SweepSettings, plan_sweep, resume_sweep, sweep_folder

__all__ = [
    "MDRecord",
    "MDResult",
    "MDSettings",
    "Minimised",
    "RunOrigin",
    "Stage",
    "State",
    "SweepPlan",
    "SweepSettings",
    "Thermostat",
    "check_structure",
    "element_temperature",
    "minimise",
    "opened",
    "outside_training",
    "plan_sweep",
    "read_log",
    "read_structure",
    "read_structures",
    "resume_sweep",
    "run_atoms",
    "run_batch",
    "sweep_folder",
]
