"""Digests of a virtual disk: several in one pass, or one a payload block.

In: a disk, or anything with its positioned reads. Out: hexadecimal digests of all of it; there is none of a part, since
a read that fails raises.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from operator import index
from typing import Any, Protocol

from .. import spec
from ..disk.partition_stream import PartitionStream
from ..disk.virtual_disk import VirtualDisk
from ..files.opening import PathOrFile, open_source
from ..files.source import Source
from ..format.stamp import changed_error
from .read_ahead import is_remote, read_ahead, steps

Progress = Callable[[int, int], object]  # bytes done, and of all

_STEP = 4 * spec.MB
_STEP_ALONE = spec.MB // 4  # stays in the processor's cache from its reading until it is hashed
_EXTRA = {"blake3": "blake3", "xxh64": "xxhash", "xxh3_64": "xxhash", "xxh3_128": "xxhash"}  # and whose package it is
_BLOCK_THREADS = 4
_REMOTE_THREADS = 10


class Readable(Protocol):
    """What can be hashed: a `VirtualDisk`, a partition of one, or any other positioned reads of `size` bytes."""

    size: int

    def preadinto(self, buffer: Any, offset: int, /) -> int:
        """Fill the buffer from `offset` on."""


@dataclass(frozen=True, slots=True)
class BlockDigest:
    """The digest of payload block `number`: of its `length` bytes at `disk_offset` of the virtual disk."""

    number: int
    disk_offset: int
    length: int
    digest: str
    zero: bool  # whether they are zeros by the disk's map, and nothing was read

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "block": self.number,
            "disk_offset": self.disk_offset,
            "length": self.length,
            "digest": self.digest,
            "zero": self.zero,
        }


def digest_algorithms() -> tuple[str, ...]:
    """The names of the digests that can be made here: hashlib's of fixed length, and those of installed packages."""
    fixed = {name for name in hashlib.algorithms_available if not name.startswith("shake")}
    return tuple(sorted(fixed | {name for name in _EXTRA if _is_there(name)}))


def hash_disk(
    disk: Readable, names: Sequence[str] = ("sha256",), *, progress: Progress | None = None
) -> dict[str, str]:
    """The digests of all bytes of the disk by algorithm, in one pass: several at once, in threads.

    Memory: a buffer of 4 MiB; of a remote disk twelve, as ten parts are read at a time. Raises `ValueError` for an
    algorithm that cannot be made here, and what a read raises.
    """
    hashers = {name: new_hasher(name) for name in names}
    own, others = list(hashers.values())[:1], list(hashers.values())[1:]  # a hand-over costs a lone digest more
    parts = _in_turn(disk, _STEP if others else _STEP_ALONE)
    with ThreadPoolExecutor(max_workers=len(others) or 1) as pool:
        for offset, part in read_ahead(disk, steps(disk.size)) if is_remote(disk) else parts:
            pending = [pool.submit(hasher.update, part) for hasher in others]
            for hasher in own:
                hasher.update(part)
            for future in pending:
                future.result()
            if progress is not None:
                progress(offset + len(part), disk.size)
    return {name: hasher.hexdigest() for name, hasher in hashers.items()}


def hash_twice(
    disk: VirtualDisk | PartitionStream, names: Sequence[str] = ("sha256",), *, progress: Progress | None = None
) -> dict[str, str]:
    """As `hash_disk`, of two readings; `ImageChangedError` where they differ, though no change of a file was seen."""
    digests = hash_disk(disk, names, progress=progress)
    if hash_disk(disk, names, progress=progress) != digests:
        raise changed_error(disk.name)
    return digests


def _in_turn(disk: Readable, step: int) -> Iterator[tuple[int, memoryview]]:
    """All of a disk in steps; the bytes of one are good until the next is asked for."""
    buffer = memoryview(bytearray(step))
    for offset in range(0, disk.size, step):
        part = buffer[: disk.size - offset]
        disk.preadinto(part, offset)
        yield offset, part


