"""Hardware settings to compare: the ideal chip, the hardware as trained, and every combination of what is varied."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from rgnn.chip.hardware import Hardware


def grid(base: Hardware, choices: Mapping[str, Sequence[Any]]) -> list[Hardware]:
    """Every combination of the values of some settings, all else as in `base`.

    Raises:
        InputError: no such setting, or a combination that excludes itself.
    """
    plain = base.to_mapping()
    return [
        Hardware.from_mapping({**plain, **dict(zip(choices, values, strict=True))}, "hardware")
        for values in itertools.product(*choices.values())
    ]


def variations(own: Hardware, base: Hardware, choices: Mapping[str, Sequence[Any]]) -> list[Hardware]:
    """The ideal chip, the hardware as trained, and `base` with every combination of what is varied; none twice.

    Args:
        own: hardware that the model was trained for.
        base: all settings that are not varied.
        choices: name of a setting -> its values; none compares `base` itself.

    Raises:
        InputError: as `grid`.
    """
    return list(dict.fromkeys([own.ideal(), own, *(grid(base, choices) if choices else [base])]))
