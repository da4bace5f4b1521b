"""Names of arrays: where a matrix lies in its model."""

import re

from rgnn.chip.crossbar import Crossbar

_NAME = re.compile(r"layer(\d+)\.matrix(\d+)(?:\.member(\d+))?")


def array_name(crossbar: Crossbar) -> str:
    """Such as "layer0.matrix3", in a committee "layer0.matrix3.member1"; all numbers from 0."""
    layer, matrix = crossbar.place
    return f"layer{layer}.matrix{matrix}" + (f".member{crossbar.member}" if crossbar.member else "")


def place_of(name: str) -> tuple[tuple[int, int], int] | None:
    """((layer, matrix), member) of such a name; None of any other."""
    found = _NAME.fullmatch(name)
    return None if found is None else ((int(found[1]), int(found[2])), int(found[3] or 0))
