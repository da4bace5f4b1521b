"""Model folders: model.safetensors (tensors and settings) and model.yaml (the settings, for people)."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.base.files import write_atomic
from rgnn.base.provenance import Provenance
from rgnn.base.settings import dump_yaml
from rgnn.base.tensorfiles import read_settings, read_tensors, write_tensors
from rgnn.chip.hardware import Hardware
from rgnn.models import families, sample
from rgnn.models.base import ForceField
from rgnn.models.committee import Committee
from rgnn.models.settings import ModelSettings
from rgnn.models.version_1 import tensors_of_version_1

FORMAT, VERSION = "rgnn model", 2


def model_settings(model: ForceField) -> dict[str, Any]:
    """Everything about a model except its tensors, as plain values."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": model.settings.to_mapping(),
        "hardware": model.hardware.to_mapping(),
        "provenance": model.provenance.to_mapping(),
        "members": len(model.members),
    }


def save_model(model: ForceField, folder: str | Path) -> None:
    """Write a model folder; a write that is cut off leaves the model that was there before."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = model_settings(model)
    write_tensors(folder / "model.safetensors", model.state_dict(), settings)
    write_atomic(folder / "model.yaml", "# To be read by people; rgnn reads model.safetensors.\n" + dump_yaml(settings))


def find_model(path: str | Path) -> Path:
    """The model folder at `path`: itself, or `best` in a training run; "sample" is the packaged model.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    for folder in (path, path / "best"):
        if (folder / "model.safetensors").is_file():
            return folder
    if str(path) == sample.NAME and not path.exists():
        return sample.FOLDER
    what = "does not exist" if not path.exists() else "holds no model (no model.safetensors, no best/)"
    raise InputError(f"{path}: {what}; name a model folder or a training run.")


@dataclass(frozen=True)
class ModelCard:
    """What a model file says of its model.

    Attributes:
        settings, hardware, provenance: of the model.
        members: number of models in a committee; 1 for any other.
    """

    settings: ModelSettings
    hardware: Hardware
    provenance: Provenance
    members: int

    @classmethod
    def of(cls, said: dict[str, Any], file: Path) -> "ModelCard":
        """From the settings of a model file.

        Raises:
            InputError: they are damaged.
        """
        n = said.get("members", 1)
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise InputError(f"{file}: says that it has {n!r} members; its header is damaged.")
        return cls(
            ModelSettings.from_mapping(said.get("model"), f"{file}: model"),
            Hardware.from_mapping(said.get("hardware"), f"{file}: hardware"),
            Provenance.from_mapping(said.get("provenance"), f"{file}: provenance"),
            n,
        )


def read_card(path: str | Path) -> ModelCard:
    """What the model at `path` says of itself, without its tensors; path and errors as of `load_model`."""
    file = find_model(path) / "model.safetensors"
    return ModelCard.of(read_settings(file, FORMAT, VERSION, 1), file)


def load_model(path: str | Path, device: torch.device | str = "cpu") -> ForceField:
    """The model of a model folder or of a training run (its best), ready to predict.

    Raises:
        InputError: no model there, damaged, or of a family that is not registered.
    """
    file = find_model(path) / "model.safetensors"
    tensors, settings = read_tensors(file, FORMAT, VERSION, 1)
    card = ModelCard.of(settings, file)
    shape, n = card.settings, card.members
    if n > max(1, len(tensors)):
        raise InputError(f"{file}: says that it has {n!r} members; its header is damaged.")
    layers = families.family_of(shape).matrices(shape)
    on_chip, there = n * sum(a * b for layer in layers for a, b in layer), sum(t.numel() for t in tensors.values())
    if on_chip > there:
        raise InputError(f"{file}: holds {there:,} numbers, but its settings ask for {on_chip:,} weights on the chip.")
    model = empty_model(shape, card.hardware, n)
    model.provenance = card.provenance
    if settings["version"] == 1:
        tensors = tensors_of_version_1(tensors, shape, n)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"{file}: tensors do not fit its settings ({str(error).splitlines()[1].strip()}).") from None
    return model.to(device).eval()


def empty_model(shape: ModelSettings, hardware: Hardware, members: int = 1) -> ForceField:
    """A model, or a committee of several, whose tensors are still to be loaded."""
    cells = [[torch.zeros(size) for size in layer] for layer in families.family_of(shape).matrices(shape)]
    models = [families.build(shape, hardware, cells, member=number) for number in range(members)]
    return models[0] if members == 1 else Committee(models)


def fingerprint(model: ForceField) -> str:
    """SHA-256 over the tensors and settings of a model: equal fingerprints, equal predictions.

    Of the settings only those count that differ from their defaults, so that a new one changes no fingerprint of
    before. The defaults of released settings therefore never change.
    """
    settings = [model.settings.differences(), model.hardware.differences(), len(model.members)]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()
