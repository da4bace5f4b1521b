"""The families of models, by name. A new family registers itself here and needs no edit elsewhere."""

from rgnn.base.errors import InputError
from rgnn.chip.hardware import Hardware
from rgnn.models.base import ChipCells, ForceField
from rgnn.models.energy.model import MomentEnergy
from rgnn.models.message_passing.model import RGNN
from rgnn.models.moments.model import MomentForces
from rgnn.models.operations import Operations, Workload
from rgnn.models.settings import ModelSettings

FAMILIES: dict[str, type[ForceField]] = {}


def register(family: type[ForceField]) -> type[ForceField]:
    """Make a family known; may be used as a decorator of its class."""
    FAMILIES[family.family] = family
    return family


for _family in (RGNN, MomentForces, MomentEnergy):
    register(_family)


def family_of(settings: ModelSettings) -> type[ForceField]:
    """The class of the models that have such settings.

    Raises:
        InputError: the family is not registered.
    """
    if settings.family not in FAMILIES:
        raise InputError(f"there is no model family '{settings.family}'; it must be one of {', '.join(FAMILIES)}.")
    return FAMILIES[settings.family]


def build(settings: ModelSettings, hardware: Hardware, cells: ChipCells, seed: int = 0, member: int = 0) -> ForceField:
    """An untrained model of the family of its settings; arguments as of `ForceField`."""
    return family_of(settings)(settings, hardware, cells, seed, member)  # type: ignore[call-arg]


def operations(settings: ModelSettings, workload: Workload, *, split: bool = True) -> Operations:
    """Exact counts of a forward pass of such a model, see `ForceField.operations`."""
    return family_of(settings).operations(settings, workload, split=split)
