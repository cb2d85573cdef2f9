"""The region tables [2.2.3]: one thing changed, the exact outcome; and the choice between the two."""

from __future__ import annotations

import uuid

import pytest
from builder import KB, MB, Region, dirty, hide
from builder.layout import BAT_GUID, METADATA_GUID
from cases import ERROR, INFO, WARNING, Case, broken, parametrize, valid

import vhdxreader
from vhdxreader import CorruptImageError, TruncatedImageError, UnsupportedImageError

TABLE_1, TABLE_2 = 192 * KB, 256 * KB
STRANGER = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")
BEHIND_1 = ("log", "metadata", "junk", "blocks", "bat")  # an order in the file


def entry(number: int):
    """File offset of an entry of the first table: 0 is the BAT's, 1 the metadata's, then extra ones."""
    return TABLE_1 + 16 + 32 * number


def with_region(**changes):
    """An image with one more region, which nobody knows, and fields of the tables changed."""
    overrides = {name.replace("__", "."): value for name, value in changes.items()}
    return valid(extra_regions=[Region("extra", STRANGER)], overrides=overrides)


UNKNOWN = ("region.unknown", INFO)

CASES = [
    Case("region_table.signature", lambda: valid().flip(TABLE_1), finding=WARNING, at=TABLE_1, says="region table 1"),
    Case("region_table.signature", lambda: valid().flip(TABLE_2), finding=WARNING, at=TABLE_2, says="region table 2"),
    Case("region_table.checksum", lambda: valid().flip(TABLE_1 + 5), finding=WARNING, at=TABLE_1, says="table 1"),
    Case("region_table.checksum", lambda: valid().flip(TABLE_2 + 65535), finding=WARNING, at=TABLE_2, says="table 2"),
    Case(
        "region_table.none_valid",
        lambda: valid().flip(TABLE_1).flip(TABLE_2 + 20),
        CorruptImageError,
        says="region table 2: its checksum",
    ),
    Case("region_table.none_valid", lambda: valid().flip(TABLE_1).truncate(TABLE_2 + 65535), CorruptImageError),
    Case("region_table.both_truncated", lambda: valid().truncate(TABLE_1 + 65535), TruncatedImageError, at=TABLE_1),
    Case("region_table.differ", lambda: broken(region2__bat__file_offset=77 * MB), finding=WARNING, at=TABLE_2),
    Case(
        "region_table.entry_count",
        lambda: broken(region__entry_count=2048),
        CorruptImageError,
        at=TABLE_1,
        says="2048",
    ),
    Case("region_table.entry_count", lambda: broken(region__entry_count=0xFFFFFFFF), CorruptImageError, at=TABLE_1),
    # The rules are for the table that was chosen: the second never stands in for a first with a right checksum.
    Case("region_table.entry_count", lambda: broken(region1__entry_count=2048), CorruptImageError, at=TABLE_1),
    Case("region_table.reserved", lambda: broken(region__reserved=1), finding=WARNING, at=TABLE_1),
    Case("region_table.reserved", lambda: broken(region__bat__required=3), finding=WARNING, at=TABLE_1),
    Case("region.missing", lambda: valid(without={"bat"}), CorruptImageError, at=TABLE_1, says="BAT"),
    Case("region.missing", lambda: valid(without={"metadata"}), CorruptImageError, at=TABLE_1, says="metadata"),
    Case("region.missing", lambda: broken(region__entry_count=0), CorruptImageError, at=TABLE_1),
    Case(
        "region.duplicate",
        lambda: with_region(region__extra__guid=BAT_GUID),
        CorruptImageError,
        at=entry(2),
        says="BAT",
    ),
    Case("region.duplicate", lambda: with_region(region__extra__guid=METADATA_GUID), CorruptImageError, at=entry(2)),
    Case(
        "region.duplicate_unknown",
        lambda: valid(extra_regions=[Region("one", STRANGER), Region("two", STRANGER)]),
        finding=WARNING,
        at=entry(3),
        says=str(STRANGER),
        also=(UNKNOWN,),
    ),
    Case("region.location", lambda: broken(region__bat__file_offset=2 * MB + 4096), CorruptImageError, at=entry(0)),
    Case("region.location", lambda: broken(region__bat__file_offset=0), CorruptImageError, at=entry(0)),
    Case("region.location", lambda: broken(region__metadata__length=MB - 4096), CorruptImageError, at=entry(1)),
    Case("region.location", lambda: broken(region__metadata__length=0), CorruptImageError, at=entry(1)),
    Case(
        "region.location_unknown",
        lambda: with_region(region__extra__length=4096),
        finding=WARNING,
        at=entry(2),
        also=(UNKNOWN,),
    ),
    Case(
        "region.overlap",
        lambda: (i := valid()) and broken(region__bat__file_offset=i.metadata_offset),
        CorruptImageError,
        says="overlaps",
    ),
    Case(
        "region.overlap_unknown",
        lambda: (i := valid()) and with_region(region__extra__file_offset=i.bat_offset),
        finding=WARNING,
        says="overlaps",
        also=(UNKNOWN,),
    ),
    Case(
        "region.past_end_unknown",
        lambda: with_region(region__extra__length=64 * MB),
        finding=WARNING,
        at=entry(2),
        says=str(STRANGER),
        also=(UNKNOWN,),
    ),
    Case(
        "region.unknown_required",
        lambda: with_region(region__extra__required=1),
        UnsupportedImageError,
        at=entry(2),
        says=str(STRANGER),
    ),
    Case("region.unknown", with_region, finding=INFO, at=entry(2), says=str(STRANGER)),
    Case("region.not_required", lambda: broken(region__bat__required=0), finding=INFO, at=entry(0), says="BAT"),
    Case("region.not_required", lambda: broken(region__metadata__required=0), finding=INFO, at=entry(1)),
]


