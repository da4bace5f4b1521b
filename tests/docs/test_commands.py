"""Every command line in the documentation exists, with its options and values; so do programs and extras it names."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.exceptions import TyperException

from rgnn_cli.app import app

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if not {"_run", "decisions"} & set(page.parts)]
BLOCK = re.compile(r"^```(?:sh|bash|\{run\})\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`((?:mpirun [^`]*|torchrun [^`]*)?rgnn [^`]+)`")
# What stands for something of the reader's.
PLACEHOLDER = "COMMAND"
ROOT = typer.main.get_command(app)


@dataclass(frozen=True)
class Line:
    """A command line of a page; whole in a block, perhaps shortened in running text."""

    page: str
    text: str
    whole: bool

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def lines_of(page: Path) -> Iterator[Line]:
    """The command lines in blocks and in running text, without options of the block and comments."""
    text, name = page.read_text(encoding="utf-8"), str(page.relative_to(PROJECT))
    for block in BLOCK.findall(text):
        joined = block.replace("\\\n", " ")
        for line in joined.splitlines():
            if line.strip() and not line.startswith((":", "#")):
                yield from (Line(name, part.strip(), True) for part in line.split(" && "))
    for span in SPAN.findall(re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)):
        yield Line(name, " ".join(span.split()), False)


LINES = [line for page in PAGES for line in lines_of(page)]


def words_of(line: str) -> list[str]:
    """The words of a command line; none where it is a comment."""
    return [word for word in shlex.split(line, comments=True) if word != "..."]


def arguments_of_rgnn(words: list[str]) -> list[str] | None:
    """What follows `rgnn`, however it is started; None where the line starts something else."""
    for n, word in enumerate(words):
        if Path(word).name == "rgnn" or word == "rgnn_cli":
            return words[n + 1 :]
    return None


def parse(arguments: list[str], whole: bool) -> None:
    """Read a command line as the program does, without doing anything; TyperException where it would be refused."""
    command, name = ROOT, "rgnn"
    while hasattr(command, "commands"):
        known = {option for p in command.params for option in p.opts} | {"--help"}
        while arguments and arguments[0] in known:
            arguments = arguments[1:]
        if not arguments or (not whole and arguments[0] in (PLACEHOLDER, "...")):
            return
        name, *arguments = arguments
        assert name in command.commands, f"there is no command '{name}'"
        command = command.commands[name]
    if arguments and arguments[-1] == "--help":
        return
    command.make_context(name, list(arguments), resilient_parsing=False)


@pytest.mark.parametrize("line", LINES, ids=str)
def test_a_command_is_one_that_the_program_takes(line: Line) -> None:
    arguments = arguments_of_rgnn(words_of(line.text))
    if arguments is None:
        return
    try:
        parse(arguments, line.whole)
    except TyperException as refused:
        # Running text may leave out what a command needs, or the value of an option that it is about.
        shortened = "Missing" in type(refused).__name__ or "requires an argument" in str(refused.message)
        if line.whole or not shortened:
            pytest.fail(f"{line}: {refused.message or type(refused).__name__}")


def test_what_is_wrong_is_found() -> None:
    for wrong in ("md a.xyz --stesp 3", "md a.xyz --steps many", "md a.xyz --ensemble nvtt", "chip fit"):
        with pytest.raises(TyperException):
            parse(wrong.split(), whole=True)
    with pytest.raises(AssertionError, match="no command 'trian'"):
        parse(["trian"], whole=True)
    parse(["--debug", "train", "x.zarr"], whole=True)


def test_programs_and_extras_that_are_named_exist() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in LINES:
        if not line.whole:
            continue
        words = words_of(line.text)
        for program in (w for w in words if w.endswith(".py")):
            assert (PROJECT / program).is_file(), line
        for named in re.findall(r"(?:^|[\s'\".])\[([a-z0-9,]+)\]|rgnn\[([a-z0-9,]+)\]", line.text):
            assert set("".join(named).split(",")) <= set(extras), line


def test_the_blocks_are_found() -> None:
    """A page whose blocks are spelled otherwise would not be tested."""
    found = {line.page for line in LINES if line.whole}
    assert {"README.md", "docs/start.md", "docs/chip.md", "docs/material.md", "docs/training.md"} <= found
    assert sum(line.whole for line in LINES) > 60
