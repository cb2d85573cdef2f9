"""The metadata region [2.6]: one thing changed, the exact outcome; and the values that come out."""

from __future__ import annotations

import errno
import io
import uuid

import builder
import pytest
from builder import (
    GB,
    IS_REQUIRED,
    IS_USER,
    IS_VIRTUAL_DISK,
    ITEM_GUIDS,
    KB,
    MB,
    NO_GUID,
    TB,
    Item,
    Junk,
    Locator,
    full,
)
from cases import ERROR, INFO, WARNING, Case, broken, parametrize, valid

import vhdxreader
from vhdxreader import CorruptImageError, TruncatedImageError, UnsupportedImageError

STRANGER = uuid.UUID("fedcba98-7654-3210-fedc-ba9876543210")
METADATA_LAST = ("log", "bat", "junk", "blocks", "metadata")  # an order in the file
SIZES = {
    "file_parameters": 8,
    "virtual_disk_size": 8,
    "virtual_disk_id": 16,
    "logical_sector_size": 4,
    "physical_sector_size": 4,
}
NEEDED = ("file_parameters", "virtual_disk_size", "logical_sector_size")
UNNEEDED = ("virtual_disk_id", "physical_sector_size")
LOCATOR = Locator.to(uuid.UUID(int=1), "parent.vhdx")


def region(image):
    return image.metadata_offset


def entry(name):
    """File offset of an item's entry in the table."""
    return lambda image: image.fields[f"metadata.{name}.item_id"].offset


def item(name):
    """File offset of an item."""
    return lambda image: image.item_offset[name]


def extra(data=b"x", flags=0, guid=STRANGER, **changes):
    """An image with one more item, which nobody knows unless its GUID says otherwise."""
    return valid(extra_items=[Item("extra", guid, data, flags)], **changes)


def resized(name, size):
    """An image in which an item has another length, and its bytes as far as that goes."""
    value = {
        "file_parameters": MB.to_bytes(4, "little"),
        "virtual_disk_size": valid().size.to_bytes(8, "little"),
        "virtual_disk_id": b"",
        "logical_sector_size": (512).to_bytes(4, "little"),
        "physical_sector_size": (4096).to_bytes(4, "little"),
    }[name]
    return valid(item_data={name: value.ljust(size, b"\0")[:size]})


def cut_at(offset_of):
    """An image whose metadata region is the last in the file, which ends at `offset_of(image)`."""
    image = valid(order=METADATA_LAST)
    return image.truncate(offset_of(image))


def unneeded_behind_the_end():
    """The Virtual Disk ID is the last thing in the file, and only half of it is there."""
    image = valid(order=METADATA_LAST, item_offsets={"virtual_disk_id": MB - 16})
    return image.truncate(image.item_offset["virtual_disk_id"] + 8)


UNKNOWN = ("item.unknown", INFO)
REFUSED, UNSUPPORTED = CorruptImageError, UnsupportedImageError

