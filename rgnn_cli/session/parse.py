"""Values from the words of the command line."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rgnn.base.errors import InputError

# Values of a range, of which each takes a run.
MOST = 1000


def choices(
    bits: str | None,
    noise: str | None,
    vary: Sequence[str],
    slow_noise: str | None = None,
    programming_noise: str | None = None,
) -> dict[str, list[Any]]:
    """The values of each setting that is varied, by its name."""
    found: dict[str, list[Any]] = {}
    if bits is not None:
        found["bits"] = list(whole_numbers(bits, "--bits"))
    for name, text in {"noise": noise, "slow_noise": slow_noise, "programming_noise": programming_noise}.items():
        if text is not None:
            found[name] = _numbers(text, "--" + name.replace("_", "-"))
    for text in vary:
        name, _, values = text.partition("=")
        if not values or name in found:
            raise InputError(f"--vary is '{text}'; write it once for each setting, such as --vary adc_bits=4:8.")
        found[name] = _values(values)
    return found


def whole_numbers(text: str, option: str) -> list[int]:
    """'2:8' (both ends included), '2,4,8' or '4'."""
    numbers: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition(":")
            begin, end = int(first), int(last or first)
            if end < begin or end - begin >= MOST:
                what = "ends before it begins" if end < begin else f"has more than {MOST} values"
                raise InputError(f"{option} is {text!r}, of which {part} {what}; write it as 2:8 or as 2,4,8.")
            numbers += range(begin, end + 1)
    except InputError:
        raise
    except ValueError:
        numbers = []
    if not numbers:
        raise InputError(f"{option} is {text!r}; write it as 4, as 2:8 or as 2,4,8.")
    return numbers


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option} is {text!r}; write it as 0.05 or as 0,0.02,0.05.") from None


def _values(text: str) -> list[Any]:
    """Words, numbers, null, or a range of whole numbers, as YAML would read them."""
    import yaml

    if ":" in text:
        return list(whole_numbers(text, "--vary"))
    try:
        return [yaml.safe_load(part) for part in text.split(",")]
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError(f"--vary has the values {text!r}; write them as 4:8, as 2,4,8 or as words.") from None


def percentage(text: str, option: str) -> float:
    """'10%' or '0.1'."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise InputError(f"{option} is {text!r}; write it as 10% or as 0.1.")
    return value


def size(text: str, option: str) -> tuple[int, int]:
    """'256x256' or '256 256'."""
    parts = text.lower().replace("x", " ").replace(",", " ").split()
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"{option} is {text!r}; write two whole numbers, as 256x256.")
    return int(parts[0]), int(parts[1])


def numbers(text: str, option: str) -> tuple[float, ...]:
    """'10 10 12' or '10,10,12'."""
    try:
        return tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise InputError(f"{option} is {text!r}; write numbers with spaces or commas between them.") from None


def words(text: str | None) -> tuple[str, ...]:
    """'Li,O,P' or 'Li O P'; none of None."""
    return tuple((text or "").replace(",", " ").split())


def paths(sources: Sequence[str]) -> list[Path]:
    """Paths of files; patterns that the shell has left alone are expanded, in sorted order."""
    found: list[Path] = []
    for source in sources:
        is_pattern = glob.has_magic(source) and not Path(source).exists()
        names = sorted(glob.glob(source)) if is_pattern else [source]  # noqa: PTH207 (the pattern may be absolute)
        if not names:
            raise InputError(f"{source}: no file fits this pattern.")
        found += [Path(name) for name in names]
    return found
