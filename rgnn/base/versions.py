"""The versions of the software that ran, for records."""

import platform
from importlib.metadata import version

import torch

from rgnn.base.settings import Settings, Whole


class Versions(Settings):
    """The software that ran, for the record."""

    rgnn: str = ""
    """Version of this package."""
    torch: str = ""
    """Version of PyTorch."""
    python: str = ""
    """Version of Python."""
    threads: Whole = 0
    """Number of CPU threads, which the order of sums depends on."""

    @classmethod
    def here(cls) -> "Versions":
        """The versions of this process."""
        return cls(
            rgnn=version("rgnn"),
            torch=str(torch.__version__),
            python=platform.python_version(),
            threads=torch.get_num_threads(),
        )
