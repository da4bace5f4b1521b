"""What a user sees: lines, tables, progress, JSON; and how an error is shown."""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

# Seconds between plain progress lines when the output is no terminal.
PLAIN_INTERVAL = 20.0

stderr = Console(stderr=True, soft_wrap=True, highlight=False)


# Characters that move the cursor, colour or ring: files and names may hold some.
CONTROL = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127, *range(128, 160)], "\N{REPLACEMENT CHARACTER}")


def plain(text: object, style: str = "") -> Text:
    """Text as it is, without markup and without characters that steer a terminal."""
    return Text(str(text).translate(CONTROL), style)


class Reporter:
    """Shows what a command does: to a terminal with bars, to a file as plain lines, or only JSON at the end."""

    def __init__(self, quiet: bool = False, as_json: bool = False) -> None:
        self.as_json = as_json
        self.silent = quiet or as_json
        self.console = Console(highlight=False, soft_wrap=True, quiet=self.silent)

    def mute(self) -> None:
        """Show nothing any more: another process shows the same."""
        self.silent, self.as_json, self.console.quiet = True, False, True

    def say(self, text: str) -> None:
        """One line, with parts between [bold] and [/] in bold; other brackets are shown as they are."""
        first, *parts = text.split("[bold]")
        line = plain(first)
        for part in parts:
            strong, _, rest = part.partition("[/]")
            line.append_text(plain(strong, "bold")).append_text(plain(rest))
        self.console.print(line)

    def warn(self, text: str) -> None:
        """A warning, on the error stream so that it survives a pipe."""
        stderr.print(Text.assemble(("Warning:", "yellow"), " ", plain(text)))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A short table; the first column is left-aligned, the others right-aligned."""
        table = Table(
            title=plain(title) if title else None,
            title_justify="left",
            title_style="bold",
            header_style="bold",
            box=SIMPLE_HEAD,
            pad_edge=False,
        )
        for index, column in enumerate(columns):
            table.add_column(plain(column), justify="left" if index == 0 else "right", no_wrap=index > 0)
        for row in rows:
            table.add_row(*map(plain, row))
        self.console.print(table)

    def facts(self, title: str, facts: Mapping[str, object]) -> None:
        """Names and values, one a line; a value may be styled text."""
        shown = plain(title) if title else None
        table = Table(title=shown, title_justify="left", title_style="bold", show_header=False, box=None)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in facts.items():
            table.add_row(plain(name), value if isinstance(value, Text) else plain(value))
        self.console.print(table)

    def result(self, data: Mapping[str, Any]) -> None:
        """The machine-readable result of the command, printed only under --json."""
        if self.as_json:
            sys.stdout.write(json.dumps(data, indent=2) + "\n")

    @contextmanager
    def progress(self, description: str, total: float | None, unit: str = "it") -> Iterator["Meter"]:
        """A progress meter with rate and time left; `total` None where it is not known."""
        if self.silent or not self.console.is_terminal:
            yield Meter(self, description, total, unit)
            return
        columns = [
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TimeLeft(),
            TextColumn("{task.fields[note]}", markup=False),
        ]
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(str(plain(description)), total=total, count="", note="", left=None)
            yield Meter(self, description, total, unit, bar, task)


class TimeLeft(TimeRemainingColumn):
    """The time left as the work knows it, or else as rich guesses it from the last steps."""

    def render(self, task: Task) -> Text:
        """As of rich, 0:01:05."""
        left = task.fields.get("left")
        if left is None:
            return super().render(task)
        return Text(str(timedelta(seconds=round(left))), style="progress.remaining")


class Meter:
    """Counts work done; shows it as a bar or, without a terminal, as a plain line now and then."""

    def __init__(
        self,
        reporter: Reporter,
        description: str,
        total: float | None,
        unit: str,
        bar: Progress | None = None,
        task: TaskID = TaskID(0),  # noqa: B008
    ) -> None:
        self.reporter, self.description, self.total, self.unit = reporter, description, total, unit
        self.bar, self.task = bar, task
        self.done, self.first = 0.0, 0.0
        self.began = self.shown = time.monotonic()
        self.left: float | None = None  # seconds, where the work knows

    def start(self, done: float, total: float | None) -> None:
        """Begin at `done` of `total` (a resumed run is not at zero); the rate counts from here."""
        self.done = self.first = done
        self.total = total
        self.began = time.monotonic()
        if self.bar is not None:
            self.bar.update(self.task, completed=done, total=total)

    def update(self, done: float, note: str = "", total: float | None = None) -> None:
        """Show that `done` units are finished, of a total that may have changed; None leaves it."""
        self.done, self.total = done, self.total if total is None else total
        now = time.monotonic()
        rate = (done - self.first) / max(now - self.began, 1e-9)
        of = "" if self.total is None else f"/{self.total:g}"
        count = f"{done:g}{of} {self.unit}  {rate:.3g} {self.unit}/s"
        if self.bar is not None:
            self.bar.update(self.task, completed=done, total=self.total, count=count, note=note, left=self.left)
        elif not self.reporter.silent and now - self.shown >= PLAIN_INTERVAL:
            self.shown = now
            known = self.total is not None and rate > 0 and now - self.began > 1  # a first unit is no pace
            guess = (self.total - done) / rate if known and self.total is not None else None
            seconds = guess if self.left is None else self.left
            left = "" if seconds is None else f", {seconds:.0f} s left"
            self.reporter.say(f"{self.description}: {count}{left}  {note}".rstrip())

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Show that `amount` more units are finished."""
        self.update(self.done + amount, note)
