"""What one command shares: the console, the device, signals, what was made last here, and the JSON result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgnn.base.errors import InputError
from rgnn.base.events import Listener
from rgnn_cli.session import workspace
from rgnn_cli.session.console import Meter, Reporter
from rgnn_cli.session.signals import asked_to_stop

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    import typer

    from rgnn.base.settings import Settings
    from rgnn.training.distributed import Processes


class Session:
    """One command at work.

    Args:
        quiet, as_json: show nothing, or only the result.
        device, threads: where to compute.

    Attributes:
        report: the console.
    """

    def __init__(
        self, *, quiet: bool = False, as_json: bool = False, device: str = "auto", threads: int | None = None
    ) -> None:
        self.report = Reporter(quiet, as_json)
        self._device, self._threads = device, threads
        self.processes: Processes | None = None

    def default_threads(self, threads: int) -> None:
        """Compute with so many threads unless the user has asked for a number."""
        self._threads = self._threads or threads

    @cached_property
    def device(self) -> torch.device:
        """The device to compute on; also sets the number of threads.

        Raises:
            InputError: it is not here.
        """
        from rgnn_cli.session.device import choose_device

        return choose_device(self.report, self._device, self._threads, self.processes)

    def newest(self, kind: str, way_out: str) -> Path:
        """The store or model that was made last here, and a line that says so.

        Raises:
            InputError: nothing was made here yet; `way_out` says what to do.
        """
        found = workspace.last(kind)
        if found is None:
            raise InputError(f"there is no {kind} here yet; {way_out}.")
        self.report.say(f"{kind.capitalize()}: {found} (the one made last here)")
        return found

    def newest_model(self) -> Path:
        """The model that was trained or imported last here."""
        return self.newest("model", "train one with rgnn train, or name a model folder; sample is a packaged one")

    def newest_store(self) -> Path:
        """The graph store that was made last here."""
        return self.newest("store", "make one with rgnn convert, or name one")

    @contextmanager
    def listening(self, description: str, unit: str, insisting: bool = True) -> Iterator[Listener]:
        """A listener that shows progress on a meter, and asks the work to stop after Ctrl-C or SIGTERM."""
        with (
            asked_to_stop(insisting) as stop,
            self.report.progress(description, None, unit) as meter,
        ):
            yield ConsoleListener(self.report, meter, stop)

    def result(self, data: Mapping[str, Any]) -> None:
        """The machine-readable result of the command, printed only under --json."""
        self.report.result(data)


class ConsoleListener(Listener):
    """Shows progress on a meter that begins where the work does, and sentences on lines."""

    def __init__(self, report: Reporter, meter: Meter, stop: Callable[[], bool]) -> None:
        self.report, self.meter, self._stop, self._started = report, meter, stop, False

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Move the meter."""
        if not self._started:
            self.meter.start(done - 1, total)
            self._started = True
        self.meter.update(done, note, total)

    def time_left(self, seconds: float | None) -> None:
        """What the meter shows as time left, in place of its own guess."""
        self.meter.left = seconds

    def info(self, text: str) -> None:
        """A line."""
        self.report.say(text)

    def warn(self, text: str) -> None:
        """A warning on the error stream."""
        self.report.warn(text)

    def epoch(self, row: Any, best: bool) -> None:
        """A line for each epoch of a training."""
        self.report.say(
            f"epoch {row.epoch:3d}  loss {row.loss:.4f}  relative force error {100 * row.relative_error:5.1f}%  "
            f"MAE {row.mae:.4f} eV/Å  {row.seconds:.0f} s{'  best' if best else ''}"
        )

    def stop(self) -> bool:
        """Whether a signal has come."""
        return self._stop()


def was_typed(ctx: typer.Context, option: str) -> bool:
    """Whether the user typed an option, rather than leaving it at its default."""
    source = ctx.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"  # the enumeration is click's or Typer's, by its version


def refuse_typed_beside_resume(ctx: typer.Context, *options: str) -> None:
    """Raise InputError where the user typed an option that --resume takes from the run.

    Args:
        ctx: of the command.
        options: their names as parameters of the command.
    """
    for option in options:
        if was_typed(ctx, option):
            what = f"a {option}" if option in ("store", "structure") else f"--{option.replace('_', '-')}"
            raise InputError(f"--resume takes all settings from the run, so {what} cannot be given; leave it out.")


def refuse_typed_beside(ctx: typer.Context, option: str, *others: str) -> None:
    """Raise InputError where the user typed an option that means nothing beside another.

    Args:
        ctx: of the command.
        option: that was typed.
        others: names of parameters of the command.
    """
    for other in others:
        if was_typed(ctx, other):
            raise InputError(f"--{other.replace('_', '-')} means nothing beside {option}; leave one of them out.")


def refuse_typed_without(ctx: typer.Context, option: str, *others: str) -> None:
    """Raise InputError where the user typed an option that means nothing without another."""
    for other in others:
        if was_typed(ctx, other):
            raise InputError(f"--{other.replace('_', '-')} is for {option}; give that as well, or leave it out.")


def given(ctx: typer.Context, settings: type[Settings], **renamed: str) -> dict[str, Any]:
    """The options that the user typed and that are fields of a settings class, for `Settings.override`.

    Args:
        ctx: of the command.
        settings: whose fields are looked for among the options.
        renamed: option=field, for options that are named otherwise than their field.
    """
    named = {name: name for name in ctx.params} | renamed
    return {
        field: ctx.params[option]
        for option, field in named.items()
        if field in settings.model_fields and was_typed(ctx, option)
    }
