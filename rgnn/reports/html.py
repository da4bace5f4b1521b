"""A report as data, and the one HTML file that shows it, which needs nothing from outside."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from rgnn.base.files import write_atomic

TEMPLATE = "report.html.jinja"


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A PNG and what it shows."""

    title: str
    file: Path
    caption: str

    @property
    def base64(self) -> str:
        """The bytes of the file as text."""
        return base64.b64encode(self.file.read_bytes()).decode("ascii")


def write_report(
    path: str | Path, title: str, facts: Mapping[str, object], tables: Sequence[Table], pictures: Sequence[Picture]
) -> Path:
    """Write the file; pictures are put into it, and all text is escaped."""
    path = Path(path)
    pages = Environment(loader=PackageLoader("rgnn.reports", "."), autoescape=True, undefined=StrictUndefined)
    write_atomic(path, pages.get_template(TEMPLATE).render(title=title, facts=facts, tables=tables, pictures=pictures))
    return path
