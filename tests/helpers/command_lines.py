"""The command lines of the documentation."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if not {"_run", "decisions"} & set(page.parts)]
BLOCK = re.compile(r"^```(?:sh|bash|\{run\})\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`((?:mpirun [^`]*|torchrun [^`]*)?rgnn [^`]+)`")


@dataclass(frozen=True)
class Line:
    """A command line of a page; whole in a block, perhaps shortened in running text."""

    page: str
    text: str
    whole: bool

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def lines_of(page: Path) -> Iterator[Line]:
    """The command lines in blocks and in running text, without options of the block and comments."""
    text, name = page.read_text(encoding="utf-8"), str(page.relative_to(PROJECT))
    for block in BLOCK.findall(text):
        joined = block.replace("\\\n", " ")
        for line in joined.splitlines():
            if line.strip() and not line.startswith((":", "#")):
                yield from (Line(name, part.strip(), True) for part in line.split(" && "))
    text = text.replace("`rgnn board 1`", "")  # the name of a protocol
    for span in SPAN.findall(re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)):
        yield Line(name, " ".join(span.split()), False)


LINES = [line for page in PAGES for line in lines_of(page)]


def words_of(line: str) -> list[str]:
    """The words of a command line; none where it is a comment."""
    return [word for word in shlex.split(line, comments=True) if word != "..."]


def arguments_of_rgnn(words: list[str]) -> list[str] | None:
    """What follows `rgnn`, however it is started; None where the line starts something else."""
    for n, word in enumerate(words):
        if Path(word).name == "rgnn" or word == "rgnn_cli":
            return words[n + 1 :]
    return None
