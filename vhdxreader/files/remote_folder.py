"""What a server lists: in a folder and below it, or by a glob.

In: a URL. Out: URLs of files with their sizes, and the errors of folders that are not listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from .opening import without_secrets
from .remote import locate_url, url_like
from .transport import translated

T = TypeVar("T")
Info = dict[str, Any]  # of a file or a folder, as fsspec describes it
OnError = Callable[[OSError], object]


class RemoteFolder:
    """What a URL names, which may be a folder (by HTTP, with a slash at its end), a glob, or one file."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._system, self._path = locate_url(url)
        self.is_glob = "*" in self._path or "[" in self._path

    def is_folder(self) -> bool:
        """Raises `OSError` where the server cannot be asked."""
        system, path = self._system, self._path
        if self._url.endswith("/") or "http" in system.protocol:
            return self._url.endswith("/")
        return self._ask(path, lambda: bool(system.isdir(path)))

    def matching(self) -> Iterator[tuple[str, int]]:
        """The files that a glob names, with their sizes; 0 where that is not known."""
        return self._files(self._ask(self._path, lambda: self._system.glob(self._path, detail=True)))

    def files(self, depth: int, onerror: OnError | None) -> Iterator[tuple[str, int]]:
        """Those in the folder and at most `depth` folders down. `OSError` where one is not listed, but those below are
        passed over where `onerror` takes their errors."""
        if _lists_all_at_once(self._system):
            found = self._ask(self._path, lambda: self._system.find(self._path, maxdepth=depth + 1, detail=True))
            return self._files(found)
        return self._files({info["name"]: info for info in self._walk(depth, onerror)})

    def _walk(self, depth: int, onerror: OnError | None) -> Iterator[Info]:
        """Not fsspec's `walk`, which leaves out in silence what it cannot list."""
        folders = [(self._path, depth)]
        while folders:
            path, depth = folders.pop()
            try:
                infos = self._list(path)
            except OSError as error:
                if path == self._path or onerror is None:
                    raise
                onerror(error)
                continue
            yield from infos
            if depth > 0:
                folders += [(info["name"], depth - 1) for info in infos if _is_below(info, path)]

    def _list(self, path: str) -> list[Info]:
        return self._ask(path, lambda: list(self._system.ls(path, detail=True)))

    def _ask(self, path: str, question: Callable[[], T]) -> T:
        return translated(question, without_secrets(url_like(self._url, self._system, path)))

    def _files(self, found: Mapping[str, Info]) -> Iterator[tuple[str, int]]:
        for path, info in found.items():
            if info.get("type") != "directory":
                yield url_like(self._url, self._system, path), int(info.get("size") or 0)


def _is_below(info: Info, path: str) -> bool:
    """Whether it is a folder, and not the one that is listed."""
    return info.get("type") == "directory" and info["name"].rstrip("/") != path.rstrip("/")


def _lists_all_at_once(system: Any) -> bool:
    """Of a store, whose folders are no more than parts of names."""
    from fsspec.asyn import AsyncFileSystem
    from fsspec.spec import AbstractFileSystem

    kind = type(system)
    inherited = AsyncFileSystem._find, None  # noqa: SLF001  # what an asynchronous one overrides
    return kind.find is not AbstractFileSystem.find or getattr(kind, "_find", None) not in inherited