@parametrize(CASES)
def test_rule(case):
    case.check()


def test_a_table_behind_the_end_of_the_file():
    image = valid().truncate(TABLE_2 + 65535)
    findings = vhdxreader.check(image.open()).findings
    found = [finding for finding in findings if finding.rule.startswith("region_table")]
    assert [(f.rule, f.severity, f.file_offset) for f in found] == [("region_table.truncated", WARNING, TABLE_2)]
    with pytest.raises(TruncatedImageError) as caught:
        vhdxreader.open(image.open())
    assert caught.value.rule == "metadata.truncated"


def test_a_region_that_ends_behind_the_file():
    """What is there of it serves; that some is missing is said at once."""
    image = valid(order=BEHIND_1)
    image.truncate(image.bat_offset + 4096)
    with vhdxreader.open(image.open()) as disk:
        found = [(f.rule, f.severity, f.file_offset) for f in disk.image.findings if f.rule != "file.size"]
        assert found == [("region.past_end", ERROR, entry(0))]
        assert disk.read() == image.expected()


@pytest.mark.parametrize("damage", [0, 4, 16, 65535])
def test_the_second_table_serves_where_the_first_is_bad(damage):
    """The first would lead elsewhere, so that a reader that only pretends to fall back is found out."""
    image = broken(region1__bat__file_offset=77 * MB, region1__metadata__file_offset=78 * MB)
    image.flip(TABLE_1 + damage)
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.region_table.file_offset == TABLE_2
        assert [copy.value is None for copy in disk.image.region_tables] == [True, False]
        assert disk.image.region_tables[0].problem in disk.image.findings[0].message
        assert disk.read() == image.expected()


def test_the_largest_table():
    """2047 entries, of which the last two count."""
    extra = [Region(f"extra{n}", uuid.UUID(int=n + 1)) for n in range(2045)]
    names = [region.name for region in extra]
    image = valid(extra_regions=extra, region_order=[*names, "metadata", "bat"])
    with vhdxreader.open(image.open()) as disk:
        assert len(disk.image.region_table.regions) == 2047
        assert {finding.rule for finding in disk.image.findings} == {"region.unknown"}
        assert disk.read() == image.expected()


def test_fields():
    image = with_region(region__extra__required=0)
    with vhdxreader.open(image.open()) as disk:
        bat, metadata, extra = disk.image.region_table.regions
    assert (bat.guid, bat.name, bat.file_offset, bat.length) == (BAT_GUID, "BAT", image.bat_offset, MB)
    assert (metadata.guid, metadata.name, metadata.file_offset) == (METADATA_GUID, "metadata", image.metadata_offset)
    assert (extra.guid, extra.name, extra.file_offset) == (STRANGER, str(STRANGER), image.region_offset["extra"])
    assert [region.required for region in (bat, metadata, extra)] == [True, True, False]
    assert [region.entry_offset for region in (bat, metadata, extra)] == [entry(0), entry(1), entry(2)]


def test_order_and_place_do_not_matter():
    image = valid(
        order=("blocks", "bat", "extra", "metadata", "log"),
        extra_regions=[Region("extra", STRANGER, 3 * MB)],
        region_order=("extra", "metadata", "bat"),
    )
    with vhdxreader.open(image.open()) as disk:
        assert [finding.rule for finding in disk.image.findings] == ["region.unknown"]
        assert disk.read() == image.expected()


def test_a_region_of_no_length_behind_the_end_of_a_dirty_image():
    image = with_region(region__extra__length=0, region__extra__file_offset=1 << 40)
    wet = dirty(*hide(image, (image.bat_offset, 4096)))
    with vhdxreader.open(wet.open()) as disk:
        assert disk.read() == image.expected()
        assert {"region.location_unknown", "region.past_end_unknown"} <= {found.rule for found in disk.image.findings}
