"""A web server in this process that misbehaves as it is told."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `files` by path; each request takes the next fault of its path off `faults`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}
        self.requests: list[tuple[str, str | None]] = []  # path, Range
        self.piece_delay = 0.0

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = self.path.strip("/")
        self.server.requests.append((path, self.headers.get("Range")))
        faults = self.server.faults.get(path, [])
        fault = faults.pop(0) if faults else ""
        data = self.server.files.get(path)
        if data is None or fault.isdigit():
            self.send_response(int(fault or 404))
            if fault in ("429", "503"):
                self.send_header("Retry-After", "7")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        tag = f'"{hash(data)}"'
        start = self.asked(len(data), tag) if fault != "ignores ranges" else 0
        if fault == "another range":
            start += 1
        body = data[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Type", "text/html; charset=utf-8" if fault == "html" else "application/octet-stream")
        length = {"says less": len(body) // 2, "says more": len(body) + 100, "empty": 0}.get(fault, len(body))
        self.send_header("Content-Length", str(length))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if fault == "corrupt":
            body = body[: len(body) // 2] + b"?" + body[len(body) // 2 + 1 :]
        if fault in ("cut", "says more"):
            body = body[: len(body) // 2]
        if fault != "empty":
            self.send(body)
        self.close_connection = True

    def asked(self, size: int, tag: str) -> int:
        """Where a range begins that still applies."""
        wanted, mark = self.headers.get("Range"), self.headers.get("If-Range")
        if not wanted or (mark and mark != tag):
            return 0
        return min(int(wanted.removeprefix("bytes=").rstrip("-")), size)

    def send(self, body: bytes) -> None:
        try:
            for first in range(0, len(body), 1 << 16):
                self.wfile.write(body[first : first + (1 << 16)])
                time.sleep(self.server.piece_delay)
        except OSError:
            pass  # the client went away, or was killed

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving():
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
