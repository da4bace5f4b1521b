"""What the house rules promise about imports."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

import rgnn

PROJECT = Path(__file__).parents[1]


def test_imports_go_one_way_and_no_two_modules_import_each_other() -> None:
    """The layers of pyproject.toml, which `lint-imports` checks too; and no circle of modules anywhere."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    graph = grimp.build_graph("rgnn", "rgnn_cli")
    circles = {
        tuple(sorted((a, b)))
        for a in graph.modules
        for b in graph.find_modules_directly_imported_by(a)
        if graph.chain_exists(importer=b, imported=a)
    }
    assert not circles


def test_import_rgnn_is_light() -> None:
    heavy = "{'typer', 'rich', 'matplotlib', 'zarr', 'torch', 'ase'}"
    code = f"import rgnn, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_is_light() -> None:
    """`rgnn --help` waits for nothing that a single command needs."""
    heavy = "{'matplotlib', 'zarr', 'torch', 'ase', 'pydantic', 'numpy', 'numba', 'yaml'}"
    code = f"import rgnn_cli.app, sys; print(sorted({heavy} & set(sys.modules)))"
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
