"""The directives `commands`, `settings` and `api`: the reference, written from the program itself."""

import importlib
import inspect
import pkgutil
import re
import types
import typing
from pathlib import Path
from typing import Any, get_args, get_origin

from docutils import nodes
from docutils.statemachine import StringList
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer import Typer
from typer.models import ArgumentInfo, ParameterInfo

import rgnn
from rgnn.base.settings import Settings, Variants
from rgnn_cli.app import app as command_line

# Settings that nobody writes by hand.
WRITTEN_BY_THE_PROGRAM = ("Provenance", "Versions")


def words_of_type(annotation: Any) -> str:
    """A type as a reader knows it: "number", "whole number or null", "`nearest` or `floor`"."""
    plain = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null", Path: "path"}
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return words_of_type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(words_of_type(a) for a in arguments))
    if origin in (tuple, list):
        inside = [words_of_type(a) for a in arguments if a is not Ellipsis]
        return "list of " + (f"{len(inside)} × {inside[0]}" if len(inside) > 1 else inside[0])
    if inspect.isclass(annotation) and issubclass(annotation, Variants) and Variants in annotation.__bases__:
        return " or ".join(words_of_type(variant) for variant in variants_of(annotation))
    if inspect.isclass(annotation) and issubclass(annotation, Settings):
        if annotation.__name__ in WRITTEN_BY_THE_PROGRAM:
            return "written by the program"
        return f"[{annotation.__name__}](#settings-{annotation.__name__.lower()})"
    return plain.get(annotation, getattr(annotation, "__name__", str(annotation)))


def variants_of(base: type[Variants]) -> list[type[Variants]]:
    """The classes that a file can choose, in the order of their definition."""
    found = []
    for variant in base.__subclasses__():
        named = variant.__module__.startswith("rgnn.") and variant.model_fields[base.tag].default
        found += [*([variant] if named else []), *variants_of(variant)]
    return list(dict.fromkeys(found))


