"""What the house rules promise about files and functions."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SOURCES = [path for package in ("rgnn", "rgnn_cli") for path in sorted((PROJECT / package).rglob("*.py"))]


def test_the_library_is_packages_of_files_that_can_be_read() -> None:
    modules = [path.name for path in (PROJECT / "rgnn").glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= 2
    lines = {path: len(path.read_text().splitlines()) for path in SOURCES}
    assert not {path: n for path, n in lines.items() if n > 450}


def test_only_families_look_at_what_family_a_model_is() -> None:
    asked = re.compile(r"config\.moments|isinstance\(.*Readout|isinstance\(.*(RGNN|MomentForces)\b")
    found = {path for path in SOURCES if asked.search(path.read_text())}
    assert {path.relative_to(PROJECT).parts[:2] for path in found} <= {("rgnn", "models")}


FOLDER = PROJECT / "rgnn_cli/commands"
COMMANDS = [str(path.relative_to(FOLDER).with_suffix("")) for path in sorted(FOLDER.rglob("[!_]*.py"))]


@pytest.mark.parametrize("place", COMMANDS)
def test_commands_only_read_options_and_show(place: str) -> None:
    tree, name = ast.parse((FOLDER / f"{place}.py").read_text()), Path(place).name
    (command,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    assert command.end_lineno is not None and command.end_lineno - command.lineno < 80
