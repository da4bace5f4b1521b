"""Force fields from resistive-memory reservoir graph neural networks (ForceField).

The public names below load their modules when first used, so `import rgnn` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rgnn.calculator import RGNNCalculator
    from rgnn.chip.chip import Chip
    from rgnn.chip.hardware import Hardware
    from rgnn.data.store.reader import GraphStore
    from rgnn.evaluation import evaluate
    from rgnn.graphs.graph import Graph
    from rgnn.models.base import Prediction
    from rgnn.models.checkpoints import load_model, save_model
    from rgnn.models.message_passing.model import RGNN
    from rgnn.models.moments.model import MomentForces
    from rgnn.training.fit import fit

__all__ = [
    "RGNN",
    "Chip",
    "Graph",
    "GraphStore",
    "Hardware",
    "MomentForces",
    "Prediction",
    "RGNNCalculator",
    "evaluate",
    "fit",
    "load_model",
    "save_model",
]

_HOME = {
    "RGNN": "models.message_passing.model",
    "MomentForces": "models.moments.model",
    "Prediction": "models.base",
    "Chip": "chip.chip",
    "Graph": "graphs.graph",
    "GraphStore": "data.store.reader",
    "Hardware": "chip.hardware",
    "RGNNCalculator": "calculator",
    "evaluate": "evaluation",
    "fit": "training.fit",
    "load_model": "models.checkpoints",
    "save_model": "models.checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rgnn' has no attribute '{name}'")
    return getattr(import_module(f"rgnn.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
