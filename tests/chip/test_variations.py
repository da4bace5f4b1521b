import pytest

from rgnn import Hardware
from rgnn.base.errors import InputError
from rgnn.chip.variations import variations


def test_the_ideal_chip_comes_first_and_nothing_twice() -> None:
    own = Hardware(bits=4, noise=0.05)
    found = variations(own, own, {"bits": [2, 4]})
    assert found == [own.ideal(), own, own.override(bits=2)]


def test_without_choices_the_base_itself_is_compared() -> None:
    own, other = Hardware(bits=4), Hardware(bits=6)
    assert variations(own, other, {}) == [own.ideal(), own, other]


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InputError, match="nonsense"):
        variations(Hardware(), Hardware(), {"nonsense": [1]})
