"""Force fields from resistive-memory reservoir graph neural networks (RGNN).

The public names below load their modules when first used, so `import rgnn` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rgnn.calculator import RGNNCalculator
    from rgnn.checkpoints import load_model, save_model
    from rgnn.chip import Chip
    from rgnn.evaluation import evaluate
    from rgnn.graphs import Graph
    from rgnn.hardware import Hardware
    from rgnn.model import RGNN
    from rgnn.store import GraphStore
    from rgnn.training import fit

__all__ = [
    "RGNN",
    "Chip",
    "Graph",
    "GraphStore",
    "Hardware",
    "RGNNCalculator",
    "evaluate",
    "fit",
    "load_model",
    "save_model",
]

_HOME = {
    "RGNN": "model",
    "Chip": "chip",
    "Graph": "graphs",
    "GraphStore": "store",
    "Hardware": "hardware",
    "RGNNCalculator": "calculator",
    "evaluate": "evaluation",
    "fit": "training",
    "load_model": "checkpoints",
    "save_model": "checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rgnn' has no attribute '{name}'")
    return getattr(import_module(f"rgnn.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