CASES = [
    Case("metadata.truncated", lambda: cut_at(region), TruncatedImageError, says="metadata table"),
    Case("metadata.truncated", lambda: cut_at(lambda i: region(i) + 64 * KB - 1), TruncatedImageError, at=region),
    Case(
        "metadata.truncated",
        lambda: cut_at(item("file_parameters")),  # it lies behind all others
        TruncatedImageError,
        at=item("file_parameters"),
        says="File Parameters",
    ),
    Case(
        "metadata.truncated_unneeded",
        unneeded_behind_the_end,
        finding=WARNING,
        at=item("virtual_disk_id"),
        says="Virtual Disk ID",
        also=(("region.past_end", ERROR), ("file.size", INFO)),
    ),
    Case("metadata_table.signature", lambda: broken(metadata__signature=b"metadatA"), REFUSED, at=region),
    Case("metadata_table.entry_count", lambda: broken(metadata__entry_count=2048), REFUSED, at=region, says="2048"),
    Case("metadata_table.entry_count", lambda: broken(metadata__entry_count=65535), REFUSED, at=region),
    Case(
        "metadata_table.user_items",
        lambda: valid(extra_items=[Item(f"user{n}", uuid.UUID(int=n), b"", IS_USER) for n in range(1025)]),
        finding=WARNING,
        at=region,
        says="1025",
    ),
    Case("metadata_table.reserved", lambda: broken(metadata__reserved=1), finding=WARNING, at=region),
    Case("metadata_table.reserved", lambda: broken(metadata__reserved2=bytes(19) + b"x"), finding=WARNING, at=region),
    Case("metadata_table.reserved", lambda: broken(metadata__virtual_disk_id__reserved=1), finding=WARNING),
    Case("metadata_table.reserved", lambda: broken(metadata__virtual_disk_id__flags=6 | 8), finding=WARNING),
    *[
        Case("item.duplicate", lambda guid=guid: extra(guid=guid), REFUSED, at=entry("extra"))
        for guid in (ITEM_GUIDS[name] for name in SIZES)
    ],
    Case(
        "item.duplicate_unknown",
        lambda: valid(extra_items=[Item(name, STRANGER, b"x") for name in ("one", "two")]),
        finding=WARNING,
        at=entry("two"),
        says=str(STRANGER),
        also=(UNKNOWN,),
    ),
    Case(
        "item.location",
        lambda: broken(metadata__file_parameters__offset=64 * KB - 8),
        REFUSED,
        at=entry("file_parameters"),
        says="File Parameters",
    ),
    Case("item.location", lambda: broken(metadata__virtual_disk_size__offset=0), REFUSED),
    Case("item.location", lambda: broken(metadata__virtual_disk_size__offset=MB - 7), REFUSED),
    Case("item.location", lambda: broken(metadata__virtual_disk_size__offset=0xFFFFFFFF), REFUSED),
    Case("item.location", lambda: broken(metadata__logical_sector_size__length=0xFFFFFFFF), REFUSED),
    Case("item.location", lambda: broken(metadata__logical_sector_size__length=0), REFUSED),
    Case(
        "item.location",
        lambda: valid(metadata_length=3 * MB, overrides={"metadata.file_parameters.length": MB + 1}),
        REFUSED,
        at=entry("file_parameters"),
    ),
    Case(
        "item.location_unknown",
        lambda: extra(overrides={"metadata.extra.offset": 32}),
        finding=WARNING,
        at=entry("extra"),
        says=str(STRANGER),
        also=(UNKNOWN,),
    ),
    Case(
        "item.overlap",
        lambda: valid(item_offsets={"virtual_disk_size": 70000, "logical_sector_size": 70004}),
        REFUSED,
        says="overlaps",
    ),
    Case(
        "item.overlap_unknown",
        lambda: extra(item_offsets={"virtual_disk_size": 70000}, overrides={"metadata.extra.offset": 70007}),
        finding=WARNING,
        says="overlaps",
        also=(UNKNOWN,),
    ),
    Case(
        "item.unknown_required",
        lambda: extra(flags=IS_REQUIRED),
        UNSUPPORTED,
        at=entry("extra"),
        says=str(STRANGER),
    ),
    Case("item.unknown_required", lambda: extra(flags=IS_REQUIRED | IS_USER), UNSUPPORTED, at=entry("extra")),
    Case("item.unknown", extra, finding=INFO, at=entry("extra"), says=str(STRANGER)),
    *[Case("item.missing", lambda name=name: valid(without={name}), REFUSED, at=region) for name in NEEDED],
    *[
        Case("item.missing_unneeded", lambda name=name: valid(without={name}), finding=WARNING, at=region)
        for name in UNNEEDED
    ],
    *[
        Case("item.length", lambda name=name, n=n: resized(name, n), REFUSED, at=entry(name), says=f"expected {size}")
        for name, size in SIZES.items()
        for n in (size - 1, 0)
    ],
    *[
        Case("item.long", lambda n=name, size=size: resized(n, size + 1), finding=WARNING, at=entry(name))
        for name, size in SIZES.items()
    ],
    *[
        Case(
            "item.flags",
            lambda name=name, flags=flags: broken(**{f"metadata__{name}__flags": flags}),
            finding=WARNING,
            at=entry(name),
        )
        for name, flags in {
            "file_parameters": IS_REQUIRED | IS_VIRTUAL_DISK,
            "virtual_disk_size": IS_REQUIRED,
            "virtual_disk_id": 0,
            "logical_sector_size": IS_VIRTUAL_DISK,
            "physical_sector_size": IS_VIRTUAL_DISK,  # as early writers have it
        }.items()
    ],
    *[
        Case(
            "file_parameters.block_size",
            lambda size=size: broken(file_parameters__block_size=size),
            REFUSED,
            at=item("file_parameters"),
            says=f"{size:#x}",
        )
        for size in (0, 1, 512 * KB, MB + 512, 3 * MB, 512 * MB, 0xFFFFFFFF)
    ],
    Case(
        "file_parameters.reserved",
        lambda: broken(file_parameters__flags=4),
        finding=WARNING,
        at=item("file_parameters"),
    ),
    *[
        Case(
            rule,
            lambda size=size: broken(virtual_disk_size__size=size),
            REFUSED,
            at=item("virtual_disk_size"),
            says=str(size),
        )
        for rule, size in (
            ("virtual_disk_size.value", 1),
            ("virtual_disk_size.value", 513),
            ("virtual_disk_size.limit", 64 * TB + 512),
            ("virtual_disk_size.limit", (1 << 64) - 512),
        )
    ],
    Case(
        "virtual_disk_size.value",
        lambda: valid(
            sector_size=4096, virtual_size=3 * MB, blocks={}, overrides={"virtual_disk_size.size": 3 * MB + 512}
        ),
        REFUSED,
    ),
    *[
        Case(
            "logical_sector_size.value",
            lambda size=size: broken(logical_sector_size__size=size),
            REFUSED,
            at=item("logical_sector_size"),
            says=str(size),
        )
        for size in (0, 1, 1024, 8192, 0xFFFFFFFF)
    ],
    *[
        Case(
            "physical_sector_size.value",
            lambda size=size: broken(physical_sector_size__size=size),
            finding=WARNING,
            at=item("physical_sector_size"),
        )
        for size in (0, 2048)
    ],
    Case(
        "parent_locator.missing",
        lambda: broken(file_parameters__flags=2),
        REFUSED,
        at=item("file_parameters"),
        says="HasParent",
    ),
    Case("parent_locator.unexpected", lambda: valid(locator=LOCATOR), finding=WARNING, at=item("parent_locator")),
]


