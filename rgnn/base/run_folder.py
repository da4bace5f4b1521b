"""Run folders: new ones are numbered, none is overwritten unasked, and clearing one leaves foreign files alone."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from rgnn.base.errors import InputError
from rgnn.base.files import locked

_FILES = [
    "config.yaml", "log.csv", "speed.csv", "best", "last", "state.safetensors", "members", "training.png", "split.yaml",
    "trajectory.traj", "trajectory.xyz", "restart.safetensors", "minimised.xyz", "broken.xyz", "final.xyz",
    "summary.json", "dynamics.png", "eval.json", "eval.csv", "parity.png", "heatmap.png", "curves.png", "layers.png",
    "parity-energy-stress.png", "predictions.xyz",
    "uncertainty.png", "report.html", "settings", "find.json", "find.png", "analysis.json", "analysis.csv", "rdf.csv",
    "msd.csv", "rdf.png", "msd.png", "arrhenius.png", "temperature.png", "sweep.json", "sweep.csv", "sweep.png",
    "conservation.json", "measured", "refit", "board.json", "board.png", "columns.csv", "columns.png",
    "energy.png", "hardware.yaml", "laws.json", "read-noise.png", "spectrum.png", "programming.png", "relaxation.png",
    "activation.png", "relax.png",
]  # fmt: skip
# Folders with one of these files are read whole; of a run folder, which others write into, these parts are.
_MARKS, _KEPT = ("zarr.json", "model.safetensors", "chip.safetensors"), ("best", "last")
# What runs write below their folders, and files that nobody else writes.
_MODEL_FILES = ("model.safetensors", "model.yaml", "uncertainty.safetensors", "columns.safetensors", "*.partial")
_INSIDE = {"best": _MODEL_FILES, "last": _MODEL_FILES, "settings": ("*.npy", "*.partial"), "members": ("[0-9]*",)}
_INSIDE |= {
    "measured": ("*.npy", "*.partial"),
    "refit": ("state.safetensors", "log.csv", "members", "best", "last", "*.partial"),
}
_PROOFS = (
    "state.safetensors", "restart.safetensors", "best/model.safetensors", "last/model.safetensors", "find.json",
    "conservation.json",
)  # fmt: skip
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
    """Raise InputError where a folder holds something that no run writes, or is not a run at all.

    Args:
        path: the folder.
        beside: names in it that are allowed, too.
    """
    if not path.is_dir():
        foreign = [path.name]
    else:
        items = sorted(item for item in path.iterdir() if not is_lock(item))
        foreign = [item.name for item in items if item.name not in RUN_FILES and item.name not in beside]
        foreign += [str(inner.relative_to(path)) for item in items for inner in _foreign_inside(item)]
        if not foreign and items and not _is_run(path) and not beside:
            foreign = [items[0].name]
    if foreign:
        raise InputError(f"{path} holds '{foreign[0]}', which no run has written; give another --out, or move it away.")


def _foreign_inside(item: Path) -> list[Path]:
    """What no run writes below one of its folders."""
    if item.name not in _INSIDE or item.is_symlink() or not item.is_dir():
        return []
    return sorted(inner for inner in item.iterdir() if not _fits(inner.name, _INSIDE[item.name]))


def is_lock(path: Path) -> bool:
    """Whether a file is a lock, which a process that was killed may have left."""
    return path.name.startswith(".") and path.suffix == ".lock"


def _fits(name: str, patterns: Collection[str]) -> bool:
    """Whether a name fits one of some patterns of the shell."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def _is_run(path: Path) -> bool:
    """Whether rgnn has written into a folder: a file that only it writes, or settings that look like its own.

    Files of ordinary names, such as log.csv and report.html, prove nothing.
    """
    if any((path / name).exists() for name in _PROOFS):
        return True
    try:
        with (path / "config.yaml").open(encoding="utf-8") as file:
            begin = file.read(4096)
    except (OSError, UnicodeDecodeError):
        return False
    noted = begin.startswith("#") and "rgnn " in begin.partition("\n")[0]
    return noted or begin.startswith("analysis:") or "\nmodel_fingerprint:" in begin or "\nversions:" in begin


def clear_run(path: Path) -> None:
    """Empty the run folder at `path`, where there is one.

    Raises:
        InputError: it holds something that no run writes, which is left alone with all the rest; or a run is at work
            there.
    """
    if not path.exists():
        return
    with held(path):
        refuse_foreign(path)
        for item in path.iterdir():
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink()


@contextmanager
def held(path: str | Path) -> Iterator[None]:
    """Hold a run folder for one writer until the block or the process ends.

    Raises:
        InputError: another process writes there.
    """
    folder = Path(path).resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, folder.parent / f".{folder.name}.lock"):
        yield
