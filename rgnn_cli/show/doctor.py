"""What rgnn doctor shows: the environment, and how the checks went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.doctor import Check, Environment
    from rgnn_cli.session.console import Reporter


def environment(report: Reporter, found: Environment) -> None:
    """Versions, threads and devices."""
    facts = {"python": found.python, "system": found.system}
    facts |= {name: version or "missing" for name, version in found.packages.items()}
    facts["CPU threads"] = f"{found.threads} of {found.cores} cores"
    facts["CUDA"] = found.cuda or "none (computing on the CPU)"
    report.facts("Environment", facts)


def checks(report: Reporter, found: Sequence[Check]) -> None:
    """Whether each check has passed, and its measures."""
    from rich.text import Text

    words = {True: ("passed", "green"), False: ("failed", "red")}
    report.facts("\nSelf-test", {c.name: Text.assemble(words[c.passed], f"  {c.detail}") for c in found})
