"""For every rule an image that breaks it, alone where that can be, with the exact outcome of open, read and check."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from builder import (
    IS_REQUIRED,
    IS_USER,
    IS_VIRTUAL_DISK,
    ITEM_GUIDS,
    KB,
    LOG_GUID,
    MB,
    NO_GUID,
    TB,
    Image,
    Item,
    Junk,
    Locator,
    Log,
    LogEntry,
    Region,
    Zero,
    bat_entry,
    differencing,
    dynamic,
    fixed,
    full,
    partial,
    reserved,
    with_log,
    zeroed,
)
from builder.base import SparseReader
from builder.layout import BAT_GUID

import vhdxreader
from vhdxreader.errors import Severity, VhdxError
from vhdxreader.format.rules import RULES, Effect
from vhdxreader.format.salvage_rules import SALVAGE, Salvage

HEADER1, HEADER2, TABLE1, TABLE2 = (n * 64 * KB for n in (1, 2, 3, 4))
LOG, METADATA, BAT = MB, 2 * MB, 3 * MB
BASE = dynamic(4 * MB, blocks={0: full()}, name="parent")
LINKAGE = ("parent_linkage", f"{{{BASE.data_write_guid}}}")
PATH = ("relative_path", "parent.vhdx")


def disk(**more: Any) -> Image:
    """A clean image, but for what `more` asks: log, metadata and BAT at 1, 2 and 3 MiB."""
    return dynamic(4 * MB, **{"blocks": {0: full(), 2: full()}, **more})


def child(*pairs: tuple[Any, Any], **more: Any) -> Image:
    """A child of `BASE` with these pairs in its locator, by default sound ones."""
    locator = Locator(pairs or [LINKAGE, PATH])
    return differencing(4 * MB, **{"blocks": {1: full()}, "parent": BASE, "locator": locator, **more})


def logged(*entries: tuple[int, LogEntry], **more: Any) -> Image:
    """A clean image with a log to replay, by default one of a single empty entry."""
    image = disk(**more)
    entries = entries or ((0, LogEntry(1)),)
    return with_log(image, Log(entries=entries, guid=LOG_GUID))


def doubtful(entry: LogEntry) -> Image:
    """A log with a good entry, and behind it one that only our reading of the specification rejects."""
    return logged((0, LogEntry(1)), (64 * KB, entry))


def last_is(name: str, **more: Any) -> Image:
    """A clean image in which this region is the last thing in the file."""
    order = [region for region in ("log", "metadata", "bat", "blocks") if region != name]
    return disk(order=(*order, name), junk=Junk.NONE, **more)


def cut(image: Image, length: int) -> Image:
    return image.truncate(length)


def unreadable(*places: int) -> type[SparseReader]:
    """A medium with bad places: reads that touch one of these bytes fail."""

    class Unreadable(SparseReader):
        def readinto(self, buffer: memoryview) -> int:
            if any(self.tell() <= place < self.tell() + len(buffer) for place in places):
                raise OSError(5, "bad place")
            return super().readinto(buffer)

    return Unreadable


@dataclass(frozen=True)
class Case:
    """`make` breaks the rule. `at` is the offset of its first finding or error.

    `opened` are the rules among the findings of an image that opens, None for one that is refused, by the case's own
    rule or by `refused_by`. `checked` are all rules that `check` finds. A `read` of the disk is right, or breaks the
    rule.
    """

    make: Callable[[], Image]
    at: int | None
    opened: frozenset[str] | None
    checked: frozenset[str]
    refused_by: str = ""
    read: str = "right"
    options: Mapping[str, Any] = field(default_factory=dict)
    file: type = SparseReader
    limits: Mapping[str, int] = field(default_factory=dict)  # of the package, made so small that a small image has them


def refused(rule: str, make: Callable[[], Image], at: int | None, *also: str, by: str = "", **more: Any) -> Any:
    return pytest.param(rule, Case(make, at, None, frozenset({rule, *also}), by, **more), id=rule)


def noted(rule: str, make: Callable[[], Image], at: int | None, *also: str, **more: Any) -> Any:
    """A finding of `open` and of `check`; so is all of `also`."""
    every = frozenset({rule, *also})
    return pytest.param(rule, Case(make, at, every, every, **more), id=rule)


def checked(rule: str, make: Callable[[], Image], at: int | None, *also: str, **more: Any) -> Any:
    """A finding of `check` alone; but `also` comes of opening."""
    return pytest.param(rule, Case(make, at, frozenset(also), frozenset({rule, *also}), **more), id=rule)


def fails(rule: str, make: Callable[[], Image], at: int | None, *also: str, **more: Any) -> Any:
    return checked(rule, make, at, *also, read=rule, **more)


ERROR_NOTES = {  # what is read cannot be trusted, but it is read
    *("log.ignored", "block.shared", "header.unproven", "region_table.unproven", "metadata.given")
}


def same_headers() -> Image:
    """A clean image whose older header says nothing else than the current one."""
    image = disk()
    return image.patch("header1.data_write_guid", image.data_write_guid).fix_checksums("header1")


HEADER_CASES = [
    refused("identifier.damaged", lambda: disk().patch(0, b"vhdxfilf"), 0),
    refused("identifier.signature", lambda: disk().patch(0, bytes(512 * KB)), 0),
    noted("file.size", lambda: cut(disk(), 8 * MB + 1), 8 * MB + 1),
    refused(
        "header.truncated",
        lambda: cut(disk(), 130 * KB),
        HEADER2,
        *("file.size", "header.log_location_unused", "region_table.truncated", "region_table.both_truncated"),
        by="region_table.both_truncated",
    ),
    noted("header.unreadable", disk, HEADER1, file=unreadable(HEADER1 + 600)),
    noted("header.signature", lambda: disk().patch("header1.signature", b"heaD"), HEADER1),
    noted("header.checksum", lambda: disk().flip(HEADER1 + 4095), HEADER1),
    refused(
        "header.none_valid", lambda: same_headers().flip(HEADER1 + 9).flip(HEADER2 + 9), HEADER1, "header.checksum"
    ),
    refused(
        "header.both_truncated",
        lambda: cut(disk(), 60 * KB),
        HEADER1,
        *("file.size", "header.truncated", "region_table.truncated", "region_table.both_truncated"),
    ),
    refused(
        "header.same_sequence",
        lambda: disk(sequence_numbers=(8, 8)).patch("header1.file_write_guid", LOG_GUID).fix_checksums("header1"),
        HEADER1,
    ),
    refused(
        "header.unproven",
        lambda: disk().flip(HEADER1 + 40).flip(HEADER2 + 9),
        HEADER1,
        *("header.checksum", "header.none_valid"),
        by="header.none_valid",
    ),
    noted("header.identical", lambda: disk(sequence_numbers=(8, 8)), HEADER2),
    refused("header.version", lambda: disk(overrides={"header.version": 2}), HEADER2),
    refused(
        "header.log_version",
        lambda: logged(overrides={"header.log_version": 1}),
        HEADER2,
        "log.replayed",
    ),
    noted("header.log_version_unused", lambda: disk(overrides={"header.log_version": 1}), HEADER2),
    refused("header.log_location", lambda: logged(overrides={"header.log_offset": MB + 512}), HEADER2),
    refused("header.log_past_end", lambda: logged(overrides={"header.log_offset": 64 * MB}), HEADER2),
    noted("header.log_location_unused", lambda: disk(overrides={"header.log_offset": 512}), HEADER2),
    noted("header.no_log", lambda: disk(overrides={"header.log_length": 0}), HEADER2),
    noted("header.reserved", lambda: disk(overrides={"header.reserved": b"\1"}), HEADER2),
]

LOG_CASES = [
    noted("log.replayed", logged, LOG),
    pytest.param(
        "log.dirty",
        Case(logged, HEADER2, None, frozenset({"log.replayed"}), options={"log": "refuse"}),
        id="log.dirty",
    ),
    pytest.param(
        "log.ignored",
        Case(logged, LOG, frozenset({"log.ignored"}), frozenset({"log.replayed"}), options={"log": "ignore"}),
        id="log.ignored",
    ),
    refused("log.unreadable", logged, LOG, file=unreadable(LOG + 69 * KB)),
    refused("log.no_sequence", lambda: with_log(disk(), Log(guid=LOG_GUID)), LOG),
    refused("log.flushed_file_offset", lambda: logged((0, LogEntry(1, flushed=99 * MB))), 6 * MB, "log.replayed"),
    refused(
        "log.too_many_ranges",
        lambda: logged((0, LogEntry(1, descriptors=[Zero(n * MB, 4 * KB) for n in (20, 22)], last=23 * MB))),
        LOG,
        limits={"spec.MAX_LOG_ZERO_RANGES": 1, "files.range_union.STRETCH": 1},
    ),
    noted("log.file_short", lambda: logged((0, LogEntry(1, last=99 * MB))), 6 * MB, "log.replayed"),
    noted(
        "log.file_offsets", lambda: logged((8 * KB, LogEntry(1, tail=8 * KB, last=512))), LOG + 8 * KB, "log.replayed"
    ),
    noted("log.entry_length", lambda: doubtful(LogEntry(7, 64 * KB, extra_sectors=1)), LOG + 64 * KB, "log.replayed"),
    noted(
        "log.target_header",
        lambda: doubtful(LogEntry(7, 64 * KB, descriptors=[Zero(HEADER1, 4 * KB)])),
        LOG + 64 * KB,
        "log.replayed",
    ),
    noted(
        "log.target_log",
        lambda: doubtful(LogEntry(7, 64 * KB, descriptors=[Zero(LOG, 4 * KB)])),
        LOG + 64 * KB,
        "log.replayed",
    ),
    noted("log.reserved", lambda: logged((0, LogEntry(1, overrides={"reserved": 1}))), LOG, "log.replayed"),
]

UNKNOWN = Region("more", LOG_GUID)

REGION_CASES = [
    refused(
        "region_table.truncated",
        lambda: cut(disk(), 270 * KB),
        TABLE2,
        *("file.size", "header.log_location_unused", "region.past_end", "metadata.truncated"),
        by="metadata.truncated",
    ),
    noted("region_table.unreadable", disk, TABLE2, file=unreadable(TABLE2 + 9)),
    noted("region_table.signature", lambda: disk().patch("region1.signature", b"regI"), TABLE1),
    noted("region_table.checksum", lambda: disk().flip(TABLE2 + 60 * KB), TABLE2),
    refused(
        "region_table.none_valid",
        lambda: disk().flip(TABLE1 + 40 * KB).flip(TABLE2 + 40 * KB),
        TABLE1,
        "region_table.checksum",
    ),
    refused(
        "region_table.both_truncated",
        lambda: cut(disk(), 200 * KB),
        TABLE1,
        *("file.size", "header.log_location_unused", "region_table.truncated"),
    ),
    refused(
        "region_table.unproven",
        lambda: disk(overrides={"region.checksum": 1, "region2.bat.file_offset": 4 * MB}),
        TABLE1,
        *("region_table.checksum", "region_table.none_valid"),
        by="region_table.none_valid",
    ),
    noted("region_table.differ", lambda: disk(overrides={"region2.bat.required": 0}), TABLE2),
    refused("region_table.entry_count", lambda: disk(overrides={"region.entry_count": 2048}), TABLE1),
    noted("region_table.reserved", lambda: disk(overrides={"region.reserved": 1}), TABLE1),
    refused("region.missing", lambda: disk(without={"metadata"}), TABLE1),
    refused(
        "region.duplicate",
        lambda: disk(extra_regions=[Region("again", BAT_GUID)]),
        TABLE1 + 16 + 64,
    ),
    noted(
        "region.duplicate_unknown",
        lambda: disk(extra_regions=[UNKNOWN, Region("again", LOG_GUID)]),
        TABLE1 + 16 + 96,
        "region.unknown",
    ),
    refused(
        "region.location",
        lambda: disk(junk=Junk.NONE, overrides={"region.bat.file_offset": BAT + 4 * KB}),
        TABLE1 + 16,
    ),
    noted(
        "region.location_unknown",
        lambda: disk(extra_regions=[UNKNOWN], overrides={"region.more.length": 512}),
        TABLE1 + 16 + 64,
        "region.unknown",
    ),
    refused(
        "region.overlap",
        lambda: disk(order=("log", "bat", "metadata", "blocks"), overrides={"region.bat.length": 2 * MB}),
        TABLE1 + 16 + 32,
    ),
    noted(
        "region.overlap_unknown",
        lambda: disk(extra_regions=[UNKNOWN], overrides={"region.more.file_offset": METADATA}),
        TABLE1 + 16 + 32,
        "region.unknown",
    ),
    noted("region.past_end", lambda: cut(last_is("bat"), 5 * MB + 8), TABLE1 + 16, "file.size", read="region.past_end"),
    noted(
        "region.past_end_unknown",
        lambda: disk(extra_regions=[UNKNOWN], overrides={"region.more.length": 64 * MB}),
        TABLE1 + 16 + 64,
        "region.unknown",
    ),
    refused("region.unknown_required", lambda: disk(extra_regions=[Region("more", LOG_GUID, required=1)]), TABLE1 + 80),
    noted("region.unknown", lambda: disk(extra_regions=[UNKNOWN]), TABLE1 + 80),
    noted("region.not_required", lambda: disk(overrides={"region.bat.required": 0}), TABLE1 + 16),
]


def note(name: str = "note", *, guid: Any = LOG_GUID, size: int = 8, flags: int = IS_USER, **more: Any) -> Item:
    return Item(name, guid, b"x" * size, flags, **more)


def entry(number: int) -> int:
    """File offset of an entry of the metadata table; the five usual items come first."""
    return METADATA + 32 + 32 * number


def many_notes() -> list[Item]:
    return [note(f"note{n}", guid=type(LOG_GUID)(int=n + 1), size=1) for n in range(1025)]


METADATA_CASES = [
    refused(
        "metadata.truncated", lambda: cut(last_is("metadata"), 5 * MB + 512), 5 * MB, "region.past_end", "file.size"
    ),
    noted(
        "metadata.truncated_unneeded",
        lambda: cut(last_is("metadata", item_offsets={"physical_sector_size": 900 * KB}), 5 * MB + 900 * KB + 3),
        5 * MB + 900 * KB,
        *("region.past_end", "file.size"),
    ),
    refused("metadata_table.signature", lambda: disk().patch("metadata.signature", b"metadatA"), METADATA),
    refused("metadata_table.entry_count", lambda: disk(overrides={"metadata.entry_count": 2048}), METADATA),
    noted("metadata_table.user_items", lambda: disk(extra_items=many_notes()), METADATA),
    noted("metadata_table.reserved", lambda: disk(overrides={"metadata.reserved": 1}), METADATA),
    refused(
        "item.duplicate",
        lambda: disk(extra_items=[note(guid=ITEM_GUIDS["virtual_disk_size"], flags=IS_VIRTUAL_DISK | IS_REQUIRED)]),
        entry(5),
    ),
    noted("item.duplicate_unknown", lambda: disk(extra_items=[note("one"), note("two")]), entry(6)),
    refused(
        "item.location", lambda: disk(overrides={"metadata.virtual_disk_size.offset": 512}), entry(1), "item.missing"
    ),
    noted(
        "item.location_unknown",
        lambda: disk(extra_items=[note()], overrides={"metadata.note.length": 2 * MB}),
        entry(5),
        "item.overlap_unknown",
    ),
    refused(
        "item.overlap",
        lambda: disk(item_offsets={"virtual_disk_id": 100 * KB, "physical_sector_size": 100 * KB + 12}),
        entry(4),
    ),
    noted(
        "item.overlap_unknown",
        lambda: disk(extra_items=[note("one", offset=90 * KB), note("two", guid=NO_GUID, offset=90 * KB + 7)]),
        entry(6),
    ),
    refused("item.unknown_required", lambda: disk(extra_items=[note(flags=IS_REQUIRED)]), entry(5)),
    noted("item.unknown", lambda: disk(extra_items=[note(flags=0)]), entry(5)),
    refused("item.missing", lambda: disk(without={"virtual_disk_size"}), METADATA),
    noted("item.missing_unneeded", lambda: disk(without={"virtual_disk_id"}), METADATA),
    refused("item.length", lambda: disk(overrides={"metadata.logical_sector_size.length": 3}), entry(3)),
    noted("item.long", lambda: disk(item_data={"virtual_disk_id": bytes(range(17))}), entry(2)),
    noted("item.flags", lambda: disk(overrides={"metadata.physical_sector_size.flags": IS_VIRTUAL_DISK}), entry(4)),
    refused("file_parameters.block_size", lambda: disk(overrides={"file_parameters.block_size": 3 * MB}), None),
    noted("file_parameters.reserved", lambda: disk(overrides={"file_parameters.flags": 4}), None),
    refused("virtual_disk_size.value", lambda: disk(overrides={"virtual_disk_size.size": 4 * MB - 1}), None),
    refused("virtual_disk_size.limit", lambda: disk(overrides={"virtual_disk_size.size": 65 * TB}), None),
    refused("logical_sector_size.value", lambda: disk(overrides={"logical_sector_size.size": 1024}), None),
    noted("physical_sector_size.value", lambda: disk(overrides={"physical_sector_size.size": 1024}), None),
]

LOCATOR_CASES = [
    refused("parent_locator.missing", lambda: disk(overrides={"file_parameters.flags": 2}), None),
    noted("parent_locator.unexpected", lambda: disk(locator=Locator([LINKAGE, PATH])), None),
    refused("parent_locator.type", lambda: child(locator=Locator([LINKAGE, PATH], LOG_GUID)), None),
    noted("parent_locator.reserved", lambda: child(overrides={"parent_locator.reserved": 1}), None),
    refused("parent_locator.entry_count", lambda: child(overrides={"parent_locator.count": 65535}), None),
    refused("parent_locator.strings", lambda: child(overrides={"parent_locator.entry0.key_length": 500}), None),
    refused(
        "parent_locator.location",
        lambda: child(LINKAGE, PATH, ("key", "value"), overrides={"parent_locator.entry2.key_offset": 0}),
        None,
    ),
    refused("parent_locator.text", lambda: child(LINKAGE, PATH, ("volume_path", "a\0b")), None),
    refused("parent_locator.duplicate", lambda: child(LINKAGE, PATH, PATH), None),
    refused("parent_locator.linkage", lambda: child(PATH), None),
    noted("parent_locator.linkage2", lambda: child(LINKAGE, PATH, ("parent_linkage2", str(LOG_GUID))), None),
    noted("parent_locator.linkage2_value", lambda: child(LINKAGE, PATH, ("parent_linkage2", "none")), None),
    noted("parent_locator.no_path", lambda: child(LINKAGE), None),
    noted("parent_locator.prefix", lambda: child(LINKAGE, PATH, ("absolute_win32_path", "c:\\parent.vhdx")), None),
]


def of_the_chain(
    rule: str, make: Callable[[], Image], opened: set[str] | None, read: str = "right", **more: Any
) -> Any:
    """`check` looks at one file alone, and so finds nothing of the chain's rules."""
    found = None if opened is None else frozenset(opened)
    return pytest.param(rule, Case(make, None, found, frozenset(), read=read, **more), id=rule)


