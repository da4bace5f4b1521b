"""Force errors of a model on labelled frames, for the ideal chip and for hardware settings, with intervals."""

from rgnn.evaluation.measures import ErrorSums, Estimate, Setting, csv_rows
from rgnn.evaluation.sweep import EvalConfig, LabelledFrames, evaluate, grid, predict

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
