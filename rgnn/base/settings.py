"""Settings as frozen pydantic models, read from and written to YAML with every key and value checked."""

import difflib
import numbers
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    Strict,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from rgnn.base.errors import InputError
from rgnn.base.yamlfiles import dump_yaml, read_yaml

__all__ = [
    "Flag",
    "Must",
    "Number",
    "Settings",
    "Variants",
    "Whole",
    "check_cutoff",
    "dump_yaml",
    "read_yaml",
    "require",
]


def require(condition: bool, name: str, value: object, must: str) -> None:
    """Raise InputError in the words '{name} is {value}, but it must be {must}.' unless the condition holds."""
    if not condition:
        raise InputError(f"{name} is {value!r}, but it must be {must}.")


class Must(ValueError):  # noqa: N818 (read as a word: raise Must("even"))
    """Raised by the validator of a single field, with what its value must be: "even"."""


def _whole(value: Any) -> Any:
    """A whole number of NumPy as one of Python; anything else as it is."""
    return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise Must("a number")
    return value


# The types of fields: a truth value is not a number, 4.0 is not a whole number, and "1e-3" is a number, since YAML
# reads 1e-3 as text.
Whole = Annotated[int, BeforeValidator(_whole), Strict()]
Number = Annotated[float, BeforeValidator(_number)]
Flag = Annotated[bool, Strict()]


