import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from rgnn import GraphStore, registry


class Archive(BaseHTTPRequestHandler):
    """What the published archive looks like from outside."""

    files: ClassVar[dict[str, bytes]] = {}
    lies = False

    def do_GET(self):
        name = self.path.strip("/")
        if name == "article":
            body = json.dumps({"files": [self.described(n) for n in self.files]}).encode()
        elif name in self.files:
            body = self.files[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body[::-1] if self.lies and name != "article" else body)

    def described(self, name: str) -> dict:
        data = self.files[name]
        address = f"http://127.0.0.1:{self.server.server_port}/{name}"
        return {
            "name": f"../{name}",
            "download_url": address,
            "size": len(data),
            "computed_md5": hashlib.md5(data).hexdigest(),
        }

    def log_message(self, *_):
        pass


@pytest.fixture
def archive(monkeypatch):
    Archive.files, Archive.lies = {"Conductance.pkl": b"chip" * 1000, "checkpoint.pkl": b"model"}, False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(registry, "ARTICLE", f"http://127.0.0.1:{server.server_port}/article")
    yield Archive
    server.shutdown()
    server.server_close()


def test_the_sample_needs_no_network_and_is_made_once(cli) -> None:
    assert "Made: data/sample.zarr" in cli("fetch-data", "sample")
    store = GraphStore("data/sample.zarr")
    store.verify()
    assert store.elements == (3, 8, 15)
    assert "Already there" in cli("fetch-data", "sample")
    assert "CHGNet" in cli("fetch-data", "--list")


def test_the_published_set_is_downloaded_and_verified(cli, archive) -> None:
    out = cli("fetch-data")
    assert "Verified: data/published/Conductance.pkl" in out
    assert Path("data/published/Conductance.pkl").read_bytes() == archive.files["Conductance.pkl"]
    assert not Path("data/Conductance.pkl").exists()  # a name in an archive does not choose the folder


def test_a_file_that_is_not_what_the_archive_says_is_not_kept(refused, archive) -> None:
    archive.lies = True
    said = refused(3, "fetch-data", "--quiet")
    assert "Conductance.pkl" in said and "could not be fetched" in said
    assert list(Path("data/published").iterdir()) == []


def test_offline_the_message_names_the_sample(refused, monkeypatch) -> None:
    monkeypatch.setattr(registry, "ARTICLE", "http://127.0.0.1:9/article")
    said = refused(3, "fetch-data")
    assert "does not answer" in said and "rgnn fetch-data sample" in said


def test_names_that_are_not_known(refused, workdir) -> None:
    assert "take sample or published" in refused(2, "fetch-data", "samples")
