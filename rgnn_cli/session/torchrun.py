"""One command in several processes, as torchrun starts them: the first of them talks to the user."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rgnn_cli.session.console import Reporter, stderr

if TYPE_CHECKING:
    from rgnn.training.distributed import Processes

# Seconds until an error is shown that another process may show, whose end torchrun answers by ending all.
PATIENCE = 3.0


@contextmanager
def together(report: Reporter) -> Iterator[Processes]:
    """The processes of this command; all but the first show nothing, except for an error that they have alone."""
    from rgnn.base.errors import Interrupted
    from rgnn.training.distributed import LostProcessError, Processes

    first = os.environ.get("RANK", "0") == "0"
    if not first:
        report.mute()
        stderr.quiet = True
    try:
        processes = Processes.join()
        yield processes
    except Interrupted:
        raise
    except Exception as error:
        if isinstance(error, LostProcessError) or not first:
            time.sleep(PATIENCE)
            stderr.quiet = False
        raise
    processes.leave()
