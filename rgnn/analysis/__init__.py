"""What comes after a run: distributions, displacements, diffusion, temperatures, and how runs compare."""

from rgnn.analysis.activation import Arrhenius, activation_energies, arrhenius, distinct
from rgnn.analysis.diffusion import Diffusion, Displacements, displacements, kinisi_is_here
from rgnn.analysis.run import (
    Analysis,
    AnalysisSettings,
    Shell,
    analyse,
    coordination,
    differences,
    pair_name,
    to_mapping,
)
from rgnn.analysis.trajectory import Trajectory, open_trajectory
from rgnn.md.sweep import SweepSettings, on_hardware, run_sweep

__all__ = [
    "Analysis",
    "AnalysisSettings",
    "Arrhenius",
    "Diffusion",
    "Displacements",
    "Shell",
    "SweepSettings",
    "Trajectory",
    "activation_energies",
    "analyse",
    "arrhenius",
    "coordination",
    "differences",
    "displacements",
    "distinct",
    "kinisi_is_here",
    "on_hardware",
    "open_trajectory",
    "pair_name",
    "run_sweep",
    "to_mapping",
]
