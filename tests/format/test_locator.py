"""The parent locator [2.6.2.6]: a valid one, one thing changed, the exact rule."""

from __future__ import annotations

import struct
import uuid

import pytest
from builder import IS_REQUIRED, ITEM_GUIDS, MB, Image, Item, Junk, Locator, differencing, dynamic, full

import vhdxreader
from vhdxreader import CorruptImageError, UnsupportedImageError
from vhdxreader.files.opening import open_source
from vhdxreader.format.metadata import MetadataItem
from vhdxreader.format.parent_locator import read_locator
from vhdxreader.format.rules import Findings

GUID = uuid.UUID("12345678-9abc-def0-1234-56789abcdef0")
OTHER = uuid.UUID("00000000-0000-0000-0000-0000000000ff")
LINKAGE = ("parent_linkage", f"{{{GUID}}}")
PATH = ("relative_path", "..\\base.vhdx")


def image(*pairs: tuple[str | bytes, str | bytes], **more) -> Image:
    return differencing(4 * MB, {0: full()}, parent=dynamic(4 * MB), locator=Locator(pairs), **more)


def locator(*pairs: tuple[str | bytes, str | bytes], **more) -> vhdxreader.VhdxImage:
    with vhdxreader.open(image(*pairs, **more).open(), parents=None) as disk:
        return disk.image


def rules(opened: vhdxreader.VhdxImage) -> list[str]:
    return [finding.rule for finding in opened.findings]


def raw(entries: list[tuple[int, int, int, int]], strings: bytes = b"", *, count: int | None = None) -> bytes:
    """A locator byte by byte: entries are key offset, value offset, key length, value length."""
    kind = uuid.UUID("B04AEFB7-D19E-4A81-B789-25B8E9445913").bytes_le
    head = kind + struct.pack("<HH", 0, len(entries) if count is None else count)
    return head + b"".join(struct.pack("<IIHH", *entry) for entry in entries) + strings


def refused(data: bytes) -> vhdxreader.VhdxError:
    broken = image(LINKAGE, PATH, item_data={"parent_locator": data})
    with pytest.raises(vhdxreader.VhdxError) as caught:
        vhdxreader.open(broken.open(), parents=None)
    return caught.value


def test_every_key_in_the_order_of_the_locator():
    pairs = (
        ("unknown key", "value"),
        ("absolute_win32_path", "\\\\?\\c:\\vm\\base.vhdx"),
        PATH,
        ("volume_path", "\\\\?\\Volume{26a21bda-a627-11d7-9931-806e6f6e6963}\\base.vhdx"),
        LINKAGE,
    )
    opened = locator(*pairs)
    assert opened.parent_locator == vhdxreader.ParentLocator(
        entries=pairs,
        linkage=GUID,
        linkage2=None,
        relative_path="..\\base.vhdx",
        volume_path="\\\\?\\Volume{26a21bda-a627-11d7-9931-806e6f6e6963}\\base.vhdx",
        absolute_win32_path="\\\\?\\c:\\vm\\base.vhdx",
    )
    assert rules(opened) == []


@pytest.mark.parametrize("text", [f"{{{GUID}}}", str(GUID), f"{{{GUID}}}".upper(), str(GUID).upper()])
def test_linkage_text_in_any_case_with_or_without_braces(text):
    assert locator(("parent_linkage", text), PATH).parent_locator.linkage == GUID


@pytest.mark.parametrize(
    "text", ["base", f"{{{GUID}", f"{GUID}}}", GUID.hex, f"urn:uuid:{GUID}", f" {GUID}", f"{{{GUID}}}\n"]
)
def test_linkage_that_is_no_guid(text):
    with pytest.raises(CorruptImageError) as caught:
        locator(("parent_linkage", text), PATH)
    assert caught.value.rule == "parent_locator.linkage"


@pytest.mark.parametrize("pairs", [[PATH], [PATH, ("Parent_Linkage", str(GUID))]])
def test_linkage_missing(pairs):
    with pytest.raises(CorruptImageError) as caught:
        locator(*pairs)
    assert caught.value.rule == "parent_locator.linkage"


def test_second_linkage_is_accepted_and_reported():
    opened = locator(LINKAGE, ("parent_linkage2", str(OTHER)), PATH)
    assert rules(opened) == ["parent_locator.linkage2"]
    accepts = opened.parent_locator.accepts
    assert accepts(GUID)
    assert accepts(OTHER)
    assert not accepts(uuid.UUID(int=0))


def test_second_linkage_that_is_nil_accepts_nothing():
    opened = locator(LINKAGE, ("parent_linkage2", f"{{{uuid.UUID(int=0)}}}"), PATH)
    assert not opened.parent_locator.accepts(uuid.UUID(int=0))
    assert rules(opened) == []  # it is how writers say that there is none


def test_second_linkage_that_is_no_guid_is_ignored():
    opened = locator(LINKAGE, ("parent_linkage2", "none"), PATH)
    assert rules(opened) == ["parent_locator.linkage2_value"]
    assert opened.parent_locator.linkage2 is None


