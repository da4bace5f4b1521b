"""Extended XYZ, of ASE and of other programs: the comment is put into ASE's words before ASE reads it."""

import re
from collections.abc import Iterable, Iterator

from rgnn.data.formats.labels import AS_WRITTEN
from rgnn.data.formats.text import CUT_SHORT, UNREADABLE, Chunk, Splitter

# Keys in the spelling that ASE knows; NEP writes them in lower case.
SPELLING = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
# ASE gives up a whole frame where one of these has another shape than it expects; none but the stress is needed here.
RESULTS = (
    "stress", "dipole", "charges", "magmom", "magmoms", "stresses", "energies", "dielectric_tensor",
    "born_effective_charges", "polarization",
)  # fmt: skip
# Atoms of a frame have so many digits at most, and a property so many columns.
MOST_DIGITS, MOST_COLUMNS = 9, 1000
COUNT = re.compile(r"(?<=:[RSIL]:)\d+")
CP2K_TIME = re.compile(r"\s*i\s*=\s*\d+\s*,\s*time\s*=\s*([\d.]+)")
STATED_TIME = re.compile(r"(?<!\S)(time_fs|time_ps|t_fs)\s*=\s*\"?([-+]?\d[\d.]*(?:[eE][-+]?\d+)?)(?=[\s\"]|$)")
KEY = re.compile(r"(?:(?<=\s)|^)([A-Za-z_][\w\-]*)(?=\s*=)")
COLUMN = re.compile(r"(?<=:)([A-Za-z_]\w*)(?=:[RSIL]:\d)")


class ExtXYZ(Splitter):
    """Extended XYZ: the number of atoms, a comment, a line for each atom."""

    format = "extxyz"

    def split(self, lines: Iterable[str]) -> Iterator[Chunk]:
        """Cut the lines of a file into its frames."""
        reader = iter(lines)
        for count in reader:
            if not count.strip("\ufeff \t\r\n"):
                continue
            number = count.strip("\ufeff \t\r\n")
            if not number.isdigit() or len(number) > MOST_DIGITS:
                yield Chunk(count, UNREADABLE)
                return
            wanted = int(number) + 1
            frame = [line for _, line in zip(range(wanted), reader, strict=False)]
            whole = len(frame) == wanted and (frame[-1].endswith("\n") or _like(frame[-1], frame[-2]))
            info = _times(frame[0]) if frame else {}
            if frame:
                frame[0] = _in_the_words_of_ase(frame[0])
            absurd = frame and any(int(n[:MOST_DIGITS]) > MOST_COLUMNS for n in COUNT.findall(frame[0]))
            yield Chunk(f"{number}\n" + "".join(frame), UNREADABLE if absurd else "" if whole else CUT_SHORT, info)


def _times(comment: str) -> dict[str, float]:
    """The time that a comment gives, of CP2K or as time_fs or time_ps."""
    if cp2k := CP2K_TIME.match(comment):
        return {"time_fs": float(cp2k[1])}
    found = STATED_TIME.search(comment)
    return {found[1]: float(found[2])} if found else {}


def _like(last: str, before: str) -> bool:
    """Whether a line without an end is whole: as many columns and decimals as the line before it."""
    ends = [line.split() for line in (last, before)]
    return len(ends[0]) == len(ends[1]) and len({end[-1].partition(".")[2].__len__() for end in ends if end}) == 1


def _in_the_words_of_ase(comment: str) -> str:
    """A comment with ASE's spelling of keys, and without results that ASE may not be able to read."""
    outside = comment.split('"')[::2]  # a quoted value may hold anything
    if not any("=" in part for part in outside):
        return comment
    renamed = [KEY.sub(_key, part) if k % 2 == 0 else part for k, part in enumerate(comment.split('"'))]
    found = '"'.join(renamed)
    return COLUMN.sub(lambda match: f"unused_{match[1]}" if match[1].lower() in RESULTS else match[1], found)


def _key(match: re.Match[str]) -> str:
    key = match[1]
    if key.lower() in AS_WRITTEN:
        return AS_WRITTEN[key.lower()]
    return SPELLING.get(key.lower(), f"unused_{key}" if key.lower() in RESULTS else key)
