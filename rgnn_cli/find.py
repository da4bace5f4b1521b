"""rgnn eval --find."""

from typing import Any


def search(*a: Any) -> None:
    """Later."""
