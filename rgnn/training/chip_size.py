"""Whether a model has room on a chip, and which models have."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rgnn.base.choices import Preset
from rgnn.base.errors import InputError
from rgnn.chip.chip import Chip
from rgnn.models import families
from rgnn.models.settings import ModelSettings


def weights_on_chip(settings: ModelSettings) -> int:
    """Number of weights on the chip of a model with these settings, which know their elements."""
    layers = families.family_of(settings).matrices(settings)
    return sum(rows * columns for layer in layers for rows, columns in layer)


def narrowed(settings: ModelSettings, chip: Chip) -> ModelSettings:
    """The widest model of the same shape that has room on a chip; the settings themselves where they have.

    Raises:
        InputError: the narrowest is too wide.
    """
    room = len(chip.weights)
    for each in (settings, *settings.narrower()):
        if weights_on_chip(each) <= room:
            return each
    raise InputError(
        f"the chip ({chip.source}) has {room:,} weights, too few for the narrowest model of the family "
        f"{settings.family}; measure more cells."
    )


def require_room(settings: ModelSettings, chip: Chip, presets: Iterable[tuple[Preset, ModelSettings]]) -> None:
    """Refuse a model that is too wide for a chip, and say what has room.

    Args:
        settings: of the model, which know their elements.
        chip: that it is read from.
        presets: models to propose in its place, by name.

    Raises:
        InputError: the chip has too few weights.
    """
    needed, room = weights_on_chip(settings), len(chip.weights)
    if needed <= room:
        return
    ways = []
    if (narrow := _narrowed_or_none(settings, chip)) is not None:
        changes = " and ".join(_changes(settings.to_mapping(), narrow.to_mapping()))
        ways.append(f"--narrow makes a model of {changes} ({weights_on_chip(narrow):,} weights)")
    for name, each in presets:
        if not each.uses_chip or each.family == settings.family:
            continue
        if (fits := _narrowed_or_none(each, chip)) is not None:
            ways.append(f"--preset {name}{'' if fits == each else ' --narrow'} has room ({weights_on_chip(fits):,})")
    ways.append("--reuse-cells takes cells several times")
    raise InputError(
        f"the chip ({chip.source}) is too small: the model needs {needed:,} weights ({2 * needed:,} cells), but it has "
        f"{room:,} ({2 * room:,} cells); {', or '.join(ways)}."
    )


def _narrowed_or_none(settings: ModelSettings, chip: Chip) -> ModelSettings | None:
    try:
        return narrowed(settings, chip)
    except InputError:
        return None


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """The settings that differ, in words."""
    for name, value in after.items():
        if isinstance(value, Mapping):
            yield from _changes(before[name], value)
        elif value != before[name]:
            yield f"{name} {value}"
