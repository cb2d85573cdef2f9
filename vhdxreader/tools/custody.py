"""A record of what was done with an image, for whoever must account for it later: `CustodyRecord`.

In: what is read and written. Out: one JSON file of the schema `vhdxreader/record/1`, also where the work failed.
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from operator import index
from types import TracebackType
from typing import Any, BinaryIO, Self

from ..disk.image import VhdxImage
from ..disk.partition_stream import PartitionStream
from ..disk.virtual_disk import VirtualDisk
from ..errors import Finding, problem_to_dict
from ..files.descriptors import real_path
from ..files.opening import AnyPath
from ..files.writing import WholeFile, write_all_at
from ..plain_values import plain
from .digests import hash_file, new_hasher

Facts = dict[str, Any]


class CustodyRecord:
    """A context in which work is done, and at whose end `path` has the record of it: whole, or not at all.

    It is written also where the work raises, which goes on, and says then what went wrong. Nothing is ever replaced:
    `FileExistsError` where `path` is there. `digests` are algorithms by which each file of a chain is recorded, and is
    read for that; `ValueError` for one that cannot be made here. What is written gets digests by the same, or SHA-256.

    `exit_code` may be set to what the program will end with.
    """

    exit_code: int | None = None

    def __init__(
        self, path: AnyPath, *, command: str, arguments: Sequence[str] = (), digests: Sequence[str] = ()
    ) -> None:
        for name in digests:
            new_hasher(name)
        self._digests = tuple(digests)
        self._file = WholeFile(path, overwrite=False, protected=())
        self._images: list[Facts] = []
        self._output: Callable[[bool], Facts] | None = None
        self._head = {
            "schema": "vhdxreader/record/1",
            "version": version("vhdxreader"),
            "python_version": platform.python_version(),
            "system": platform.platform(),
            "command": command,
            "arguments": plain(list(arguments)),
            "working_directory": plain(os.getcwd()),
            "started": _now(),
        }

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with ExitStack() as ending:
            ending.push(self._file)  # it was entered
            text = json.dumps(self._facts(error), indent=2) + "\n"
            write_all_at(self._file.fd, memoryview(text.encode()), 0)

    def check_target(self, path: AnyPath | None) -> None:
        """`SameFileError` for what is to be written, if it would have the record's own name."""
        if path is not None and real_path(os.fsdecode(path)) == self._file.path:
            raise shutil.SameFileError(f"{self._file.path} cannot be both what is written and the record of it")

    @contextmanager
    def reading(self, disk: VirtualDisk | PartitionStream) -> Iterator[Callable[..., None]]:
        """Record an opened disk, or a partition of one: its files before it is read, at the end what was met. What the
        context gives is called with `findings` that opening did not meet, and `digests` of the disk by algorithm."""
        facts = {**_no_disk(disk.images[0].name), **_place(disk)}
        facts["files"] = [file_facts(depth, image, self._digests) for depth, image in enumerate(disk.images)]
        self._images.append(facts)
        more: list[Finding] = []

        def note(*, findings: Sequence[Finding] = (), digests: Mapping[str, str] | None = None) -> None:
            more.extend(findings)
            facts["digests"] = facts["digests"] if digests is None else dict(digests)

        try:
            yield note
        except Exception as error:
            facts["error"] = problem_to_dict(error)
            raise
        finally:
            facts["changed"] = disk.has_changed()  # before findings are listed: it is one
            found = [finding for image in disk.images for finding in image.findings]
            facts |= {"findings": plain(found + more), "lost": plain(disk.lost), "doubtful": plain(disk.doubtful)}

    def fail_image(self, filename: str, error: Exception) -> None:
        """Record that one image of several could not be worked on, where the work goes on with the next."""
        problem = problem_to_dict(error)
        if not self._images or self._images[-1]["error"] != problem:
            self._images.append({**_no_disk(filename), "error": problem})

    def add_output(self, path: AnyPath, length: int | None) -> None:
        """Record a file or device that was written: `length` bytes, which are read for their digests; with None it is
        something that cannot be read again."""
        name = real_path(os.fsdecode(path))
        length = None if length is None else index(length)
        digests = None if length is None else hash_file(name, self._digests or ("sha256",), length=length)
        self._output = lambda _is_whole: {"filename": plain(name), "length": length, "digests": digests}

    def watched(self, stream: BinaryIO) -> io.RawIOBase:
        """A stream that hands what is written on to another; it is recorded, with digests if it is written whole."""
        output = _Watched(stream, self._digests or ("sha256",))
        self._output = output.facts
        return output

    def _facts(self, error: BaseException | None) -> Facts:
        has_failed = error is not None or any(image["error"] for image in self._images)
        is_stopped = error is not None and not isinstance(error, Exception)
        return {
            **self._head,
            "ended": _now(),
            "images": self._images,
            "output": None if self._output is None else self._output(not has_failed),
            "result": "interrupted" if is_stopped else "failed" if has_failed else "done",
            "exit_code": self.exit_code,
            "error": None if error is None else problem_to_dict(error),
        }


class _Watched(io.RawIOBase):
    """Hands on what is written to it, and makes digests of that."""

    def __init__(self, stream: BinaryIO, names: Sequence[str]) -> None:
        super().__init__()
        self.name = str(getattr(stream, "name", ""))
        self._stream = stream
        self._hashers = {name: new_hasher(name) for name in names}
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int | None:
        count = self._stream.write(data)
        for hasher in self._hashers.values():
            hasher.update(memoryview(data)[:count])
        self._length += count or 0
        return count

    def flush(self) -> None:
        self._stream.flush()

    def facts(self, is_whole: bool) -> Facts:
        digests = {name: hasher.hexdigest() for name, hasher in self._hashers.items()}
        return {"filename": None, "length": self._length, "digests": digests if is_whole else None}


def _no_disk(filename: str) -> Facts:
    """What is said of an image before anything is known of it."""
    unknown = dict.fromkeys(("virtual_size", "partition", "disk_offset", "length", "changed", "digests", "error"))
    lists: Facts = {key: [] for key in ("files", "findings", "lost", "doubtful")}
    return {"filename": plain(filename), **unknown, **lists}


def _place(disk: VirtualDisk | PartitionStream) -> Facts:
    """Which part of the virtual disk is read."""
    part = disk.partition if isinstance(disk, PartitionStream) else None
    return {
        "virtual_size": disk.images[0].size,
        "partition": None if part is None else part.number,
        "disk_offset": 0 if part is None else part.disk_offset,
        "length": disk.size,
    }


def file_facts(depth: int, image: VhdxImage, digests: Sequence[str] = ()) -> dict[str, Any]:
    """What tells one file of a chain, as JSON has it: its place, size, time of change, inode, log, and the digests that
    are asked for, for which all of it is read. None is what a file without a path does not have."""
    status = None if image.path is None else image.source.status()
    facts = {
        "depth": depth,
        "filename": image.name if image.path is None else real_path(image.path),
        "file_size": image.file_size,
        "modified_ns": None if status is None else status.st_mtime_ns,
        "inode": None if status is None else status.st_ino,
        "device": None if status is None else status.st_dev,
        "disk_type": image.metadata.disk_type,
        "data_write_guid": image.header.data_write_guid,
        "log": image.log_summary(),
        "digests": hash_file(image.source, digests) if digests else None,
    }
    return {key: plain(value) for key, value in facts.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
