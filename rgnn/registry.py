"""Data by name: the packaged sample, and the published set in its archive."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgnn.errors import FetchError, InputError
from rgnn.sample import sample_frames
from rgnn.store import GraphStore, write_store

# The archive of Xu et al. 2025: its file list carries names, sizes and MD5 checksums.
ARTICLE = "https://api.figshare.com/v2/articles/25330930"
TIMEOUT = 30.0
SAMPLE_HELP = "'rgnn fetch-data sample' needs no network"


@dataclass(frozen=True)
class Dataset:
    """What `rgnn fetch-data --list` shows."""

    name: str
    what: str
    licence: str
    where: str


DATASETS = (
    Dataset(
        "sample",
        "270 frames of amorphous Li3PO4, 192 atoms, 300 to 2200 K; CHGNet 0.3.0 labels, not DFT",
        "MIT",
        "in the package",
    ),
    Dataset(
        "published", "the files of Xu et al. 2025: graphs of amorphous Li3PO4, chip, model", "as archived", ARTICLE
    ),
)


@dataclass(frozen=True)
class Download:
    """A file in an archive: address, size in bytes, MD5 checksum as the archive states it."""

    name: str
    address: str
    size: int
    md5: str


def make_sample_store(folder: str | Path) -> GraphStore:
    """The packaged sample as folder/sample.zarr; made where it is not there yet."""
    path = Path(folder) / "sample.zarr"
    if path.exists():
        return GraphStore(path)
    return write_store(sample_frames(), path, source="packaged sample of amorphous Li3PO4 (CHGNet 0.3.0 labels)")


def published_files() -> list[Download]:
    """What the archive of the published set holds now.

    Raises:
        FetchError: the archive does not answer.
    """
    request = urllib.request.Request(ARTICLE, headers={"User-Agent": "rgnn"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            article: dict[str, Any] = json.load(answer)
        return [
            Download(Path(f["name"]).name, f["download_url"], int(f["size"]), f["computed_md5"])
            for f in article["files"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", None) or error
        raise FetchError(
            f"{ARTICLE}: the archive does not answer ({reason}); try again later; {SAMPLE_HELP}."
        ) from None


def fetch(download: Download, folder: str | Path, progress: Callable[[int], None] = lambda done: None) -> Path:
    """Download one file into `folder`, verified before it is put in place; a file that is whole already is kept.

    Raises:
        FetchError: it cannot be had, or is not what the archive says.
        InputError: the disk has no room for it.
    """
    import shutil

    import pooch

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if not (folder / download.name).exists() and free < 1.1 * download.size:
        raise InputError(
            f"{folder}: {download.name} needs {download.size / 1e6:.0f} MB, but {free / 1e6:.0f} MB are free."
        )

    def downloader(address: str, output: str, _: object) -> None:
        request = urllib.request.Request(address, headers={"User-Agent": "rgnn"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, Path(output).open("wb") as file:
            done = 0
            while data := answer.read(1 << 20):
                file.write(data)
                done += len(data)
                progress(done)

    pooch.get_logger().setLevel("WARNING")  # it would print; this library does not
    try:
        pooch.retrieve(download.address, f"md5:{download.md5}", fname=download.name, path=folder, downloader=downloader)
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", None) or error).splitlines()[0]
        raise FetchError(
            f"{download.address}: {download.name} ({download.size / 1e6:.1f} MB) could not be fetched ({reason}); "
            f"try again, or put it at {folder / download.name} by hand; {SAMPLE_HELP}."
        ) from None
    return folder / download.name
