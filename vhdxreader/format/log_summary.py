"""The log in a few words, the same in every answer: whether it is dirty, what was done about it, and how much that was.

In: the current header and what is known of its log. Out: a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from ..plain_values import decimal_text, plain
from .header import Header
from .log import ActiveSequence
from .log_replay import LogMode, LogState


class LogStatus(StrEnum):
    """Whether a log must be replayed; the very words of JSON and text."""

    CLEAN = "clean"
    DIRTY = "dirty"


class LogHandling(StrEnum):
    """What was done about the log; the very words of JSON and text."""

    NONE = "none"  # it is clean
    REPLAYED = "replayed"  # in memory
    IGNORED = "ignored"  # what is shown is the state before it
    NOT_REPLAYABLE = "not_replayable"


@dataclass(frozen=True, slots=True)
class LogSummary:
    """A log of `length` bytes at `file_offset`, which is dirty where `log_guid` is not nil. None is what is not known.

    `entry_count` are its valid entries; the sequence numbers are those of the entries to replay. Replay gave
    `written_sector_count` sectors of 4 KiB new content and zeroed `zeroed_range_count` ranges, together
    `replayed_length` bytes of the file. It changed the region tables with these numbers, `changed_metadata_length`
    bytes of the metadata region and `changed_bat_entry_count` entries, and the file grew by `grown_length` bytes.
    """

    state: LogStatus
    handling: LogHandling
    log_guid: UUID
    file_offset: int
    length: int
    entry_count: int | None = None
    first_sequence_number: int | None = None
    last_sequence_number: int | None = None
    written_sector_count: int | None = None
    zeroed_range_count: int | None = None
    replayed_length: int | None = None
    changed_region_tables: tuple[int, ...] | None = None
    changed_metadata_length: int | None = None
    changed_bat_entry_count: int | None = None
    grown_length: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        numbers = {key: decimal_text(getattr(self, key)) for key in ("first_sequence_number", "last_sequence_number")}
        return {key: plain(value) for key, value in (asdict(self) | numbers).items()}


def summarize_log(header: Header, log: LogState | None, mode: LogMode, **changes: Any) -> LogSummary:
    """The summary of a log that was opened in this mode; `changes` are further fields."""
    if log is None:
        return _summary(header, LogHandling.NONE if not header.has_log else _not_replayed(mode))
    if log.is_replayed:
        changes |= {
            "written_sector_count": log.sectors,
            "zeroed_range_count": log.ranges,
            "replayed_length": log.bytes,
        }
    handling = LogHandling.REPLAYED if log.is_replayed else _not_replayed(mode)
    return _summary(header, handling, log.active, entry_count=len(log.entries), **changes)


def summarize_listed_log(header: Header, active: ActiveSequence | None, entry_count: int) -> LogSummary:
    """The summary of a log that is only looked at."""
    handling = LogHandling.NONE
    if header.has_log:
        handling = LogHandling.NOT_REPLAYABLE if active is None else LogHandling.IGNORED
    return _summary(header, handling, active, entry_count=entry_count)


def _not_replayed(mode: LogMode) -> LogHandling:
    return LogHandling.IGNORED if mode is LogMode.IGNORE else LogHandling.NOT_REPLAYABLE


def _summary(header: Header, handling: LogHandling, active: ActiveSequence | None = None, **known: Any) -> LogSummary:
    numbers = [entry.sequence_number for entry in active.to_replay] if active else [None]
    return LogSummary(
        state=LogStatus.DIRTY if header.has_log else LogStatus.CLEAN,
        handling=handling,
        log_guid=header.log_guid,
        file_offset=header.log_offset,
        length=header.log_length,
        first_sequence_number=numbers[0],
        last_sequence_number=numbers[-1],
        **known,
    )
