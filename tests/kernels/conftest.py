import pytest

from rgnn.kernels import operands


@pytest.fixture(params=["integers", "floats"])
def arithmetic(request, monkeypatch) -> str:
    """On every processor, both the int8 products and those that others fall back on."""
    if request.param == "integers" and not operands.integers_are_exact_and_fast():
        pytest.skip("this processor does not multiply int8 matrices natively")
    monkeypatch.setattr(operands, "integers_are_exact_and_fast", lambda: request.param == "integers")
    return request.param
