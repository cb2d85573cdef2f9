"""Cases of images that break a rule: a reader must refuse the disk, or, where the rule concerns no data, may."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

from builder import (
    IS_REQUIRED,
    ITEM_GUIDS,
    KB,
    MB,
    TB,
    Image,
    Item,
    Junk,
    Locator,
    Region,
    bat_entry,
    full,
    not_present,
    partial,
    reserved,
    zeroed,
)

from .case import BLOCKS, Case, altered, dynamic, overridden
from .logs import refused
from .valid import child

HARMLESS = "a rule is broken that concerns no data: a reader may be strict"


def cases() -> Iterator[Case]:
    yield from headers()
    yield from region_tables()
    yield from metadata_tables()
    yield from metadata_values()
    yield from block_states()
    yield from block_places()
    yield from cut_files()
    yield from parents()


def tolerable(name: str, tests: str, section: str, make: Callable[[], Image]) -> Case:
    return Case(name, tests, section, make, either=HARMLESS)


def headers() -> Iterator[Case]:
    yield refused(
        "file-signature", "the file does not begin with vhdxfile", "2.2.1", overridden(file_type__signature=b"vhdxfilf")
    )
    for field in ("signature", "checksum"):
        make = altered(
            lambda image, field=field: [image.flip(image.fields[f"header{n}.{field}"].offset) for n in (1, 2)]
        )
        yield refused(f"headers-both-{field}", f"no header has a right {field}", "2.2.2", make)
    differ = dynamic(sequence_numbers=(7, 7), overrides={"header1.file_write_guid": uuid.UUID(int=5)})
    yield refused("header-same-sequence", "two valid headers that differ have one SequenceNumber", "2.2.2", differ)
    yield tolerable(
        "header-identical", "two valid headers are copies of each other", "2.2.2", dynamic(sequence_numbers=(7, 7))
    )
    for version in (0, 2, 65535):
        yield refused(
            f"header-version-{version}", f"Version is {version}, not 1", "2.2.2", overridden(header__version=version)
        )
    yield tolerable(
        "header-log-version", "LogVersion is 1; no log needs replay", "2.2.2", overridden(header__log_version=1)
    )
    for field, value in (("log_offset", MB + 4096), ("log_length", 4096)):
        make = overridden(**{f"header__{field}": value})
        yield tolerable(f"header-{field}", f"{field} is no multiple of 1 MB; no log needs replay", "2.2.2", make)


def region_tables() -> Iterator[Case]:
    for field in ("signature", "checksum"):
        make = altered(
            lambda image, field=field: [image.flip(image.fields[f"region{n}.{field}"].offset) for n in (1, 2)]
        )
        yield refused(f"regions-both-{field}", f"no region table has a right {field}", "2.2.3.1", make)
    for count in (2048, 2**32 - 1):
        yield refused(
            f"regions-count-{count}",
            f"a region table of {count} entries",
            "2.2.3.1",
            overridden(region__entry_count=count),
        )
    unknown = Region("unknown", uuid.UUID(int=0xABC), required=1)
    yield refused(
        "region-required-unknown", "an unknown region is required", "2.2.3.2", dynamic(extra_regions=[unknown])
    )
    for name in ("bat", "metadata"):
        yield refused(f"region-{name}-missing", f"there is no {name} region", "2.2.3.2", dynamic(without={name}))
        places = {"unaligned": MB + 512, "in-header": 0, "below-1m": 512 * KB, "past-end": 64 * TB}
        for label, at in places.items():
            make = overridden(**{f"region__{name}__file_offset": at})
            yield refused(f"region-{name}-{label}", f"the {name} region lies at {at}", "2.2.3.2", make)
        for length, section in ((0, "2.5" if name == "bat" else "2.6"), (4096, "2.2.3.2")):
            make = overridden(**{f"region__{name}__length": length})
            kind = tolerable if (name, length) == ("bat", 4096) else refused  # which has all of this disk's entries
            yield kind(f"region-{name}-length-{length}", f"the {name} region has {length} bytes", section, make)
    make = altered(lambda image: move_region(image, "bat", image.metadata_offset))
    yield refused("regions-overlap", "the BAT and metadata regions lie on each other", "2.2.3.2", make)


def move_region(image: Image, name: str, at: int) -> None:
    for n in (1, 2):
        image.patch(f"region{n}.{name}.file_offset", at)
    image.fix_checksums("region1", "region2")


def metadata_tables() -> Iterator[Case]:
    yield refused(
        "metadata-signature",
        "the metadata table has another signature",
        "2.6.1.1",
        overridden(metadata__signature=b"metadatb"),
    )
    for count in (2048, 65535):
        yield refused(
            f"metadata-count-{count}",
            f"a metadata table of {count} entries",
            "2.6.1.1",
            overridden(metadata__entry_count=count),
        )
    for field in ("reserved", "reserved2"):
        make = overridden(**{f"metadata__{field}": b"\1"})
        yield tolerable(f"metadata-{field}", f"{field} of the metadata table is not zero", "2.6.1.1", make)
    unknown = Item("unknown", uuid.UUID(int=0xDEF), b"data", IS_REQUIRED)
    yield refused(
        "item-required-unknown", "an unknown metadata item is required", "2.6.1.2", dynamic(extra_items=[unknown])
    )
    for name in ("file_parameters", "virtual_disk_size", "logical_sector_size"):
        yield refused(f"item-{name}-missing", f"there is no {name}", "2.6.2", dynamic(without={name}))
        for at in (4, 64 * KB - 1, MB - 2, 2**32 - 4):
            make = overridden(**{f"metadata__{name}__offset": at})
            yield refused(
                f"item-{name}-at-{at}", f"{name} does not lie in the region's part for items", "2.6.1.2", make
            )
        make = overridden(**{f"metadata__{name}__length": 0})
        yield refused(f"item-{name}-empty", f"{name} has an offset, but no length", "2.6.1.2", make)
        twice = Item("twice", ITEM_GUIDS[name], b"\0" * 8, IS_REQUIRED)
        yield refused(
            f"item-{name}-twice", f"{name} stands in the table twice", "2.6.1.2", dynamic(extra_items=[twice])
        )
    for name in ("virtual_disk_id", "physical_sector_size"):
        yield tolerable(
            f"item-{name}-missing", f"there is no {name}, which no read needs", "2.6.2", dynamic(without={name})
        )


def metadata_values() -> Iterator[Case]:
    for size in (0, 512 * KB, MB + 512, 3 * MB, 512 * MB, 2**31):
        yield refused(
            f"block-size-{size}", f"a block size of {size}", "2.6.2.1", overridden(file_parameters__block_size=size)
        )
    for size in (0, 1, 256, 511, 1024, 2048, 8192, 2**31):
        make = overridden(logical_sector_size__size=size)
        yield refused(f"sector-size-{size}", f"a logical sector size of {size}", "2.6.2.4", make)
    for size in (3 * MB + 1, 3 * MB + 511, 64 * TB + 512, 2**63, 2**64 - 512):
        make = overridden(virtual_disk_size__size=size)
        yield refused(f"disk-size-{size}", f"a virtual disk of {size} bytes", "2.6.2.2", make)
    for size in (0, 513, 2**32 - 1):
        make = overridden(physical_sector_size__size=size)
        yield tolerable(f"physical-size-{size}", f"a physical sector size of {size}", "2.6.2.5", make)
    yield tolerable(
        "file-parameters-reserved",
        "reserved flags of the file parameters",
        "2.6.2.1",
        overridden(file_parameters__flags=0xFFFFFFFC),
    )
    yield refused(
        "parent-no-locator", "HasParent, but no parent locator", "2.6.2.6", overridden(file_parameters__flags=2)
    )


def block_states() -> Iterator[Case]:
    for state in (4, 5, 7):
        for n in (0, 1, 3):
            block = partial([0]) if state == 7 else reserved(state)
            why = f"block {n} of a dynamic disk is in state {state}"
            yield refused(f"state-{state}-dynamic-{n}", why, "2.5.1.1", dynamic(blocks={**BLOCKS, n: block}))
        why = f"block 0 of a fixed disk is in state {state}"
        make = dynamic(blocks={**BLOCKS, 0: block}, overrides={"file_parameters.flags": 1})
        yield refused(f"state-{state}-fixed", why, "2.5.1.1", make)
    for bits in (1, 1 << 16, (1 << 17) - 1):
        block = replace(full(), reserved_bits=bits)
        make = dynamic(blocks={**BLOCKS, 0: block})
        yield tolerable(f"bat-reserved-{bits:x}", "reserved bits of a BAT entry", "2.5.1", make)
    for name, block in (("not-present", not_present()), ("zero", zeroed())):
        for n in (0, 1, 3):
            make = dynamic(blocks={**BLOCKS, n: block}, junk=Junk.STALE)
            yield tolerable(f"state-{name}-{n}-stale", "FileOffsetMB, reserved here, points at junk", "2.5.1.1", make)


def block_places() -> Iterator[Case]:
    for name in ("log", "bat", "metadata"):
        make = altered(lambda image, name=name: move_block(image, 2, image.region_offset[name]))
        yield refused(f"block-on-{name}", f"a block lies on the {name}", "2.5.1", make)
    for label, at in (("header", 0), ("past-end", 1024 * MB), ("far-past-end", (2**44 - 1) * MB)):
        make = altered(lambda image, at=at: move_block(image, 2, at))
        yield refused(f"block-{label}", f"a present block lies at {at}", "2.5.1", make)
    alike = {**BLOCKS, 2: full(b"one"), 3: full(b"one")}
    twice = altered(lambda image: move_block(image, 3, image.block_offset[2]), blocks=alike)
    yield tolerable("block-on-block", "two blocks of the same content lie at one place", "2.5.1", twice)
    small = altered(shrink_bat, virtual_size=MB * 200_000, blocks={0: full()})
    yield refused("bat-too-small", "the BAT region is too small for the disk", "2.5", small)


def shrink_bat(image: Image) -> None:
    for n in (1, 2):
        image.patch(f"region{n}.bat.length", MB)
    image.fix_checksums("region1", "region2")


def move_block(image: Image, n: int, at: int) -> None:
    image.patch(image.block_entry_offset(n), bat_entry(6, at).to_bytes(8, "little"))


def cut_files() -> Iterator[Case]:
    sections = {0: "2.2.1", 7: "2.2.1", 8: "2.2.2", 64 * KB: "2.2.2", 128 * KB: "2.2.3", 192 * KB: "2.2.3"}
    for length, section in sections.items():
        make = altered(lambda image, length=length: image.truncate(length))
        yield refused(f"cut-at-{length}", f"the file ends at {length}", section, make)
    for name in ("metadata", "bat"):
        make = altered(lambda image, name=name: image.truncate(image.region_offset[name]))
        yield refused(f"cut-before-{name}", f"the file ends before the {name} region", "2.2.3.2", make)
    for label, beside in (("block", MB), ("half-block", 512 * KB), ("sector", 512)):
        make = altered(
            lambda image, beside=beside: image.truncate(image.file.length - beside),
            blocks={n: full() for n in range(3)},
        )
        yield refused(f"cut-{label}", f"the last {beside} bytes of the last present block are missing", "2.5.1.1", make)


def parents() -> Iterator[Case]:
    above = {"blocks": {1: partial([5])}}
    missing = child("parent-missing", "the parent is not there", "2.6.2.6.3", above)
    yield replace(missing, parents={}, refused="the parent is not there")
    linkage = Locator.to(uuid.UUID(int=7), "parent-mismatch.parent.vhdx")
    yield child(
        "parent-mismatch",
        "the parent is not the one that is named",
        "2.6.2.6.3",
        {**above, "locator": linkage},
        refused="the parent's DataWriteGuid is not parent_linkage",
    )
    yield child(
        "parent-other-sectors",
        "the parent's logical sectors are of another size",
        "2.6.2.4",
        above,
        {"sector_size": 4096},
        refused="the parent's logical sectors are not of the child's size",
    )
    nameless = Locator([("relative_path", "locator-no-linkage.parent.vhdx")])
    yield child(
        "locator-no-linkage",
        "the parent locator has no parent_linkage",
        "2.6.2.6.3",
        {**above, "locator": nameless},
        refused="whose child it is cannot be verified",
    )
    unknown = replace(linkage, type=uuid.UUID(int=9))
    yield child(
        "locator-unknown",
        "an unknown type of parent locator",
        "2.6.2.6.1",
        {**above, "locator": unknown},
        refused="the parent locator has an unknown type",
    )
    for state in (0, 1, 4, 5, 7):
        why = f"a block is partly present, but its sector bitmap is in state {state}"
        yield child(f"bitmap-state-{state}", why, "2.5.1.2", {**above, "bitmap_states": {0: state}}, refused=why)
    for state in (4, 5):
        why = f"block 1 of a differencing disk is in state {state}"
        yield child(f"state-{state}-differencing", why, "2.5.1.1", {"blocks": {1: reserved(state)}}, refused=why)