@parametrize(CASES)
def test_rule(case):
    case.check()


def values(image):
    with vhdxreader.open(image.open()) as disk:
        return disk.image.metadata


def test_values():
    disk_id = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    metadata = values(valid(disk_id=disk_id, block_size=8 * MB, blocks={}, physical_sector_size=512))
    assert metadata.block_size == 8 * MB
    assert metadata.virtual_disk_size == 3 * MB + 1536
    assert metadata.virtual_disk_id == disk_id
    assert (metadata.logical_sector_size, metadata.physical_sector_size) == (512, 512)
    assert (metadata.leave_block_allocated, metadata.has_parent, metadata.disk_type) == (False, False, "dynamic")
    assert metadata.parent_locator is None


def test_a_fixed_disk():
    image = builder.fixed(2 * MB)
    metadata = values(image)
    assert (metadata.leave_block_allocated, metadata.disk_type) == (True, "fixed")


@pytest.mark.parametrize("size", [MB, 2 * MB, 32 * MB, 256 * MB])
@pytest.mark.parametrize("sector", [512, 4096])
def test_every_block_and_sector_size(size, sector):
    image = valid(virtual_size=2 * size + 4096, block_size=size, sector_size=sector, blocks={1: full(b"one")})
    with vhdxreader.open(image.open()) as disk:
        assert (disk.image.metadata.block_size, disk.image.metadata.logical_sector_size) == (size, sector)
        assert disk.image.findings == ()
        assert disk.pread(16, size - 8) == bytes(8) + b"one".ljust(8, b"\0")


