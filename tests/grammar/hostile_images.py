"""Images made to part the languages: numbers that do not fit a float or a signed integer, places outside the file,
text that is none, structures that are missing or cut. Each by name, made when it is asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from builder import (
    KB,
    LOG_GUID,
    MB,
    TB,
    Data,
    Image,
    Locator,
    Log,
    LogEntry,
    Zero,
    bat_entry,
    differencing,
    dynamic,
    full,
    partial,
    reserved,
    run,
    with_log,
)
from grammar_tools import child, dirty_log, every_state

FAR = 2**63
PAGE = bytes(range(256)) * 16


def sequence_numbers(*numbers: int) -> Callable[[], Image]:
    """Two headers with these."""
    return lambda: dynamic(3 * MB, {0: full(b"x")}, sequence_numbers=numbers)


def virtual_disk_size(size: int) -> Callable[[], Image]:
    """A disk that claims this size."""
    return lambda: dynamic(3 * MB, {0: full(b"x")}, overrides={"virtual_disk_size.size": size})


def blocks_outside_the_file() -> Image:
    """Present blocks that begin behind the end, at it, that it cuts, and so far away that a sum overflows."""
    image = dynamic(8 * MB - 512, {n: full(b"%d" % n) for n in range(8)}, pad_last_block=False)
    end = image.file.length + 512  # of the last block, if it were whole
    places = {0: end, 1: end + MB, 2: 1 << 42, 3: (1 << 62) + 5 * MB, 4: FAR, 5: 2**64 - MB}
    for n, place in places.items():
        image.patch(image.block_entry_offset(n), struct.pack("<Q", bat_entry(6, place)))
    return image


def a_block_that_its_disk_does_not_fill() -> Image:
    """The last block ends with the disk, and the file with it."""
    return dynamic(2 * MB + 512, {0: full(b"a"), 2: full(b"c")}, pad_last_block=False)


def a_block_that_is_cut() -> Image:
    """The same, a byte shorter."""
    image = a_block_that_its_disk_does_not_fill()
    return image.truncate(image.file.length - 1)


def bitmaps_outside_the_file() -> Image:
    image = differencing(5 * MB, {1: partial([3])}, parent=dynamic(5 * MB), overrides={"bitmap[0]": bat_entry(6, FAR)})
    return image.truncate(image.block_offset[1] + 5 * KB)


def bitmap_that_is_cut() -> Image:
    image = differencing(5 * MB, {1: partial([3])}, parent=dynamic(5 * MB), block_order=[("block", 1), ("bitmap", 0)])
    return image.truncate(image.bitmap_offset[0] + MB - 1)


def reserved_states() -> Image:
    return dynamic(5 * MB, {0: reserved(4), 1: reserved(5), 2: full(b"x")})


def no_headers() -> Image:
    return every_state().patch("header1.signature", b"xxxx").patch("header2.signature", bytes(4))


def no_region_tables() -> Image:
    return every_state().patch("region1.signature", b"xxxx").patch("region2.signature", bytes(4))


def second_region_table() -> Image:
    return every_state().patch("region1.signature", b"xxxx").patch("region1.bat.file_offset", FAR)


def regions_far_away() -> Image:
    return every_state().patch("region1.metadata.file_offset", FAR + MB).patch("region1.bat.file_offset", 2**64 - MB)


def no_log_in_the_file() -> Image:
    return every_state().patch("header2.log_offset", FAR)


def odd_log() -> Image:
    """No multiple of a sector, and not even 1 MiB."""
    return dirty_log().patch("header2.log_length", 3 * 4 * KB + 5)


def wild_log() -> Image:
    """Entries that claim all kinds of lengths, counts and places, and a data sector that was not written whole."""
    updates = [Data(2 * MB, PAGE), Zero(FAR, FAR), Data(2**64 - 4 * KB, PAGE), Zero(MB, 2 * MB), Zero(0, 2**40)]
    fields: list[dict[str, bytes | int]] = [
        {"entry_length": 2**32 - 1},
        {"entry_length": 0},
        {"entry_length": 64},
        {"descriptor_count": 2**32 - 1},
        {"desc[0].signature": b"what", "data[0].signature": b"tada", "data[1].low": 1},
        {"log_guid": LOG_GUID.bytes, "sequence_number": 2**64 - 1},
    ]
    entries = [
        (at * 16 * KB, LogEntry(FAR + at, descriptors=updates, overrides=override))
        for at, override in enumerate(fields)
    ]
    return with_log(every_state(), Log(entries=entries, guid=LOG_GUID))


def log_that_wraps() -> Image:
    """Its second entry goes on at the start of the ring, over nothing that anybody needs."""
    entries = run([[Data(MB, PAGE)], [Data(MB, PAGE)] * 3], at=MB - 12 * KB, first=2**63 - 1)
    return with_log(dynamic(3 * MB), Log(entries=entries, guid=LOG_GUID))


def items_outside_their_region() -> Image:
    image = child()
    image.patch("metadata.file_parameters.offset", 2**32 - 1).patch("metadata.virtual_disk_id.length", 15)
    return image.patch("metadata.parent_locator.length", 100)


def short_geometry() -> Image:
    return every_state().patch("metadata.virtual_disk_size.length", 7)


def large_items() -> Image:
    """Values that are not what they say, as far as the width of their numbers."""
    data = {"file_parameters": b"\xff" * 8, "logical_sector_size": b"\xff" * 4, "physical_sector_size": b"\xff" * 4}
    return dynamic(MB, item_data=data)


def unknown_only() -> Image:
    return dynamic(MB, without={"file_parameters", "virtual_disk_size"})


def too_many_entries() -> Image:
    return every_state().patch("metadata.entry_count", 2048).patch("region1.entry_count", 2048)


def most_entries() -> Image:
    return every_state().patch("metadata.entry_count", 2047).patch("region1.entry_count", 2047)


def text(raw: bytes) -> Callable[[], Image]:
    """This as creator and in the locator."""
    locator = Locator([(raw[:30], raw[:30]), ("relative_path", 'a"\\\u2028é\U0001f4be')])
    return lambda: differencing(3 * MB, parent=dynamic(3 * MB), locator=locator, creator=raw)


def cut(length: Callable[[Image], int]) -> Callable[[], Image]:
    def make() -> Image:
        image = child()
        return image.truncate(length(image))

    return make


HOSTILE: Mapping[str, Callable[[], Image]] = {
    "sequence_numbers_beyond_a_signed_number": sequence_numbers(FAR - 1, FAR),
    "sequence_numbers_beyond_a_float": sequence_numbers(2**54, 2**54 + 1),
    "sequence_numbers_at_the_end": sequence_numbers(2**64 - 2, 2**64 - 1),
    "sequence_numbers_with_larger_low_half": sequence_numbers(2**32 - 1, 2**32),
    "sequence_numbers_that_are_equal": sequence_numbers(5, 5),
    "size_beyond_a_signed_number": virtual_disk_size(FAR + 512),
    "size_at_the_end": virtual_disk_size(2**64 - 512),
    "size_one_sector_too_large": virtual_disk_size(64 * TB + 512),
    "text_without_an_end": text("x".encode("utf-16-le") * 256),
    "text_that_is_none": text(b"\x00\xd8A\x00B\x00\x00\x00"),
    "text_of_odd_bytes": text(b"A\x00B\x00\x00\x01\x00\x00C\x00\x00\x00D\x00\x00\x00" + b"x" * 15),
    "cut_in_the_bat": cut(lambda image: image.bat_offset + 20),
    "cut_in_the_metadata": cut(lambda image: image.metadata_offset + 64 * KB),
    "cut_in_the_identifier": cut(lambda _: 100),
    "cut_in_header_2": cut(lambda _: 128 * KB + 80),
} | {
    make.__name__: make
    for make in (
        blocks_outside_the_file,
        a_block_that_its_disk_does_not_fill,
        a_block_that_is_cut,
        bitmaps_outside_the_file,
        bitmap_that_is_cut,
        reserved_states,
        no_headers,
        no_region_tables,
        second_region_table,
        regions_far_away,
        no_log_in_the_file,
        odd_log,
        wild_log,
        log_that_wraps,
        items_outside_their_region,
        short_geometry,
        large_items,
        unknown_only,
        too_many_entries,
        most_entries,
    )
}  # fmt: skip
