"""Ctrl-C and SIGTERM ask a run to stop at its next step; a second one stops it at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def asked_to_stop(insisting: bool = True) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether a signal has come; the handlers before are put back at the end.

    Args:
        insisting: whether a second signal stops at once. Among processes it need not be meant so: a scheduler signals
            all of them, and torchrun passes its own on.
    """
    asked = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and insisting:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield lambda: asked
    finally:
        for number, old in before.items():
            signal.signal(number, old)
