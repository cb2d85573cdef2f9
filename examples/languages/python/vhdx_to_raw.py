"""Copies the virtual disk of a fixed or dynamic VHDX image to standard output: vhdx_to_raw.py IMAGE > DISK

The parser is generated from vhdx.ksy. Here is what a grammar cannot say: checksums, which copy counts, and what
refuses an image. What is written is right, or the exit code is 1. Section numbers are those of [MS-VHDX].
"""

import sys
from typing import BinaryIO

from crc32c import crc32c
from kaitaistruct import BytesIO, KaitaiStream, KaitaiStructError
from vhdx import Vhdx

KB, MB, TB = 1 << 10, 1 << 20, 1 << 40
ZEROS = bytes(MB)
ITEM_SIZES = {  # of the known metadata items, by the grammar's names
    "file parameters": 8,
    "virtual disk size": 8,
    "virtual disk ID": 16,
    "logical sector size": 4,
    "physical sector size": 4,
    "parent locator": 20,
}


class ImageError(Exception):
    """What is wrong with the image, in one line."""


def require(holds: bool, why: str) -> None:
    """An error that says why, if it does not hold."""
    if not holds:
        raise ImageError(why)


class Places(dict[str, range]):
    """Stretches of the file by name, from `low` to `high`, which do not overlap."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def check(self, name: str, start: int, length: int) -> range:
        """The place, if nothing else is there."""
        end = start + length
        fits = self.low <= start and end <= self.high
        require(fits, f"{name}, {length} bytes at {start}, is not between {self.low} and {self.high}")
        for other, there in self.items():
            require(start >= there.stop or there.start >= end, f"{name} at {start} overlaps {other}")
        return range(start, end)

    def add(self, name: str, start: int, length: int) -> None:
        """Take the place."""
        require(name not in self, f"{name} is listed twice")
        self[name] = self.check(name, start, length)

    def __missing__(self, name: str) -> range:
        raise ImageError(f"there is no {name}")


class Image:
    """An image file, and its size in bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size = file, file.seek(0, 2)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes; callers bound the length."""
        self.file.seek(offset)
        data = self.file.read(length)
        require(len(data) == length, f"{length} bytes wanted at {offset}, the file ends at {self.size}")
        return data

    def current_header(self) -> Vhdx.Header:
        """Of the valid headers the one with the greater sequence number [2.2.2]."""
        copies = [self.read(offset, 4 * KB) for offset in (64 * KB, 128 * KB)]
        headers = [Vhdx.Header.from_bytes(data) for data in copies if is_valid(data, b"head")]
        require(len(headers) > 0, "no header has the right signature and checksum")
        current = max(headers, key=lambda header: header.sequence_number)
        is_unique = len({header.sequence_number for header in headers}) == len(headers)
        require(is_unique or copies[0] == copies[1], f"two headers have the sequence number {current.sequence_number}")
        require(current.version == 1, f"version {current.version} is not known")
        require(not any(current.log_guid.raw), "the log must be replayed first, which this program cannot do")
        return current

    def regions(self) -> Places:
        """Where BAT and metadata are, by the first valid region table [2.2.3]."""
        copies = [self.read(offset, 64 * KB) for offset in (192 * KB, 256 * KB)]
        valid = [data for data in copies if is_valid(data, b"regi")]
        require(len(valid) > 0, "no region table has the right signature and checksum")
        table = Vhdx.RegionTable.from_bytes(valid[0])
        require(table.num_entries <= 2047, f"{table.num_entries} regions are more than fit in a table")
        regions = Places(MB, self.size)
        for entry in table.entries:
            if entry.kind != "unknown":
                aligned = entry.ofs_region % MB == 0 and entry.len_region % MB == 0
                require(aligned and entry.len_region > 0, "the place of a region is not aligned")
                regions.add(entry.kind, entry.ofs_region, entry.len_region)
            else:
                require(not entry.is_required, "a required region is not known")
        return regions

    def items(self, region: range) -> Places:
        """Where the known metadata items are [2.6.1]."""
        table = Vhdx.MetadataTable.from_bytes(self.read(region.start, 64 * KB))
        require(table.magic == b"metadata" and table.num_entries <= 2047, "there is no metadata table")
        items = Places(region.start + 64 * KB, region.stop)
        for entry in table.entries:
            if entry.kind in ITEM_SIZES:
                fits = ITEM_SIZES[entry.kind] <= entry.len_item <= MB
                require(fits, f"{entry.kind} has {entry.len_item} bytes")
                items.add(entry.kind, region.start + entry.ofs_item, entry.len_item)
            else:
                require(not entry.is_required, "a required metadata item is not known")
        return items

    def block_allocation_table(self, regions: Places) -> Vhdx.Bat:
        """That of this disk, whose arithmetic is in the grammar [2.5]."""
        items = self.items(regions["metadata"])
        parameters = Vhdx.FileParametersItem.from_bytes(self.read(items["file parameters"].start, 8))
        disk = Vhdx.VirtualDiskSizeItem.from_bytes(self.read(items["virtual disk size"].start, 8))
        logical = Vhdx.LogicalSectorSizeItem.from_bytes(self.read(items["logical sector size"].start, 4))
        block, size, sector = parameters.len_block, disk.virtual_disk_size, logical.logical_sector_size
        require(not parameters.has_parent, "a differencing disk needs its parent, which this program does not read")
        require(MB <= block <= 256 * MB and block & block - 1 == 0, f"blocks of {block} bytes cannot be")
        require(sector in (512, 4096), f"sectors of {sector} bytes cannot be")
        require(size <= 64 * TB and size % sector == 0, f"a disk of {size} bytes cannot be")
        return Vhdx.Bat(regions["BAT"].start, size, block, sector, False, KaitaiStream(BytesIO(b"")))

    def copy_disk(self, out: BinaryIO) -> None:
        """Write the whole disk, block by block."""
        require(self.read(0, 8) == b"vhdxfile", "not a VHDX image")
        header, regions = self.current_header(), self.regions()
        bat = self.block_allocation_table(regions)
        bat_end, log_end = regions["BAT"].stop, header.ofs_log + header.len_log
        if header.ofs_log % MB == 0 and header.len_log % MB == 0 and header.ofs_log >= MB and log_end <= self.size:
            regions["log"] = range(header.ofs_log, log_end)  # elsewhere it is in nobody's way: nothing is replayed
        for chunk in bat.chunks[-1:]:
            fits = chunk.ofs_chunk + 8 * chunk.num_payload_blocks <= bat_end
            require(fits, "the BAT region is too small for the disk")
        left = bat.len_disk
        for chunk in bat.chunks:
            entries = KaitaiStream(BytesIO(self.read(chunk.ofs_chunk, 8 * chunk.num_payload_blocks)))
            for n in range(chunk.num_payload_blocks):
                used = min(left, bat.len_block)
                self.copy_block(f"block {chunk.first_block + n}", Vhdx.BatPayloadEntry(entries), used, regions, out)
                left -= used

    def copy_block(self, name: str, entry: Vhdx.BatPayloadEntry, used: int, regions: Places, out: BinaryIO) -> None:
        """Write the first `used` bytes of a block: those of the file, or zeros."""
        states = Vhdx.PayloadState
        if entry.state == states.fully_present:
            place = regions.check(name, entry.ofs_block, used)
            for at in range(place.start, place.stop, MB):
                out.write(self.read(at, min(MB, place.stop - at)))
        else:
            absent = entry.state in (states.not_present, states.undefined, states.zero, states.unmapped)
            require(absent, f"{name} is in state {int(entry.state)}, which no disk without parent has")
            for at in range(0, used, MB):
                out.write(ZEROS[: used - at])


def is_valid(data: bytes, signature: bytes) -> bool:
    """Whether a structure has this signature and, its checksum at offset 4 as zero, the CRC-32C it says."""
    return data[:4] == signature and crc32c(data[:4] + bytes(4) + data[8:]) == int.from_bytes(data[4:8], "little")


def main(arguments: list[str]) -> int:
    """Copy the disk; the exit code."""
    if len(arguments) != 1:
        print("usage: vhdx_to_raw.py IMAGE > DISK", file=sys.stderr)
        return 64
    try:
        with open(arguments[0], "rb") as file, open(sys.stdout.fileno(), "wb", closefd=False) as out:
            Image(file).copy_disk(out)
    except (ImageError, KaitaiStructError, OSError) as error:
        print(f"vhdx_to_raw.py: {arguments[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
