"""YAML files of plain values. Apart from `settings`, so that the command line can read one without pydantic."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rgnn.base.errors import InputError, first_line


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file as a mapping; InputError names the file and line when it cannot be read."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}: not valid YAML{line}; correct it or write it again.") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, thousands of levels
        raise InputError(f"{path}: holds what YAML cannot read ({first_line(error)}); correct it.") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected keys and values, found {type(data).__name__}.")
    return data


def dump_yaml(data: Mapping[str, Any]) -> str:
    """YAML text in the order given."""
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=120)