class Forbidden(io.BytesIO):
    """A file that must not be looked at."""

    def seekable(self) -> bool:
        raise PermissionError(errno.EACCES, "not for us")


CHAIN_CASES = [
    of_the_chain("parent.not_found", child, None, options={"parents": lambda _: None}),
    of_the_chain("parent.permission", child, None, options={"parents": lambda _: Forbidden()}),
    of_the_chain("parent.mismatch", child, None, options={"parents": lambda _: disk().open()}),
    of_the_chain("parent.unexpected", disk, None, options={"parent": BASE.open()}),
    of_the_chain("parent.depth", child, None, limits={"spec.MAX_CHAIN_LENGTH": 1}),
    of_the_chain("parent.absent", child, set(), "parent.absent", options={"parents": None}),
]


def block(name: str, state: int, offset: int) -> dict[str, int]:
    return {name: bat_entry(state, offset)}


def big(**more: Any) -> Image:
    """A disk of two chunks."""
    return dynamic(17 * 256 * MB, block_size=256 * MB, **more)


PARTIAL = {0: partial([0, 5])}
CHUNK_END = BAT + 8 * 4096  # the first sector bitmap entry's place where blocks have 1 MiB

BLOCK_CASES = [
    refused("bat.too_small", lambda: dynamic(200 * 1024 * MB, overrides={"region.bat.length": MB}), TABLE1 + 16),
    fails("payload.state", lambda: disk(blocks={1: reserved(5)}), BAT + 8),
    fails("payload.partially_present", lambda: disk(blocks=PARTIAL), BAT),
    fails("payload.past_end", lambda: disk(overrides=block("block[1]", 6, TB)), TB),
    fails("payload.overlap", lambda: disk(overrides=block("block[1]", 6, METADATA)), BAT + 8),
    fails("bitmap.not_present", lambda: child(blocks=PARTIAL, bitmap_states={0: 0}), CHUNK_END),
    fails("bitmap.past_end", lambda: child(blocks=PARTIAL, overrides=block("bitmap[0]", 6, TB)), None),
    fails("bitmap.overlap", lambda: child(blocks=PARTIAL, overrides=block("bitmap[0]", 6, LOG)), CHUNK_END),
    checked("bat.reserved", lambda: disk(overrides={"block[1]": 8}), BAT + 8),
    checked(
        "payload.short_last",
        lambda: dynamic(2 * MB + 512, blocks={2: full()}, pad_last_block=False),
        BAT + 16,
        "file.size",
    ),
    pytest.param(
        "file.cut_short",
        Case(
            lambda: dynamic(2 * MB + 512, blocks={2: full()}, pad_last_block=False, creator="Microsoft Windows 10.0"),
            None,
            frozenset({"file.size"}),
            frozenset({"file.cut_short", "file.size", "payload.short_last"}),
        ),
        id="file.cut_short",
    ),
    checked("payload.fixed_absent", lambda: fixed(4 * MB, blocks={1: zeroed()}), BAT),
    checked("bitmap.unexpected", lambda: big(overrides=block("bitmap[0]", 6, 9 * MB)), BAT + 8 * 16),
    checked("bitmap.unneeded", lambda: child(bitmap_states={0: 5}), CHUNK_END),
    checked(
        "block.shared",
        lambda: disk(blocks={0: full(b"", file_offset=6 * MB), 2: full(b"", file_offset=6 * MB)}),
        BAT + 16,
    ),
    checked("file.skeleton", lambda: cut(disk(), 4 * MB), 4 * MB, read="payload.past_end"),
    checked("file.untracked", lambda: cut(disk(), 129 * TB), 128 * TB),
    fails("file.unreadable", lambda: disk(blocks={0: full(file_offset=4 * MB)}), 4 * MB, file=unreadable(4 * MB)),
]

