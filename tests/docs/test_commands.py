"""Every command line in the documentation exists, with its options and values; so do programs and extras it names."""

import re
import tomllib

import pytest
import typer
from command_lines import LINES, PROJECT, Line, arguments_of_rgnn, words_of
from typer.exceptions import TyperException

from rgnn_cli.app import app

# What stands for something of the reader's.
PLACEHOLDER = "COMMAND"
ROOT = typer.main.get_command(app)


def find(arguments: list[str]) -> tuple[str, object | None, list[str]]:
    """The command that a line calls (None for a placeholder or `rgnn` alone), its name, and what follows it."""
    command, name = ROOT, "rgnn"
    while hasattr(command, "commands"):
        known = {option for p in command.params for option in p.opts} | {"--help"}
        while arguments and arguments[0] in known:
            arguments = arguments[1:]
        if not arguments or arguments[0] == PLACEHOLDER:
            return name, None, []
        name, *arguments = arguments
        assert name in command.commands, f"there is no command '{name}'"
        command = command.commands[name]
    return name, command, arguments


def parse(arguments: list[str]) -> None:
    """Read a command line as the program does, without doing anything; TyperException where it would be refused."""
    name, command, rest = find(arguments)
    if command is not None and "--help" not in rest:
        command.make_context(name, rest)


@pytest.mark.parametrize("line", [line for line in LINES if line.whole], ids=str)
def test_a_command_line_in_a_block_is_one_that_the_program_takes(line: Line) -> None:
    arguments = arguments_of_rgnn(words_of(line.text))
    if arguments is not None:
        try:
            parse(arguments)
        except TyperException as refused:
            pytest.fail(f"{line}: {getattr(refused, 'message', refused)}")


@pytest.mark.parametrize("line", [line for line in LINES if not line.whole], ids=str)
def test_a_command_in_running_text_exists_with_its_options(line: Line) -> None:
    """Running text may leave out what a command needs, and name a value by a letter."""
    _, command, rest = find(arguments_of_rgnn(words_of(line.text)))
    if command is not None:
        known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)} | {"--help"}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known


def test_what_is_wrong_is_found() -> None:
    for wrong in ("md a.xyz --stesp 3", "md a.xyz --steps many", "md a.xyz --ensemble nvtt", "chip fit"):
        with pytest.raises(TyperException):
            parse(wrong.split())
    with pytest.raises(AssertionError, match="no command 'trian'"):
        parse(["trian"])
    parse(["--debug", "train", "x.zarr"])


def test_programs_and_extras_that_are_named_exist() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in LINES:
        if not line.whole:
            continue
        words = words_of(line.text)
        for program in (w for w in " ".join(words).split() if w.endswith(".py")):
            assert (PROJECT / program).is_file(), line
        for named in re.findall(r"(?:^|[\s'\".])\[([a-z0-9,]+)\]|rgnn\[([a-z0-9,]+)\]", line.text):
            assert set("".join(named).split(",")) <= set(extras), line


def test_the_blocks_are_found() -> None:
    """A page whose blocks are spelled otherwise would not be tested."""
    found = {line.page for line in LINES if line.whole}
    assert {"README.md", "docs/start.md", "docs/chip.md", "docs/material.md", "docs/training.md"} <= found
    assert sum(line.whole for line in LINES) > 60
