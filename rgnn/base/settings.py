"""Settings as frozen dataclasses, read from and written to YAML with every key and value checked."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import yaml

from rgnn.base.errors import InputError


def require(condition: bool, name: str, value: object, must: str) -> None:
    """Raise InputError in the words '{name} is {value}, but it must be {must}.' unless the condition holds."""
    if not condition:
        raise InputError(f"{name} is {value!r}, but it must be {must}.")


@dataclass(frozen=True)
class Settings:
    """Base of all settings: from and to plain mappings; unknown keys and wrong types are refused by name."""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any] | None, where: str = "settings") -> Self:
        """Build from a mapping such as a YAML section; keys left out take their defaults."""
        mapping = {} if mapping is None else mapping
        if not isinstance(mapping, Mapping):
            raise InputError(f"{where}: expected keys and values, found {mapping!r}.")
        hints = typing.get_type_hints(cls)
        unknown = [str(k) for k in mapping if k not in hints]
        if unknown:
            close = difflib.get_close_matches(unknown[0], list(hints), n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known keys are {', '.join(hints)}."
            raise InputError(f"{where}: unknown key '{unknown[0]}'; {hint}")
        try:
            values = {k: _coerce(v, hints[k], f"{where}.{k}") for k, v in mapping.items()}
            return cls(**values)
        except InputError as error:
            message = str(error)
            raise InputError(message if message.startswith(where) else f"{where}: {message}") from None

    def to_mapping(self) -> dict[str, Any]:
        """Plain values only, ready for YAML or JSON."""
        return _plain(dataclasses.asdict(self))

    def differences(self) -> dict[str, Any]:
        """Plain values of the fields that differ from their defaults, nested ones in the same way."""
        found = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                found[field.name] = value.differences() if isinstance(value, Settings) else _plain(value)
        return found

    def replace(self, **changes: Any) -> Self:
        """A copy with some values changed, checked anew; a change of None means: leave as it is."""
        return dataclasses.replace(self, **{k: v for k, v in changes.items() if v is not None})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value


def _coerce(value: Any, hint: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Settings):
        return hint.from_mapping(value, where)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} is {value!r}, but it must be one of {', '.join(map(str, arguments))}.")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _coerce(value, next(a for a in arguments if a is not type(None)), where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} is {value!r}, but it must be a list.")
        return tuple(_coerce(v, arguments[0], where) for v in value)
    return _coerce_plain(value, hint, where)


def _coerce_plain(value: Any, hint: type, where: str) -> Any:
    """A number, text or truth value; a truth value is no number."""
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-3 as a string
        except ValueError:
            pass
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    kind = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}[hint]
    raise InputError(f"{where} is {value!r}, but it must be {kind}.")


def check_cutoff(cutoff: float) -> float:
    """The cutoff in Angstrom as a float; InputError where it makes no sense."""
    require(0.5 < cutoff <= 20, "cutoff", cutoff, "between 0.5 and 20 Angstrom")
    return float(cutoff)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file as a mapping; InputError names the file and line when it cannot be read."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}: not valid YAML{line}; correct it or write it anew.") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected keys and values, found {type(data).__name__}.")
    return data


def dump_yaml(data: Mapping[str, Any]) -> str:
    """YAML text in the order given."""
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=120)
