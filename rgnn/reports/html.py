"""One HTML file that holds an evaluation: tables, figures and how they were made. It needs nothing from outside."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from rgnn.base.files import write_atomic

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; font-size: 0.86rem; margin: 0.6rem 0; display: block; overflow-x: auto; }
th, td { padding: 0.15rem 0.7rem 0.15rem 0; text-align: right; white-space: nowrap; border-bottom: 1px solid #eee; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 0.8rem 0; } img { max-width: 100%; height: auto; } figcaption { color: #555; font-size: 0.86rem; }
dt { float: left; clear: left; width: 9rem; color: #666; } dd { margin-left: 9.5rem; overflow-wrap: anywhere; }
"""


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


def write_report(
    path: str | Path, title: str, facts: Mapping[str, object], tables: Sequence[Table], pictures: Sequence[Picture]
) -> Path:
    """Write the file; pictures are put into it."""
    path = Path(path)
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">',
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n<dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items()),
        "</dl>",
        *(_picture(picture) for picture in pictures),
        *(_table(table) for table in tables),
        "</body>\n</html>\n",
    ]
    write_atomic(path, "\n".join(parts))
    return path


def _table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "\n".join(row(cells, "td") for cells in table.rows)
    return f"<h2>{escape(table.title)}</h2>\n<table>\n{row(table.columns, 'th')}\n{body}\n</table>"


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.file.read_bytes()).decode("ascii")
    image = f'<img alt="{escape(picture.title)}" src="data:image/png;base64,{data}">'
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>"
    return f"<h2>{escape(picture.title)}</h2>\n<figure>{image}{caption}</figure>"