@pytest.mark.parametrize("size", [0, 512, 64 * TB])
def test_the_smallest_and_the_largest_disk(size):
    image = valid(virtual_size=size, blocks={}, block_size=256 * MB)
    with vhdxreader.open(image.open()) as disk:
        assert disk.size == disk.image.size == size
        assert disk.pread(1024, max(size - 512, 0)) == bytes(min(size, 512))
        assert disk.image.findings == ()


def test_what_cannot_be_known_is_none():
    assert values(valid(without=set(UNNEEDED))).virtual_disk_id is None
    assert values(valid(without=set(UNNEEDED))).physical_sector_size is None


def test_items_as_they_stand():
    image = extra(b"hello", flags=IS_USER | IS_VIRTUAL_DISK)
    items = {item.item_id: item for item in values(image).items}
    assert set(items) == {*(ITEM_GUIDS[name] for name in SIZES), STRANGER}
    stranger, size = items[STRANGER], items[ITEM_GUIDS["virtual_disk_size"]]
    assert (stranger.is_user, stranger.is_virtual_disk, stranger.is_required) == (True, True, False)
    assert (stranger.file_offset, stranger.length) == (image.item_offset["extra"], 5)
    assert (stranger.is_known, stranger.name) == (False, str(STRANGER))
    assert (size.is_user, size.is_virtual_disk, size.is_required) == (False, True, True)
    assert (size.file_offset, size.length, size.entry_offset) == (
        image.item_offset["virtual_disk_size"],
        8,
        entry("virtual_disk_size")(image),
    )
    assert (size.is_known, size.name) == (True, "Virtual Disk Size")


@pytest.mark.parametrize("name", SIZES)
def test_a_user_item_shadows_nothing(name):
    """The key is (ItemId, IsUser): it may carry a system item's GUID, first in the table, and means nothing."""
    lie = Item("lie", ITEM_GUIDS[name], b"\xff" * SIZES[name], IS_USER)
    image = valid(extra_items=[lie], item_order=("lie",))
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.findings == ()
        assert disk.read() == image.expected()
        assert disk.image.metadata.virtual_disk_id == image.disk_id


def test_an_empty_item_is_none_of_the_region():
    image = extra(b"", flags=IS_USER)
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.findings == ()
        assert disk.read() == image.expected()


def test_items_may_fill_the_region_to_its_end():
    image = valid(metadata_length=2 * MB, item_offsets={"virtual_disk_size": 2 * MB - 8})
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.findings == ()
        assert disk.read() == image.expected()


def test_the_largest_table():
    """2047 entries, of which the last five count; 1024 user items are allowed."""
    extra = [Item(f"user{n}", uuid.UUID(int=n), b"", IS_USER) for n in range(1024)]
    extra += [Item(f"system{n}", uuid.UUID(int=n), b"") for n in range(2047 - 5 - 1024)]
    image = valid(extra_items=extra, item_order=[item.name for item in extra], junk=Junk.NONE)
    with vhdxreader.open(image.open()) as disk:
        assert len(disk.image.metadata.items) == 2047
        assert {finding.rule for finding in disk.image.findings} == {"item.unknown"}
        assert disk.read() == image.expected()


