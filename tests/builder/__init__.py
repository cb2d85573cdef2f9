"""An independent writer of VHDX test images, from the format alone: it imports nothing of the package.

    image = dynamic(10 * MB, blocks={0: full(b"boot"), 3: zeroed()})
    path = image.save(tmp_path / "disk.vhdx")        # sparse; or image.open(), image.tobytes()
    image.expected(0, 10 * MB)                       # what a right reader returns, by what was asked for
    image.patch("header2.version", 2).fix_checksums()
    image.reread(0, 512)                             # the same, by the bytes as they are now; or `MustFail`

To begin: ask for an image with `dynamic`, `fixed`, `differencing` or `dirty`, the blocks by number and each as
`full`, `zeroed`, `not_present`, `partial` and the others of `spec` make it; read it with the package, and hold that
against `expected`. To make one that breaks a rule, ask for what is forbidden (a `Region`, an `Item`, a `Locator`, a
`Log` of your own), or change what was built: `patch` knows every field by name (`image.fields` lists them), `flip` and
`truncate` know none, and `fix_checksums` makes headers and tables valid again where the checksum is not the point.

Blocks lie out of order and places that must not be read hold junk, so that no reader passes by luck. All
offsets, lengths and sizes are bytes. `base` has the file and its fields, `layout` the structures, `log` logs,
`model` what a right reader makes of them; all public names are here.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import layout
from .base import (
    GB,
    JUNK,
    KB,
    MB,
    NO_GUID,
    TB,
    Field,
    SparseFile,
    SparseReader,
    StructureWriter,
    Value,
    align_up,
    crc32c,
    junk,
    pattern,
)
from .layout import IS_REQUIRED, IS_USER, IS_VIRTUAL_DISK, ITEM_GUIDS, bat_entry
from .log import LOG_GUID, Data, Log, LogEntry, Update, Zero, damaged, diff, replay, run
from .model import Geometry, MustFail, Parent, expected, reread
from .spec import (
    Block,
    Item,
    Junk,
    Locator,
    Region,
    Spec,
    full,
    not_present,
    partial,
    reserved,
    split,
    undefined,
    unmapped,
    zeroed,
)

__all__ = [
    "GB", "IS_REQUIRED", "IS_USER", "IS_VIRTUAL_DISK", "ITEM_GUIDS", "JUNK", "KB", "LOG_GUID", "MB",
    "NO_GUID", "TB", "Block", "Data", "Field", "Geometry", "Image", "Item", "Junk", "Locator",
    "Log", "LogEntry", "MustFail", "Region", "SparseFile", "Spec", "Update", "Zero", "bat_entry",
    "build", "crc32c", "damaged", "diff", "differencing", "dirty", "dynamic", "fixed", "full",
    "hide", "junk", "not_present", "partial", "pattern", "replay", "reserved", "run", "split",
    "undefined", "unmapped", "with_log", "zeroed",
]  # fmt: skip


@dataclass
class Image:
    """A finished image: its bytes, where everything lies in them, and what a right reader makes of it."""

    spec: Spec
    file_write_guid: uuid.UUID
    data_write_guid: uuid.UUID
    disk_id: uuid.UUID
    file: SparseFile = field(default_factory=SparseFile)
    fields: dict[str, Field] = field(default_factory=dict)
    region_offset: dict[str, int] = field(default_factory=dict)
    region_length: dict[str, int] = field(default_factory=dict)
    item_offset: dict[str, int] = field(default_factory=dict)
    block_offset: dict[int, int] = field(default_factory=dict)
    bitmap_offset: dict[int, int] = field(default_factory=dict)
    junk_offset: int = 0

    @property
    def size(self) -> int:
        """Size of the virtual disk."""
        return self.spec.virtual_size

    @property
    def log_offset(self) -> int:
        return self.region_offset["log"]

    @property
    def bat_offset(self) -> int:
        return self.region_offset["bat"]

    @property
    def metadata_offset(self) -> int:
        return self.region_offset["metadata"]

    def block_entry_offset(self, n: int) -> int:
        """Where payload block n's BAT entry lies in the file."""
        return self.bat_offset + 8 * self.spec.geometry.block_index(n)

    def bitmap_entry_offset(self, chunk: int) -> int:
        """Where a chunk's sector bitmap entry lies in the file."""
        return self.bat_offset + 8 * self.spec.geometry.bitmap_index(chunk)

    # ---- the bytes

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the image to a sparse file; gives the path back."""
        return self.file.save(path)

    def open(self) -> SparseReader:
        """The image as a read-only binary file object, with nothing on disk."""
        return self.file.open()

    def tobytes(self) -> bytes:
        """The image's bytes; for small ones."""
        return self.file.tobytes()

    def copy(self) -> Image:
        """An image of its own, to be broken."""
        return replace(self, file=self.file.copy())

    # ---- what a reader must make of it

    def expected(self, offset: int = 0, length: int | None = None, parent: Parent = None) -> bytes:
        """The disk's bytes by what the spec asked for, or `MustFail`. Clipped at the disk's end, as a read
        is.

        `parent` is an image, or a function (offset, length) -> bytes; the default is the spec's.
        """
        parent = self.spec.parent if parent is None else parent
        return expected(self.spec, offset, self.size if length is None else length, parent)

    def reread(self, offset: int = 0, length: int | None = None, parent: Parent = None) -> bytes:
        """The disk's bytes by what the file holds now, after `patch`, `truncate` or `replayed`, or
        `MustFail`.

        Takes headers, log and region tables as built; follows the metadata, the BAT and the bitmaps.
        """
        parent = self.spec.parent if parent is None else parent
        return reread(self.file, self.region_offset, self.region_length, offset, length, parent)

    def replayed(self, entries: Iterable[LogEntry] | None = None) -> Image:
        """The image after replay of these entries, tail to head; by default all of the log's, by sequence
        number.
        """
        return replace(self, file=replay(self.file, self.spec.log.in_sequence if entries is None else entries))

    # ---- breaking it, in place; each gives the image back

    def patch(self, where: int | str, value: Value) -> Image:
        """Write bytes at a file offset, or a value into a named field. Checksums stay as they are."""
        place = Field(where, 8) if isinstance(where, int) else self.fields[where]
        self.file.write(place.offset, value if isinstance(value, bytes) else place.pack(value))
        return self

    def flip(self, offset: int, mask: int = 0xFF) -> Image:
        """Change the bits of `mask` in the byte at a file offset."""
        return self.patch(offset, bytes([self.file.read(offset, 1)[0] ^ mask]))

    def truncate(self, length: int) -> Image:
        """Cut the file, or grow it by a hole."""
        self.file.truncate(length)
        return self

    def fix_checksums(self, *names: str) -> Image:
        """Compute checksums anew: header1, header2, region1, region2, log[0], log[1], ...; without names all
        of them.
        """
        for name, size in layout.CHECKSUMMED.items():
            if not names or name in names:
                at = self.fields[f"{name}.signature"].offset
                covered = self.file.read(at, size).ljust(size, b"\0")
                self.patch(f"{name}.checksum", crc32c(covered[:4] + bytes(4) + covered[8:]))
        for i, (ring_offset, entry) in enumerate(self.spec.log.entries):
            if not names or f"log[{i}]" in names:
                self.spec.log.fix_checksum(self.file, self.log_offset, ring_offset, len(entry))
        return self


