"""Lists of digests, as sha256sum (GNU and BSD form) and hashdeep write them.

In: lines of text. Out: which file should have which digest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

_BSD = re.compile(r"([A-Za-z0-9/_-]+) \((.*)\) = ([0-9a-fA-F]+)")
_GNU = re.compile(r"(\\?)([0-9a-fA-F]+) [ *](.*)")
_BY_LENGTH = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_RAW_SUFFIXES = ("", ".raw", ".img", ".dd", ".bin")


@dataclass(frozen=True, slots=True)
class ListedDigest:
    """That the file `filename` has this digest, in lower case, and `size` bytes, if the list says so."""

    filename: str
    algorithm: str
    digest: str
    size: int | None = None


def parse_digest_list(lines: Iterable[str], algorithm: str | None = None) -> list[ListedDigest]:
    """All that a list says. `algorithm` is that of lines which do not name it; without, it goes by the length.

    Raises `ValueError` for a line that is of no known form.
    """
    columns: list[str] = []
    found: list[ListedDigest] = []
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r\n")
        if line.startswith("%%%% size,"):
            columns = line.removeprefix("%%%% ").split(",")
        elif line and not line.startswith(("%%%%", "## ", "#")):
            try:
                found += _hashdeep(line, columns) if columns else [_sum(line, algorithm)]
            except ValueError:
                raise ValueError(f"line {number} is of no known form: {line[:200]!r}") from None
    return found


def expected_digests(listed: Sequence[ListedDigest], image: str) -> list[ListedDigest]:
    """What a list says of the virtual disk of an image: under its path, its name, or that of a raw copy beside it.

    The folders that both paths have must be the same; of several entries, those that share the most with the image's
    absolute path count. A bare name fits one of any folder.
    """
    stem = os.path.splitext(os.path.basename(image))[0]
    names = {os.path.basename(image), *(stem + suffix for suffix in _RAW_SUFFIXES)}
    folders = _parts(os.path.abspath(image))[:-1]
    given = len(_parts(os.path.normpath(image))) - 1
    shared = [_shared(_parts(one.filename), names, folders, given) for one in listed]
    return [one for one in listed if one.filename == image] or [
        one for one, count in zip(listed, shared, strict=True) if count == max(shared) > 0
    ]


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _shared(parts: Sequence[str], names: Container[str], folders: Sequence[str], given: int) -> int:
    """How many parts at the end of a listed path are the image's; 0 for another's."""
    if not parts or parts[-1] not in names:
        return 0
    pairs = zip(reversed(parts[:-1]), reversed(folders), strict=False)
    count = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return count + 1 if count >= min(len(parts) - 1, given) else 0


def _hashdeep(line: str, columns: Sequence[str]) -> Iterator[ListedDigest]:
    values = line.split(",", len(columns) - 1)  # the name stands last, and may have commas
    row = dict(zip(columns, values, strict=True))
    if not {"size", "filename"} <= row.keys():
        raise ValueError
    size, filename = int(row.pop("size")), row.pop("filename")
    for algorithm, digest in row.items():
        yield ListedDigest(filename, algorithm, digest.lower(), size)


def _sum(line: str, algorithm: str | None) -> ListedDigest:
    if match := _BSD.fullmatch(line):
        return ListedDigest(match[2], match[1].lower().replace("-", ""), match[3].lower())
    match = _GNU.fullmatch(line)
    algorithm = algorithm or (_BY_LENGTH.get(len(match[2])) if match else None)
    if match is None or algorithm is None:
        raise ValueError
    name = re.sub(r"\\([\\nr])", _unescaped, match[3]) if match[1] else match[3]
    return ListedDigest(name, algorithm, match[2].lower())


def _unescaped(match: re.Match[str]) -> str:
    return {"\\": "\\", "n": "\n", "r": "\r"}[match[1]]
