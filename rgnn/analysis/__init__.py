"""What comes after a run: distributions, displacements, diffusion, temperatures, and how runs compare."""

from rgnn.analysis.activation import Arrhenius, activation_energies, arrhenius, distinct
from rgnn.analysis.comparison import Comparison, analyse_all, analyse_sweep, compare, doubts
from rgnn.analysis.conductivity import Conductivity
from rgnn.analysis.diffusion import Diffusion, Displacements, displacements, kinisi_is_here
from rgnn.analysis.hops import Hop
from rgnn.analysis.joint import Joint, joined
from rgnn.analysis.mapping import to_mapping
from rgnn.analysis.run import (
    Analysis,
    Shell,
    analyse,
    coordination,
    differences,
    pair_name,
)
from rgnn.analysis.settings import AnalysisSettings, OfElement
from rgnn.analysis.trajectory import Trajectory, open_trajectory
from rgnn.analysis.vibrations import Vibrations

__all__ = [
    "Analysis",
    "AnalysisSettings",
    "Arrhenius",
    "Comparison",
    "Conductivity",
    "Diffusion",
    "Displacements",
    "Hop",
    "Joint",
    "OfElement",
    "Shell",
    "Trajectory",
    "Vibrations",
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
    "doubts",
    "joined",
    "kinisi_is_here",
    "open_trajectory",
    "pair_name",
    "to_mapping",
]
