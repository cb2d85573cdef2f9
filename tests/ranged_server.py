"""A local web server over bytes in memory, which counts, and can misbehave."""

from __future__ import annotations

import gzip
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class RangedServer(ThreadingHTTPServer):
    """`files` by path; `requests` are those answered with a body: path, start, end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.versions: dict[str, str] = {}
        self.requests: list[tuple[str, int, int]] = []
        self.heads = 0
        self.ignores_ranges = False
        self.has_versions = True
        self.breaks: list[
            str
        ] = []  # what goes wrong with the next requests: "cut", "503", "drop" and others in `answer`
        self.redirects: dict[str, str] = {}
        self.expired: set[str] = set()  # whole paths, with their queries, that are refused
        self.asked: list[str] = []  # whole paths of all requests
        self.delay = 0.0
        self.endless = 0  # bytes sent of bodies without an end
        self.now = self.most_at_once = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def byte_count(self) -> int:
        return sum(end - start for _, start, end in self.requests)

    def handle_error(self, *_arguments) -> None:
        """Clients may go away."""

    def put(self, path: str, data: bytes, version: str = "1") -> str:
        self.files[path], self.versions[path] = data, version
        return self.url + path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self.server.heads += 1
        size = len(self.server.files[self.path.partition("?")[0]])
        self.head(200, [("Content-Length", str(size)), ("Accept-Ranges", "bytes")])

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.asked.append(self.path)
            server.now += 1
            server.most_at_once = max(server.most_at_once, server.now)
            broken = server.breaks.pop(0) if server.breaks else ""
        try:
            time.sleep(server.delay)
            self.answer(broken)
        finally:
            with server.lock:
                server.now -= 1

    def answer(self, broken: str) -> None:
        server, path = self.server, self.path.partition("?")[0]
        if broken == "drop":
            self.close_connection = True
            return None
        if self.path in server.expired:
            return self.head(403, [("Content-Length", "0")])
        if path in server.redirects:
            return self.head(302, [("Location", server.redirects[path]), ("Content-Length", "0")])
        if broken == "503" or path not in server.files:
            return self.head(503 if broken else 404, [("Content-Length", "0")])
        data = server.files[path]
        version = [("ETag", f'"{server.versions[path]}"')] if server.has_versions else []
        if server.ignores_ranges or "Range" not in self.headers:
            self.head(200, [("Content-Length", str(len(data))), *version])
            self.wfile.write(data)
            return None
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        start, end = int(first), min(int(last) + 1, len(data))
        if start >= len(data):
            return self.head(416, [("Content-Range", f"bytes */{len(data)}"), ("Content-Length", "0"), *version])
        with server.lock:
            server.requests.append((path, start, end))
        self.send_range(broken, data, start, end, version)
        return None

    def send_range(self, broken: str, data: bytes, start: int, end: int, version) -> None:
        body = memoryview(data)[start:end]
        shift, total = int(broken == "shifted"), len(data) + int(broken == "grown")
        sent = [("Content-Range", f"bytes {start + shift}-{end - 1 + shift}/{total}"), *version]
        if broken == "packed":
            body = gzip.compress(body)
            sent.append(("Content-Encoding", "gzip"))
        if broken == "endless":
            self.close_connection = True
        else:
            length = len(body) + 7 if broken == "longer" else len(body)
            sent.append(("Content-Length", str(length)))
        self.head(206, sent)
        if broken == "cut":
            body, self.close_connection = body[: len(body) // 2], True
        if broken == "drip":
            self.drip(body)
        self.wfile.write(body)
        if broken == "longer":
            self.wfile.write(bytes(7))
        while broken == "endless":
            self.server.endless += len(body)
            self.wfile.write(body)

    def drip(self, body: memoryview) -> None:
        for at in range(400):
            self.wfile.write(body[at : at + 1])
            time.sleep(0.05)

    def head(self, status: int, headers) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def ranged_server():
    with RangedServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