def build(spec: Spec) -> Image:
    """Lay the image out, write every structure with the overrides in it, then the checksums."""
    image = Image(
        spec,
        file_write_guid=spec.file_write_guid or spec.guid("file write"),
        data_write_guid=spec.data_write_guid or spec.guid("data write"),
        disk_id=spec.disk_id or spec.guid("disk"),
    )
    writer = StructureWriter(image.file, spec.overrides, image.fields)
    layout.place(image)
    layout.write_file_type(image, writer)
    layout.write_headers(image, writer)
    layout.write_region_tables(image, writer)
    layout.write_metadata(image, writer)
    layout.write_bat(image, writer)
    layout.write_payload(image)
    spec.log.write(image.file, image.log_offset)
    image.fix_checksums(*layout.CHECKSUMMED)
    for name in (f"{structure}.checksum" for structure in layout.CHECKSUMMED):
        image.patch(name, writer.override(name, image.file.read(image.fields[name].offset, 4)))
    writer.reject_unused()
    return image


# ---- presets; `more` is any field of `Spec`


def dynamic(virtual_size: int = 10 * MB, blocks: Mapping[int, Block] | None = None, **more: Any) -> Image:
    """A dynamic disk: blocks not given are NOT_PRESENT."""
    return build(Spec("dynamic", virtual_size, blocks=blocks or {}, **more))


def fixed(virtual_size: int = 10 * MB, blocks: Mapping[int, Block] | None = None, **more: Any) -> Image:
    """A fixed disk: blocks not given are FULLY_PRESENT and zero."""
    return build(Spec("fixed", virtual_size, blocks=blocks or {}, **more))


def differencing(
    virtual_size: int = 10 * MB,
    blocks: Mapping[int, Block] | None = None,
    *,
    parent: Image,
    parent_path: str = "parent.vhdx",
    **more: Any,
) -> Image:
    """A differencing disk on `parent`, expected at `parent_path`: blocks not given are the parent's."""
    more.setdefault("locator", Locator.to(parent.data_write_guid, parent_path))
    return build(Spec("differencing", virtual_size, blocks=blocks or {}, parent=parent, **more))


# ---- dirty images


def hide(image: Image, *ranges: tuple[int, int]) -> tuple[Image, list[Update]]:
    """A copy of `image` with zeros in these (file offset, length), and the updates that restore them."""
    stale = image.copy()
    for offset, length in ranges:
        stale.file.zero(offset, length)
    return stale, diff(stale.file, image.file)


def dirty(stale: Image, updates: Sequence[Update], *, per_entry: int = 100, at: int = 0, first: int = 1) -> Image:
    """A copy of `stale` with a log whose replay applies `updates`, `per_entry` of them in each entry.

    The entries lie from ring offset `at` on and are numbered from `first`; FlushedFileOffset is the file's
    length, LastFileOffset what it becomes. `replayed()` gives the image after replay.
    """
    groups = [updates[i : i + per_entry] for i in range(0, len(updates), per_entry)] or [[]]
    log, now = stale.spec.log, stale.file.length
    last = align_up(max([now, *(update.end for update in updates)]), MB)
    entries = run(groups, length=log.length, at=at, first=first, flushed=now, last=last)
    return with_log(stale, replace(log, entries=entries, guid=LOG_GUID))


def with_log(image: Image, log: Log) -> Image:
    """A copy of `image` with another log of the same length in its place; both headers name its GUID."""
    if log.length != image.spec.log.length:
        raise ValueError(f"a log of {log.length} bytes does not fit in the place of one of {image.spec.log.length}")
    changed = replace(image, spec=replace(image.spec, log=log), file=image.file.copy())
    changed.file.zero(image.log_offset, log.length)
    log.write(changed.file, image.log_offset)
    for header in ("header1", "header2"):
        changed.patch(f"{header}.log_guid", log.guid).fix_checksums(header)
    return changed
