"""How the test image builder lays an image out: where each thing goes, then each structure, field by field.

Every function here fills an `Image` that `builder.build` made. All offsets, lengths and sizes are bytes.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from .base import KB, MB, Fields, SparseFile, StructureWriter, align_up, junk
from .spec import Item, Junk, Locator, Region, Spec

if TYPE_CHECKING:
    from builder import Image

FILE_TYPE, HEADER1, HEADER2, REGION1, REGION2, RESERVED = (n * 64 * KB for n in range(6))
CHECKSUMMED = {"header1": 4 * KB, "header2": 4 * KB, "region1": 64 * KB, "region2": 64 * KB}
"""The structures of the header section that have a checksum, and how much it covers."""

BAT_GUID = uuid.UUID("2DC27766-F623-4200-9D64-115E9BFD4A08")
METADATA_GUID = uuid.UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E")

ITEM_GUIDS = {
    "file_parameters": uuid.UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B"),
    "virtual_disk_size": uuid.UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8"),
    "virtual_disk_id": uuid.UUID("BECA12AB-B2E6-4523-93EF-C309E000C746"),
    "logical_sector_size": uuid.UUID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F"),
    "physical_sector_size": uuid.UUID("CDA348C7-445D-4471-9CC9-E9885251C556"),
    "parent_locator": uuid.UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C"),
}
IS_USER, IS_VIRTUAL_DISK, IS_REQUIRED = 1, 2, 4


def bat_entry(state: int, file_offset: int = 0, reserved_bits: int = 0) -> int:
    """A BAT entry; `file_offset` is a multiple of 1 MiB."""
    if file_offset % MB:
        raise ValueError(f"a block cannot lie at {file_offset}, which is no multiple of 1 MiB")
    return state | reserved_bits << 3 | file_offset // MB << 20


# ---- where each thing goes


def place(image: Image) -> None:
    """Give every region and block its offset, one after another from 1 MiB on, and the file its length."""
    spec = image.spec
    lengths = region_lengths(spec)
    at = end = MB
    for name in [
        *spec.order,
        *(region.name for region in spec.extra_regions if region.name not in spec.order),
    ]:
        start = spec.offsets.get(name, align_up(at, MB))
        if name == "blocks":
            stop = place_blocks(image, start)
        else:
            image.region_offset[name] = start if lengths[name] or name in spec.offsets else 0
            stop = start + lengths[name]
        end = max(end, stop)
        at = at if name in spec.offsets else stop
    image.junk_offset = image.region_offset.pop("junk", 0)
    image.region_length = {name: lengths[name] for name in image.region_offset}
    ends = (at + block_bytes(spec, n) for n, at in image.block_offset.items())
    image.file.truncate(max([end, *ends]))


def region_lengths(spec: Spec) -> dict[str, int]:
    stale = Junk.STALE in spec.junk and any(block.state < 4 for block in spec.blocks.values())
    return {
        "log": spec.log.length,
        "metadata": spec.metadata_length,
        "bat": max(MB, align_up(8 * spec.geometry.bat_entries, MB)),
        "junk": MB if stale else 0,
        **{region.name: region.length for region in spec.extra_regions},
    }


def place_blocks(image: Image, at: int) -> int:
    """Give offsets to payload and sector bitmap blocks; gives the offset behind the last one."""
    spec = image.spec
    for what, n in spec.block_order or shuffled(spec):
        if what == "bitmap":
            image.bitmap_offset[n] = at
            at += MB
        elif (wanted := spec.block(n).file_offset) is not None:
            image.block_offset[n] = wanted
        else:
            image.block_offset[n] = at
            at += block_bytes(spec, n)
    return at


def block_bytes(spec: Spec, n: int) -> int:
    """What block n takes in the file: the last one may end with the disk."""
    return spec.block_size if spec.pad_last_block else spec.used(n)


def shuffled(spec: Spec) -> list[tuple[str, int]]:
    """All blocks that lie in the file, in a fixed order in which none follows its predecessor; one cut short
    comes last.
    """
    listed = range(spec.geometry.blocks) if spec.kind == "fixed" else spec.blocks
    units = [("block", n) for n in sorted(listed) if spec.block(n).in_file]
    chunks = spec.chunks_with_partial_blocks() | set(spec.bitmap_states)
    units += [("bitmap", chunk) for chunk in sorted(chunks) if spec.bitmap_state(chunk)]
    last = [unit for unit in units if unit == ("block", spec.geometry.blocks - 1) and not spec.pad_last_block]
    units = [unit for unit in units if unit not in last]
    rng = random.Random(len(units))
    while True:
        rng.shuffle(units)
        order = units + last
        if len(units) < 2 or all(b != (a[0], a[1] + 1) for a, b in pairwise(order)):
            return order


# ---- the header section


def write_file_type(image: Image, writer: StructureWriter) -> None:
    creator = image.spec.creator
    text = creator.encode("utf-16-le") if isinstance(creator, str) else creator
    writer.put(FILE_TYPE, "file_type", [("signature", "8s", b"vhdxfile"), ("creator", "512s", text)])
    if Junk.GAPS in image.spec.junk:
        image.file.write(RESERVED, junk(MB - RESERVED))


def write_headers(image: Image, writer: StructureWriter) -> None:
    """Two headers; the older one has other GUIDs than the current one."""
    spec = image.spec
    for name, offset, number in zip(("header1", "header2"), (HEADER1, HEADER2), spec.sequence_numbers, strict=True):
        current = number == max(spec.sequence_numbers)
        header: Fields = [
            ("signature", "4s", b"head"),
            ("checksum", "I", 0),
            ("sequence_number", "Q", number),
            ("file_write_guid", "16s", image.file_write_guid if current else spec.guid("older file write")),
            ("data_write_guid", "16s", image.data_write_guid if current else spec.guid("older data write")),
            ("log_guid", "16s", spec.log.guid),
            ("log_version", "H", 0),
            ("version", "H", 1),
            ("log_length", "I", spec.log.length),
            ("log_offset", "Q", image.log_offset),
            ("reserved", "4016s", b""),
        ]
        writer.put(offset, name, header)


def write_region_tables(image: Image, writer: StructureWriter) -> None:
    regions = {region.name: region for region in regions_of(image) if region.name not in image.spec.without}
    first = [name for name in image.spec.region_order if name in regions]
    for prefix, at in (("region1", REGION1), ("region2", REGION2)):
        table: Fields = [
            ("signature", "4s", b"regi"),
            ("checksum", "I", 0),
            ("entry_count", "I", len(regions)),
            ("reserved", "I", 0),
        ]
        at = writer.put(at, prefix, table)
        for name in dict.fromkeys([*first, *regions]):
            entry: Fields = [
                ("guid", "16s", regions[name].guid),
                ("file_offset", "Q", image.region_offset[name]),
                ("length", "I", regions[name].length),
                ("required", "I", regions[name].required),
            ]
            at = writer.put(at, f"{prefix}.{name}", entry)
    for region in image.spec.extra_regions:
        image.file.write(image.region_offset[region.name], region.data)


def regions_of(image: Image) -> list[Region]:
    lengths = image.region_length
    return [
        Region("bat", BAT_GUID, lengths["bat"], 1),
        Region("metadata", METADATA_GUID, lengths["metadata"], 1),
        *image.spec.extra_regions,
    ]


# ---- metadata


def write_metadata(image: Image, writer: StructureWriter) -> None:
    """The table, and the items in another order, unaligned, with junk between them.

    The last entry stands there a second time behind the end, as in Windows' images; EntryCount excludes it.
    """
    spec = image.spec
    items = {item.name: item for item in [*usual_items(image), *spec.extra_items] if item.name not in spec.without}
    offsets = item_offsets(spec, items)
    if Junk.GAPS in spec.junk:
        end = max([64 * KB, *(offsets[name] + len(item.data) for name, item in items.items())])
        image.file.write(image.metadata_offset + 64 * KB, junk(min(end + 64, spec.metadata_length) - 64 * KB))
    table: Fields = [
        ("signature", "8s", b"metadata"),
        ("reserved", "H", 0),
        ("entry_count", "H", len(items)),
        ("reserved2", "20s", b""),
    ]
    at = writer.put(image.metadata_offset, "metadata", table)
    for name in dict.fromkeys([*spec.item_order, *items]):
        entry: Fields = [
            ("item_id", "16s", items[name].guid),
            ("offset", "I", offsets[name]),
            ("length", "I", len(items[name].data)),
            ("flags", "I", items[name].flags),
            ("reserved", "I", 0),
        ]
        at = writer.put(at, f"metadata.{name}", entry)
        image.item_offset[name] = image.metadata_offset + offsets[name]
        write_item(image, writer, items[name])
    if Junk.GAPS in spec.junk and items:
        image.file.write(at, image.file.read(at - 32, 32))


def item_fields(image: Image) -> dict[str, Fields]:
    """The items every disk has, each a structure."""
    spec = image.spec
    flags = {"fixed": 1, "dynamic": 0, "differencing": 2}[spec.kind]
    return {
        "file_parameters": [("block_size", "I", spec.block_size), ("flags", "I", flags)],
        "virtual_disk_size": [("size", "Q", spec.virtual_size)],
        "virtual_disk_id": [("id", "16s", image.disk_id)],
        "logical_sector_size": [("size", "I", spec.sector_size)],
        "physical_sector_size": [("size", "I", spec.physical_sector_size)],
    }


def usual_items(image: Image) -> list[Item]:
    """The items of `item_fields` and a locator, if there is one, as zeros of the right size: `write_item`
    fills them.
    """
    spec = image.spec
    sizes = {name: StructureWriter(SparseFile()).put(0, name, fields) for name, fields in item_fields(image).items()}
    if spec.locator:
        sizes["parent_locator"] = write_locator(StructureWriter(SparseFile()), 0, spec.locator)
    contents = {name: bytes(size) for name, size in sizes.items()}
    contents |= {name: data for name, data in spec.item_data.items() if name in ITEM_GUIDS}
    about_the_file = ("file_parameters", "parent_locator")
    return [
        Item(
            name,
            ITEM_GUIDS[name],
            data,
            IS_REQUIRED if name in about_the_file else IS_REQUIRED | IS_VIRTUAL_DISK,
        )
        for name, data in contents.items()
    ]


def item_offsets(spec: Spec, items: Mapping[str, Item]) -> dict[str, int]:
    """Offsets in the region: the last of the table first, three bytes apart; an empty item has none."""
    offsets: dict[str, int] = {}
    at = 64 * KB
    for name, item in reversed(list(items.items())):
        wanted = spec.item_offsets.get(name, item.offset)
        offsets[name] = wanted if wanted is not None else at if item.data else 0
        if wanted is None and item.data:
            at += len(item.data) + 3
    return offsets


def write_item(image: Image, writer: StructureWriter, item: Item) -> None:
    spec, at, fields = image.spec, image.item_offset[item.name], item_fields(image)
    usual = item.name not in spec.item_data
    if item.name in fields and usual:
        writer.put(at, item.name, fields[item.name])
    elif item.name == "parent_locator" and spec.locator and usual:
        write_locator(writer, at, spec.locator)
    elif item.data:
        image.file.write(at, item.data)


def write_locator(writer: StructureWriter, start: int, locator: Locator) -> int:
    """A parent locator, its strings in reverse; gives the offset behind it."""
    header: Fields = [("type", "16s", locator.type), ("reserved", "H", 0), ("count", "H", len(locator.pairs))]
    at = writer.put(start, "parent_locator", header)
    end = at + 12 * len(locator.pairs)
    for i, pair in reversed(list(enumerate(locator.pairs))):
        key, value = (text if isinstance(text, bytes) else text.encode("utf-16-le") for text in pair)
        value_at, key_at = end - start, end - start + len(value)
        writer.file.write(end, value + key)
        end += len(value + key)
        entry: Fields = [
            ("key_offset", "I", key_at),
            ("value_offset", "I", value_at),
            ("key_length", "H", len(key)),
            ("value_length", "H", len(value)),
        ]
        writer.put(at + 12 * i, f"parent_locator.entry{i}", entry)
    return end


# ---- BAT and payload


def write_bat(image: Image, writer: StructureWriter) -> None:
    """Entries of the given blocks and of those in the file; the others stay a hole."""
    spec, geometry = image.spec, image.spec.geometry
    entries = {geometry.block_index(n): payload_entry(image, n) for n in {*image.block_offset, *spec.blocks}}
    for chunk in {*image.bitmap_offset, *spec.bitmap_states}:
        entries[geometry.bitmap_index(chunk)] = bat_entry(spec.bitmap_state(chunk), image.bitmap_offset.get(chunk, 0))
    index_of: dict[str, Callable[[int], int]] = {
        "bat": lambda index: index,
        "block": geometry.block_index,
        "bitmap": geometry.bitmap_index,
    }
    for name, value in spec.overrides.items():
        what, bracket, n = name.rstrip("]").partition("[")
        if bracket and what in index_of and isinstance(value, int):
            entries[index_of[what](int(n))] = value
            writer.used.add(name)
    if Junk.GAPS in spec.junk:
        behind = 8 * geometry.bat_entries
        image.file.write(image.bat_offset + behind, junk(min(4 * KB, image.region_length["bat"] - behind)))
    write_words(image.file, image.bat_offset, entries)


def payload_entry(image: Image, n: int) -> int:
    block = image.spec.block(n)
    stale = image.junk_offset if block.file_offset is None else block.file_offset
    return bat_entry(block.state, image.block_offset.get(n, stale), block.reserved_bits)


def write_words(file: SparseFile, start: int, words: Mapping[int, int]) -> None:
    """64-bit words by index, read and written by pages of 512."""
    pages: dict[int, bytearray] = {}
    for index, word in words.items():
        number, place = divmod(index, 512)
        if number not in pages:
            pages[number] = bytearray(file.read(start + 4 * KB * number, 4 * KB).ljust(4 * KB, b"\0"))
        pages[number][8 * place : 8 * place + 8] = word.to_bytes(8, "little")
    for number, page in pages.items():
        file.write(start + 4 * KB * number, page)


def write_payload(image: Image) -> None:
    """Each block's junk, then its content over it; the bitmaps; what stale entries point at."""
    spec = image.spec
    for n, at in image.block_offset.items():
        size, used = block_bytes(spec, n), spec.used(n)
        if Junk.SECTORS in spec.junk:
            for start in junk_places(spec, n):
                image.file.write(at + start, junk(min(MB, size - start)))
        for offset, data in spec.content(n).items():
            if offset + len(data) > spec.block_size:
                raise ValueError(f"{len(data)} bytes at {offset} do not fit in block {n}")
            image.file.write(at + offset, data[: max(0, used - offset)])
    for chunk, at in image.bitmap_offset.items():
        image.file.write(at, bitmap(spec, chunk))
    if image.junk_offset:
        image.file.write(image.junk_offset, junk(MB))


