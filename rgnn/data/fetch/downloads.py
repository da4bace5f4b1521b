"""Downloads that survive a cut: resumed by HTTP range, verified before they are put in place."""

import hashlib
import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol

from rgnn.base.errors import FetchError, InputError
from rgnn.base.files import locked, write_atomic

TIMEOUT = 30.0  # seconds without a byte
# A connection that brings fewer bytes a second than this for so many seconds is broken off, and asked again.
SLOWEST, PATIENCE = 1000, 60.0
LONGEST_WAIT = 600.0  # seconds that a server may ask to wait
KINDS = ("md5", "sha1", "sha256", "sha512")  # of checksums
PIECE = 1 << 20
ATTEMPTS = 5  # in a row without a new byte, at one address
LOCK = ".lock"  # in the folder that is fetched into
LONGEST_WAIT = 120.0  # seconds, whatever a server asks for
AGENT = {"User-Agent": "rgnn (force fields on resistive memory)", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class RemoteFile:
    """A file to be had from outside.

    Attributes:
        name: that it gets here.
        addresses: of the same bytes, the preferred one first.
        size: in bytes, where known.
        checksum: "md5:..." or "sha256:...", where known.
    """

    name: str
    addresses: tuple[str, ...]
    size: int | None = None
    checksum: str | None = None


class Watcher(Protocol):
    """Called with the progress of a download."""

    def __call__(self, done: int, total: int | None, resumed: bool) -> None:
        """Bytes there; `resumed` at the first call of each connection, when they are not new."""


class _Unavailable(Exception):  # noqa: N818 (of an address)
    """An address does not have the file; another may."""


class _Cut(Exception):  # noqa: N818 (of a connection)
    """A connection broke off; the same address may continue.

    Attributes:
        wait: seconds that the server asks for.
    """

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


def checksum(path: str | Path, kind: str) -> str:
    """Checksum of a file, as "md5:..." or "sha256:..."."""
    with Path(path).open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def mismatch(path: Path, file: RemoteFile) -> str | None:
    """In which way a file is not what it should be, or None."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size:,} bytes, not {file.size:,}"
    if file.checksum is not None:
        kind = file.checksum.partition(":")[0]
        if kind not in KINDS:
            return f"its checksum is of the kind '{kind}', and known are {', '.join(KINDS)}"
        found = checksum(path, kind)
        if found != file.checksum:
            return f"its checksum is {found}, not {file.checksum}"
    return None


# Bytes of the record of a data set, which lists its files.
LARGEST_RECORD = 10_000_000


def get_json(address: str) -> Any:
    """What an archive's public record says.

    Raises:
        FetchError: it does not answer, or not with JSON.
    """
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=AGENT), timeout=TIMEOUT) as answer:
            text = answer.read(LARGEST_RECORD + 1)
            if len(text) > LARGEST_RECORD:
                raise ValueError(f"a record of more than {LARGEST_RECORD / 1e6:g} MB")
            return json.loads(text)
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        reason = getattr(error, "reason", None) or error
        raise FetchError(f"{address}: the archive does not answer ({reason}).") from None


def download(
    file: RemoteFile,
    folder: str | Path,
    watch: Watcher = lambda done, total, resumed: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Download a file into `folder`; one that is whole already is kept, and one that was cut off is continued.

    Args:
        file: what to fetch.
        folder: made where absent.
        watch: called with the progress.
        sleep: how to wait between attempts.

    Raises:
        FetchError: no address gives it as it should be.
        InputError: another file lies in its place, the disk has no room, or another process fetches there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / file.name, folder / f"{file.name}.part"
    with locked(folder, folder / LOCK):
        if target.exists():
            if why := mismatch(target, file):
                raise InputError(f"{target}: is not the file of the archive, since {why}; move it away.")
            return target
        _check_room(file, folder, part)
        reasons = []
        for address in file.addresses:
            try:
                _fetch(file, address, part, watch, sleep)
            except _Unavailable as why:
                reasons.append(f"{address}: {why}")
                continue
            part.replace(target)
            _forget(part)
            return target
    size = "" if file.size is None else f" ({file.size / 1e6:.1f} MB)"
    raise FetchError(
        f"{file.name}{size} could not be fetched: {'; '.join(reasons)}; try again, or fetch it elsewhere and give "
        f"--from-file PATH, which puts it at {target}."
    )


def adopt(file: RemoteFile, path: str | Path, folder: str | Path) -> Path:
    """Take a file that was fetched in another way, verified, into `folder`.

    Raises:
        InputError: it is not there, or not what it should be, or the disk has no room.
    """
    path, folder = Path(path), Path(folder)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    if why := mismatch(path, file):
        raise InputError(f"{path}: is not '{file.name}', since {why}; download it again.")
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / file.name, folder / f"{file.name}.part"
    if target.exists() and target.samefile(path):
        return target
    _check_room(RemoteFile(file.name, (), path.stat().st_size), folder, part)
    with locked(folder, folder / LOCK):
        shutil.copyfile(path, part)
        part.replace(target)
    return target


def _check_room(file: RemoteFile, folder: Path, part: Path) -> None:
    need = (file.size or 0) - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(folder).free
    if need > 0 and free < 1.02 * need:
        raise InputError(f"{folder}: {file.name} needs {need / 1e6:.0f} MB more, but {free / 1e6:.0f} MB are free.")


def _note(part: Path) -> Path:
    """Beside a part, where it came from and what marked it there."""
    return part.with_name(part.name + ".json")


def _forget(part: Path) -> None:
    """Remove a part and its note."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _fetch(file: RemoteFile, address: str, part: Path, watch: Watcher, sleep: Callable[[float], None]) -> None:
    """Have the whole file in `part`, verified."""
    if not address.startswith(("http://", "https://")):
        raise _Unavailable("is not a web address")
    idle, old = 0, part.exists()
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(file, address, part, watch)
            why = mismatch(part, file)
            if why is None:
                return
            _forget(part)
            if not old:
                raise _Unavailable(why)
            old = False  # what was there before may have been of another version: once more from the start
        except _Cut as cut:
            now = part.stat().st_size if part.exists() else 0
            idle = 0 if now > before else idle + 1
            if idle >= ATTEMPTS:
                raise _Unavailable(str(cut)) from None
            sleep(min(max(cut.wait, 2.0**idle - 1), LONGEST_WAIT))


def _receive(file: RemoteFile, address: str, part: Path, watch: Watcher) -> None:
    """One connection: append to the part what it lacks, or begin again."""
    have = part.stat().st_size if part.exists() else 0
    if file.size is not None and have == file.size:
        return
    headers = dict(AGENT)
    if have:
        headers["Range"] = f"bytes={have}-"
        mark = _mark(part, address)
        if mark:
            headers["If-Range"] = mark
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT) as answer:
            start, total = _place(answer, have, file)
            write_atomic(_note(part), json.dumps({"address": address, "mark": _validator(answer)}))
            with part.open("r+b" if start else "wb") as out:
                out.seek(start)
                out.truncate()
                watch(start, total, True)
                done = start
                for data in _pieces(answer):
                    done += len(data)
                    if total is not None and done > total:
                        raise _Unavailable(f"sends more than the {total:,} bytes it should have")
                    out.write(data)
                    watch(done, total, False)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is as long as the file, or longer
            _forget(part)
            raise _Cut("refuses to continue") from None
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _Cut(f"answers {error.code} {error.reason}", _retry_after(error)) from None
        raise _Unavailable(f"answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(f"{getattr(error, 'reason', None) or error or type(error).__name__}") from None
    if total is not None and done < total:
        raise _Cut(f"the connection ended after {done:,} of {total:,} bytes")
    if done == 0:
        raise _Unavailable("sends nothing")


def _pieces(answer: Any) -> Iterator[bytes]:
    """What a connection brings, as long as it is not too slow."""
    done, clock = 0, time.monotonic()
    while data := answer.read1(PIECE):
        yield data
        done += len(data)
        if (passed := time.monotonic() - clock) > PATIENCE:
            if done < SLOWEST * passed:
                raise _Cut(f"sends less than {SLOWEST:,} bytes a second")
            done, clock = 0, clock + passed


def _place(answer: Any, have: int, file: RemoteFile) -> tuple[int, int | None]:
    """Where what is sent belongs, and how long the whole file is."""
    if "html" in answer.headers.get("Content-Type", "").lower() and not file.name.endswith((".html", ".htm")):
        raise _Unavailable("sends a web page in place of the file")
    length = _whole(answer.headers.get("Content-Length", ""))
    if answer.status == 206:
        given, _, total = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if _whole(given.partition("-")[0]) != have:
            raise _Unavailable(f"sends another part ({given or 'unnamed'}) than was asked for")
        whole = _whole(total)
        begin = have
    elif answer.status == 200:
        whole, begin = length, 0
    else:
        raise _Unavailable(f"answers {answer.status}")
    if file.size is not None and whole is not None and whole != file.size:
        raise _Unavailable(f"has {whole:,} bytes, not {file.size:,}")
    return begin, file.size if whole is None else whole


def _validator(answer: Any) -> str:
    """What marks this version of the file: a strong ETag or a date."""
    tag = answer.headers.get("ETag", "")
    return answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _whole(text: str) -> int | None:
    """The whole number of a header; None for anything else, such as one of thousands of digits."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip()) else None


def _mark(part: Path, address: str) -> str:
    try:
        note = json.loads(_note(part).read_text())
        return str(note["mark"]) if note["address"] == address else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _retry_after(error: urllib.error.HTTPError) -> float:
    """Seconds that a server asks to wait: it gives a number or a date."""
    asked = error.headers.get("Retry-After", "") if error.headers else ""
    if (seconds := _whole(asked)) is not None:
        return float(min(seconds, LONGEST_WAIT))
    try:
        return min(LONGEST_WAIT, max(0.0, parsedate_to_datetime(asked).timestamp() - time.time()))
    except (TypeError, ValueError, OverflowError):
        return 0.0
