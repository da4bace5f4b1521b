import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgnn.base.errors import InputError
from rgnn.base.settings import dump_yaml, read_yaml
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
        ({"bits": 4.5}, "hardware.bits is 4.5, but it must be a whole number"),
        ({"noise": "much"}, "hardware.noise is 'much', but it must be a number"),
        ({"noise": -0.1}, "noise is -0.1, but it must be between 0 and 2"),
        ({"rounding": "up"}, "hardware.rounding is 'up', but it must be one of nearest, floor"),
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
    with pytest.raises(InputError, match=r"c.yaml.hardware: bits is 40"):
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
    assert Hardware().varied(noise=0).describe() == "8 bits, no noise"
    assert Hardware().varied(bits=1, noise=0.1).describe() == "1 bit, 10% read noise"
    assert Hardware().ideal().describe() == "unquantised, no noise"
