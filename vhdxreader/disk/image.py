"""`VhdxImage`: one opened image file, its structures and its own part of the virtual disk.

In: a source. Out: validated structures, positioned reads, extents.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from .. import spec
from ..errors import CorruptImageError, DirtyLogError, Finding, TruncatedImageError, VhdxError
from ..files.overlay import OverlaySource
from ..files.source import Closing, Source
from ..format.block_geometry import Geometry
from ..format.header import Header
from ..format.log_replay import Log, LogMode, LogState
from ..format.metadata import Metadata
from ..format.parent_locator import ParentLocator
from ..format.region_table import RegionTable
from ..format.rules import RULES, Effect, Findings, breach
from ..format.salvage_rules import SALVAGE, Salvage
from ..format.stamp import Stamp, log_differs
from ..format.structure_copies import Copy
from .address_map import AddressMap, Extent
from .block_reads import Reader
from .doubts import Doubts
from .structures import Structures, read_structures

if TYPE_CHECKING:  # imported when somebody asks for it
    from _typeshed import WriteableBuffer

    from ..format.log_summary import LogSummary
    from .replay_changes import LogChanges

T = TypeVar("T")

KEPT_FINDINGS = 100  # of a rule; where findings do not raise, a file may have very many


class VhdxImage(Closing):
    """An image file, opened read-only: what it says of itself, and the data that is in this one file.

    `headers` and `region_tables` hold both copies, each with its value or the reason why it is not valid; `header` and
    `region_table` are those in use. `log` is None where there was nothing to replay. `findings` are the deviations that
    were tolerated at opening. `parent_locator` is None unless the disk is a differencing one; `parent` is the opened
    parent, given by whoever opened the chain. `mismatch` is a finding where a child took this file for its parent by
    the caller's wish, though it does not match. `file_size` is the length of the file in bytes, without what the log's
    replay adds.
    """

    file_size: int
    creator: str
    headers: tuple[Copy[Header], Copy[Header]]
    header: Header
    log: LogState | None
    region_tables: tuple[Copy[RegionTable], Copy[RegionTable]]
    region_table: RegionTable
    metadata: Metadata
    parent_locator: ParentLocator | None
    geometry: Geometry

    def __init__(
        self, source: Source, *, log: Log = "replay", salvage: bool = False, geometry: Geometry | None = None
    ) -> None:
        """Read and validate everything but BAT and payload [2.2, 2.3, 2.6]. The image closes `source`.

        `log` is "replay", "refuse" or "ignore", as for `vhdxreader.open`. With `salvage`, all that would refuse the
        image is a finding, as long as blocks can be found; `geometry` is for one that does not say its own.
        """
        mode = LogMode(log)
        findings = Findings(strict=not salvage, keep=KEPT_FINDINGS, filename=source.name)
        self.file_size = source.size
        self._stamp = Stamp(source)
        try:
            found = read_structures(source, findings, mode, geometry)
            _check_salvage(found, findings)
        except (CorruptImageError, DirtyLogError) as error:
            if self._stamp.differs():
                raise self._stamp.error() from error
            raise
        self._source, self._file = found.source, source
        self.identity = source.identity
        self.creator = found.creator
        self.headers = found.headers
        self.header = _needed(found.header)
        self.log = found.log
        self._log_mode = mode
        self.region_tables = found.region_tables
        self.region_table = _needed(found.region_table)
        self.metadata = _needed(found.metadata)
        self._metadata_region = found.regions[spec.REGION_METADATA]
        self.parent_locator = found.parent_locator
        self.map = _needed(found.map)
        self.bat = self.map.bat
        self.geometry = self.bat.geometry
        self.findings: tuple[Finding, ...] = tuple(findings)
        self.parent: VhdxImage | None = None
        self.parent_found_by: str | None = None
        self.mismatch: Finding | None = None
        self._reader = Reader((self.map,))

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

    @property
    def source(self) -> Source:
        """The file's own bytes, as they are, without what the log's replay makes of them."""
        return self._file

    def replace_map(self, address_map: AddressMap) -> None:
        """Read by another map of the same file from now on."""
        self.map = address_map
        self._reader = Reader((address_map,))

    def files(self) -> set[Hashable]:
        """Identities of what it is read from, such as an archive that it is a part of, as far as that can be told."""
        return self._source.files()

    @property
    def is_remote(self) -> bool:
        """Whether the image is read through a network, or as if."""
        return self._source.is_remote

    def neighbour(self, relative: str) -> Source | None:
        """As `Source.neighbour` has it."""
        return self._source.neighbour(relative)

    def pread(self, size: int, offset: int) -> bytes:
        """The `size` bytes at `offset` of the virtual disk, from this one file; less only at the disk's end.

        Moves nothing, safe for threads. Raises `CorruptImageError` or `TruncatedImageError` where the image does not
        hold what it should, `ParentNotFoundError` where the bytes are its parent's.
        """
        return self._reader.pread(size, offset)

    def preadinto(self, buffer: WriteableBuffer, offset: int) -> int:
        """As `pread`, into a writable buffer; how many bytes."""
        return self._reader.preadinto(buffer, offset)

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """What this one file says of the bytes from `offset` on, in order and without gaps; `length` bytes or up to the
        end. What its parent has is ABSENT."""
        return self._reader.extents(offset, length)

    def allocated_blocks(self) -> int:
        """How many payload blocks have space in the file. Reads the whole BAT."""
        return self.bat.count_present()

    def log_changes(self) -> LogChanges | None:
        """What the log's replay changed; None where there was none. Reads what was changed."""
        if self.log is None or not isinstance(self.log.overlay, OverlaySource):
            return None
        from .replay_changes import find_changes

        return find_changes(self.log.overlay, self._metadata_region, self.bat)

    def has_changed(self) -> bool:
        """Whether somebody is seen to have changed the file since it was opened: by what the file system says, by both
        headers, by the log, and by the BAT entries that were read, all of which are read again. Then it is a finding.

        False is "no change seen": a write into a block that has its place may leave no trace but a time, and that late.
        """
        if not self._differs():
            return False
        if not any(finding.rule == "file.changed" for finding in self.findings):
            changed = Findings(filename=self.name)
            changed.add("file.changed", self._stamp.error().message)
            self.findings += tuple(changed)
        return True

    def _differs(self) -> bool:
        if self._stamp.differs():
            return True
        if self.log is not None and log_differs(self._file, self.header, self.log):
            return True
        try:
            return self.bat.has_changed()
        except TruncatedImageError:
            return True

    def log_summary(self) -> LogSummary:
        """The log in a few words. Reads what was changed by its replay."""
        from ..format.log_summary import summarize_log

        changes = self.log_changes()
        return summarize_log(self.header, self.log, self._log_mode, **({} if changes is None else changes.summary()))

    def to_dict(self, *, count_blocks: bool = False) -> dict[str, Any]:
        """All that the image says of itself, as JSON has it; with `count_blocks`, the whole BAT is read.

        Keys as in the schema `vhdxreader/info/1`, sizes and places in bytes.
        """
        from .image_facts import image_to_dict

        return image_to_dict(self, count_blocks=count_blocks)

    def close(self) -> None:
        """Close the file if it was opened by its path. What needs the file raises `ValueError` from then on."""
        self._source.close()

    def discard(self) -> None:
        """Close an image that nobody but the caller has."""
        self._source.discard()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._source.name!r} {self.metadata.disk_type} {self.size} bytes>"


