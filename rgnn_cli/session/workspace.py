"""What the commands find of each other in the current folder.

`.rgnn/last.yaml` names the store and the model made last here; `runs/latest` links to the newest
training run. Paths are kept as the user gave them, so a moved folder still works.
"""

import os
from pathlib import Path

from rgnn.base.errors import InputError
from rgnn.base.run_folder import RUN_FILES, clear_run, new_folder, refuse_existing, refuse_foreign
from rgnn.base.yamlfiles import dump_yaml, read_yaml

__all__ = [
    "RUN_FILES",
    "clear_run",
    "last",
    "link_latest",
    "new_folder",
    "refuse_beside_resume",
    "refuse_existing",
    "refuse_foreign",
    "remember",
    "run_folder",
]

LAST = Path(".rgnn") / "last.yaml"


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
        raise InputError(f"{path}: is not a run (it has no config.yaml); name a folder such as runs/train-001.")
    return Path(os.path.relpath(path.resolve())) if path.is_symlink() else path


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