def hash_file(
    file: PathOrFile,
    names: Sequence[str] = ("sha256",),
    *,
    length: int | None = None,
    progress: Progress | None = None,
) -> dict[str, str]:
    """The digests of a file itself, or of its first `length` bytes, as `hash_disk` makes those of a disk."""
    with open_source(file) as source:
        return hash_disk(_Whole(source, None if length is None else index(length)), names, progress=progress)


def hash_blocks(disk: VirtualDisk, name: str = "sha256") -> Iterator[BlockDigest]:
    """The digest of each payload block of the opened image's size, in order; blocks of zeros cost nothing.

    Memory: a few blocks, which can have 256 MiB, are hashed at once in steps of 4 MiB. Raises as `hash_disk`.
    """
    new_hasher(name)
    threads = _REMOTE_THREADS if is_remote(disk) else _BLOCK_THREADS
    with ThreadPoolExecutor(max_workers=threads) as pool:
        pending: deque[BlockDigest | Future[BlockDigest]] = deque()
        for number, (offset, length, zero) in enumerate(_blocks(disk)):
            if zero:
                pending.append(BlockDigest(number, offset, length, _digest_of_zeros(name, length), True))
            else:
                pending.append(pool.submit(_hash_block, disk, name, number, offset, length))
            while len(pending) > 2 * threads:
                yield _result(pending.popleft())
        while pending:
            yield _result(pending.popleft())


class _Whole:
    """All bytes of a source, or the first ones."""

    def __init__(self, source: Source, length: int | None) -> None:
        self.size = source.size if length is None else length
        self.images = (source,)  # what `is_remote` asks
        self._source = source

    def preadinto(self, buffer: memoryview, offset: int, /) -> int:
        """As a disk does it."""
        self._source.read_into(buffer, offset)
        return len(buffer)


def _result(block: BlockDigest | Future[BlockDigest]) -> BlockDigest:
    return block.result() if isinstance(block, Future) else block


def _blocks(disk: VirtualDisk) -> Iterator[tuple[int, int, bool]]:
    """Offset and length of each payload block, and whether the map says that all of it is zeros."""
    extents = disk.extents()
    extent = next(extents, None)
    for offset in range(0, disk.size, disk.image.metadata.block_size):
        end = min(offset + disk.image.metadata.block_size, disk.size)
        zero = True
        while extent is not None and extent.disk_offset < end:
            zero = zero and extent.zero
            if extent.disk_offset + extent.length > end:
                break
            extent = next(extents, None)
        yield offset, end - offset, zero


def _hash_block(disk: VirtualDisk, name: str, number: int, offset: int, length: int) -> BlockDigest:
    hasher = new_hasher(name)
    buffer = memoryview(bytearray(min(_STEP, length)))
    for at in range(offset, offset + length, _STEP):
        part = buffer[: offset + length - at]
        disk.preadinto(part, at)
        hasher.update(part)
    return BlockDigest(number, offset, length, hasher.hexdigest(), False)


@lru_cache(maxsize=16)
def _digest_of_zeros(name: str, length: int) -> str:
    hasher, zeros = new_hasher(name), memoryview(bytes(min(_STEP, length)))
    for at in range(0, length, _STEP):
        hasher.update(zeros[: length - at])
    digest: str = hasher.hexdigest()
    return digest


def new_hasher(name: str) -> Any:
    """A hash object of hashlib's kind; `ValueError` where there is none of this name."""
    try:
        if name in _EXTRA:
            return getattr(import_module(_EXTRA[name]), name)()
        if name in hashlib.algorithms_available and not name.startswith("shake"):
            return hashlib.new(name, usedforsecurity=False)
    except ImportError:
        raise ValueError(f"{name} needs the Python package {_EXTRA[name]}: pip install vhdxreader[hash]") from None
    raise ValueError(f"there is no digest {name!r} here; there are {', '.join(digest_algorithms())}")


def _is_there(name: str) -> bool:
    try:
        new_hasher(name)
    except ValueError:
        return False
    return True
