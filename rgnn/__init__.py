"""Force fields from resistive-memory reservoir graph neural networks (RGNN).

The public names below load their modules when first used, so `import rgnn` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rgnn.calculator import RGNNCalculator as RGNNCalculator
    from rgnn.chip.chip import Chip as Chip
    from rgnn.chip.hardware import Hardware as Hardware
    from rgnn.chip.mvm import mvm as mvm
    from rgnn.chip.presets import load_hardware as load_hardware
    from rgnn.data.conversion import convert as convert
    from rgnn.data.fetch.registry import make_sample_store as make_sample_store
    from rgnn.data.store.reader import GraphStore as GraphStore
    from rgnn.evaluation import evaluate as evaluate
    from rgnn.graphs.graph import Graph as Graph
    from rgnn.learning.run import learn as learn
    from rgnn.md.plan import run_md as run_md
    from rgnn.md.settings import MDSettings as MDSettings
    from rgnn.models.base import Prediction as Prediction
    from rgnn.models.checkpoints import load_model as load_model
    from rgnn.models.checkpoints import save_model as save_model
    from rgnn.models.energy.model import MomentEnergy as MomentEnergy
    from rgnn.models.message_passing.model import RGNN as RGNN
    from rgnn.models.moments.model import MomentForces as MomentForces
    from rgnn.models.settings import EnergySettings as EnergySettings
    from rgnn.models.settings import MessagePassingSettings as MessagePassingSettings
    from rgnn.models.settings import MomentSettings as MomentSettings
    from rgnn.training.fit import fit as fit
    from rgnn.training.request import train as train
    from rgnn.training.run import RunSettings as RunSettings
    from rgnn.training.settings import TrainingSettings as TrainingSettings

# The home of each public name.
_HOMES = {
    "Chip": "chip.chip",
    "EnergySettings": "models.settings",
    "Graph": "graphs.graph",
    "GraphStore": "data.store.reader",
    "Hardware": "chip.hardware",
    "MDSettings": "md.settings",
    "MessagePassingSettings": "models.settings",
    "MomentEnergy": "models.energy.model",
    "MomentForces": "models.moments.model",
    "MomentSettings": "models.settings",
    "Prediction": "models.base",
    "RGNN": "models.message_passing.model",
    "RGNNCalculator": "calculator",
    "RunSettings": "training.run",
    "TrainingSettings": "training.settings",
    "convert": "data.conversion",
    "evaluate": "evaluation",
    "fit": "training.fit",
    "learn": "learning.run",
    "load_hardware": "chip.presets",
    "load_model": "models.checkpoints",
    "make_sample_store": "data.fetch.registry",
    "mvm": "chip.mvm",
    "run_md": "md.plan",
    "save_model": "models.checkpoints",
    "train": "training.request",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("rgnn")
    if name not in _HOMES:
        raise AttributeError(f"module 'rgnn' has no attribute '{name}'")
    return getattr(import_module(f"rgnn.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*_HOMES, "__version__"])
