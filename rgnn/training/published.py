"""Settings files of the published program (train.json and eval.json of Xu et al. 2025) -> settings of rgnn."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgnn.base.errors import InputError, first_line
from rgnn.training.run import RunSettings

# Keys that no other program's settings have together.
_MARKS = {"n_message_passing", "n_edge_feature", "mode"}
# What the keys mean that are used; the last of the message-passing layers is the trained one.
_USED = (
    "cutoff", "n_edge_feature", "n_node_feature", "n_message_passing", "batch_size", "lr", "lr_decay", "lr_min",
    "lr_patience", "n_epochs", "seed", "split",
)  # fmt: skip


@dataclass(frozen=True)
class PublishedSettings:
    """What a settings file of the published program says.

    Attributes:
        run: settings of training; those of a published run where the file says nothing.
        unused: keys that have no counterpart here.
    """

    run: RunSettings
    unused: tuple[str, ...]


def is_published(path: str | Path) -> bool:
    """Whether a file is one of the published program's settings."""
    return Path(path).suffix.lower() == ".json" and Path(path).is_file() and _load(Path(path)).keys() >= _MARKS


def read_published(path: str | Path) -> PublishedSettings:
    """The settings of a file of the published program.

    Raises:
        InputError: a value that has no meaning here.
    """
    values = _load(Path(path))
    width, edges = values.get("n_node_feature", 18), values.get("n_edge_feature", 18)
    if width != edges:
        raise InputError(f"{path}: has {width} node and {edges} edge features, but here both are as many.")
    if values.get("share_weights"):
        raise InputError(f"{path}: shares the weights of its layers, but here each layer has its cells.")
    layers = values.get("n_message_passing", 3)
    if not isinstance(layers, int) or layers < 1:
        raise InputError(f"{path}: n_message_passing is {layers!r}, but it must be a whole number above 0.")
    base = RunSettings.preset("published")
    training: dict[str, Any] = {
        "epochs": values.get("n_epochs"), "batch_size": values.get("batch_size"), "learning_rate": values.get("lr"),
        "plateau_factor": values.get("lr_decay"), "plateau_patience": values.get("lr_patience"),
        "min_learning_rate": values.get("lr_min"), "seed": values.get("seed"), "validation": _validation(values, path),
    }  # fmt: skip
    model: dict[str, Any] = {"cutoff": values.get("cutoff"), "n_features": width, "reservoir_layers": layers - 1}
    try:
        run = base.override(
            model=base.model.override(**{name: v for name, v in model.items() if v is not None}),
            training=base.training.override(**{name: v for name, v in training.items() if v is not None}),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return PublishedSettings(run, tuple(sorted(values.keys() - set(_USED))))


def read_published_evaluation(path: str | Path) -> tuple[int | None, tuple[str, ...]]:
    """The seed of an eval.json of the published program, and its other keys, which the model and the store know.

    Raises:
        InputError: not such a file.
    """
    values = _load(Path(path))
    if not values.keys() >= _MARKS:
        raise InputError(f"{path}: is not a settings file of the published program; give options in its place.")
    return read_published(path).run.training.seed if "seed" in values else None, tuple(sorted(values.keys() - {"seed"}))


def _validation(values: Mapping[str, Any], path: str | Path) -> float | None:
    """The share of frames held out, from the numbers of both parts."""
    split = values.get("split")
    if split is None:
        return None
    if not (isinstance(split, list) and len(split) == 2 and all(isinstance(n, int) and n > 0 for n in split)):
        raise InputError(f"{path}: split is {split!r}, but it must be two numbers of frames.")
    return float(split[1] / sum(split))


def _load(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({first_line(error)}).") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected keys and values, found {type(values).__name__}.")
    return values