def cell(text: str) -> str:
    """Text as one cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").split())


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return ["", *("| " + " | ".join(line) + " |" for line in lines), ""]


def range_of(field: FieldInfo) -> str:
    """The range of a field, such as "above 0, at most 20 Angstrom"."""
    names = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    found = [
        f"{word} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, word in names.items()
        if getattr(rule, name, None) is not None
    ]
    more = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    words = ", ".join(found) + (f" {more['unit']}" if found and "unit" in more else "")
    return words[:1].upper() + words[1:]


def value_in_yaml(value: Any) -> str:
    """A default as a settings file writes it."""
    if isinstance(value, Settings):
        return f"that of {type(value).__name__}"
    if value is None:
        return "`null`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`" if value != "" else ""


def settings_section(settings: type[Settings]) -> list[str]:
    """Heading, text and table of one settings class."""
    rows = [
        [
            f"`{name}`",
            cell(words_of_type(field.annotation)),
            value_in_yaml(field.get_default(call_default_factory=True)) if not field.is_required() else "required",
            cell(". ".join(filter(None, [(field.description or "").strip().rstrip("."), range_of(field)])) + "."),
        ]
        for name, field in settings.model_fields.items()
    ]
    doc = inspect.cleandoc(settings.__doc__ or "").split("\nRaises:")[0].split("\nArgs:")[0]
    lines = ["", f"(settings-{settings.__name__.lower()})=", f"## {settings.__name__}", "", *doc.splitlines(), ""]
    if issubclass(settings, Variants):
        lines += [f"Chosen in a file by `{settings.tag}: {settings.model_fields[settings.tag].default}`.", ""]
    return [*lines, *table(["field", "type", "default", "meaning"], rows)]


def all_settings() -> list[type[Settings]]:
    """The settings that a user writes: those of the public names and all that they hold, in this order."""
    for module in pkgutil.walk_packages(rgnn.__path__, "rgnn."):
        if module.name.endswith((".settings", ".hardware")):
            importlib.import_module(module.name)
    found: dict[type[Settings], None] = {}

    def add(annotation: Any) -> None:
        if inspect.isclass(annotation) and issubclass(annotation, Settings):
            if annotation in found or annotation.__name__ in WRITTEN_BY_THE_PROGRAM:
                return
            if issubclass(annotation, Variants) and Variants in annotation.__bases__:
                for variant in variants_of(annotation):
                    add(variant)
                return
            found[annotation] = None
            for field in annotation.model_fields.values():
                add(field.annotation)
        for argument in get_args(annotation):
            add(argument)

    public = [getattr(rgnn, name) for name in rgnn.__all__]
    for start in (rgnn.RunSettings, rgnn.Hardware, *public):
        add(start)
    return list(found)


def option_row(name: str, kind: Any, info: ParameterInfo, default: Any) -> tuple[str, list[str]]:
    """The panel of an option, and its row."""
    # In `Annotated[..., Option("--quiet", "-q")]` the first spelling is where the default would be.
    spelled = [d for d in (info.default, *(info.param_decls or ())) if isinstance(d, str) and d.startswith("-")]
    if isinstance(info, ArgumentInfo):
        shown = f"`{name.upper()}`"
    else:
        flags = spelled or [f"--{name.replace('_', '-')}"]
        shown = ", ".join(f"`{flag}`" for flag in flags)
    limits = {"at least": info.min, "at most": info.max}
    bounds = [f"{word} {value:g}" for word, value in limits.items() if value is not None]
    text = (info.help or "").strip()
    written = "" if default is None or default is False else f"`{default}`"
    if default is inspect.Parameter.empty:
        written = "required"
    stated = re.search(r"; default: (.*?)(?:\. (.*))?\.?$", text)
    if stated and not written:
        text, written = " ".join(filter(None, [text[: stated.start()] + ".", stated[2]])), stated[1].rstrip(".")
    without_null = " or ".join(part for part in words_of_type(kind).split(" or ") if part != "null")
    without_null = "flag" if without_null == "true or false" else without_null
    panel = info.rich_help_panel or ("Arguments" if isinstance(info, ArgumentInfo) else "Options")
    return panel, [shown, cell(", ".join([without_null, *bounds])), cell(written), cell(text)]


def command_section(name: str, function: Any, level: int) -> list[str]:
    """Heading, help and tables of options of one command."""
    hints = typing.get_type_hints(function, include_extras=True)
    panels: dict[str, list[list[str]]] = {}
    for key, parameter in inspect.signature(function).parameters.items():
        infos = [m for m in getattr(hints[key], "__metadata__", ()) if isinstance(m, ParameterInfo)]
        if infos:
            panel, row = option_row(key, hints[key], infos[0], parameter.default)
            panels.setdefault(panel, []).append(row)
    anchor = "command-" + name.removeprefix("rgnn ").replace(" ", "-")
    lines = ["", f"({anchor})=", f"{'#' * level} {name}", ""]
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(function.__doc__ or "")):
        text = " ".join(paragraph.split())
        example = re.match(r"((?:[A-Z][^:`]*): )((?:rgnn|mpirun|torchrun) .*)", text)
        lines += [f"{example[1].strip()}", "", "```sh", example[2], "```", ""] if example else [cell(text), ""]
    for panel, rows in panels.items():
        lines += [f"**{panel}**", *table(["option", "type", "default", "meaning"], rows)]
    return lines


def all_commands(app: Typer, prefix: str = "rgnn") -> list[tuple[str, Any]]:
    """Names and functions of all commands, groups included."""
    found = [(f"{prefix} {command.name}", command.callback) for command in app.registered_commands]
    for group in app.registered_groups:
        found += all_commands(group.typer_instance, f"{prefix} {group.name}")
    return found


class Generated(SphinxDirective):
    """Base of directives that write Markdown."""

    def lines(self) -> list[str]:
        """The Markdown."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """What the Markdown means."""
        text = StringList(self.lines(), source=f"<{self.name}>")
        holder = nodes.section()
        holder.document = self.state.document
        self.state.nested_parse(text, self.content_offset, holder, match_titles=True)
        return holder.children


class Commands(Generated):
    """Every command with every option."""

    def lines(self) -> list[str]:
        """A section for each command."""
        return [line for name, function in all_commands(command_line) for line in command_section(name, function, 2)]


class SettingsTables(Generated):
    """Every field of every settings class."""

    def lines(self) -> list[str]:
        """A section for each class."""
        return [line for settings in all_settings() for line in settings_section(settings)]


class Api(Generated):
    """Every public name, by its docstring."""

    def lines(self) -> list[str]:
        """Functions first, then classes; settings are tables elsewhere."""
        lines = ["", "## Functions", ""]
        names = {name: getattr(rgnn, name) for name in rgnn.__all__}
        for name, thing in names.items():
            if inspect.isfunction(thing):
                lines += ["```{eval-rst}", f".. autofunction:: rgnn.{name}", "```", ""]
        lines += ["## Classes", ""]
        for name, thing in names.items():
            if inspect.isclass(thing) and not issubclass(thing, Settings):
                lines += ["```{eval-rst}", f".. autoclass:: rgnn.{name}", "   :members:", "```", ""]
        lines += ["## Settings", ""]
        for name, thing in names.items():
            if inspect.isclass(thing) and issubclass(thing, Settings):
                first = inspect.cleandoc(thing.__doc__ or "").split("\n\n")[0]
                lines += [f"- [rgnn.{name}](#settings-{name.lower()}): {' '.join(first.split())}"]
        return lines


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directives known to Sphinx."""
    app.add_directive("commands", Commands)
    app.add_directive("settings", SettingsTables)
    app.add_directive("api", Api)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
