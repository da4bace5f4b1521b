"""Force errors of a model on labelled frames, for the ideal chip and for hardware settings, with intervals."""

from rgnn.base.estimate import Estimate
from rgnn.evaluation.errors import ErrorSums, Setting, csv_rows
from rgnn.evaluation.evaluate import EvalConfig, LabelledFrames, evaluate, grid, predict

__all__ = [
    "ErrorSums",
    "Estimate",
    "EvalConfig",
    "LabelledFrames",
    "Setting",
    "csv_rows",
    "evaluate",
    "grid",
    "predict",
]
