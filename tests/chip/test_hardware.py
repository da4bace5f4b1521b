import pytest

from rgnn import Hardware
from rgnn.base.errors import InputError
from rgnn.chip.presets import PRESETS, load_hardware


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bits": 17}, "between 1 and 16"),
        ({"noise": -0.1}, "between 0 and 2"),
        ({"noise": float("nan")}, "between 0 and 2"),
        ({"adc_bits": 0}, "adc_bits is 0"),
        ({"stuck_on": 1.5}, "stuck_on is 1.5"),
        ({"stuck_on": 0.6, "stuck_off": 0.6}, "at most 1"),
        ({"tile": (0, 5)}, "tile is"),
        ({"chip": -1}, "chip is -1"),
        ({"bits": None}, "no bit planes"),
        ({"bits": None, "noise": None, "adc_bits": 8}, "one bit plane at a time"),
        ({"adc_bits": 8, "noise_sharing": "product"}, "converts each plane"),
        ({"offset": "last_plane"}, "needs noise_sharing 'plane'"),
        ({"compensation": "global"}, "nothing to compensate"),
        ({"noise_sharing": "never"}, "one of read, product"),
        ({"tile": 256}, "must be a list"),
    ],
)
def test_what_excludes_itself_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Hardware.from_mapping(settings)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_read_back_and_have_sources(name: str, tmp_path) -> None:
    preset = PRESETS[name]
    assert Hardware.from_mapping(preset.hardware.to_mapping()) == preset.hardware == load_hardware(name)
    assert preset.source and preset.family and preset.hardware.describe()


def test_hardware_from_a_file(tmp_path) -> None:
    for text in ("hardware: {adc_bits: 6}", "adc_bits: 6"):
        (tmp_path / "h.yaml").write_text(text)
        assert load_hardware(str(tmp_path / "h.yaml")) == Hardware(adc_bits=6)
    (tmp_path / "h.yaml").write_text("adc_bit: 6")
    with pytest.raises(InputError, match="did you mean 'adc_bits'"):
        load_hardware(str(tmp_path / "h.yaml"))
    with pytest.raises(InputError, match="'nonsense' is neither a hardware preset nor a YAML file"):
        load_hardware("nonsense")


def test_noise_of_zero_is_none_and_ideal_has_nothing() -> None:
    assert Hardware(noise=0.0) == Hardware(noise=None)
    everything = Hardware(adc_bits=4, stuck_on=0.1, retention="1 s", compensation="global", noise_sharing="chip")
    ideal = everything.ideal()
    assert (ideal.bits, ideal.noise, ideal.adc_bits, ideal.stuck_on, ideal.retention) == (None, None, None, 0, None)


def test_what_another_draw_changes() -> None:
    """Settings say of themselves whether a repeat, another chip or what shares a call makes a difference."""
    assert Hardware().varies_between_reads and not Hardware().is_frozen_random and Hardware().rows_are_independent
    frozen = Hardware(noise_sharing="chip")
    assert not frozen.varies_between_reads and frozen.is_frozen_random and frozen.rows_are_independent
    assert not Hardware(noise_sharing="call").rows_are_independent
    assert Hardware(noise=None, stuck_on=0.01).is_frozen_random


def test_words_tell_settings_apart() -> None:
    changes = [
        {"bits": 4}, {"noise": 0.1}, {"noise_reference": "device"}, {"noise_sharing": "call"}, {"adc_bits": 5},
        {"adc_bits": 5, "adc_range": "full"}, {"stuck_on": 0.1}, {"stuck_off": 0.1}, {"programming_noise": 0.1},
        {"retention": "1 s"}, {"retention": "1 s", "compensation": "column"}, {"rounding": "floor"},
        {"range": "dynamic"}, {"noise_sharing": "plane"}, {"noise_sharing": "plane", "offset": "last_plane"},
        {"tile": (64, 64)}, {"tile": (64, 256)}, {"chip": 1},
    ]  # fmt: skip
    words = [Hardware().describe(), *(Hardware().override(**c).describe() for c in changes)]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"adc_gain": 0.02}, "adc_gain is 0.02 but adc_bits is null"),
        ({"adc_bits": 8, "adc_calibration": "linear"}, "nothing to calibrate"),
        ({"slow_noise_calls": [10, 10]}, "two rising whole numbers"),
        ({"slow_noise_exponent": 2.0}, "between 0.5 and 1.5"),
        ({"wire_resistance": -1}, "between 0 and"),
        ({"compensation": "column"}, "retention or wire_resistance"),
    ],
)
def test_effects_that_exclude_themselves_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Hardware.from_mapping(settings)


EFFECTS = [
    {"adc_bits": 5, "adc_gain": 0.1}, {"adc_bits": 5, "adc_offset": 0.1}, {"adc_bits": 5, "adc_nonlinearity": 0.1},
    {"adc_bits": 5, "adc_gain": 0.1, "adc_calibration": "linear"}, {"wire_resistance": 2.0},
    {"wire_resistance": 2.0, "compensation": "column"}, {"slow_noise": 0.1}, {"slow_noise": 0.2},
    {"slow_noise": 0.1, "slow_noise_calls": [2, 99]}, {"slow_noise": 0.1, "slow_noise_exponent": 0.8},
    {"slow_noise": 0.1, "noise_reference": "device"}, {"slices": 2}, {"slices": 3}, {"slices": 2, "slice_bits": 1},
]  # fmt: skip


def test_words_tell_effects_apart() -> None:
    words = [Hardware.from_mapping(settings).describe() for settings in ({}, {"adc_bits": 5}, *EFFECTS)]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("settings", EFFECTS)
def test_effects_say_what_another_draw_changes(settings: dict[str, object]) -> None:
    hardware = Hardware.from_mapping({"noise": None, **settings})
    assert hardware.is_frozen_random == ("adc_bits" in settings)
    assert hardware.varies_between_reads == hardware.follows_calls == ("slow_noise" in settings)
    assert hardware.rows_are_independent
    assert not hardware.with_given(noise=0.0).varies_between_reads and not hardware.ideal().differences().keys() & {
        "adc_gain", "adc_offset", "adc_nonlinearity", "wire_resistance", "slow_noise", "slices",
    }  # fmt: skip
