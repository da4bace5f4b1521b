import os
import subprocess
import sys

import pytest

from rgnn.base.errors import InputError
from rgnn.base.files import locked, read_csv, sha256, write_atomic


def test_write_aside_replaces_and_leaves_nothing_beside(tmp_path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space") as raised:
            write_atomic(path, "two")
    assert raised.value.filename == str(path)
    assert path.read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_sha256(tmp_path) -> None:
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty").startswith("e3b0c44298fc1c14")


def test_one_writer_at_a_time_and_nothing_left_behind(tmp_path) -> None:
    folder, lock = tmp_path / "data", tmp_path / ".data.lock"
    with locked(folder, lock):
        with pytest.raises(InputError, match="data: another rgnn is writing here"), locked(folder, lock):
            pass
        assert lock.exists()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), locked(folder, lock):
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_does_not_stop_the_next(tmp_path) -> None:
    code = (
        "import sys, time; from rgnn.base.files import locked\n"
        "with locked('data', sys.argv[1]): print('held', flush=True); time.sleep(60)"
    )
    lock = tmp_path / ".lock"
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another rgnn"), locked("data", lock):
            pass
        writer.kill()
    assert lock.exists()
    with locked("data", lock):
        pass
    assert not lock.exists()


def test_a_table_without_the_row_that_is_still_being_written(tmp_path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,energy_eV\n0,-1.5\n10,-2.25\n20,-3")
    table = read_csv(path, "start again")
    assert {name: column.tolist() for name, column in table.items()} == {"step": [0, 10], "energy_eV": [-1.5, -2.25]}
    path.write_text("step,energy_eV\n")
    assert [column.shape for column in read_csv(path, "start again").values()] == [(0,), (0,)]


@pytest.mark.parametrize("text", [None, "a,b\n1,x\n", "a,b\n1\n", "a\n1,2\n"])
def test_what_is_no_table_of_numbers_is_named(tmp_path, text) -> None:
    if text is not None:
        (tmp_path / "log.csv").write_text(text)
    with pytest.raises(InputError, match=r"log\.csv: cannot be read \(.*\); start again\.$"):
        read_csv(tmp_path / "log.csv", "start again")
