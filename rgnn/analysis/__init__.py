"""What comes after a run: distributions, displacements, diffusion, temperatures, and how runs compare."""

from rgnn.analysis.activation import Arrhenius, activation_energies, arrhenius, distinct
from rgnn.analysis.comparison import Comparison, analyse_all, analyse_sweep, compare
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

__all__ = [
    "Analysis",
    "AnalysisSettings",
    "Arrhenius",
    "Comparison",
    "Diffusion",
    "Displacements",
    "Shell",
    "Trajectory",
    "activation_energies",
    "analyse",
    "analyse_all",
    "analyse_sweep",
    "arrhenius",
    "compare",
    "coordination",
    "differences",
    "displacements",
    "distinct",
    "kinisi_is_here",
    "open_trajectory",
    "pair_name",
    "to_mapping",
]
