"""Hardware whose noise, programming and retention follow laws."""

import math
from pathlib import Path

import pytest
import torch

from rgnn import Chip, Hardware
from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.base.settings import dump_yaml
from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.effects import programmed
from rgnn.chip.laws.change import ChangeLaw
from rgnn.chip.laws.polynomial import Polynomial
from rgnn.chip.laws.read_noise import ReadNoiseLaw
from rgnn.chip.presets import PRESETS, load_hardware

LINEAR = ReadNoiseLaw(reference=1e-5, deviation_at_reference=2e-7, exponent=1.0, conductance=(1e-6, 1e-4))
SHIFT = ChangeLaw(
    conductance=(1e-6, 1e-4),
    time=(1.0, 100.0),
    mean=Polynomial(degrees=(0, 1), values=(-1e-6, -1e-6)),
    log_deviation=Polynomial(degrees=(0, 0), values=(math.log(3e-7),)),
)


@pytest.fixture
def cells() -> Cells:
    return Chip.synthetic(3, 2 * 200 * 50).matrices([[(200, 50)]])[0][0]


def test_a_law_in_proportion_to_the_conductance_is_the_device_reference(cells: Cells) -> None:
    """sigma(G) = 2% of G, so law and device agree, and the matrices are never read twice the same."""
    law, device = cells.reference("law", LINEAR), 0.02 * cells.reference("device")
    torch.testing.assert_close(law, device, rtol=1e-5, atol=0)
    x = torch.rand(4, 50)
    by_law = Hardware(noise=1.0, noise_reference="law", noise_law=LINEAR, range="dynamic")
    by_device = Hardware(noise=0.02, noise_reference="device", range="dynamic")
    crossbar = Crossbar(cells)
    seen = x.min(), x.max()
    y = [crossbar.begin(h, torch_stream(5, "read"), seen)(x.clone()) for h in (by_law, by_device)]
    torch.testing.assert_close(y[0], y[1], rtol=1e-4, atol=1e-4)


def test_a_digital_gain_scales_what_the_law_says(cells: Cells) -> None:
    hardware = Hardware(retention_law=SHIFT, retention_time=10.0, compensation="column")
    gained = programmed(cells, hardware, (0, 0), noisy=False)
    bare = programmed(cells, hardware.override(compensation="none"), (0, 0), noisy=False)
    gain = gained.weight / bare.weight
    torch.testing.assert_close(gained.reference("law", LINEAR), gain * bare.reference("law", LINEAR), rtol=1e-4, atol=0)


def test_retention_by_a_law_moves_and_spreads_conductances(cells: Cells) -> None:
    """10 s is the middle of 1 to 100 s on a logarithmic scale, so the mean is -1 uS."""
    assert cells.pair is not None and cells.siemens is not None
    after = programmed(cells, Hardware(retention_law=SHIFT, retention_time=10.0), (0, 0), noisy=False)
    change = float(cells.siemens) * (after.pair - cells.pair)
    assert float(change.mean()) == pytest.approx(-1e-6, abs=1e-8)
    assert float(change.std()) == pytest.approx(3e-7, rel=0.03)
    again = programmed(cells, Hardware(retention_law=SHIFT, retention_time=10.0, chip=1), (0, 0), noisy=False)
    assert not torch.equal(after.weight, again.weight)


def test_programming_by_a_law(cells: Cells) -> None:
    assert cells.pair is not None and cells.siemens is not None
    law = ChangeLaw(
        conductance=(1e-6, 1e-4),
        mean=Polynomial(degrees=(0,), values=(5e-7,)),
        log_deviation=Polynomial(degrees=(0,), values=(math.log(2e-7),)),
    )
    after = programmed(cells, Hardware(programming_law=law, programming_noise=2.0), (0, 0), noisy=False)
    change = float(cells.siemens) * (after.pair - cells.pair)
    assert float(change.mean()) == pytest.approx(1e-6, rel=0.03)
    assert float(change.std()) == pytest.approx(4e-7, rel=0.03)
    unused = programmed(cells, Hardware(programming_law=law), (0, 0), noisy=False)
    assert torch.equal(unused.weight, cells.weight)


def test_laws_are_part_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    hardware = Hardware(
        noise=1.0,
        noise_reference="law",
        noise_law=LINEAR,
        retention_law=SHIFT,
        retention_time=10.0,
        noise_sharing="chip",
    )
    (tmp_path / "laws").mkdir()
    (tmp_path / "laws" / "hardware.yaml").write_text(dump_yaml({"hardware": hardware.differences()}))
    for name in (tmp_path, tmp_path / "laws", tmp_path / "laws" / "hardware.yaml"):
        assert load_hardware(str(name)) == hardware
    assert hardware.is_frozen_random
    assert hardware.describe() == "8 bits, chip noise by a law, after 10 s"


def test_no_law_changes_what_was_released() -> None:
    assert Hardware().differences() == {}
    assert "rram-a" in PRESETS and "rram-b" in PRESETS


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"noise_reference": "law"}, "noise_law is missing"),
        ({"retention_time": 10.0}, "retention_time needs retention_law"),
        (
            {"retention_law": SHIFT, "retention_time": 1e6},
            r"retention_time is 1e\+06 s, but the law was measured from 1",
        ),
        ({"retention_law": SHIFT, "retention_time": 9.0, "retention": "1 s"}, "say the same twice"),
        ({"retention_law": SHIFT, "retention_temperature": 85.0}, "needs retention_time"),
        ({"retention_law": SHIFT, "retention_time": 9.0, "retention_temperature": 85.0}, "one unknown temperature"),
        ({"programming_law": SHIFT, "programming_noise": 1}, "name it retention_law"),
    ],
)
def test_what_a_law_does_not_cover_is_refused(given: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Hardware(**given)


def test_cells_far_from_those_of_a_law_are_refused(cells: Cells) -> None:
    far = LINEAR.override(conductance=(5e-5, 1e-4))
    with pytest.raises(InputError, match="was measured from 50 to 100 uS, but 100% of the cells"):
        cells.reference("law", far)
    with pytest.raises(InputError, match="needs the conductances of both cells"):
        Cells(cells.weight).reference("law", LINEAR)
