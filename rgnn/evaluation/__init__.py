"""Force errors of a model on labelled frames, for the ideal chip and for hardware settings, with intervals."""

from rgnn.base.estimate import Estimate
from rgnn.evaluation.errors import ErrorSums, HardwareErrors, csv_rows
from rgnn.evaluation.run import EvaluationSettings, evaluate, grid, predict

__all__ = [
    "ErrorSums",
    "Estimate",
    "EvaluationSettings",
    "HardwareErrors",
    "csv_rows",
    "evaluate",
    "grid",
    "predict",
]
