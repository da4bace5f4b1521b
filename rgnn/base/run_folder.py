"""Run folders: new ones are numbered, none is overwritten unasked, and clearing one leaves foreign files alone."""

import shutil
from collections.abc import Collection
from pathlib import Path

from rgnn.base.errors import InputError

_FILES = [
    "config.yaml", "log.csv", "speed.csv", "best", "last", "state.safetensors", "members", "training.png",
    "trajectory.traj", "trajectory.xyz", "restart.safetensors", "minimised.xyz", "broken.xyz", "final.xyz",
    "summary.json", "dynamics.png", "eval.json", "eval.csv", "parity.png", "heatmap.png", "curves.png", "layers.png",
    "uncertainty.png", "report.html", "settings", "find.json", "find.png", "analysis.json", "analysis.csv", "rdf.csv",
    "msd.csv", "rdf.png", "msd.png", "arrhenius.png", "temperature.png", "sweep.json", "sweep.csv", "sweep.png",
    "conservation.json",
]  # fmt: skip
# Folders with one of these files are read whole; of a run folder, which others write into, these parts are.
_MARKS, _KEPT = ("zarr.json", "model.safetensors", "chip.safetensors"), ("best", "last")
# What training, dynamics and evaluation write into their folders.
RUN_FILES = frozenset(_FILES) | {f"{name}.partial" for name in _FILES}


def new_folder(parent: str | Path, stem: str) -> Path:
    """Make parent/stem-001, -002, ..., the first that is not taken, so that no other command takes it."""
    number = 1
    while True:
        path = Path(parent) / f"{stem}-{number:03d}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return path


def refuse_existing(path: Path, overwrite: bool, *inputs: str | Path | None) -> None:
    """Raise InputError where something already lies at `path` and may not be replaced.

    Args:
        path: the folder to write.
        overwrite: whether what lies there may be replaced.
        inputs: what is read, and so must not be replaced; those that are None or "" are not looked at.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} already exists; give another --out, or --overwrite to replace it.")
    out = path.resolve()
    for given in inputs:
        if given is None or str(given) == "" or not Path(given).exists():
            continue
        read = Path(given).resolve()
        whole = any((read / name).exists() for name in _MARKS)
        kept = {read} if whole else {read / name for name in _KEPT}
        if out == read or out in read.parents or not kept.isdisjoint([out, *out.parents]):
            raise InputError(f"{path} holds what is read from {given}, and would replace it; give another --out.")


def refuse_foreign(path: Path, beside: Collection[str] = ()) -> None:
    """Raise InputError where a folder holds something that no run writes, `beside` what is named."""
    known = RUN_FILES | set(beside)
    foreign = [path.name] if not path.is_dir() else sorted(p.name for p in path.iterdir() if p.name not in known)
    if foreign:
        raise InputError(f"{path} holds '{foreign[0]}', which no run has written; give another --out, or move it away.")


def clear_run(path: Path) -> None:
    """Empty the run folder at `path`, where there is one.

    Raises:
        InputError: it holds something that no run writes, which is left alone with all the rest.
    """
    if not path.exists():
        return
    refuse_foreign(path)
    for item in path.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        else:
            item.unlink()
