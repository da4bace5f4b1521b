"""A board behind each transport: what it answers, what it may do wrong, and that it is started again."""

import copy
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from rgnn import Chip, Hardware
from rgnn.base.errors import InputError, LostBoard
from rgnn.chip.board import connection
from rgnn.chip.board.connection import connect
from rgnn.chip.board.messages import decode, encode
from rgnn.chip.board.protocol import PROTOCOL, BoardFault
from rgnn.chip.board.server import serve_folder
from rgnn.chip.board.simulator import SimulatedBoard
from rgnn.chip.board.transports import Pipes
from rgnn.chip.crossbar import Crossbar

EXAMPLE = Path(__file__).parents[2] / "examples/board/board.py"
BOARD = f"process: {sys.executable} {EXAMPLE}"
CODES = np.random.default_rng(1).integers(0, 256, (50, 20))


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(connection, "PAUSE", 0.01)


@pytest.fixture
def crossbars() -> list[Crossbar]:
    cells = Chip.synthetic(3).matrices([[(12, 20), (6, 9)]])[0]
    return [Crossbar(c, place=(0, k)) for k, c in enumerate(cells)]


@pytest.fixture
def connected(crossbars):
    """Connect the crossbars to a driver; let it go at the end."""
    made = []

    def reach(driver: str, **options):
        made.append(connect(driver, crossbars, **options))
        return made[-1]

    yield reach
    for each in made:
        each.close()


def exact(crossbars) -> np.ndarray:
    return CODES @ crossbars[0].weight.double().numpy().T


def serving(folder: Path, board) -> None:
    threading.Thread(target=serve_folder, args=(board, folder), daemon=True).start()


