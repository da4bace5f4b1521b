"""Values from the words of the command line."""

import pytest

from rgnn.base.errors import InputError
from rgnn_cli.session.parse import whole_numbers


def test_ranges_include_both_ends() -> None:
    assert whole_numbers("2:4,8", "--bits") == [2, 3, 4, 8]


@pytest.mark.parametrize(
    ("text", "said"), [("8:2,4", "of which 8:2 ends before it begins"), ("2:99999999999", "has more than 1000 values")]
)
def test_ranges_that_cannot_be_meant_are_refused(text: str, said: str) -> None:
    """And never left out beside others, or counted out."""
    with pytest.raises(InputError, match=said):
        whole_numbers(text, "--bits")
