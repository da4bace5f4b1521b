"""What the commands find of each other in the current folder.

`.rgnn/last.yaml` names the store and the model made last here; `runs/latest` links to the newest
training run. Paths are kept as the user gave them, so a moved folder still works.
"""

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from rgnn.base.errors import InputError
from rgnn.base.settings import dump_yaml, read_yaml

LAST = Path(".rgnn") / "last.yaml"
# What training, dynamics and evaluation write into their folders.
_FILES = [
    "config.yaml",
    "log.csv",
    "speed.csv",
    "best",
    "last",
    "state.safetensors",
    "members",
    "training.png",
    "trajectory.traj",
    "trajectory.xyz",
    "restart.safetensors",
    "minimised.xyz",
    "broken.xyz",
    "final.xyz",
    "summary.json",
    "dynamics.png",
    "eval.json",
    "eval.csv",
    "parity.png",
    "heatmap.png",
    "curves.png",
    "layers.png",
    "uncertainty.png",
    "report.html",
    "settings",
    "find.json",
    "find.png",
    "analysis.json",
    "analysis.csv",
    "rdf.csv",
    "msd.csv",
    "rdf.png",
    "msd.png",
    "arrhenius.png",
    "temperature.png",
    "sweep.json",
    "sweep.csv",
    "sweep.png",
    "conservation.json",
]
RUN_FILES = frozenset(_FILES) | {f"{name}.partial" for name in _FILES}


def remember(kind: str, path: Path) -> None:
    """Note that `path` is the newest store or model here."""
    known = read_yaml(LAST) if LAST.exists() else {}
    known[kind] = str(path)
    LAST.parent.mkdir(exist_ok=True)
    aside = LAST.with_suffix(".partial")
    aside.write_text(dump_yaml(known), encoding="utf-8")
    aside.replace(LAST)


def last(kind: str) -> Path | None:
    """The newest store or model here that still exists."""
    if not LAST.exists():
        return None
    path = read_yaml(LAST).get(kind)
    return Path(path) if isinstance(path, str) and Path(path).exists() else None


def new_folder(parent: str, stem: str) -> Path:
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


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise InputError where something already lies at `path` and may not be replaced."""
    if path.exists() and not overwrite:
        raise InputError(f"{path} already exists; give another --out, or --overwrite to replace it.")


def refuse_beside_resume(**given: object) -> None:
    """Raise InputError where something is given that --resume takes from the run."""
    for name, value in given.items():
        if value is not None:
            what = f"a {name}" if name in ("store", "structure") else f"--{name}"
            raise InputError(f"--resume takes all settings from the run, so {what} cannot be given; leave it out.")


def run_folder(path: Path) -> Path:
    """The run folder at `path`, with `latest` followed.

    Raises:
        InputError: there is none.
    """
    if not (path / "config.yaml").is_file():
        raise InputError(f"{path}: is no run (it has no config.yaml); name a folder such as runs/train-001.")
    return Path(os.path.relpath(path.resolve())) if path.is_symlink() else path


def refuse_foreign(path: Path, beside: Collection[str] = ()) -> None:
    """Raise InputError where a folder holds something that no run writes, `beside` what is named."""
    known = RUN_FILES | set(beside)
    foreign = [path.name] if not path.is_dir() else sorted(p.name for p in path.iterdir() if p.name not in known)
    if foreign:
        raise InputError(f"{path} holds '{foreign[0]}', which no run has written; give another --out, or move it away.")


def clear_run(path: Path) -> None:
    """Empty the run folder at `path`, where there is one; it holds nothing but what a run writes.

    Raises:
        InputError: it holds something else, which is left alone with all the rest.
    """
    if not path.exists():
        return
    refuse_foreign(path)
    for item in path.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        else:
            item.unlink()


def link_latest(run: Path) -> None:
    """Let `latest` beside the run point to it, where links are supported."""
    link, aside = run.parent / "latest", run.parent / ".latest.partial"
    if link.exists() and not link.is_symlink():
        return
    try:
        aside.unlink(missing_ok=True)
        aside.symlink_to(os.path.relpath(run, run.parent), target_is_directory=True)
        aside.replace(link)
    except OSError:
        return  # a file system without links: last.yaml still knows
