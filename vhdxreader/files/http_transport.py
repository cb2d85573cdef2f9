"""Ranges of a file by HTTP, in fsspec's session, but with a look at what the server answers: whether it knows ranges,
and whether the file is still the same.

In: fsspec's file system for HTTP and a URL. Out: as `transport`.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Hashable
from typing import Any
from urllib.parse import urljoin, urlsplit

from aiohttp import ClientError, ClientTimeout
from fsspec.asyn import sync

from .. import spec
from .transport import FinalError, Transport, whole

_CONNECT_SECONDS, _SILENCE_SECONDS = 15, 30
_ANSWER_SECONDS = 60
_LEAST_RATE = 8 * spec.KB  # bytes a second, beyond the seconds that any answer may take
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 10
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")
_RAISED: dict[int, tuple[type[OSError], int]] = {
    401: (PermissionError, errno.EACCES),
    403: (PermissionError, errno.EACCES),
    404: (FileNotFoundError, errno.ENOENT),
    410: (FileNotFoundError, errno.ENOENT),
}


class HttpTransport(Transport):
    """A file on a web server. Its first bytes come with the answer that tells its size: `head`.

    With `same_origin`, redirects to another scheme, host or port are refused.
    """

    def __init__(self, system: Any, url: str, name: str, head_size: int, *, same_origin: bool = False) -> None:
        super().__init__(name)
        self._system, self._url, self._same_origin = system, url, same_origin
        self._target = url  # where redirects led to
        self._opened: tuple[int, Hashable] | None = None
        self.head, state = self._tried(lambda: self._run(0, head_size))
        self.size, self.version = self._opened = state

    def version_now(self) -> Hashable:
        return self._tried(lambda: self._run(0, 1, held=False))[1]

    def _get(self, start: int, end: int) -> bytes:
        return self._run(start, end)[0]

    def _run(self, start: int, end: int, *, held: bool = True) -> tuple[bytes, tuple[int, Hashable]]:
        return sync(self._system.loop, self._ask, start, end, held)  # type: ignore[no-any-return]

    async def _ask(self, start: int, end: int, held: bool) -> tuple[bytes, tuple[int, Hashable]]:
        """A range, cut at the file's end, with size and version of the file; `held` against those at opening.

        It is asked for where the URL led to last; as that may have expired, then once more by the URL itself.
        """
        if held and self._target != self._url:
            try:
                return await self._follow(self._target, start, end, held)
            except (OSError, ClientError) as error:
                if getattr(error, "errno", None) == errno.ESTALE:
                    raise
                self._target = self._url
        return await self._follow(self._url, start, end, held)

    async def _follow(self, url: str, start: int, end: int, held: bool) -> tuple[bytes, tuple[int, Hashable]]:
        session = await self._system.set_session()
        for _ in range(_MAX_REDIRECTS):
            how = {"timeout": _timeout(end - start), **self._options(url), "allow_redirects": False}
            headers = {"Accept-Encoding": "identity", **how.pop("headers", {}), "Range": f"bytes={start}-{end - 1}"}
            async with session.get(self._system.encode_url(url), headers=headers, **how) as answer:
                if answer.status not in _REDIRECTS or "Location" not in answer.headers:
                    state = self._state(answer, start, end)
                    if held and self._opened is not None and state != self._opened:
                        raise FinalError(errno.ESTALE, "it was changed on the server while it was read")
                    self._target = url
                    # The body of a refusal is of no use, and may be anything.
                    return (await _body(answer, start, min(end, state[0])) if answer.status == 206 else b""), state
                url = self._redirected(url, answer.headers["Location"])
        raise FinalError(errno.ELOOP, f"more than {_MAX_REDIRECTS} redirects")

    def _options(self, url: str) -> dict[str, Any]:
        """What the caller wants every request to have, without the secrets where it goes to another server."""
        options = dict(self._system.kwargs)
        if _origin(url) != _origin(self._url):
            options = {key: value for key, value in options.items() if key not in ("auth", "cookies")}
            headers = options.get("headers", {}).items()
            options["headers"] = {key: value for key, value in headers if key.lower() not in _SECRET_HEADERS}
        return options

    def _redirected(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        if urlsplit(target).scheme not in ("http", "https"):
            raise FinalError(errno.EPROTONOSUPPORT, "a redirect that is no HTTP")
        if self._same_origin and _origin(target) != _origin(url):
            raise FinalError(errno.EACCES, "a redirect to another server, not followed for what an image names")
        return target

    def _state(self, answer: Any, start: int, end: int) -> tuple[int, Hashable]:
        """Size and version, as the head of an answer tells them; raises for what is no good answer."""
        status = answer.status
        if status in _RAISED:
            kind, number = _RAISED[status]
            raise kind(number, f"HTTP status {status} {answer.reason}")
        if status == 200:
            message = "the server does not give ranges of a file, which reading an image needs: download it first"
            raise FinalError(errno.ENOTSUP, message)
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        if status not in (206, 416) or found is None:
            kind = FinalError if 400 <= status < 500 and status not in (408, 425, 429) else OSError
            raise kind(errno.EPROTO, f"HTTP status {status} {answer.reason} without a range that was asked for")
        size = int(found[3])
        if status == 206 and (found[1] is None or (int(found[1]), int(found[2]) + 1) != (start, min(end, size))):
            raise FinalError(errno.EPROTO, f"another range came than bytes {start} to {end}: {found[0]}")
        headers = answer.headers
        if headers.get("Content-Encoding", "identity") != "identity":
            raise FinalError(errno.EPROTO, f"the server packs what it sends ({headers['Content-Encoding']}) unasked")
        return size, headers.get("ETag") or headers.get("Last-Modified")


def _timeout(size: int) -> ClientTimeout:
    """For an answer of so many bytes: it may neither stop nor drip."""
    total = _ANSWER_SECONDS + size / _LEAST_RATE
    return ClientTimeout(total=total, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)


async def _body(answer: Any, start: int, end: int) -> bytes:
    """All of a range; of a body that does not end there, no more than shows that."""
    size, body = end - start, bytearray()
    while len(body) <= size and (piece := await answer.content.read(size + 1 - len(body))):
        body += piece
    return whole(bytes(body), size, start)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
