"""Cases that every reader should read: geometry, block states, redundancy, parents, logs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import builder
from builder import (
    GB,
    IS_USER,
    ITEM_GUIDS,
    KB,
    MB,
    Image,
    Item,
    Junk,
    Log,
    Region,
    bat_entry,
    full,
    not_present,
    partial,
    undefined,
    unmapped,
    zeroed,
)  # fmt: skip

from .case import BLOCKS, SECTOR_SIZE, SIZE, Case, altered, built, dynamic, overridden

PARENT = "parent.vhdx"


def cases() -> Iterator[Case]:
    yield from geometries()
    yield from sizes()
    yield from states()
    yield from copies()
    yield from layouts()
    yield from ignored()
    yield from differencing()


def geometries() -> Iterator[Case]:
    for megabytes in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        for sector in (512, 4096):
            shape = {
                "block_size": megabytes * MB,
                "sector_size": sector,
                "blocks": {0: full({0: b"first", 70 * KB: b"x"})},
            }
            for kind in (builder.dynamic, builder.fixed):
                name = f"geometry-{kind.__name__}-{megabytes}m-{sector}"
                what = f"a {kind.__name__} disk, blocks of {megabytes} MB, sectors of {sector} bytes"
                make = built(kind, virtual_size=SIZE, **shape)
                yield Case(name, what, "2.6.2.1", make, either=SECTOR_SIZE if sector == 4096 else "")
            above = {**shape, "blocks": {0: partial([0, 3, 8])}}
            name, what = (
                f"geometry-differencing-{megabytes}m-{sector}",
                f"a differencing disk, {what.split(', ', 1)[1]}",
            )
            below = {"block_size": megabytes * MB, "sector_size": sector}
            yield child(name, what, "2.6.2.1", above, below, either=SECTOR_SIZE if sector == 4096 else "")


def sizes() -> Iterator[Case]:
    for sector, size in [(s, n) for s in (512, 4096) for n in (s, MB - s, MB, MB + s, 2 * MB, 5 * MB - s)]:
        blocks = {(size - 1) // MB: full()}
        make = built(builder.dynamic, virtual_size=size, sector_size=sector, blocks=blocks)
        name, what = f"size-{size}-sector-{sector}", f"a disk of {size} bytes, the last block full"
        yield Case(name, what, "2.6.2.2", make, either=SECTOR_SIZE if sector == 4096 else "")
        cut = built(builder.dynamic, virtual_size=size, sector_size=sector, blocks=blocks, pad_last_block=False)
        yield Case(
            f"size-{size}-sector-{sector}-unpadded", "the file ends where the disk does", "2.4", cut,
            either="the specification has whole blocks; files whose last block is cut at the disk's end occur",
        )  # fmt: skip
    for block_size in (32 * MB, 256 * MB):
        ratio = 4 * GB // block_size
        blocks = {0: full({0: b"first"}), ratio - 1: full({0: b"chunk"}), ratio: full({0: b"next chunk"})}
        make = built(builder.dynamic, virtual_size=4 * GB + 8 * MB, block_size=block_size, blocks=blocks)
        name = f"chunks-{block_size // MB}m"
        yield Case(name, "payload blocks on both sides of a sector bitmap entry", "2.5", make)


def states() -> Iterator[Case]:
    absent = {"not-present": not_present(), "zero": zeroed(), "undefined": undefined(), "unmapped": unmapped()}
    for name, block in absent.items():
        for n in (0, 1, 3):
            make = dynamic(blocks={**BLOCKS, n: block})
            either = "its content is not defined; zeros are usual" if name == "undefined" else ""
            yield Case(f"state-{name}-{n}", f"block {n} in state {block.state}", "2.5.1.1", make, either=either)
    yield Case("state-all-present", "every block present", "2.5.1.1", dynamic(blocks={n: full() for n in range(4)}))
    yield Case("state-none-present", "an empty disk", "2.5.1.1", dynamic(blocks={}))


def copies() -> Iterator[Case]:
    """One of two copies is damaged: the other serves."""
    for which, where in [
        (w, k) for w in ("header1", "header2", "region1", "region2") for k in ("signature", "checksum")
    ]:
        make = altered(lambda image, field=f"{which}.{where}": image.flip(image.fields[field].offset))
        section = "2.2.2" if which.startswith("header") else "2.2.3"
        yield Case(f"copy-{which}-{where}", f"the {where} of {which} is wrong", section, make)
    for pair in [(7, 8), (8, 7), (0, 1), (1, 0), (2**64 - 2, 2**64 - 1), (2**63 - 1, 2**63), (1, 2**32)]:
        make = dynamic(sequence_numbers=pair)
        yield Case(f"header-sequence-{pair[0]}-{pair[1]}", "the higher SequenceNumber is current", "2.2.2", make)


def layouts() -> Iterator[Case]:
    for order in ("bat metadata log junk blocks", "blocks bat log metadata junk", "metadata blocks log bat junk"):
        make = dynamic(order=tuple(order.split()))
        yield Case(f"layout-{order.split()[0]}-first", f"in the file: {order}", "2.2", make)
    yield Case(
        "region-order",
        "the metadata region stands first in the table",
        "2.2.3.2",
        dynamic(region_order=("metadata", "bat")),
    )
    extra = [Region(f"extra{n}", uuid.UUID(int=0xABC0 + n)) for n in range(3)]
    yield Case(
        "region-optional-unknown", "unknown regions that are not required", "2.2.3.2", dynamic(extra_regions=extra)
    )
    item = Item("ours", uuid.UUID(int=0xDEF), b"something")
    yield Case(
        "item-optional-unknown", "an unknown metadata item that is not required", "2.6.1.2", dynamic(extra_items=[item])
    )
    user = Item("user", ITEM_GUIDS["virtual_disk_size"], bytes(8), IS_USER)
    yield Case(
        "item-user-same-guid", "a user's item with the GUID of a system item", "2.6.1.2", dynamic(extra_items=[user])
    )
    names = ["file_parameters", "virtual_disk_size", "virtual_disk_id", "logical_sector_size", "physical_sector_size"]
    for name in names:
        make = dynamic(item_order=(name,))
        yield Case(f"item-first-{name}", f"{name} stands first in the table", "2.6.1.2", make)
        make = dynamic(item_offsets={name: MB - 64})
        yield Case(f"item-far-{name}", f"{name} lies at the region's end", "2.6.1.2", make)
    for creator in ("", "x" * 255, b"\xff" * 512):
        yield Case(f"creator-{len(creator)}", "Creator is free text, or none", "2.2.1", dynamic(creator=creator))
    yield Case("physical-512", "physical sectors of 512 bytes", "2.6.2.5", dynamic(physical_sector_size=512))
    yield Case("log-stale-entries", "old entries in a log that needs no replay", "2.3", dynamic(log=stale_log()))
    fields = {"bat[3]": bat_entry(6, 64 * MB)}
    make = altered(
        lambda image: image.file.write(64 * MB, full_block()),
        overrides=fields,
        blocks={0: full(), 3: full(full_block())},
    )
    yield Case("block-far", "a block far behind the others", "2.5.1.1", make)
    yield Case(
        "leave-allocated",
        "LeaveBlocksAllocated on a disk with absent blocks",
        "2.6.2.1",
        overridden(file_parameters__flags=1),
    )


def full_block() -> bytes:
    return builder.pattern("far", MB)


def stale_log() -> Log:
    image = dynamic()()
    return Log(MB, builder.run([[builder.Zero(image.block_offset[0], 4 * KB)]]))


def ignored() -> Iterator[Case]:
    """What the specification wants ignored is not zero."""
    make = overridden(header__reserved=b"x" * 4016)
    yield Case("header-reserved", "reserved bytes of the headers are not zero", "2.2.2", make)
    make = overridden(region__reserved=1)
    yield Case("regions-reserved", "the reserved field of the region tables is not zero", "2.2.3.1", make)
    what = "junk between metadata items, behind the tables' last entries, in the header section's reserved part"
    yield Case("junk-gaps", what, "2.6.1.1", dynamic(junk=Junk.GAPS))


# ---- differencing disks


def child(name: str, tests: str, section: str, above: dict, below: dict | None = None, **more: object) -> Case:
    """A differencing disk of `above` over a parent of `below`, which lies beside it."""

    def parent() -> Image:
        return built(
            builder.dynamic, **{"virtual_size": SIZE, "blocks": {0: full()}, "name": "parent", **(below or {})}
        )()

    def make() -> Image:
        spec = {"virtual_size": SIZE, "parent": parent(), "parent_path": f"{name}.{PARENT}", **above}
        return built(builder.differencing, **spec)()

    return Case(name, tests, section, make, parents={f"{name}.{PARENT}": parent}, **more)


def differencing() -> Iterator[Case]:
    whole = {"blocks": {n: full() for n in range(4)}}
    sectors = {
        "first": [0], "last": [2047], "byte-edge": [7, 8], "low-bits": [0, 1, 2], "high-bits": [5, 6, 7],
        "even": range(0, 2048, 2), "odd": range(1, 2048, 2), "all": range(2048), "none": [], "one-run": range(100, 900),
    }  # fmt: skip
    for label, chosen in sectors.items():
        for n in (0, 1):
            what = f"block {n} partly present: {label}"
            yield child(f"partial-{label}-{n}", what, "2.5.1.2", {"blocks": {n: partial(chosen)}}, whole)
    kinds = {"not-present": not_present(), "zero": zeroed(), "full": full()}
    for label, block in kinds.items():
        for n in (0, 3):
            what = f"block {n} {label} over a full one"
            yield child(f"over-parent-{label}-{n}", what, "2.5.1.1", {"blocks": {n: block}}, whole)
    for n in (0, 3):
        what = f"block {n} unmapped over a full one: zeros, or what was there before"
        yield child(
            f"over-parent-unmapped-{n}", what, "2.5.1.1", {"blocks": {n: unmapped()}}, whole, other=as_not_present
        )
    for n, block in enumerate((full(), not_present(), zeroed())):
        name, what = f"bitmap-unneeded-{n}", f"a sector bitmap; block 0, {block.state}, is not partly present"
        yield child(name, what, "2.5.1.2", {"blocks": {0: block, 1: partial([4])}, "junk": Junk.BITS}, whole)
    yield child(
        "parent-larger",
        "a parent larger than its child",
        "2.6.2.6",
        {"blocks": {2: partial([1])}},
        {"virtual_size": 6 * MB},
    )
    yield child(
        "parent-smaller",
        "a parent smaller than its child",
        "2.6.2.6",
        {"blocks": {2: partial([1])}},
        {"virtual_size": MB + 4096},
        either="what is behind the parent's end is not said; zeros are usual",
    )
    yield child(
        "parent-other-blocks",
        "a parent with blocks of 2 MB",
        "2.6.2.6",
        {"blocks": {1: partial([4])}},
        {**whole, "block_size": 2 * MB, "blocks": {0: full(), 1: full()}},
    )
    yield child(
        "parent-dirty-sectors",
        "three blocks, each in another state",
        "2.5.1.1",
        {"blocks": {0: zeroed(), 1: partial([9]), 2: full()}},
        whole,
    )
    yield chain_of_three()


def as_not_present(image: Image) -> Image:
    """The disk if its unmapped blocks are read as what was there before: the parent's."""
    return replace(image, spec=replace(image.spec, blocks={}))


def chain_of_three() -> Case:
    shape = {"virtual_size": SIZE}
    bottom = built(builder.dynamic, **shape, blocks={n: full() for n in range(4)}, name="bottom")

    def middle() -> Image:
        below = {"parent": bottom(), "parent_path": "chain-3.bottom.vhdx"}
        return built(builder.differencing, **shape, **below, blocks={1: partial([1, 2])}, name="middle")()

    def top() -> Image:
        below = {"parent": middle(), "parent_path": "chain-3.middle.vhdx"}
        return built(builder.differencing, **shape, **below, blocks={1: partial([2, 3]), 2: zeroed()})()

    parents = {"chain-3.middle.vhdx": middle, "chain-3.bottom.vhdx": bottom}
    return Case("chain-3", "a chain of three images", "2.6.2.6", top, parents=parents)
