"""`VhdxImage`: one opened image file, its structures and its own part of the virtual disk.

In: a source. Out: validated structures, positioned reads, extents. Layer 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TypeVar

from . import header as headers
from . import region as regions
from . import spec
from .bat import Bat, Geometry
from .changes import LogChanges, find_changes
from .copies import Copy
from .errors import Finding, UnsupportedImageError
from .extents import AddressMap, Extent, Kind, chain_runs, extents
from .header import Header
from .metadata import Metadata, read_metadata
from .region import Region, RegionTable
from .replay import LogMode, LogState, open_log
from .rules import Findings
from .source import Source, fill_zeros
from .spans import Span

T = TypeVar("T")


class VhdxImage:
    """An image file, opened read-only: what it says of itself, and the data that is in this one file.

    `headers` and `region_tables` hold both copies, each with its value or the reason why it is not valid; `header` and
    `region_table` are those in use. `log` is None where there was nothing to replay. `findings` are the deviations that
    were tolerated at opening. `file_size` is the length of the file in bytes, without what the log's replay adds.
    """

    file_size: int
    creator: str
    headers: tuple[Copy[Header], Copy[Header]]
    header: Header
    log: LogState | None
    region_tables: tuple[Copy[RegionTable], Copy[RegionTable]]
    region_table: RegionTable
    metadata: Metadata
    geometry: Geometry

    def __init__(self, source: Source, *, log: str = "replay") -> None:
        """Read and validate everything but BAT and payload [2.2, 2.3, 2.6]. The image closes `source`.

        `log` is "replay", "refuse" or "ignore", as for `vhdxreader.open`.
        """
        mode = LogMode(log)
        self._source = source
        self.file_size = source.size
        findings = Findings()
        self.creator = headers.read_creator(source, findings)
        if source.size % spec.MB:
            findings.add("file.size", f"the file has {source.size} bytes, no multiple of 1 MB", source.size)
        self.headers = headers.read_headers(source)
        self.header = _needed(headers.choose_current(self.headers, findings))
        headers.validate(self.header, source.size, findings)
        self.log = open_log(source, self.header, mode, findings)
        if self.log and self.log.overlay:
            self._source = source = self.log.overlay
        self.region_tables = regions.read_region_tables(source)
        self.region_table = _needed(regions.choose_table(self.region_tables, findings))
        known = regions.find_regions(self.region_table, source.size, findings)
        regions.validate_overlaps(self.region_table.regions, _log_span(self.header, self.log), findings)
        self._metadata_region = known[spec.REGION_METADATA]
        self.metadata = _needed(read_metadata(source, self._metadata_region, findings))
        if self.metadata.has_parent:
            raise UnsupportedImageError("differencing images are not supported yet", section="2.6.2.6")
        self.geometry = _geometry(self.metadata)
        self.bat = _open_bat(source, known[spec.REGION_BAT], self.geometry, findings)
        self.map = AddressMap(self.bat, source.size, _occupied(self.header, known.values()))
        self.findings: tuple[Finding, ...] = tuple(findings)

    @property
    def size(self) -> int:
        """Size of the virtual disk in bytes [2.6.2.2]."""
        return self.geometry.virtual_disk_size

    @property
    def name(self) -> str:
        """The image's path, or the name of the file object it was opened as."""
        return self._source.name

    @property
    def path(self) -> str | None:
        """The image's path; None if it was opened as a file object."""
        return self._source.path

    def pread(self, size: int, offset: int) -> bytes:
        """The `size` bytes at `offset` of the virtual disk, from this one file; less only at the disk's end.

        Moves nothing, safe for threads. Raises `CorruptImageError` or `TruncatedImageError` where the image does not
        hold what it should.
        """
        return pread((self,), size, offset)

    def preadinto(self, buffer: memoryview, offset: int) -> int:
        """As `pread`, into a writable buffer; how many bytes."""
        return preadinto((self,), buffer, offset)

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """What the bytes from `offset` on come from, in order and without gaps; `length` bytes or up to the end."""
        return clipped_extents((self,), offset, length)

    def allocated_blocks(self) -> int:
        """How many payload blocks have space in the file. Reads the whole BAT."""
        return self.bat.count_present()

    def log_changes(self) -> LogChanges | None:
        """What the log's replay changed; None where there was none. Reads what was changed."""
        if self.log is None or self.log.overlay is None:
            return None
        return find_changes(self.log.overlay, self._metadata_region, self.bat)

    def close(self) -> None:
        """Close the file if it was opened by its path. Later reads raise `ValueError`."""
        self._source.close()

    def __enter__(self) -> VhdxImage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._source.name!r} {self.metadata.disk_type} {self.size} bytes>"


def pread(images: Sequence[VhdxImage], size: int, offset: int) -> bytes:
    """`VhdxImage.pread` over a chain, child first."""
    buffer = bytearray(min(size, max(images[0].size - offset, 0)))
    preadinto(images, memoryview(buffer), offset)
    return bytes(buffer)


def preadinto(images: Sequence[VhdxImage], buffer: memoryview, offset: int) -> int:
    """`VhdxImage.preadinto` over a chain, child first."""
    if offset < 0:
        raise ValueError(f"negative offset {offset}")
    view = memoryview(buffer)[: max(images[0].size - offset, 0)]
    layers = [image.map for image in images]
    for start, depth, (size, kind, where) in chain_runs(layers, offset, len(view)):
        part = view[start - offset : start - offset + size]
        if kind is Kind.DATA:
            images[depth]._source.read_into(part, where)
        elif kind is Kind.ERROR:
            raise layers[depth].error_at(start)
        else:
            fill_zeros(part)
    return len(view)


def clipped_extents(images: Sequence[VhdxImage], offset: int, length: int | None) -> Iterator[Extent]:
    """`VhdxImage.extents` over a chain, child first."""
    if offset < 0 or (length is not None and length < 0):
        raise ValueError(f"negative offset {offset} or length {length}")
    rest = max(images[0].size - offset, 0)
    return extents([image.map for image in images], offset, rest if length is None else min(length, rest))


def _needed(value: T | None) -> T:
    """What is there, since strict `Findings` raised where it is not."""
    assert value is not None
    return value


def _geometry(metadata: Metadata) -> Geometry:
    return Geometry(metadata.virtual_disk_size, metadata.block_size, metadata.logical_sector_size, metadata.has_parent)


def _open_bat(source: Source, region: Region, geometry: Geometry, findings: Findings) -> Bat:
    needed = geometry.entries * spec.BAT_ENTRY_SIZE
    if region.length < needed:
        message = f"the BAT region has {region.length:#x} bytes, {needed:#x} are needed"
        findings.add("bat.too_small", message, region.entry_offset)
    return Bat(source, region.offset, geometry)


def _occupied(header: Header, known: Iterable[Region]) -> list[Span]:
    """What no block may overlap [2.4]."""
    spans = [Span(0, spec.HEADER_SECTION_SIZE, "header section", True, 0)]
    spans += [Span(r.offset, r.end, f"{r.name} region", True, r.entry_offset) for r in known]
    if header.log_length:
        spans.append(Span(header.log_offset, header.log_offset + header.log_length, "log", True, header.offset))
    return spans


def _log_span(header: Header, log: LogState | None) -> Span | None:
    """What no region may overlap; where the log is not replayed, such an overlap changes nothing."""
    if log is None:
        return None
    return Span(log.offset, log.offset + log.length, "the log", log.is_replayed, header.offset)