CASES = [
    *HEADER_CASES,
    *LOG_CASES,
    *REGION_CASES,
    *METADATA_CASES,
    *LOCATOR_CASES,
    *CHAIN_CASES,
    *BLOCK_CASES,
]


def open_case(case: Case, image: Image) -> vhdxreader.VirtualDisk:
    how = {"parents": lambda _: BASE.open()} if image.spec.kind == "differencing" else {}
    return vhdxreader.open(case.file(image.file), **{**how, **case.options})


def set_limits(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in case.limits.items():
        monkeypatch.setattr(f"vhdxreader.{name}", value)


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_opening_and_reading(rule, case, monkeypatch):
    set_limits(case, monkeypatch)
    image = case.make()
    if case.opened is None:
        wanted = RULES[case.refused_by or rule]
        with pytest.raises(VhdxError) as caught:
            open_case(case, image)
        assert type(caught.value) is wanted.error
        assert caught.value.rule == wanted.id
        return
    with open_case(case, image) as opened:
        assert {finding.rule for finding in opened.image.findings} == case.opened
        if case.read == "right":
            assert opened.pread(min(opened.size, 4 * MB), 0) == image.expected(0, 4 * MB)
        elif rule == "file.unreadable":
            with pytest.raises(OSError, match="bad place"):
                opened.read()
        else:
            with pytest.raises(VhdxError) as caught:
                opened.read()
            assert type(caught.value) is RULES[case.read].error
            assert caught.value.rule == case.read


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_checking(rule, case, monkeypatch):
    set_limits(case, monkeypatch)
    image = case.make()
    report = vhdxreader.check(case.file(image.file), deep=rule == "file.unreadable")
    besides = {"file.unused"} - case.checked  # most of what breaks a rule leaves blocks without an entry
    assert set(report.counts) - besides == case.checked
    assert {finding.rule for finding in report.findings} - besides == case.checked
    for finding in report.findings:
        assert (finding.severity, finding.section) == (RULES[finding.rule].severity, RULES[finding.rule].section)
        assert finding.means
    if rule in case.checked and case.at is not None:
        assert next(finding.file_offset for finding in report.findings if finding.rule == rule) == case.at


def test_every_rule_has_an_image_that_breaks_it():
    """Those that are left out need files with names, or what no image has: see test_parents.py, test_changing.py and
    test_salvage.py; or they are on space that belongs to nothing: see test_plausible.py."""
    elsewhere = {
        "parent.name_case",
        "parent.ambiguous",
        "file.locked",
        "file.changed",
        "metadata.given",
        "payload.trimmed_shown",
    }
    elsewhere |= {"file.zero_tail", "file.broken_off", "file.unused", "bat.zero_page", "block.trimmed_shared"}
    assert {case.values[0] for case in CASES} == set(RULES) - elsewhere


@pytest.mark.parametrize("make", [disk, child, lambda: fixed(4 * MB), big, lambda: BASE])
def test_a_clean_image_has_no_findings(make):
    image = make()
    report = vhdxreader.check(image.open(), deep=True)
    assert report.findings == ()
    assert report.worst is None


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_what_a_rule_says_of_itself(rule):
    assert rule.must
    assert rule.means
    assert rule.section
    # Whatever refuses an image or a read is an ERROR, and the other way round; so no severity is chosen twice.
    assert (rule.severity is Severity.ERROR) == (rule.effect is not Effect.NOTE) or rule.id in ERROR_NOTES
    if rule.effect is Effect.REFUSE:
        assert rule.error is not None
    if rule.effect is Effect.NOTE:
        assert rule.error is None


def test_documentation_is_current():
    docs = Path(__file__).parents[2] / "docs"
    made = subprocess.run(
        [sys.executable, docs / "make_rules.py", "--print"], capture_output=True, text=True, check=True
    )
    assert (docs / "rules.md").read_text() == made.stdout
    assert all(f"`{rule}`" in made.stdout for rule in RULES)


# ---- salvage


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_salvaging(rule, case, monkeypatch):
    """As docs/rules.md says: what is neither lost nor doubtful is what the image was made to hold."""
    set_limits(case, monkeypatch)
    image, salvage = case.make(), SALVAGE.get(rule, Salvage.ALL)
    how = {"parents": lambda _: BASE.open()} if image.spec.kind == "differencing" else {}
    try:
        opened = vhdxreader.open(case.file(image.file), **{**how, **case.options}, errors="zero")
    except VhdxError:
        others = {SALVAGE.get(other) for other in case.checked} if case.refused_by else set()
        assert {salvage, *others} & {Salvage.NOTHING, Salvage.GEOMETRY}
        return
    with opened:
        damaged: Counter[str] = Counter()
        for start in [*range(0, min(opened.size, 4 * MB), 64 * KB), opened.size - 64 * KB]:
            damaged[salvaged(opened, image, start)] += 1
        assert {entry.rule for entry in (*opened.lost, *opened.doubtful)} <= set(RULES)
    if salvage is Salvage.ALL:
        assert set(damaged) == {"right"} or case.refused_by
    elif salvage is Salvage.DOUBTFUL:
        assert set(damaged) <= {"doubtful", "lost"}
    elif salvage is Salvage.PARTLY_DOUBTFUL:
        assert "lost" not in damaged
    else:
        assert salvage in (Salvage.LOST, Salvage.GEOMETRY)
        assert "doubtful" not in damaged
        assert damaged["lost"] or rule.startswith("parent_locator.") or rule in NO_BYTES


# What costs nothing in the image that breaks the rule here.
NO_BYTES = {"log.flushed_file_offset", "item.length"}


def salvaged(opened: vhdxreader.VirtualDisk, image: Image, start: int) -> str:
    """What became of 64 KiB; asserts that they are right if nothing else is said of them."""
    data = opened.pread(64 * KB, start)
    end = start + len(data)
    for name, ranges in (("lost", opened.lost), ("doubtful", opened.doubtful)):
        if any(entry.disk_offset < end and start < entry.end for entry in ranges):
            return name
    assert data == image.expected(start, len(data))
    return "right"


def test_salvage_has_an_answer_for_every_refusal():
    refusing = {rule.id for rule in RULES.values() if rule.effect is not Effect.NOTE}
    assert refusing <= set(SALVAGE)
    assert set(SALVAGE) <= set(RULES)