def test_metadata_that_claims_much_reads_little():
    """A disk of 64 TiB with the smallest blocks is opened by a few reads, as any other [2.5]."""
    reads = [read_at_opening(size) for size in (MB, GB, 64 * TB)]
    assert reads[0] == reads[1] == reads[2]
    assert sum(reads[0]) < 512 * KB


def test_items_are_one_read():
    image, reads = valid(), []
    vhdxreader.open(Recorded(image, reads)).close()
    region = range(image.metadata_offset, image.metadata_offset + MB)
    table, items = [(offset - region.start, length) for offset, length in reads if offset in region]
    assert table == (0, 64 * KB)
    assert items[0] >= 64 * KB
    assert items[1] < KB


def test_a_bad_sector_costs_only_the_items_in_it():
    image = valid(item_offsets={"physical_sector_size": 68 * KB})
    bad = image.item_offset["physical_sector_size"]
    with vhdxreader.open(Recorded(image, [], bad)) as disk:
        assert [finding.rule for finding in disk.image.findings] == ["item.missing_unneeded"]
        assert disk.image.metadata.physical_sector_size is None
        assert disk.read() == image.expected()
    image = valid(item_offsets={"virtual_disk_size": 68 * KB})
    with pytest.raises(vhdxreader.UnreadableError) as caught:
        vhdxreader.open(Recorded(image, [], image.item_offset["virtual_disk_size"]))
    assert caught.value.file_offset == image.item_offset["virtual_disk_size"]


@pytest.mark.parametrize("offset", [128 * KB - 64, 128 * KB, 512 * KB, MB - 4])
def test_items_far_from_each_other(offset):
    image = valid(item_offsets={"logical_sector_size": offset})
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.findings == ()
        assert disk.image.metadata.logical_sector_size == 512
        assert disk.read() == image.expected()


class Recorded(io.BytesIO):
    """An image's bytes, with a list of offset and length of each read. What begins at `bad` is a bad sector."""

    def __init__(self, image, reads, bad=-1):
        super().__init__(image.tobytes())
        self.reads, self.bad = reads, bad

    def readinto(self, buffer):
        offset = self.tell()
        self.reads.append((offset, len(buffer)))
        if offset <= self.bad < offset + len(buffer):
            raise OSError(errno.EIO, "Input/output error")
        return super().readinto(buffer)


def read_at_opening(size):
    """The length of each read that opening does."""
    image, lengths = valid(virtual_size=size, blocks={}), []

    class Counting(type(image.open())):
        def readinto(self, buffer):
            lengths.append(len(buffer))
            return super().readinto(buffer)

    vhdxreader.open(Counting(image.file)).close()
    return lengths


def test_nil_guids_are_guids():
    image = valid(disk_id=NO_GUID)
    assert values(broken(virtual_disk_id__id=NO_GUID)).virtual_disk_id == NO_GUID
    assert image.size == values(image).virtual_disk_size


@pytest.mark.parametrize("guid", ["DA02D7BC-3D3A-423C-AC88-2A36AB21479B", "10E1AE8A-4B7E-4169-A40F-CD70DE928393"])
def test_items_that_windows_adds_and_that_do_not_concern_the_data(guid):
    image = valid(extra_items=[builder.Item("more", uuid.UUID(guid), bytes(16), builder.IS_REQUIRED)])
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.findings == ()
        assert disk.read() == image.expected()


def test_an_image_that_was_never_finished():
    guid = uuid.UUID("71CC85F0-1B69-4E28-9558-C3BF83AE75D3")
    image = valid(extra_items=[builder.Item("more", guid, bytes(16), builder.IS_REQUIRED)])
    with pytest.raises(vhdxreader.UnsupportedImageError, match="never finished"):
        vhdxreader.open(image.open())
    with vhdxreader.open(image.open(), errors="zero") as disk:
        assert disk.read() == image.expected()
        assert [(d.disk_offset, d.end, d.rule) for d in disk.doubtful] == [(0, disk.size, "item.unknown_required")]
