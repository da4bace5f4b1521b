"""What rgnn learn shows: a line for each round, and at the end a table, the figure and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.learning.rounds import Round
    from rgnn.learning.run import Learned, Learning
    from rgnn_cli.session.session import Session

FIGURE = "learning.png"


def introduction(session: Session, learning: Learning) -> None:
    """What is learned from what, and where."""
    s, folder, say = learning.settings, learning.folder, session.report.say
    labels = s.label if s.inputs is None else f"{s.inputs}, run outside"
    say(f"Structure: {learning.record.structure}; labels: {labels}; folder: {folder.path}")
    done = len(folder.rounds())
    if done:
        say(f"Continues after {done} finished round{'s' if done > 1 else ''}.")


class Progress:
    """Draws the figure and says what a round came to, as soon as it is finished."""

    def __init__(self, session: Session, learning: Learning) -> None:
        self.session, self.folder = session, learning.folder

    def __call__(self, row: Round) -> None:
        """Of a finished round."""
        from rgnn.plots.rounds import rounds_figure

        rounds_figure(self.folder.rounds(), self.folder.path / FIGURE)
        self.session.report.say(sentence(row))


def sentence(row: Round) -> str:
    """A round in a line or two."""
    error = (row.validation_mae, "held out") if row.test_mae is None else (row.test_mae, "of the test")
    said = f"Round {row.round}: {row.frames} frames; force error {1e3 * error[0]:.0f} meV/Å on frames {error[1]}"
    if row.steps is None:
        return f"{said}."
    if row.inside:
        return f"{said}; {row.steps} steps stayed inside of what was learned."
    ended = f" ({row.ended})" if row.ended else ""
    said += f"; {row.outside} of {row.looked} looks in {row.steps} steps were outside{ended}; {row.added} frames added"
    if row.added_rmse is not None and row.added_sigma is not None:
        said += f", forces on them off by {1e3 * row.added_rmse:.0f} meV/Å (said: {1e3 * row.added_sigma:.0f})"
    return f"{said}."


def rows_of(rounds: tuple[Round, ...]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heading and rows of the table; errors are mean absolute ones in meV/Å."""
    tested = any(row.test_mae is not None for row in rounds)
    heading = (
        "round",
        "frames",
        "held out",
        *(("test",) if tested else ()),
        "steps",
        "outside at",
        "added",
        "error",
    )
    rows = [
        (
            str(row.round),
            str(row.frames),
            _milli(row.validation_mae),
            *((_milli(row.test_mae),) if tested else ()),
            _number(row.steps),
            _number(row.first_outside),
            _number(row.added),
            _milli(row.added_mae),
        )
        for row in rounds
    ]
    return heading, rows


def _milli(x: float | None) -> str:
    return "" if x is None else f"{1e3 * x:.0f}"


def _number(x: int | None) -> str:
    return "" if x is None else str(x)


def result(session: Session, found: Learned, structure: str) -> None:
    """The table, the files and the next step."""
    from rgnn.plots.rounds import rounds_figure
    from rgnn_cli.session import workspace

    rounds_figure(found.rounds, found.folder / FIGURE)
    workspace.remember("model", found.folder)
    how = "the last dynamics stayed inside" if found.inside else "all rounds done"
    session.report.table(f"Force errors, meV/Å; {how}", *rows_of(found.rounds))
    session.report.say(f"In [bold]{found.folder}[/]: best (the model), store.zarr, rounds.csv, {FIGURE}")
    say, store = session.report.say, found.folder / "store.zarr"
    if not found.inside:
        say(f"Next: the same command with --rounds {found.rounds[-1].round + 4} goes on")
    say(f"Next: rgnn md {structure} --model {found.folder}; rgnn train {store} --minutes 10")
    plain = {"out": str(found.folder), "figure": str(found.folder / FIGURE), "inside": found.inside}
    session.result({**plain, "rounds": [row.to_mapping() for row in found.rounds]})