@pytest.mark.parametrize("kind", ["simulator", "pipes", "folder", "class"])
def test_every_transport_gives_the_exact_product_without_noise(
    kind, crossbars, connected, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quiet.yaml").write_text("noise: null\n")
    Path("my_board.py").write_text(
        "from rgnn.chip.board.simulator import SimulatedBoard\nfrom rgnn import Hardware\n"
        "def quiet():\n    return SimulatedBoard(Hardware(noise=None))\n"
    )
    serving(tmp_path / "board", SimulatedBoard(Hardware(noise=None)))
    served = f"{sys.executable} -m rgnn_cli chip serve simulator --noise 0"
    driver = {
        "simulator": "simulator: quiet.yaml", "pipes": f"process: {served}", "folder": "folder: board",
        "class": "my_board:quiet",
    }[kind]  # fmt: skip
    board = connected(driver)
    assert "simulator" in board.info.name and min(board.agreement.values()) > 0.999
    np.testing.assert_allclose(board.product("layer0.matrix0", CODES, 8), exact(crossbars), rtol=1e-5, atol=1e-3)
    planes = board.by_plane("layer0.matrix0", CODES, 8)
    assert planes.shape == (50, 8, 12)
    np.testing.assert_allclose(planes @ np.ones(12), sum_of_planes(crossbars), atol=1e-3)
    assert board.product("layer0.matrix0", CODES[:0], 8).shape == (0, 12)


def sum_of_planes(crossbars) -> np.ndarray:
    bits = CODES[:, None, :] >> np.arange(8)[:, None] & 1
    return bits @ crossbars[0].weight.double().numpy().T @ np.ones(12)


def test_the_example_board_converts_to_12_bits_and_fluctuates_as_it_says(crossbars, connected) -> None:
    quiet = connected(f"{BOARD} --noise 0")
    unit = quiet._arrays["layer0.matrix0"].unit
    assert 0 < unit < 0.1
    # Each plane is rounded to one code, so the sum of planes is off by at most half a code of each.
    off = quiet.product("layer0.matrix0", CODES, 8) - exact(crossbars)
    assert np.abs(off).max() <= 255 * unit / 2 * 1.001 and np.abs(off).max() > 0
    noisy = connected(f"{BOARD} --noise 0.1 --seed 4")
    many = np.stack([noisy.product("layer0.matrix0", CODES, 8) for _ in range(60)])
    planes = sum(4.0**b * (CODES >> b & 1) for b in range(8))
    expected = 0.1 * np.sqrt(planes @ (crossbars[0].weight.double().numpy() ** 2).T)
    assert np.mean(many.std(0) / expected) == pytest.approx(1, abs=0.05)


def test_calls_are_cut_to_what_a_board_takes(crossbars, connected, monkeypatch) -> None:
    monkeypatch.setattr(connection, "MOST_BYTES", 8 * 3 * 7)
    board = connected(f"{BOARD} --noise 0")
    calls = board.traffic.calls
    whole = board.product("layer0.matrix0", CODES, 8)
    assert board.traffic.calls - calls == 8 and board.traffic.rows == 50  # of seven rows
    monkeypatch.setattr(connection, "MOST_BYTES", 10**6)
    np.testing.assert_array_equal(board.product("layer0.matrix0", CODES, 8), whole)


def test_a_killed_board_is_started_and_programmed_again(crossbars, connected) -> None:
    board = connected(f"{BOARD} --noise 0")
    before = board.product("layer0.matrix0", CODES, 8)
    os.kill(board._way._process.pid, signal.SIGKILL)
    np.testing.assert_array_equal(board.product("layer0.matrix0", CODES, 8), before)
    assert board.traffic.restarts == 1


def test_a_board_that_stops_now_and_then_goes_on_and_one_that_stops_always_is_lost(crossbars, connected) -> None:
    board = connected(f"{BOARD} --noise 0 --die-after 7")  # info, two to program, two to read, and one product
    for _ in range(9):
        board.product("layer0.matrix0", CODES, 8)
    assert board.traffic.restarts >= 3
    lost = r"ended with code 1, and said last: the power supply gave up; 3 tries"
    with pytest.raises(LostBoard, match=lost):
        connect(f"{BOARD} --noise 0 --die-after 4", crossbars)


def test_a_silent_board_is_given_up_after_the_timeout(crossbars, tmp_path) -> None:
    script = tmp_path / "silent.py"
    script.write_text("import sys, time\nfor line in sys.stdin:\n    time.sleep(60)\n")
    began = time.monotonic()
    with pytest.raises(LostBoard, match=r"said nothing for 0\.3 s; 2 tries"):
        connect(f"process: {sys.executable} {script}", crossbars, timeout=0.3, retries=1)
    assert time.monotonic() - began < 20
    with pytest.raises(LostBoard, match=r"left request-000001\.json without an answer"):
        connect(f"folder: {tmp_path / 'f'}", crossbars, timeout=0.1, retries=0)
    assert not list((tmp_path / "f").iterdir())  # nothing is left behind


ANSWERS = {
    "not JSON": ("Traceback: oops", "which is not JSON"),
    "a list": ("[1, 2]", "not a JSON object"),
    "another id": ('{"id": 77, "ok": true}', "answers call 77"),
    "another protocol": ('{"id": 1, "ok": true, "protocol": "x"}', "speaks 'x'"),
    "an error": ('{"id": 1, "ok": false, "error": "the lid is open"}', "says: the lid is open"),
    "absurd bits": ('{"id": 1, "ok": true, "protocol": "' + PROTOCOL + '", "bits": 99}', "takes 99 bits"),
    "nested deeply": ("[" * 200_000, "which is not JSON"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_makes_no_sense_is_said(name, crossbars, tmp_path) -> None:
    line, said = ANSWERS[name]
    (tmp_path / "line").write_text(line)
    script = tmp_path / "odd.py"
    script.write_text(
        f"import sys\nline = open({str(tmp_path / 'line')!r}).read()\n"
        "for request in sys.stdin:\n    print(line, flush=True)\n"
    )
    with pytest.raises(LostBoard, match=said):
        connect(f"process: {sys.executable} {script}", crossbars, retries=0)


class Broken(SimulatedBoard):
    """Answers products with what `sums` makes of them."""

    sums = staticmethod(lambda found: found)

    def __init__(self) -> None:
        super().__init__(Hardware(noise=None))

    def mvm(self, *arguments, **options):
        return {"sums": type(self).sums(np.asarray(super().mvm(*arguments, **options)["sums"]))}


@pytest.mark.parametrize(
    ("sums", "said"),
    [
        (lambda s: s[:-1], r"sums of shape \[49, 12\], not \[50, 8, 12\] or \[50, 12\]"),
        (lambda s: s * np.nan, "sums that are not finite"),
        (lambda s: s.astype("U8"), "sums of shape"),
        (lambda s: None, "without sums|sums of shape"),
    ],
)
def test_sums_that_make_no_sense_are_refused(sums, said, connected, monkeypatch) -> None:
    monkeypatch.setattr(Broken, "sums", staticmethod(sums))
    monkeypatch.setitem(sys.modules, "a_broken_board", sys.modules[__name__])
    board = connected("a_broken_board:Broken", retries=0)
    with pytest.raises(LostBoard, match=said):
        board.product("layer0.matrix0", CODES, 8)


def test_another_chip_is_refused(crossbars, monkeypatch) -> None:
    class Other(SimulatedBoard):
        def program(self, array, shape, weight=None, **rest):
            return super().program(array, shape, weight=np.random.default_rng(0).normal(size=shape))

    monkeypatch.setattr(sys.modules[__name__], "Other", Other, raising=False)
    monkeypatch.setitem(sys.modules, "another_board", sys.modules[__name__])
    with pytest.raises(InputError, match=r"holds another layer0\.matrix0 than the model"):
        connect("another_board:Other", crossbars)


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        ("nonsense", "it must be MODULE:NAME"),
        ("no_such_module:Board", "cannot be imported"),
        ("json:Nothing", "has no 'Nothing'"),
        ("process: /no/such/program", "cannot be started"),
        ("process:", "without a command"),
        ("process: 'a", "write it as in a shell"),
    ],
)
def test_drivers_that_are_none_are_refused(driver, said, crossbars) -> None:
    with pytest.raises(InputError, match=said):
        connect(driver, crossbars)


def test_hardware_that_a_board_cannot_do(connected) -> None:
    board = connected(f"{BOARD} --noise 0")
    assert board.hardware(Hardware(bits=4, noise=0.2, adc_bits=6)) == Hardware(bits=4, noise=None)
    with pytest.raises(InputError, match="takes 8 bits at most, but the hardware has 12"):
        board.hardware(Hardware(bits=12))
    with pytest.raises(InputError, match="bits null"):
        board.hardware(Hardware().ideal())
    assert copy.deepcopy(board) is board


def test_arrays_survive_the_journey_and_objects_do_not() -> None:
    for dtype in ("uint8", "int16", "uint16", "int32", "float32", "float64"):
        a = (np.arange(24).reshape(2, 3, 4) * 1.5).astype(dtype)
        back = decode(encode({"a": a}))["a"]
        assert back.dtype == a.dtype
        np.testing.assert_array_equal(back, a)
    bad = json.loads(encode({"a": np.arange(3.0)}))
    for change, said in (
        ({"dtype": "object"}, "it must be one of"), ({"shape": [4]}, "do not fill"), ({"shape": [-3]}, "make no sense"),
        ({"data": "!!"}, "not base64"), ({"shape": [2**40]}, "make no sense"),
    ):  # fmt: skip
        with pytest.raises(BoardFault, match=said):
            decode(json.dumps({"a": bad["a"] | change}))


def test_files_of_messages_stay_in_their_folder(tmp_path) -> None:
    for name in ("../x.npy", "/etc/passwd", "x.txt", 3):
        with pytest.raises(BoardFault, match="must be an NPY file in the same folder"):
            decode(json.dumps({"a": {"file": name}}), tmp_path)
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BoardFault, match="cannot be read"):
        decode(json.dumps({"a": {"file": "o.npy"}}), tmp_path)


