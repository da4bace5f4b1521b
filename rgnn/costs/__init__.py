"""What a model costs on a chip and without one: exact counts, and estimates of energy, time and area with sources."""

from rgnn.costs.counts import training_share, workload
from rgnn.costs.estimate import Comparison, CostEstimate, compare
from rgnn.costs.figures import Figure, Figures
from rgnn.costs.study import CostStudy, Counts, estimate_costs
from rgnn.models.families import operations
from rgnn.models.operations import MatrixUse, Operations, Workload

__all__ = [
    "Comparison",
    "CostEstimate",
    "CostStudy",
    "Counts",
    "Figure",
    "Figures",
    "MatrixUse",
    "Operations",
    "Workload",
    "compare",
    "estimate_costs",
    "operations",
    "training_share",
    "workload",
]
