import copy
import importlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgnn.base import choices
from rgnn.base.errors import InputError
from rgnn.base.settings import Flag, Number, Settings, Variants, Whole, dump_yaml, read_yaml
from rgnn.chip.hardware import Hardware
from rgnn.models.settings import MessagePassingSettings
from rgnn.training.run import RunSettings
from rgnn.training.settings import TrainingSettings

hardware = st.builds(
    Hardware,
    bits=st.integers(1, 16),
    rounding=st.sampled_from(["nearest", "floor"]),
    range=st.sampled_from(["calibrated", "dynamic"]),
    noise=st.none() | st.floats(0, 2),
    noise_sharing=st.sampled_from(["read", "product", "plane"]),
)


@given(hardware)
def test_settings_come_back_from_their_mapping(settings: Hardware) -> None:
    assert Hardware.from_mapping(settings.to_mapping()) == settings


@pytest.mark.parametrize("preset", ["default", "published", "gnnff"])
def test_presets_come_back_from_yaml(preset: str, tmp_path) -> None:
    config = RunSettings.preset(preset)
    (tmp_path / "c.yaml").write_text(dump_yaml(config.to_mapping()))
    assert RunSettings.read(tmp_path / "c.yaml") == config


def test_yaml_numbers_that_yaml_reads_as_text() -> None:
    assert TrainingSettings.from_mapping({"learning_rate": "1e-3"}).learning_rate == 1e-3


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"bitz": 4}, "unknown key 'bitz'; did you mean 'bits'?"),
        ({"bits": 0}, "bits is 0, but it must be between 1 and 16"),
        ({"bits": 4.5}, "hardware: bits is 4.5, but it must be a whole number"),
        ({"noise": "much"}, "hardware: noise is 'much', but it must be a number"),
        ({"noise": -0.1}, "noise is -0.1, but it must be between 0 and 2"),
        ({"rounding": "up"}, "hardware: rounding is 'up', but it must be one of nearest, floor"),
        ({"bits": None, "noise": 0.1}, "unquantised input has no bit planes"),
        ({"offset": "last_plane"}, "needs noise_sharing 'plane'"),
        ([1], "expected keys and values"),
    ],
)
def test_wrong_hardware_is_refused_by_name(mapping, says: str) -> None:
    with pytest.raises(InputError, match="hardware") as raised:
        Hardware.from_mapping(mapping, "hardware")
    assert says in str(raised.value)


@pytest.mark.parametrize("changes", [{"cutoff": 0.1}, {"n_features": 7}, {"reservoir_layers": 0, "trained_layers": 0}])
def test_wrong_models_are_refused(changes) -> None:
    with pytest.raises(InputError, match="must be"):
        MessagePassingSettings(**changes)


