"""What the house rules promise about imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rgnn

ROOT = Path(rgnn.__file__).parent


def imports(path: Path) -> set[str]:
    """Modules of rgnn that a file imports anywhere outside TYPE_CHECKING."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rgnn"):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def modules() -> dict[str, Path]:
    names = {}
    for path in ROOT.rglob("*.py"):
        parts = ["rgnn", *path.relative_to(ROOT).with_suffix("").parts]
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


# Each layer may import from those above it.
LAYERS = (
    "errors",
    "config files streams optimizer processes",
    "downloads hardware",
    "cells",
    "triplets analog tensorfiles neighbours",
    "crossbar",
    "graphs chip frames conductances schedules",
    "kernels epochs",
    "reading",
    "moments",
    "readouts",
    "model ledger labels measurement following",
    "blocks trajectories committee",
    "checkpoints published store sample graphpickle calibration",
    "conversion loader coverage uncertainty",
    "training calculator registry selftest costs",
    "ridge",
    "runs",
    "dynamics observables",
    "evaluation lammps",
    "analysis",
    "plots",
)


def test_imports_go_one_way() -> None:
    layer = {name: k for k, names in enumerate(LAYERS) for name in names.split()}
    for name, path in modules().items():
        if name == "rgnn":
            continue
        mine = name.split(".")[1]
        for other in imports(path) & set(modules()) - {"rgnn"}:
            theirs = other.split(".")[1]
            assert theirs == mine or layer[theirs] < layer[mine], f"{name} imports {other}"


def test_the_library_does_not_know_its_command_line() -> None:
    for name, path in modules().items():
        outside = imports(path)
        assert not any(other.split(".")[0] in {"rgnn_cli", "typer", "rich"} for other in outside), name
        if not name.startswith("rgnn.plots"):
            assert "matplotlib" not in path.read_text().replace('"matplotlib"', ""), name


def test_import_rgnn_is_light() -> None:
    heavy = "{'typer', 'rich', 'matplotlib', 'zarr', 'torch', 'ase'}"
    code = f"import rgnn, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_training_and_prediction_need_no_command_line_nor_figures() -> None:
    code = (
        "import sys, rgnn; [getattr(rgnn, n) for n in rgnn.__all__]; print({'typer', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", rgnn.__all__)
def test_public_names(name: str) -> None:
    assert getattr(rgnn, name).__name__ == name
    assert getattr(rgnn, name).__doc__
    assert name in dir(rgnn)


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = rgnn.Nonsense