def test_no_path_is_a_finding():
    assert rules(locator(LINKAGE)) == ["parent_locator.no_path"]


def test_absolute_path_without_prefix_is_a_finding():
    opened = locator(LINKAGE, ("absolute_win32_path", "c:\\base.vhdx"))
    assert rules(opened) == ["parent_locator.prefix"]
    assert opened.findings[0].message.endswith("expected to begin with \\\\?\\")


def test_another_type():
    with pytest.raises(UnsupportedImageError) as caught:
        locator(LINKAGE, PATH, overrides={"parent_locator.type": GUID})
    assert caught.value.rule == "parent_locator.type"


def test_reserved_field():
    assert rules(locator(LINKAGE, PATH, overrides={"parent_locator.reserved": 1})) == ["parent_locator.reserved"]


def test_key_twice():
    with pytest.raises(CorruptImageError) as caught:
        locator(LINKAGE, PATH, PATH)
    assert caught.value.rule == "parent_locator.duplicate"


def test_keys_that_differ_in_case_are_two():
    assert locator(LINKAGE, PATH, ("Relative_Path", "x")).parent_locator.relative_path == "..\\base.vhdx"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"k\0e", "v"),  # odd length
        ("k", b"v"),
        ("k\0", "v"),  # NUL
        ("k", "a\0b"),
        (b"\x00\xd8", "v"),  # half of a surrogate pair
        ("k", b"\x00\xdc"),
    ],
)
def test_text_that_is_not_utf16_without_nul(key, value):
    with pytest.raises(CorruptImageError) as caught:
        locator(LINKAGE, PATH, (key, value))
    assert caught.value.rule == "parent_locator.text"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key_offset", 0),
        ("value_offset", 0),
        ("key_length", 0),
        ("value_length", 0),
        ("key_offset", 0xFFFFFFFE),
        ("value_offset", 0xFFFFFFFE),
    ],
)
def test_string_out_of_place(field, value):
    with pytest.raises(CorruptImageError) as caught:
        locator(LINKAGE, PATH, overrides={f"parent_locator.entry1.{field}": value})
    assert caught.value.rule == "parent_locator.location"


def test_string_one_byte_past_the_end():
    data = raw([(32, 34, 2, 4)], "k".encode("utf-16-le") + b"v\0")
    assert refused(data).rule == "parent_locator.location"


def test_more_entries_than_bytes():
    assert refused(raw([(32, 34, 2, 2)], b"k\0v\0", count=65535)).rule == "parent_locator.entry_count"


def test_overlapping_strings_are_refused_before_they_are_decoded():
    data = raw([(32, 32, 65534, 65534)] * 10000, b"k\0" * 100)  # 1.3 GiB of text
    assert refused(data).rule == "parent_locator.strings"


def test_too_short_for_its_header():
    assert refused(b"x" * 19).rule == "item.length"
    assert refused(b"").rule == "item.length"


def test_locator_cut_off_by_the_end_of_the_file():
    broken = image(LINKAGE, PATH, order=("log", "bat", "blocks", "metadata"), junk=Junk.NONE)
    broken.truncate(broken.item_offset["parent_locator"] + 40)
    with pytest.raises(vhdxreader.TruncatedImageError):
        vhdxreader.open(broken.open(), parents=None)


def test_wrong_flags_are_a_finding():
    assert rules(locator(LINKAGE, PATH, overrides={"metadata.parent_locator.flags": 0})) == ["item.flags"]


def test_ignored_without_has_parent():
    item = Item("locator", ITEM_GUIDS["parent_locator"], raw([], b"junk"), IS_REQUIRED)
    plain = dynamic(4 * MB, extra_items=[item])
    with vhdxreader.open(plain.open()) as disk:
        assert disk.image.parent_locator is None
        assert rules(disk.image) == ["parent_locator.unexpected"]


@pytest.mark.parametrize(
    "pairs",
    [
        [("k", "a\0b"), LINKAGE, PATH],
        [LINKAGE, ("parent_linkage", str(OTHER)), PATH],
        [(b"odd", "v"), LINKAGE, PATH, PATH],
    ],
)
def test_lenient_reading_goes_on_behind_a_bad_entry(pairs):
    built = image(*pairs)
    source = open_source(built.open())
    entry = built.fields["metadata.parent_locator.length"]
    length = int.from_bytes(built.file.read(entry.offset, 4), "little")
    item = MetadataItem(
        ITEM_GUIDS["parent_locator"], False, False, True, built.item_offset["parent_locator"], length, 0
    )
    findings = Findings(strict=False)
    found = read_locator(source, item, findings)
    assert found.linkage == GUID
    assert found.relative_path == "..\\base.vhdx"
    assert {finding.rule for finding in findings} <= {"parent_locator.text", "parent_locator.duplicate"}
    assert list(findings)