class Settings(BaseModel):
    """Base of all settings. They are frozen, compared by value and hashable.

    Unknown keys, wrong types and values out of range are refused by name, whether the settings come from a file or
    from Python.

    Raises:
        InputError: a value cannot be used; the sentence names it and says what it must be.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(_sentence(error)) from None

    # So that nested settings are checked by pydantic itself, which knows their place, not by a call of `__init__`.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, values: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        """Check the values, of which None is none given, and put what pydantic finds into the words of this package."""
        values = {} if values is None else values
        if isinstance(values, Mapping):
            if unknown := [str(key) for key in values if key not in cls.model_fields]:
                known = list(cls.model_fields)
                close = difflib.get_close_matches(unknown[0], known, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"known keys are {', '.join(known)}."
                raise InputError(f"unknown key '{unknown[0]}'; {hint}")
        elif not isinstance(values, cls):
            raise InputError(f"expected keys and values, found {values!r}.")
        try:
            return check(values)
        except ValidationError as error:
            # A value that is wrong is said before one that is missing.
            lines = sorted(error.errors(include_url=False), key=lambda line: line["type"] == "missing")
            found = [_in_words(cls, line) for line in lines]
            raise ValidationError.from_exception_data(cls.__name__, found) from None

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any] | None, where: str = "settings") -> Self:
        """Settings from a mapping such as a YAML section; keys left out take their defaults.

        Args:
            mapping: keys and values; None is an empty section.
            where: the file or section, which begins the sentence of an error.

        Raises:
            InputError: an unknown key, or a value that cannot be used.
        """
        try:
            return cls.model_validate(mapping)
        except ValidationError as error:
            raise InputError(f"{where}: {_sentence(error)}") from None

    def to_mapping(self) -> dict[str, Any]:
        """Plain values of all fields in their order, ready for YAML or JSON; tuples become lists."""
        return {name: _plain(getattr(self, name)) for name in type(self).model_fields}

    def differences(self) -> dict[str, Any]:
        """Plain values of the fields that differ from their defaults, of nested settings in the same way.

        A field that is added later, with a default, changes nothing here. So this is what to hash or to name a file
        after. Settings that come in variants always say which one they are.
        """
        found: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value != field.default or name == getattr(self, "tag", None):
                found[name] = _differing(value)
        return found

    def override(self, **changes: Any) -> Self:
        """A copy with some values changed and everything checked again; None is a value like any other.

        Raises:
            InputError: an unknown name, or a value that cannot be used.
        """
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | changes)

    def __str__(self) -> str:
        return repr(self)

    def __repr_args__(self) -> Any:
        """What differs from the defaults."""
        for name, field in type(self).model_fields.items():
            if getattr(self, name) != field.default:
                yield name, getattr(self, name)


class Variants(Settings):
    """Base of settings that come in several classes, which files tell apart by one key, such as `family`.

    A direct subclass names the key in `tag`. Each of its subclasses has a field of this name, whose default is the
    name of the variant, and is found by it in files as soon as the class exists.
    """

    tag: ClassVar[str]
    usual: ClassVar[str]
    _variants: ClassVar[dict[str, type["Variants"]]]

    def __init__(self, **values: Any) -> None:
        if Variants in type(self).__bases__:
            raise TypeError(f"{type(self).__name__} is the base of {', '.join(self._variants)}; make one of these.")
        super().__init__(**values)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if Variants in cls.__bases__:
            cls._variants = {}
        elif name := cls.model_fields[cls.tag].default:  # what several variants have in common has none
            cls._variants[name] = cls

    @model_validator(mode="wrap")
    @classmethod
    def _chosen(cls, values: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        """The settings of the variant that the values name; `usual` where they name none."""
        if Variants not in cls.__bases__ or isinstance(values, cls) or not isinstance(values, Mapping | None):
            return check(values)
        values = cls._upgraded(values or {})
        name = values.get(cls.tag, cls.usual)
        if name not in cls._variants:
            raise InputError(f"{cls.tag} is {name!r}, but it must be one of {', '.join(cls._variants)}.")
        return cls._variants[name].model_validate(values)  # type: ignore[return-value]

    @classmethod
    def _upgraded(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Values as an earlier version wrote them, under the keys of today; others as they are."""
        return values


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.to_mapping()
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _differing(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.differences()
    return [_differing(v) for v in value] if isinstance(value, tuple) else value


# What a value must be, by the beginning of pydantic's name for the error.
_KINDS = {"int": "a whole number", "float": "a number", "string": "text", "bool": "true or false", "tuple": "a list"}
_BOUNDS = "greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"


def _in_words(cls: type[Settings], line: ErrorDetails) -> InitErrorDetails:
    """An error of pydantic in the words of this package; one that is already in them as it is."""
    kind, place, value, context = line["type"], line["loc"], line["input"], line.get("ctx", {})
    said = context.get("error")
    if kind in ("must", "sentence"):
        words = PydanticCustomError(kind, "{words}", context)
    elif kind == "value_error" and not isinstance(said, Must):
        words = PydanticCustomError("sentence", "{words}", {"words": str(said)})
    elif kind == "missing":
        words, place = PydanticCustomError("sentence", "{words}", {"words": f"{place[-1]} is missing."}), place[:-1]
    else:
        if kind == "value_error":
            must = str(said)
        elif kind == "literal_error":
            must = "one of " + context["expected"].replace("'", "").replace(" or ", ", ")
        elif kind in _BOUNDS:
            must = _bounds(cls.model_fields[str(place[0])])
        else:
            must = _KINDS.get(kind.partition("_")[0], line["msg"])
        words = PydanticCustomError("must", "{words}", {"words": must})
    return InitErrorDetails(type=words, loc=place, input=value)


def _bounds(field: FieldInfo) -> str:
    """The range of a field in words: "above 0 and at most 20 fs"."""
    found: dict[str, float] = {}
    for limit in field.metadata:
        found |= {name: getattr(limit, name) for name in ("gt", "ge", "lt", "le") if hasattr(limit, name)}
    more = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    after = f" {more['unit']}" if "unit" in more else ""
    after += str(more.get("remark", ""))
    if found.keys() in ({"ge", "le"}, {"gt", "lt"}):
        return f"between {min(found.values()):g} and {max(found.values()):g}{after}"
    if found == {"ge": 0}:
        return f"0 or more{after}"
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    return (" and ".join(f"{words[name]} {limit:g}" for name, limit in found.items()) or "a finite number") + after


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, in one sentence that begins with its place."""
    line = error.errors(include_url=False)[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in line["loc"]).removeprefix(".")
    words = line["ctx"]["words"] if "words" in line.get("ctx", {}) else str(line["ctx"]["error"])
    if line["type"] == "must":
        return f"{place} is {line['input']!r}, but it must be {words}."
    return f"{place}: {words}" if place else words


def check_cutoff(cutoff: float) -> float:
    """The cutoff in Angstrom as a float; InputError where it makes no sense."""
    require(0.5 < cutoff <= 20, "cutoff", cutoff, "between 0.5 and 20 Angstrom")
    return float(cutoff)
