"""Versions."""

import platform
from dataclasses import dataclass
from importlib.metadata import version

import torch

from rgnn.base.settings import Settings


@dataclass(frozen=True)
class Versions(Settings):
    """What ran, for the record."""

    rgnn: str = ""
    torch: str = ""
    python: str = ""
    threads: int = 0  # on a CPU, the order of a sum depends on them

    @classmethod
    def here(cls) -> "Versions":
        """Those of this process."""
        return cls(version("rgnn"), str(torch.__version__), platform.python_version(), torch.get_num_threads())
