"""Numbers that no tidying-up may change; see outputs.py."""

import json
import math

import pytest
from outputs import EXPECTED, collect


def differences(found, expected, where: str = "") -> list[str]:
    """What is not equal, to what rounding may do in float64."""
    if isinstance(expected, dict) and isinstance(found, dict):
        names = [f"{where}/{k}: only in one" for k in sorted(found.keys() ^ expected.keys())]
        return names + [d for k in expected if k in found for d in differences(found[k], expected[k], f"{where}/{k}")]
    if isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            return [f"{where}: {len(found)} numbers, not {len(expected)}"]
        return [d for k, e in enumerate(expected) for d in differences(found[k], e, f"{where}[{k}]")]
    if isinstance(expected, float) and isinstance(found, float | int):
        same = math.isclose(found, expected, rel_tol=1e-7, abs_tol=1e-9) or (math.isnan(found) and math.isnan(expected))
        return [] if same else [f"{where}: {found!r}, not {expected!r}"]
    return [] if found == expected else [f"{where}: {found!r}, not {expected!r}"]


def test_golden_outputs(tmp_path) -> None:
    found = differences(json.loads(json.dumps(collect(tmp_path))), json.loads(EXPECTED.read_text()))
    assert not found, "\n".join(found[:20])


def test_differences_are_found() -> None:
    assert differences({"a": [1.0, 2.0]}, {"a": [1.0, 2.1]}) == ["/a[1]: 2.0, not 2.1"]
    assert differences({"a": 1.0}, {"b": 1.0})
    with pytest.raises(AssertionError):
        assert not differences({"hardware": {"bits": 4}}, {"hardware": {"bits": 5}})