def doubts_of(image: VhdxImage) -> Doubts:
    """What of an image's bytes is not proven to be the virtual disk's. Reads a log that was ignored."""
    unproven = next((one for one in image.findings if SALVAGE.get(one.rule) is Salvage.DOUBTFUL), None)
    unproven = image.mismatch or unproven
    ignored = next((one for one in image.findings if one.rule == "log.ignored"), None)
    if unproven or not ignored:
        return Doubts(image.map, unproven)
    # What is ignored does not lie over the file.
    after = read_structures(image.map.source, Findings(strict=False, keep=1), LogMode.REPLAY)
    replayed = after.map if after.log is not None and after.log.is_replayed else None
    if replayed is None or replayed.bat.geometry != image.geometry:
        return Doubts(image.map, ignored)
    return Doubts(image.map, None, replayed)


def _check_salvage(found: Structures, findings: Findings) -> None:
    """Raise what leaves nothing to salvage."""
    refusals = [one for one in findings if RULES[one.rule].effect is Effect.REFUSE]
    nothing = {rule for rule, salvage in SALVAGE.items() if salvage is Salvage.NOTHING}
    if found.is_vhdx:
        nothing -= {"identifier.signature"}
    fatal = [one for one in refusals if one.rule in nothing] or (refusals if found.map is None else [])
    if fatal:
        raise _nothing_left(found, fatal)


def _nothing_left(found: Structures, fatal: list[Finding]) -> VhdxError:
    """The first of what is fatal; of an image that does not say its geometry, with what would help."""
    first = next((one for one in fatal if SALVAGE.get(one.rule) is Salvage.GEOMETRY), fatal[0])
    error = breach(first.rule, first.message, first.file_offset, first.filename)
    if SALVAGE.get(first.rule) is Salvage.GEOMETRY and spec.REGION_BAT in found.regions:
        error.message += "; nothing can be salvaged without block size, disk size and sector size: give the geometry"
    return error


def _needed(value: T | None) -> T:
    """What is there, since strict `Findings` raised where it is not."""
    assert value is not None
    return value
