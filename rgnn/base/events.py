"""What long work reports while it runs, and how it is asked to stop."""

from typing import Any


class Listener:
    """Receives the progress of long work; this one ignores everything. Subclasses override what they show."""

    def progress(self, done: float, total: float, note: str = "") -> None:
        """`done` of `total` units of work are finished; `note` says something about the last of them."""

    def time_left(self, seconds: float | None) -> None:
        """How long the work will still take, said before its progress by work that knows; None where it does not."""

    def info(self, text: str) -> None:
        """A sentence that a user may want to read."""

    def warn(self, text: str) -> None:
        """A sentence that a user should read."""

    def epoch(self, row: Any, best: bool) -> None:
        """An epoch of training is finished and validated; `best` where it is the best so far."""

    def stop(self) -> bool:
        """Whether the work should save its state and stop; asked before each unit."""
        return False


SILENT = Listener()


class Named(Listener):
    """Passes on what one of several runs reports, with its name before each sentence.

    Args:
        name: of the run.
        to: who receives it.
    """

    def __init__(self, name: str, to: Listener) -> None:
        self.name, self.to = name, to

    def info(self, text: str) -> None:
        """The sentence, with the name before it."""
        self.to.info(f"{self.name}: {text}")

    def warn(self, text: str) -> None:
        """The sentence, with the name before it."""
        self.to.warn(f"{self.name}: {text}")

    def stop(self) -> bool:
        """As the receiver says."""
        return self.to.stop()
