"""Which board a run measures on."""

from pydantic import Field

from rgnn.base.settings import Number, Settings, Whole
from rgnn.chip.board.connection import RETRIES
from rgnn.chip.board.transports import TIMEOUT


class BoardSettings(Settings):
    """The board that every product of the reservoir is measured on."""

    driver: str = ""
    """Way to the board, see docs/chip-in-the-loop.md; empty simulates the chip."""
    timeout: Number = Field(default=TIMEOUT, gt=0, json_schema_extra={"unit": "s"})
    """Time until a silent board counts as stopped, s."""
    retries: Whole = Field(default=RETRIES, ge=0)
    """Repetitions of a call that fails, each after the board was started again."""