def test_nested_sections_name_their_place(tmp_path) -> None:
    (tmp_path / "c.yaml").write_text("hardware:\n  bits: 40\n")
    with pytest.raises(InputError, match=r"c.yaml: hardware.bits is 40, but it must be between 1 and 16"):
        RunSettings.read(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("text", "says"), [("a: [", "not valid YAML at line"), ("- 1", "expected keys"), ("\0", "not valid")]
)
def test_files_that_are_no_settings(tmp_path, text: str, says: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=says):
        read_yaml(tmp_path / "c.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml(tmp_path / "absent.yaml")


def test_noise_zero_is_no_noise() -> None:
    assert Hardware(noise=0).noise is None
    assert Hardware(programming_noise=0.0).programming_noise is None
    assert Hardware().override(noise=0).describe() == "8 bits, no noise"
    assert Hardware().override(bits=1, noise=0.1).describe() == "1 bit, 10% read noise"
    assert Hardware().ideal().describe() == "unquantised, no noise"


def all_settings() -> list[type[Settings]]:
    """Every class of settings in the library."""
    root = Path(choices.__file__).parents[1]
    for file in sorted(root.rglob("*.py")):
        if "rgnn.base.settings import" in file.read_text():
            importlib.import_module(".".join(("rgnn", *file.relative_to(root).with_suffix("").parts)))

    def below(cls: type[Settings]) -> Iterator[type[Settings]]:
        for child in cls.__subclasses__():
            if child.__module__.startswith("rgnn."):
                yield child
                yield from below(child)

    return list(below(Settings))


def test_every_field_of_all_settings_says_what_it_is() -> None:
    classes = all_settings()
    assert len(classes) > 15
    bare = [f"{c.__name__}.{name}" for c in classes for name, field in c.model_fields.items() if not field.description]
    assert not bare


def test_a_truth_value_is_only_taken_where_one_is_meant() -> None:
    """Also a check that fields use Whole, Number and Flag: pydantic's own int takes True and 4.0 for numbers."""
    for cls in all_settings():
        for name, field in cls.model_fields.items():
            if field.is_required():
                continue
            if isinstance(field.default, bool):
                wrong: tuple[object, ...] = (1, "yes")
            elif "int" in str(field.annotation) and not str(field.annotation).startswith("tuple"):
                wrong = True, 4.0, "4"
            else:
                wrong = (True,)
            for value in wrong:
                with pytest.raises(InputError, match=f"{name}.* is {value!r}, but it must|found {value!r}"):
                    cls.from_mapping({name: value})


class Part(Settings):
    size: Whole = 3
    width: Number = 0.5


class Everything(Settings):
    name: str = "a"
    part: Part = Part()
    parts: tuple[Part, ...] = ()
    on: Flag = False


def test_errors_from_python_and_from_mappings_name_the_place() -> None:
    def said(**values: object) -> str:
        with pytest.raises(InputError) as raised:
            Everything(**values)
        return str(raised.value)

    assert said(part={"size": "three"}) == "part.size is 'three', but it must be a whole number."
    assert said(parts=[{}, {"width": True}]) == "parts[1].width is True, but it must be a number."
    assert said(parts=[{}, {"widht": 1}]) == "parts[1]: unknown key 'widht'; did you mean 'width'?"
    assert said(part=5) == "part: expected keys and values, found 5."
    assert said(on=1) == "on is 1, but it must be true or false."
    assert said(name=1) == "name is 1, but it must be text."
    assert said(parts=5) == "parts is 5, but it must be a list."
    assert said(what=1) == "unknown key 'what'; known keys are name, part, parts, on."
    with pytest.raises(InputError, match=r"^f.yaml: part.size is None, but it must be a whole number.$"):
        Everything.from_mapping({"part": {"size": None}}, "f.yaml")
    assert Everything.from_mapping({"part": None, "parts": [None]}) == Everything(
        parts=(Part(),)
    )  # empty sections of YAML


def test_override_checks_again_and_none_is_a_value() -> None:
    loud = Hardware(noise=0.1)
    assert loud.override(noise=None).noise is None
    assert loud.override(bits=4) == Hardware(bits=4, noise=0.1) and loud.bits == 8
    assert loud.with_given(None, None) == loud and loud.with_given(bits=4, noise=0) == Hardware(bits=4, noise=None)
    for wrong, words in (({"bits": 99}, "bits is 99"), ({"bitz": 1}, "unknown key 'bitz'"), ({"bits": None}, "planes")):
        with pytest.raises(InputError, match=words):
            loud.override(**wrong)
    with pytest.raises(ValueError, match="frozen"):
        loud.bits = 4  # type: ignore[misc]


def test_settings_are_values() -> None:
    a, b = RunSettings.preset("published"), RunSettings.preset("published")
    assert a == b and hash(a) == hash(b) and a is not b and len({a, b, RunSettings()}) == 2
    assert copy.deepcopy(a) == pickle.loads(pickle.dumps(a)) == a  # noqa: S301
    assert repr(Hardware(bits=4)) == str(Hardware(bits=4)) == "Hardware(bits=4)"


def test_a_new_field_with_a_default_changes_no_differences() -> None:
    class Later(Hardware):
        colour: str = "blue"

    class Outer(Settings):
        hardware: Hardware = Hardware()
        more: tuple[Hardware, ...] = ()

    assert Later().differences() == Hardware().differences() == {}
    assert Later(bits=4, tile=(8, 8)).differences() == {"bits": 4, "tile": [8, 8]}
    assert Later(colour="red").differences() == {"colour": "red"}
    assert Outer(hardware=Later(bits=4), more=(Later(bits=2),)).differences() == {
        "hardware": {"bits": 4},
        "more": [{"bits": 2}],
    }


class Shape(Variants):
    tag: ClassVar[str] = "kind"
    usual: ClassVar[str] = "circle"

    kind: str = ""


class Circle(Shape):
    kind: Literal["circle"] = "circle"
    radius: Number = 1.0


class Square(Shape):
    kind: Literal["square"] = "square"
    side: Number = 2.0


class Drawing(Settings):
    shape: Shape = Circle()
    shapes: tuple[Shape, ...] = ()


def test_variants_are_found_by_their_key() -> None:
    drawing = Drawing.from_mapping({"shape": {"kind": "square", "side": 3}, "shapes": [{"radius": 2}]})
    assert drawing == Drawing(shape=Square(side=3), shapes=(Circle(radius=2),))
    assert Drawing.from_mapping(drawing.to_mapping()) == drawing
    assert Shape.from_mapping({"kind": "square"}) == Square() and Shape.from_mapping(None) == Circle()
    assert Square().differences() == {"kind": "square"} != Circle().differences()
    for wrong, words in (
        ({"shape": {"kind": "cube"}}, "f: shape: kind is 'cube', but it must be one of circle, square."),
        ({"shape": {"kind": "square", "side": "x"}}, "f: shape.side is 'x', but it must be a number."),
        ({"shape": {"kind": "square", "radius": 1}}, "f: shape: unknown key 'radius'; known keys are kind, side."),
        ({"shape": 5}, "f: shape: expected keys and values, found 5."),
    ):
        with pytest.raises(InputError) as raised:
            Drawing.from_mapping(wrong, "f")
        assert str(raised.value) == words
    with pytest.raises(TypeError, match="the base of circle, square"):
        Shape(kind="square")
    with pytest.raises(InputError, match="kind is 'circle', but it must be one of square"):
        Square(kind="circle")


def test_choices_are_plain_literals() -> None:
    names = [name for name in vars(choices) if name[0].isupper() and name != "Literal"]
    assert len(names) > 15
    assert all(get_args(getattr(choices, name)) for name in names)
    for preset in get_args(choices.Preset):
        assert RunSettings.preset(preset).to_mapping()
