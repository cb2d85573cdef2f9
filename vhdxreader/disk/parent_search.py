"""Where a parent may be: from the paths in a locator to the paths to try. Opens nothing.

In: a parent locator, the child's path, a policy, and for "inside" the folder that is not left. Out: places, each with
the reason if it is not to be tried. The locator is not to be trusted, and its paths are Windows paths.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..files.descriptors import StatOf, file_identity, name_key, real_path
from ..format.parent_locator import ParentLocator

if TYPE_CHECKING:
    from ..files.beneath import Beneath

ListDir: TypeAlias = Callable[[str], list[str]]
NamedPolicy: TypeAlias = Literal["relative", "inside", "all"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
OUTSIDE = 'outside the first child\'s folder, followed only with parents="relative" or "all"'
_DRIVE = re.compile(r"[A-Za-z]:")
# On a drive, on a volume, on a share: no device (\\.\ or \\?\GLOBALROOT), and no pipe, which a server has as a share.
_WINDOWS_FILE = re.compile(
    r"(\\\\\?\\)?[A-Z]:\\|\\\\\?\\Volume\{[0-9A-F-]{36}\}\\"
    r"|\\\\(\?\\UNC\\|(?![?.]\\))[^\\/]+\\(?!(pipe|mailslot|ipc\$)[ .]*\\)[^\\/]+\\",
    re.IGNORECASE | re.ASCII,
)

_MAX_FOLDERS = 256  # that are looked into for other spellings of one path
_MAX_LEVELS = 256  # of a path that other spellings are looked for of


SEARCH_KEY = "search"
"""What a place is found under that no key of the locator names."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path to try, found under `key` of the locator; not to be tried if there is a `reason`."""

    key: str
    path: str
    reason: str | None = None
    other_case: bool = False  # whether the name is spelled otherwise than in the locator


def places(
    locator: ParentLocator,
    child: str | None,
    policy: NamedPolicy,
    inside: Beneath | None = None,
    *,
    windows: bool = os.name == "nt",
) -> Iterator[Place]:
    """The places to try, in order [2.6.2.6.3].

    `child` is the path of the child, None if it has none. With the policy "inside", `inside` is the folder of the
    chain's first file, and nothing else is looked at; None if that has none.
    """
    look = os if inside is None else inside
    relative = list(_relative(locator.relative_path, child, policy, inside, windows))
    yield from relative
    for key, value in (("volume_path", locator.volume_path), ("absolute_win32_path", locator.absolute_win32_path)):
        if value is not None:
            yield Place(key, value, _absolute_problem(value, policy, windows))
    for place in relative:
        if place.reason is None:
            for path in _other_cases(place.path, look.stat, look.listdir):
                yield Place(place.key, path, other_case=True)


def neighbours(locator: ParentLocator, folder: tuple[str, ...], policy: NamedPolicy) -> Iterator[Place]:
    """The places of a remote child's parent: beside it, and nowhere else. `folder` is the child's, from that of the
    chain's first file; a path is relative to the child's."""
    value = locator.relative_path
    if value is not None:
        path = value.replace("\\", "/")
        if path.startswith("/") or _DRIVE.match(path) or _URL.match(path):
            yield Place("relative_path", value, "not a relative path, not followed")
        elif policy == "inside" and folder_beside(folder, path)[:1] == ("..",):
            yield Place("relative_path", path, OUTSIDE)
        else:
            yield Place("relative_path", path)
    for key, value in (("volume_path", locator.volume_path), ("absolute_win32_path", locator.absolute_win32_path)):
        if value is not None:
            yield Place(key, value, "a path of a machine, not followed from a URL")


def folder_beside(folder: tuple[str, ...], path: str) -> tuple[str, ...]:
    """The folder of the file at a path relative to `folder`; it begins with ".." where that is outside."""
    joined = posixpath.normpath("/".join((*folder, *path.split("/")[:-1])) or ".")
    return () if joined == "." else tuple(joined.split("/"))


def _relative(
    value: str | None, child: str | None, policy: NamedPolicy, inside: Beneath | None, windows: bool
) -> Iterator[Place]:
    """From the child's folder, as its path was given and with symbolic links resolved."""
    if value is None:
        return
    parts = value.replace("\\", "/")
    if parts.startswith("/") or _DRIVE.match(parts) or _URL.match(parts) or (windows and ":" in parts):
        yield Place("relative_path", value, "not a relative path, not followed")
    elif child is None:
        yield Place("relative_path", value, "the child is a file object and has no folder")
    else:
        resolve = real_path if inside is None else inside.realpath
        files = (os.path.abspath(child), resolve(os.path.abspath(child)))
        for folder in dict.fromkeys(map(os.path.dirname, files)):
            path = os.path.normpath(os.path.join(folder, *parts.split("/")))
            is_outside = policy == "inside" and (inside is None or path not in inside)
            yield Place("relative_path", path, OUTSIDE if is_outside else None)


def _absolute_problem(value: str, policy: NamedPolicy, windows: bool) -> str | None:
    if windows and not _WINDOWS_FILE.match(value):
        return "not a path on a drive, a volume or a share, not followed"
    if not windows and (not value.startswith("/") or value.startswith("//")):
        return "a Windows path, which means nothing on this system"
    return None if policy == "all" else 'an absolute path, followed only with parents="all"'


def _other_cases(path: str, stat: StatOf, listdir: ListDir) -> Iterator[str]:
    """What exists under a path that differs from `path` in case or in the form of its accents only; nothing if `path`
    itself exists. Each folder is looked into once a level, however many links lead to it, and few in all."""
    folder, missing = path, []
    if path.count(os.sep) > _MAX_LEVELS:
        return
    while _identity(folder, stat) is None and os.path.dirname(folder) != folder:
        folder, name = os.path.split(folder)
        missing.append(name_key(name))
    found, left = [folder] if missing else [], _MAX_FOLDERS
    for name in reversed(missing):
        folders = list(_distinct(found, stat))[:left]
        left -= len(folders)
        entries = ((above, entry) for above in folders for entry in _entries(above, listdir))
        found = [os.path.join(above, entry) for above, entry in entries if name_key(entry) == name]
    yield from found[:_MAX_FOLDERS]


def _distinct(folders: list[str], stat: StatOf) -> Iterator[str]:
    """The first of all paths that lead to the same folder."""
    seen = set()
    for folder in folders:
        identity = _identity(folder, stat)
        if identity is not None and identity not in seen:
            seen.add(identity)
            yield folder


def _identity(path: str, stat: StatOf) -> Hashable:
    """Of what is there; None where nothing is."""
    try:
        return file_identity(stat(path))
    except (OSError, ValueError):
        return None


def _entries(folder: str, listdir: ListDir) -> list[str]:
    try:
        return sorted(listdir(folder))
    except OSError:
        return []
