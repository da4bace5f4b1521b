"""Model files of rgnn 0.1 from before there were families: their tensors under today's names."""

from collections.abc import Mapping

from torch import Tensor

from rgnn.models.settings import ModelSettings, MomentSettings

# Parts of names in models of moments, old and new, in the order in which they are replaced.
RENAMED = (
    ("radial.", "gaussians."),
    ("head.array.", "readout.crossbar."),
    ("head.", "readout."),
    ("layers.0.array.", "moments.crossbar."),
    ("layers.0.", "moments."),
)


def tensors_of_version_1(tensors: Mapping[str, Tensor], settings: ModelSettings, members: int) -> dict[str, Tensor]:
    """The tensors of a file of version 1, renamed; the node embedding, which moments never used, is left out."""
    return {
        new: tensor
        for name, tensor in tensors.items()
        if (new := _renamed(name, isinstance(settings, MomentSettings), members > 1)) is not None
    }


def _renamed(name: str, moments: bool, committee: bool) -> str | None:
    number = "0"
    if committee and name.startswith("others."):
        _, other, name = name.split(".", 2)
        number = str(int(other) + 1)
    if moments and name == "embedding":
        return None
    if moments:
        old, new = next((pair for pair in RENAMED if name.startswith(pair[0])), ("", ""))
        name = new + name.removeprefix(old)
    else:
        name = name.replace(".arrays.", ".crossbars.")
    return f"_members.{number}.{name}" if committee else name
