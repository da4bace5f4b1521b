"""What reaches the terminal."""

import shutil
from pathlib import Path

import pytest

from rgnn_cli.session.errors import show

MARKUP, ESCAPES = "a[bold red]b[/].xyz", "c\x1b[31md\x07e\x9bf.xyz"


@pytest.mark.parametrize("name", [MARKUP.replace("/", ""), ESCAPES])
def test_names_are_shown_as_they_are_and_steer_nothing(cli, refused, trajectory, name: str) -> None:
    """Neither as markup of rich nor as sequences of a terminal; nothing breaks after the work is done."""
    shutil.copy(trajectory, name)
    said = cli("convert", name, "--out", f"{name}.zarr", "--workers", 1) + cli("info", f"{name}.zarr")
    assert not set(said) & {"\x1b", "\x07", "\x9b"}
    if "[" in name and "\x1b" not in name:
        assert said.count(name) >= 3
    Path(name).write_text("nothing")
    error = refused(2, "convert", name, "--out", "z.zarr")
    assert not set(error) & {"\x1b", "\x07", "\x9b"}


def test_a_closing_tag_in_a_folder_breaks_nothing(cli, trajectory) -> None:
    Path("x[").mkdir()
    assert "x[/].zarr" in cli("convert", trajectory, "--out", "x[/].zarr", "--workers", 1)
    assert "x[/].zarr" in cli("info", "x[/].zarr")


@pytest.mark.parametrize(
    ("text", "code"), [("DefaultCPUAllocator: can't allocate memory", 4), ("CUDA out of memory", 4), ("other", 1)]
)
def test_memory_that_is_spent_has_its_exit_code(text: str, code: int, capsys) -> None:
    assert show(RuntimeError(text)) == code
    assert ("out of memory" in capsys.readouterr().err) == (code == 4)
