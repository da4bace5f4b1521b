import hashlib
import io
import itertools
import urllib.error
from dataclasses import replace

import numpy as np
import pytest
from servers import serving

from rgnn.base.errors import FetchError, InputError
from rgnn.base.files import locked
from rgnn.data.fetch import downloads
from rgnn.data.fetch.downloads import RemoteFile, adopt, download

DATA = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(3_000_000)


@pytest.fixture
def server():
    with serving() as running:
        running.files = {"a": DATA, "b": DATA}
        yield running


@pytest.fixture
def file(server) -> RemoteFile:
    return RemoteFile("d.bin", (server.address("a"),), len(DATA), f"md5:{hashlib.md5(DATA).hexdigest()}")


def fetched(file, folder, **options) -> list[float]:
    """Fetch, check the content and that nothing else is left; the waits between attempts."""
    waits = []
    path = download(file, folder, sleep=waits.append, **options)
    assert path.read_bytes() == DATA
    assert [p.name for p in folder.iterdir()] == ["d.bin"]
    return waits


def test_a_file_is_fetched_once(server, file, tmp_path) -> None:
    assert fetched(file, tmp_path) == []
    fetched(file, tmp_path)
    assert server.requests == [("a", None)]


def test_progress_is_told(file, tmp_path) -> None:
    told = []
    download(file, tmp_path, lambda *what: told.append(what))
    assert told[0] == (0, len(DATA), True)
    assert told[-1] == (len(DATA), len(DATA), False)


def test_a_cut_connection_is_gone_on_with(server, file, tmp_path) -> None:
    server.faults["a"] = ["cut", "cut", "cut"]
    fetched(file, tmp_path)
    starts = [asked for _, asked in server.requests]
    assert starts == [None, "bytes=1500000-", "bytes=2250000-", "bytes=2625000-"]


def test_many_cuts_are_no_reason_to_give_up_while_bytes_come(server, file, tmp_path) -> None:
    server.faults["a"] = ["cut"] * 12
    fetched(file, tmp_path)


def test_what_was_left_by_a_kill_is_gone_on_with(server, file, tmp_path) -> None:
    (tmp_path / "d.bin.part").write_bytes(DATA[:1_000_000])
    fetched(file, tmp_path)
    assert server.requests == [("a", "bytes=1000000-")]


def test_what_was_left_of_another_file_is_not_believed(server, file, tmp_path) -> None:
    (tmp_path / "d.bin.part").write_bytes(OTHER[:1_000_000])
    fetched(file, tmp_path)
    assert server.requests == [("a", "bytes=1000000-"), ("a", None)]
    (tmp_path / "d.bin").rename(tmp_path / "d.bin.part")
    (tmp_path / "d.bin.part").write_bytes(OTHER)
    fetched(file, tmp_path)


def test_a_file_that_changes_at_its_address_begins_anew(server, file, tmp_path) -> None:
    server.files["a"], server.faults["a"] = OTHER, ["cut"]
    unknown = replace(file, checksum=None)
    waits = []

    def change(seconds: float) -> None:
        waits.append(seconds)
        server.files["a"] = DATA

    assert download(unknown, tmp_path, sleep=change).read_bytes() == DATA
    assert waits


def test_a_server_that_knows_no_ranges(server, file, tmp_path) -> None:
    server.faults["a"] = ["cut", "ignores ranges"]
    fetched(file, tmp_path)


@pytest.mark.parametrize("code", ["429", "500", "503"])
def test_busy_servers_are_waited_for_as_they_ask(server, file, tmp_path, code) -> None:
    server.faults["a"] = [code, code]
    waits = fetched(file, tmp_path)
    assert len(waits) == 2
    assert min(waits) >= (1 if code == "500" else 7)


