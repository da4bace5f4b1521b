"""What reaches the terminal."""

import shutil
import sys
from pathlib import Path

import pytest

from rgnn_cli import app as rgnn_app
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("eval", "--vary", "tile=[1"), "--vary has the values '[1'"),
        (("eval", "--vary", f"tile={'9' * 5000}"), "--vary has the values"),
        (("md", "x.xyz", "--threads", "99999999999"), "4096"),
        (("convert", "x.xyz", "--out", "/", "--overwrite"), "cannot be a store"),
    ],
)
def test_absurd_options_are_refused_in_words(arguments: tuple[str, ...], words: str, cli_run, workdir) -> None:
    code, said = cli_run(*arguments)
    assert code == 2 and words in said and "Traceback" not in said and "unexpected" not in said


def test_a_model_that_is_worse_than_none_is_said(cli_run, store, workdir) -> None:
    options = ("--preset", "moments", "--epochs", "1", "--learning-rate", "1e6", "--out", "runs/wild")
    code, said = cli_run("train", str(store), *options)
    assert code == 0 and "no better than forces of zero" in said


@pytest.fixture
def cli_run(monkeypatch, capsys):
    """Exit code of a command and all that it says."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rgnn", *arguments])
        with pytest.raises(SystemExit) as ended:
            rgnn_app.main()
        caught = capsys.readouterr()
        return int(ended.value.code or 0), caught.out + caught.err

    return run
