"""What a model costs on a chip and without one: exact counts, and estimates of energy, time and area with sources."""

from rgnn.costs.counts import training_share, workload
from rgnn.costs.estimate import Comparison, Estimate, compare, efficiency
from rgnn.costs.figures import Figure, Figures
from rgnn.models.families import operations
from rgnn.models.operations import MatrixUse, Operations, Workload

__all__ = [
    "Comparison",
    "Estimate",
    "Figure",
    "Figures",
    "MatrixUse",
    "Operations",
    "Workload",
    "compare",
    "efficiency",
    "operations",
    "training_share",
    "workload",
]