def junk_places(spec: Spec, n: int) -> set[int]:
    """Offsets in block n from which up to 1 MiB is junk where nothing is written.

    They are the first and the last MB of a block that is not FULLY_PRESENT, and what lies behind the disk's
    end.
    """
    size, used = block_bytes(spec, n), spec.used(n)
    behind = {used} if used < size else set()
    return behind if spec.block(n).state == 6 else behind | {0, max(0, size - MB)}


def bitmap(spec: Spec, chunk: int) -> bytes:
    """A sector bitmap block: the true bits of PARTIALLY_PRESENT blocks, elsewhere junk, or all ones for a
    whole block.
    """
    ratio = spec.geometry.chunk_ratio
    out = bytearray(b"\xa5" * MB if Junk.BITS in spec.junk else MB)
    per_block = spec.block_size // spec.sector_size // 8
    for n, block in spec.blocks.items():
        if n // ratio == chunk and block.state in (6, 7):
            start = per_block * (n % ratio)
            if block.state == 7:
                out[start : start + per_block] = bits(block.sectors, per_block)
            elif Junk.BITS not in spec.junk:
                out[start : start + per_block] = b"\xff" * per_block
    return bytes(out)


def bits(sectors: Iterable[int], size: int) -> bytes:
    """`size` bytes in which the bits of `sectors` are 1, least significant bit first."""
    out = bytearray(size)
    for sector in sectors:
        out[sector // 8] |= 1 << sector % 8
    return bytes(out)