def test_defects_of_the_simulated_board_are_those_of_the_model(crossbars, connected, tmp_path) -> None:
    """The same chip number gives the same stuck cells on both sides."""
    hardware = Hardware(noise=None, stuck_on=0.05, stuck_off=0.05, chip=7)
    (tmp_path / "h.yaml").write_text("noise: null\nstuck_on: 0.05\nstuck_off: 0.05\nchip: 7\n")
    board = connected(f"simulator: {tmp_path / 'h.yaml'}")
    for crossbar, name in zip(crossbars, ("layer0.matrix0", "layer0.matrix1"), strict=True):
        mine = crossbar.programmed(hardware, noisy=True).weight.double().numpy()
        assert not torch.equal(torch.from_numpy(mine).float(), crossbar.weight)
        np.testing.assert_allclose(board.read(name), mine, atol=1e-5)


def test_pipes_close_in_time() -> None:
    pipes = Pipes(f"{sys.executable} {EXAMPLE}")
    process = pipes._process
    assert pipes.call("info", {})["protocol"] == PROTOCOL
    pipes.close()
    assert process.poll() == 0
    with pytest.raises(BoardFault, match="was stopped"):
        pipes.call("info", {})


def test_the_conversation_of_the_documentation_is_one() -> None:
    """The example board gives the answers that docs/chip-in-the-loop.md shows, byte by byte where they are bytes."""
    text = (EXAMPLE.parents[2] / "docs/chip-in-the-loop.md").read_text()
    said = [line for line in text.splitlines() if line.startswith(("-> ", "<- "))]
    requests, answers = ([line[3:] for line in said if line.startswith(way)] for way in ("->", "<-"))
    assert len(requests) == len(answers) == 5
    done = subprocess.run(
        [sys.executable, EXAMPLE, "--noise", "0"], input="\n".join(requests), capture_output=True, text=True, check=True
    )
    for found, shown in zip(done.stdout.splitlines(), answers, strict=True):
        found, shown = decode(found), decode(shown)
        assert found.keys() == shown.keys()
        for key, value in shown.items():
            np.testing.assert_array_equal(found[key], value)
    product = decode(answers[3])["sums"] * decode(answers[1])["unit"]
    np.testing.assert_allclose(product, [[2.75, 4.0]], atol=0.006)
