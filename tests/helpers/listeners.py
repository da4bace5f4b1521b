"""Listeners for tests."""

from collections.abc import Callable

from rgnn.base.events import Listener


class Heard(Listener):
    """Calls functions with what the work reports, and asks the work to stop when one says so."""

    def __init__(
        self,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[..., object] = lambda done, total, note: None,
        info: Callable[[str], object] = lambda text: None,
        warn: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._stop, self._progress, self._info, self._warn = stop, progress, info, warn

    def stop(self) -> bool:
        return self._stop()

    def progress(self, done: float, total: float, note: str = "") -> None:
        self._progress(done, total, note)

    def info(self, text: str) -> None:
        self._info(text)

    def warn(self, text: str) -> None:
        self._warn(text)


def Asked(stop: Callable[[], bool]) -> Heard:
    """A listener that asks the work to stop when a function says so."""
    return Heard(stop)
