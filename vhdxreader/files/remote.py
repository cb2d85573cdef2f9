"""Images on other machines: a `Source` over a file system of fsspec.

In: a URL, or anything with fsspec's `fs` and `path`. Out: a `Source` whose reads are planned. Imported only when one of
these is opened; needs `pip install vhdxreader[remote]`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from operator import index
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from .. import spec
from .opening import without_secrets
from .planned_reads import Part, PlannedReads, Range
from .source import Source
from .transport import FileSystemTransport, Transport

_HEAD_SIZE = 320 * spec.KB  # identifier, headers and region tables


class RemoteSource(Source):
    """A remote file. Safe for threads, many of which may wait for an answer at the same time."""

    is_remote = True
    path = None

    def __init__(self, system: Any, path: str, name: str, *, same_origin: bool = False) -> None:
        """The file `path` of a file system of fsspec. `same_origin` refuses redirects to other servers."""
        self.name = name
        self.identity: Hashable = (system, path)
        self._system, self._path = system, path
        self._transport = _transport(system, path, name, same_origin)
        self.size = self._transport.size
        self.version = None if self._transport.version is None else str(self._transport.version)
        self._reads: PlannedReads | None = PlannedReads(self._transport.get, self.size)
        self._reads.put(getattr(self._transport, "head", b""))
        self._reads.will_read([(0, _HEAD_SIZE)])
        self._first_state: Hashable = (self.size, self._transport.version)

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        inside = buffer[: max(self.size - offset, 0)]
        self._open_reads().read_many([(inside, offset)])
        return len(inside)

    def read_many(self, parts: Sequence[Part]) -> None:
        parts = [(view, index(offset)) for view, offset in parts]
        if any(offset + len(view) > self.size for view, offset in parts):
            super().read_many(parts)  # which says what is missing
            return
        self._open_reads().read_many(parts)

    def will_read(self, ranges: Iterable[Range]) -> None:
        self._open_reads().will_read((index(start), index(end)) for start, end in ranges)

    def files(self) -> set[Hashable]:
        from .underlying import files_under

        return {self.identity, *files_under(self._system)}

    def stamp(self) -> Hashable:
        """Size and version by the server. At first those at opening, which is no request. Where the server tells no
        version, all is read anew from then on."""
        state, self._first_state = self._first_state, None
        if state is not None:
            return state
        if self._transport.version is None:
            self._open_reads().forget()
        return self._transport.version_now()

    def neighbour(self, relative: str) -> Source | None:
        path = _joined(self._system, self._path, relative)
        name = without_secrets(url_like(self.name, self._system, path))
        return RemoteSource(self._system, path, name, same_origin=True)

    def close(self) -> None:
        reads, self._reads = self._reads, None
        if reads is not None:
            reads.forget()

    def __del__(self) -> None:
        if getattr(self, "_reads", None) is not None:
            self.close()

    def _open_reads(self) -> PlannedReads:
        if self._reads is None:
            raise ValueError("I/O operation on closed image")
        return self._reads


def locate_url(url: str) -> tuple[Any, str]:
    """The file system of fsspec for a URL, and the path in it; `OSError` where there is none."""
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(url)
    except ImportError as error:
        message = f"URLs need more packages: pip install 'vhdxreader[remote]' ({error})"
        raise OSError(errno.EPROTONOSUPPORT, message, without_secrets(url)) from error
    except ValueError as error:
        raise OSError(errno.EPROTONOSUPPORT, str(error), without_secrets(url)) from error
    return system, path


def url_like(url: str, system: Any, path: str) -> str:
    """The URL of another path in the file system of a URL, under the same of its schemes, such as `az` or `abfs`."""
    scheme, separator, _ = url.partition("::")[0].partition("://")
    other: str = system.unstrip_protocol(path)
    if separator and scheme in system.protocol:
        return scheme + separator + other.partition("://")[2]
    return other


def open_remote(system: Any, path: str, url: str | None = None) -> Source:
    """A source over the file `path` of a file system of fsspec; `url` is how the caller calls it."""
    path = system._strip_protocol(path)  # noqa: SLF001  # there is no other way to what the system itself calls it
    return RemoteSource(system, path, without_secrets(url or system.unstrip_protocol(path)))


def _transport(system: Any, path: str, name: str, same_origin: bool) -> Transport:
    if "http" in system.protocol and hasattr(system, "encode_url"):
        from .http_transport import HttpTransport

        return HttpTransport(system, path, name, _HEAD_SIZE, same_origin=same_origin)
    return FileSystemTransport(system, path, name)


def _joined(system: Any, path: str, relative: str) -> str:
    """The path of what is at `relative` from the folder of `path`, on the same server and in the same bucket."""
    encode: Callable[[str], str]
    make: Callable[[list[str]], str]
    if "://" in path:
        parts = urlsplit(path)
        folder, encode = parts.path.split("/")[1:-1], partial(quote, safe="")
        # A token for a folder is good for what is beside the file, too, and the server is the same.
        make = partial(_url_at, parts._replace(fragment=""))
        fixed = 0
    else:
        folder, encode, make = path.split("/")[:-1], str, "/".join
        # An absolute path, or one in an archive; else it begins with a bucket.
        fixed = 1 if folder and not hasattr(system, "fo") else 0
    for part in relative.split("/"):
        if part == "..":
            if len(folder) <= fixed:
                raise OSError(errno.EACCES, "outside of what the URL's server or bucket is")
            folder.pop()
        elif part not in ("", "."):
            folder.append(encode(part))
    return make(folder)


def _url_at(parts: Any, folders: list[str]) -> str:
    url: str = urlunsplit(parts._replace(path="/" + "/".join(folders)))
    return url