FAULTS = ["404", "403", "html", "empty", "corrupt", "says less", "says more", "another range"]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_second_address_helps(server, file, tmp_path, fault) -> None:
    server.faults["a"] = [fault] * 20
    (tmp_path / "d.bin.part").write_bytes(DATA[:100_000])
    fetched(replace(file, addresses=(server.address("a"), server.address("b"))), tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_wrong_is_put_in_place(server, file, tmp_path, fault) -> None:
    server.faults["a"] = [fault] * 40
    if fault == "another range":
        (tmp_path / "d.bin.part").write_bytes(DATA[:100_000])
    with pytest.raises(FetchError, match=r"d\.bin \(3\.0 MB\) could not be fetched.*--from-file"):
        download(file, tmp_path, sleep=lambda seconds: None)
    assert not (tmp_path / "d.bin").exists()
    server.faults.clear()
    fetched(file, tmp_path)


def test_nobody_answers(tmp_path) -> None:
    waits = []
    with pytest.raises(FetchError, match="could not be fetched"):
        download(RemoteFile("d.bin", ("http://127.0.0.1:9/d",)), tmp_path, sleep=waits.append)
    assert waits == [1.0, 3.0, 7.0, 15.0]


def test_a_server_that_falls_silent(server, file, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3)
    server.piece_delay = 1.0
    waits = []

    def hurry(seconds: float) -> None:
        waits.append(seconds)
        server.piece_delay = 0.0

    assert download(file, tmp_path, sleep=hurry).read_bytes() == DATA
    assert waits


def test_only_the_web_is_an_address(tmp_path) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(FetchError, match="not a web address"):
        download(RemoteFile("d.bin", (f"file://{tmp_path}/secret",)), tmp_path / "data")


def test_proxies_are_honoured(server, file, tmp_path, monkeypatch) -> None:
    """A proxy gets the whole address as its path."""
    monkeypatch.setenv("http_proxy", server.address("").rstrip("/"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr("urllib.request._opener", None)  # made once for a process
    server.files["http://elsewhere.invalid/a"] = DATA
    fetched(replace(file, addresses=("http://elsewhere.invalid/a",)), tmp_path)


def test_another_file_in_the_way(file, tmp_path) -> None:
    (tmp_path / "d.bin").write_bytes(b"mine")
    with pytest.raises(InputError, match="move it away"):
        download(file, tmp_path)
    assert (tmp_path / "d.bin").read_bytes() == b"mine"


def test_the_disk_is_too_small(file, tmp_path) -> None:
    with pytest.raises(InputError, match="MB are free"):
        download(replace(file, size=10**18), tmp_path)


def test_two_at_once(file, tmp_path) -> None:
    with locked(tmp_path, tmp_path / downloads.LOCK), pytest.raises(InputError, match="another rgnn"):
        download(file, tmp_path)


def test_a_file_fetched_in_another_way(file, tmp_path) -> None:
    (tmp_path / "mine").write_bytes(DATA)
    assert adopt(file, tmp_path / "mine", tmp_path / "data").read_bytes() == DATA
    assert adopt(file, tmp_path / "data/d.bin", tmp_path / "data").read_bytes() == DATA
    (tmp_path / "mine").write_bytes(DATA[:-1])
    with pytest.raises(InputError, match="2,999,999 bytes, not 3,000,000"):
        adopt(file, tmp_path / "mine", tmp_path / "data")


def test_a_server_that_is_too_slow_is_left(monkeypatch) -> None:
    """A byte now and then keeps no connection open for ever."""
    clock = iter(range(0, 10_000, 7))
    monkeypatch.setattr(downloads.time, "monotonic", lambda: float(next(clock)))

    class Answer:
        def read1(self, _: int) -> bytes:
            return b"x" * 100

    with pytest.raises(downloads._Cut, match="sends less than 1,000 bytes a second"):
        list(itertools.islice(downloads._pieces(Answer()), 20))


@pytest.mark.parametrize("text", ["9" * 5000, "²", "-1", "1e9", "", " 12 ", "0x10"])
def test_numbers_in_headers_are_small_whole_ones(text: str) -> None:
    assert downloads._whole(text) == (12 if "12" in text else None)


def test_a_server_does_not_decide_to_wait_for_ever() -> None:
    for text in ("999999999", "Fri, 31 Dec 9999 23:59:59 GMT"):
        error = urllib.error.HTTPError("http://x", 503, "busy", {"Retry-After": text}, None)  # type: ignore[arg-type]
        assert downloads._retry_after(error) == downloads.LONGEST_WAIT


def test_checksums_of_unknown_kinds_are_named(file, tmp_path) -> None:
    with pytest.raises(FetchError, match=r"its checksum is of the kind 'crc9', and known are md5"):
        download(replace(file, checksum="crc9:00"), tmp_path, sleep=lambda seconds: None)
    assert not (tmp_path / "d.bin").exists()


def test_a_record_without_end_is_refused(monkeypatch) -> None:
    class Answer(io.BytesIO):
        def __enter__(self):
            return self

    monkeypatch.setattr(downloads.urllib.request, "urlopen", lambda *_, **__: Answer(b"[" * 20_000_000))
    with pytest.raises(FetchError, match="a record of more than 10 MB"):
        downloads.get_json("http://x")
    monkeypatch.setattr(downloads.urllib.request, "urlopen", lambda *_, **__: Answer(b"[" * 200_000))
    with pytest.raises(FetchError, match="does not answer"):
        downloads.get_json("http://x")
