"""Model folders: model.safetensors (tensors and settings) and model.yaml (the settings, for people)."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from rgnn.base.errors import InputError
from rgnn.base.files import write_atomic
from rgnn.base.provenance import Provenance
from rgnn.base.settings import dump_yaml
from rgnn.base.tensorfiles import read_tensors, write_tensors
from rgnn.chip.hardware import Hardware
from rgnn.models.base import RGNN
from rgnn.models.committee import Committee, members
from rgnn.models.settings import ModelConfig

FORMAT, VERSION = "rgnn model", 1


def model_settings(model: RGNN) -> dict[str, Any]:
    """Everything about a model but its tensors, as plain values."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": model.config.to_mapping(),
        "hardware": model.hardware.to_mapping(),
        "provenance": model.provenance.to_mapping(),
        "members": len(members(model)),
    }


def save_model(model: RGNN, folder: str | Path) -> None:
    """Write a model folder; a write that is cut off leaves the model that was there before."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = model_settings(model)
    write_tensors(folder / "model.safetensors", model.state_dict(), settings)
    write_atomic(folder / "model.yaml", "# To be read by people; rgnn reads model.safetensors.\n" + dump_yaml(settings))


def find_model(path: str | Path) -> Path:
    """The model folder at `path`: itself, or `best` in a training run.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    for folder in (path, path / "best"):
        if (folder / "model.safetensors").is_file():
            return folder
    what = "does not exist" if not path.exists() else "holds no model (no model.safetensors, no best/)"
    raise InputError(f"{path}: {what}; name a model folder or a training run.")


def load_model(path: str | Path, device: torch.device | str = "cpu") -> RGNN:
    """The model of a model folder or of a training run (its best), ready to predict.

    Raises:
        InputError: no model there, or damaged.
    """
    file = find_model(path) / "model.safetensors"
    tensors, settings = read_tensors(file, FORMAT, VERSION)
    config = ModelConfig.from_mapping(settings.get("model"), f"{file}: model")
    hardware = Hardware.from_mapping(settings.get("hardware"), f"{file}: hardware")
    weights = [[torch.zeros(shape) for shape in layer] for layer in RGNN.shapes(config)]
    n = int(settings.get("members", 1))
    model = RGNN(config, hardware, weights) if n == 1 else Committee(config, hardware, n * [weights], n * [0])
    model.provenance = Provenance.from_mapping(settings.get("provenance"), f"{file}: provenance")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"{file}: tensors do not fit its settings ({str(error).splitlines()[1].strip()}).") from None
    return model.to(device).eval()


def fingerprint(model: RGNN) -> str:
    """SHA-256 over the tensors and settings of a model: equal fingerprints, equal predictions."""
    digest = hashlib.sha256(repr((model.config, model.hardware)).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
