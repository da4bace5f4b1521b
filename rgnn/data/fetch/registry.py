"""Data by name: the packaged sample, and the published files in their archives."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from rgnn.base.errors import FetchError, InputError
from rgnn.base.files import write_atomic
from rgnn.data.fetch.downloads import RemoteFile, adopt, checksum, download, get_json
from rgnn.data.fetch.downloads import Watcher as DownloadWatcher
from rgnn.data.sample import sample_frames
from rgnn.data.store.reader import GraphStore
from rgnn.data.store.writer import write_store

# Public records of archives: their file lists carry names, sizes and MD5 checksums.
FIGSHARE = "https://api.figshare.com/v2/articles/{}"
ZENODO = "https://zenodo.org/api/records/{}"
# The authors' repository at one commit, and the same from a mirror.
RAW = (
    "https://raw.githubusercontent.com/hustmeng/RGNN/{}/1-Atomic_force/input/",
    "https://cdn.jsdelivr.net/gh/hustmeng/RGNN@{}/1-Atomic_force/input/",
)
COMMIT = "c87b15c64696a6147d3f000a82c69b42847fff29"
LOCK = "lock.yaml"
PAPER = "Xu et al., Nat. Comput. Sci. 2025, doi 10.1038/s43588-025-00844-3"


@dataclass(frozen=True)
class Dataset:
    """What can be had by a name.

    Attributes:
        name, what, licence, citation: for people.
        files: whose size and checksum are known beforehand.
        records: (archive, number, file) where the archive's record says them; an empty file means all of a record.
        members: names of data sets that this one is made of.
    """

    name: str
    what: str
    licence: str
    citation: str
    files: tuple[RemoteFile, ...] = ()
    records: tuple[tuple[str, str, str], ...] = ()
    members: tuple[str, ...] = ()


def _raw(name: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(name, tuple(base.format(COMMIT) + name for base in RAW), size, f"sha256:{sha256}")


GRAPHS = "graph_atomic_force.pkl"
CONDUCTANCE = _raw("Conductance.pkl", 351_346, "ad092cdc1588e012ebcd76ae508aa31023ac409e589f4129db8a9bde9dffe042")
CHECKPOINT = _raw("checkpoint.pkl", 546_427, "9ab29c7e452d0a512b8c14c65c6e505cc05e21b7c82b0d0b78cd8ac5eac794db")

DATASETS = {
    d.name: d
    for d in (
        Dataset(
            "sample",
            "270 frames of amorphous Li3PO4, 192 atoms, 300 to 2200 K; CHGNet 0.3.0 labels, not DFT; in the package",
            "MIT",
            "labels: Deng et al., Nat. Mach. Intell. 2023",
        ),
        Dataset(
            "published",
            "graphs, conductance and checkpoint",
            "as below",
            PAPER,
            members=("graphs", "conductance", "checkpoint"),
        ),
        Dataset(
            "graphs",
            "60,000 graphs of amorphous Li3PO4 with DFT forces, converted to lipo.zarr",
            "as its archive states",
            PAPER,
            records=(
                ("figshare", "25330930", GRAPHS),
                ("zenodo", "10774321", GRAPHS),
                ("zenodo", "13346149", GRAPHS),
            ),
        ),
        Dataset("conductance", "measured conductances of the published chip", "MIT", PAPER, files=(CONDUCTANCE,)),
        Dataset("checkpoint", "the published trained model", "MIT", PAPER, files=(CHECKPOINT,)),
        Dataset(
            "zenodo-10774321",
            "all files of Zenodo record 10774321",
            "as its archive states",
            "doi 10.5281/zenodo.10774321",
            records=(("zenodo", "10774321", ""),),
        ),
        Dataset(
            "zenodo-13346149",
            "all files of Zenodo record 13346149",
            "as its archive states",
            "doi 10.5281/zenodo.13346149",
            records=(("zenodo", "13346149", ""),),
        ),
    )
}


def make_sample_store(folder: str | Path) -> GraphStore:
    """The packaged sample as folder/sample.zarr; made where it is not there yet."""
    path = Path(folder) / "sample.zarr"
    if path.exists():
        return GraphStore(path)
    return write_store(sample_frames(), path, source="packaged sample of amorphous Li3PO4 (CHGNet 0.3.0 labels)")


def expand(names: Iterable[str]) -> list[Dataset]:
    """The data sets of these names, with members in place of those made of others.

    Raises:
        InputError: a name is not known.
    """
    found: list[Dataset] = []
    for name in names:
        if name not in DATASETS:
            raise InputError(f"no data set is named '{name}'; take one of {', '.join(DATASETS)}.")
        members = DATASETS[name].members or (name,)
        found += [DATASETS[member] for member in members if DATASETS[member] not in found]
    return found


class ChecksumLock:
    """Sizes and checksums that archives have stated, kept beside the data: what was agreed on once stays so.

    Args:
        folder: of the data.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / LOCK
        self.files: dict[str, list[RemoteFile]] = {}
        if self.path.exists():
            try:
                content = yaml.safe_load(self.path.read_text(encoding="utf-8")) or {}
                self.files = {
                    name: [RemoteFile(**{**file, "addresses": tuple(file["addresses"])}) for file in files]
                    for name, files in content.items()
                }
                names = [file.name for files in self.files.values() for file in files]
                if any(Path(name).name != name or name.startswith(".") for name in names):
                    raise ValueError("a name that is a path")
            except (yaml.YAMLError, TypeError, KeyError, AttributeError, ValueError, RecursionError):
                raise InputError(f"{self.path}: is not a lock file of this program; remove it.") from None

    def pin(self, name: str, files: list[RemoteFile]) -> None:
        """Keep what was stated."""
        self.files[name] = files
        content = {
            name: [{**asdict(file), "addresses": list(file.addresses)} for file in files]
            for name, files in self.files.items()
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        note = "# Sizes and checksums as the archives stated them when the data were first fetched.\n"
        write_atomic(self.path, note + yaml.safe_dump(content, sort_keys=False))

    def files_of(self, dataset: Dataset) -> list[RemoteFile]:
        """The files of a data set; archives are asked where neither this program nor the lock knows them.

        Raises:
            FetchError: no archive answers, or none has the file.
        """
        if not dataset.records:
            return list(dataset.files)
        if dataset.name not in self.files:
            self.pin(dataset.name, _ask(dataset))
        return self.files[dataset.name]


def _ask(dataset: Dataset) -> list[RemoteFile]:
    """What the archives state; the same file in several of them has several addresses."""
    found: dict[str, RemoteFile] = {}
    reasons = []
    for archive, number, wanted in dataset.records:
        try:
            listed = _listed(archive, number)
        except FetchError as error:
            reasons.append(str(error).rstrip("."))
            continue
        for file in listed:
            if wanted and file.name != wanted:
                continue
            first = found.setdefault(file.name, file)
            if first is not file and (first.size, first.checksum) == (file.size, file.checksum):
                merged = first.addresses + file.addresses
                found[file.name] = RemoteFile(first.name, merged, first.size, first.checksum)
        if wanted and wanted not in {file.name for file in listed}:
            reasons.append(f"{archive} record {number} has no '{wanted}'")
    if not found:
        raise FetchError(
            f"'{dataset.name}' could not be found: {'; '.join(reasons)}; fetch it elsewhere and give --from-file PATH; "
            "'rgnn fetch-data sample' needs no network."
        )
    return list(found.values())


def _listed(archive: str, number: str) -> list[RemoteFile]:
    """The files in a record; a name in it never chooses a folder."""
    address = {"figshare": FIGSHARE, "zenodo": ZENODO}[archive].format(number)
    record: dict[str, Any] = get_json(address)
    try:
        if archive == "zenodo":
            return [
                RemoteFile(Path(f["key"]).name, (f["links"]["self"],), int(f["size"]), _named(f["checksum"]))
                for f in record["files"]
            ]
        return [
            RemoteFile(
                Path(f["name"]).name,
                (f["download_url"].replace("ndownloader.figshare.com/files/", "api.figshare.com/v2/file/download/"),)
                + ((f["download_url"],) if "ndownloader.figshare.com" in f["download_url"] else ()),
                int(f["size"]),
                _named(f.get("computed_md5") or f.get("supplied_md5")),
            )
            for f in record["files"]
        ]
    except (KeyError, TypeError, ValueError):
        raise FetchError(f"{address}: the archive's record has no list of files.") from None


def _named(stated: str | None) -> str | None:
    """A checksum with its kind before it."""
    if not stated:
        return None
    return stated if ":" in stated else f"md5:{stated}"


def fetch(
    file: RemoteFile,
    folder: str | Path,
    lock: ChecksumLock,
    dataset: Dataset,
    watch: DownloadWatcher = lambda done, total, resumed: None,
) -> Path:
    """Download a file; where nobody has stated its checksum, the one it has now is kept in the lock.

    Raises:
        FetchError, InputError: as `download`.
    """
    path = download(file, folder, watch)
    _pin_content(file, path, lock, dataset)
    return path


def take(
    path: str | Path, folder: str | Path, lock: ChecksumLock, dataset: Dataset, warn: Callable[[str], None]
) -> Path:
    """Take a file of a data set that was fetched in another way.

    Raises:
        InputError: it is not what the data set should hold.
    """
    path = Path(path)
    try:
        files = lock.files_of(dataset)
    except FetchError as error:
        names = [name for _, _, name in dataset.records if name]
        if not names:
            raise
        warn(f"{path}: its checksum is not verified, since {error}")
        files = [RemoteFile(names[0], ())]
    file = files[0] if len(files) == 1 else next((f for f in files if f.name == path.name), None)
    if file is None:
        raise InputError(
            f"{path}: '{dataset.name}' has no file '{path.name}'; it has {', '.join(f.name for f in files)}."
        )
    target = adopt(file, path, folder)
    _pin_content(file, target, lock, dataset)
    return target


def _pin_content(file: RemoteFile, path: Path, lock: ChecksumLock, dataset: Dataset) -> None:
    pinned = lock.files.get(dataset.name, [])
    if file.checksum is None:
        found = RemoteFile(file.name, file.addresses, path.stat().st_size, checksum(path, "sha256"))
        lock.pin(dataset.name, [f for f in pinned if f.name != file.name] + [found])
