"""Listeners for tests."""

from collections.abc import Callable

from rgnn.base.events import Listener


class Asked(Listener):
    """Asks the work to stop when a function says so."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop

    def stop(self) -> bool:
        return self._stop()
