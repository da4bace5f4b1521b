"""Force errors of a model on labelled frames, for the ideal chip and for hardware settings, with intervals."""

from rgnn.base.estimate import Estimate
from rgnn.chip.variations import grid
from rgnn.evaluation.errors import ErrorSums, HardwareErrors, csv_rows
from rgnn.evaluation.plan import Evaluation, EvaluationPlan, evaluate, hardware_settings, plan, resume
from rgnn.evaluation.run import EvaluationSettings, evaluate_hardware, predict

__all__ = [
    "ErrorSums",
    "Estimate",
    "Evaluation",
    "EvaluationPlan",
    "EvaluationSettings",
    "HardwareErrors",
    "csv_rows",
    "evaluate",
    "evaluate_hardware",
    "grid",
    "hardware_settings",
    "plan",
    "predict",
    "resume",
]
