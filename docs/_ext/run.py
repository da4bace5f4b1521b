"""The directive `run`: commands and Python that are executed while the site is built, with what they printed.

A page's blocks run one after another in an empty folder, docs/_run/PAGE, and `result` shows figures from there. A block
that fails ends the build. With -D run_tutorials=0 nothing is run, and the page has no output.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.directives.patches import Figure
from sphinx.util.docutils import SphinxDirective

SECONDS = 600
# What a terminal shows as a bar that vanishes: "Training: 7/68 steps  0.341 steps/s, 179 s left".
PROGRESS = re.compile(r"[A-Z][a-z ]+: \S+ \S+  \S+ \S+/s")
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def execute(line: str, folder: Path) -> str:
    """What a command line prints on both streams, at 80 columns, without colours and lines of progress.

    Raises:
        RuntimeError: it ended with another code than 0.
    """
    programs = Path(sys.executable).parent
    environment = os.environ | {
        "COLUMNS": "80",
        "NO_COLOR": "1",
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        line, shell=True, cwd=folder, env=environment, text=True, timeout=SECONDS,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"'{line}' ended with code {done.returncode}:\n{done.stdout}")
    lines = (line.rstrip() for line in ANSI.sub("", done.stdout).splitlines())
    shown = (line for line in lines if not PROGRESS.match(line))
    # Sentences fold as in a terminal; tables, which are indented, are narrow enough.
    folded = (textwrap.fill(line, 80, subsequent_indent="  ") if re.match(r"\S", line) else line for line in shown)
    return "\n".join(folded).strip("\n")


def selected(printed: str, titles: str) -> str:
    """The parts of an output whose first line matches a pattern, with a mark where others were left out.

    A part is a line at the margin, such as the title of a table, and the indented lines below it.
    """
    found: list[str] = []
    for part in re.split(r"\n(?=\S)", printed):
        if re.match(titles, part):
            found.append(part)
        elif found[-1:] != ["[...]"]:
            found.append("[...]")
    return "\n".join(found)


class Result(Figure):
    """A figure that the page's commands have made, by its path in their folder; nothing where they do not run."""

    def run(self) -> list[nodes.Node]:
        """The figure, with a white ground for pages that are dark."""
        environment = self.state.document.settings.env
        if not environment.config.run_tutorials:
            return []
        self.arguments[0] = f"/_run/{environment.docname}/{self.arguments[0]}"
        return super().run()


class Run(SphinxDirective):
    """A block of commands; with a file name as argument, a Python program of that name."""

    has_content = True
    optional_arguments = 1
    # "show" is a pattern of the parts of the output that are shown, see `selected`.
    option_spec = {"quiet": directives.flag, "show": directives.unchanged}  # noqa: RUF012 (docutils asks for this form)

    def run(self) -> list[nodes.Node]:
        """The code and, unless `quiet`, the output."""
        folder = Path(self.env.srcdir, "_run", self.env.docname)
        started = self.env.temp_data.setdefault("rgnn_run", set())
        if not started:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            started.add(folder)
        self.alive = bool(self.config.run_tutorials)
        try:
            return self.program(folder) if self.arguments else self.commands(folder)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            raise self.error(str(error)) from None

    def program(self, folder: Path) -> list[nodes.Node]:
        """A Python program and what it prints."""
        code = "\n".join(self.content) + "\n"
        (folder / self.arguments[0]).write_text(code, encoding="utf-8")
        printed = execute(f"python {self.arguments[0]}", folder) if self.alive else ""
        found = [self.literal(code, "python")]
        return found if "quiet" in self.options or not printed else [*found, self.literal(printed, "text")]

    def commands(self, folder: Path) -> list[nodes.Node]:
        """Command lines, each with what it prints."""
        shown = []
        for line in filter(None, self.content):
            printed = execute(line, folder) if self.alive else ""
            printed = selected(printed, self.options["show"]) if printed and "show" in self.options else printed
            shown.append(f"$ {line}" + ("" if "quiet" in self.options or not printed else f"\n{printed}\n"))
        return [self.literal("\n".join(shown).rstrip("\n"), "console")]

    def literal(self, text: str, language: str) -> nodes.literal_block:
        """A block of text in the colours of a language."""
        node = nodes.literal_block(text, text, language=language)
        self.set_source_info(node)
        return node


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directives known to Sphinx."""
    app.add_config_value("run_tutorials", True, "env", bool)
    app.add_directive("run", Run)
    app.add_directive("result", Result)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
