"""Partition tables: held against sfdisk's on tables that it wrote, and against the UEFI specification where broken."""

from __future__ import annotations

import json
import struct
import subprocess
import uuid
import zlib

import pytest
from builder import MB, dynamic, full, reserved

import vhdxreader
from vhdxreader.disk.partitions import read_partitions

SIZE = 64 * MB
LINUX = uuid.UUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
BASIC = uuid.UUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7")

SCRIPTS = {
    "mbr": "label: dos\nstart=2048, size=2048, type=7, bootable\nstart=4096, size=1024, type=83",
    "mbr with gaps": "label: dos\n2: start=2048, size=2048, type=c\n4: start=8192, size=1000, type=83",
    "mbr with logical": (
        "label: dos\nstart=2048, size=2048, type=7\nstart=4096, size=100000, type=f\n"
        "start=6144, size=2048, type=83\nstart=10240, size=4096, type=7\nstart=20480, size=777, type=82"
    ),
    "gpt": (
        "label: gpt\nstart=2048, size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=\"EFI\"\n"
        "start=4096, size=8192, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=\"Größe ✓\""
    ),
    "gpt with gaps": "label: gpt\n3: start=2048, size=2048\n7: start=8192, size=8192",
}  # fmt: skip


def table(data: bytes | bytearray, sector_size: int = 512):
    return read_partitions(lambda size, offset: bytes(data[offset : offset + size]), len(data), sector_size)


def rules(found) -> list[str]:
    return [finding.rule for finding in found.findings]


@pytest.mark.witness
@pytest.mark.parametrize("name", SCRIPTS)
def test_as_sfdisk_sees_what_it_wrote(name, tmp_path, witness):
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"")
    with open(raw, "r+b") as file:
        file.truncate(SIZE)
    sfdisk = witness("sfdisk")
    subprocess.run([sfdisk, "-q", raw], input=SCRIPTS[name].encode(), check=True, capture_output=True)
    shown = json.loads(subprocess.run([sfdisk, "--json", raw], check=True, capture_output=True).stdout)
    expected = [
        (int(part["node"].removeprefix(str(raw))), part["start"] * 512, part["size"] * 512)
        for part in shown["partitiontable"]["partitions"]
    ]
    found = table(raw.read_bytes())
    assert found.scheme == {"dos": "mbr", "gpt": "gpt"}[shown["partitiontable"]["label"]]
    # Linux shows an extended partition, too; its length there is of its first table only
    assert [(part.number, part.disk_offset, part.length) for part in found.partitions] == expected
    assert rules(found) == []
    for ours, theirs in zip(found.partitions, shown["partitiontable"]["partitions"], strict=True):
        assert ours.name == theirs.get("name", None if found.scheme == "mbr" else "")
        assert ours.bootable == theirs.get("bootable", False)
        assert ours.type == theirs["type"].lower().zfill(2)
        if found.scheme == "gpt":
            assert str(ours.guid) == theirs["uuid"].lower()
    if found.scheme == "gpt":
        assert str(found.guid) == shown["partitiontable"]["id"].lower()
    else:
        assert "0x" + found.signature == shown["partitiontable"]["id"]


def mbr(*entries: tuple[int, int, int]) -> bytearray:
    """A first sector: type, first sector, sectors of each partition [UEFI 5.2.1]."""
    sector = bytearray(512)
    for i, (kind, first, count) in enumerate(entries):
        struct.pack_into("<B3xB3xII", sector, 446 + 16 * i, 0, kind, first, count)
    sector[510:] = b"\x55\xaa"
    return sector


def gpt(entries: dict[int, tuple[int, int]], sector: int = 512, size: int = SIZE) -> bytearray:
    """A disk with a GPT and its backup; of each partition, by number, the first and the last sector [UEFI 5.3]."""
    disk = bytearray(size)
    last = size // sector - 1
    disk[:512] = mbr((0xEE, 1, last))
    array = bytearray(128 * 128)
    for number, (first, end) in entries.items():
        name = f"part {number}".encode("utf-16-le")
        struct.pack_into(
            "<16s16sQQQ72s",
            array,
            128 * (number - 1),
            LINUX.bytes_le,
            uuid.UUID(int=number).bytes_le,
            first,
            end,
            0,
            name,
        )
    sectors = len(array) // sector
    for own, other, at in ((1, last, 2), (last, 1, last - sectors)):
        disk[at * sector : at * sector + len(array)] = array
        disk[own * sector : own * sector + 92] = header(own, other, at, zlib.crc32(array))
    return disk


def header(own: int, other: int, at: int, crc: int, count: int = 128, entry_size: int = 128) -> bytes:
    usable = max(max(own, other) - 34, 0)

    def pack(checksum: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, checksum, 0, own, other, 34, usable, bytes(16), at, count,
            entry_size, crc,
        )  # fmt: skip

    return pack(zlib.crc32(pack(0)))


@pytest.mark.parametrize("sector", [512, 4096])
def test_gpt_of_either_sector_size(sector):
    found = table(gpt({1: (100, 199), 4: (300, 300)}, sector), sector)
    assert [(p.number, p.disk_offset, p.length, p.name) for p in found.partitions] == [
        (1, 100 * sector, 100 * sector, "part 1"),
        (4, 300 * sector, sector, "part 4"),
    ]
    assert (found.sector_size, rules(found)) == (sector, [])


@pytest.mark.parametrize(("made", "disk"), [(4096, 512), (512, 4096)])
def test_gpt_made_for_the_other_sector_size(made, disk):
    found = table(gpt({1: (100, 199)}, made), disk)
    assert [(p.disk_offset, p.length) for p in found.partitions] == [(100 * made, 100 * made)]
    assert rules(found) == ["partitions.sector_size"]


@pytest.mark.parametrize("at", [512, 512 + 16, 512 + 80, 512 + 88, 1024, 1024 + 32])
def test_a_broken_primary_gives_way_to_its_backup(at):
    disk = gpt({1: (100, 199)})
    disk[at] ^= 0xFF
    found = table(disk)
    assert [(p.disk_offset, p.length) for p in found.partitions] == [(51200, 51200)]
    assert rules(found) == ["partitions.gpt_primary"]


@pytest.mark.parametrize("at", [-512, -512 + 32, -512 - 128 * 128])
def test_a_broken_backup_is_told_of(at):
    disk = gpt({1: (100, 199)})
    disk[at] ^= 0xFF
    found = table(disk)
    assert [(p.disk_offset, p.length) for p in found.partitions] == [(51200, 51200)]
    assert rules(found) == ["partitions.gpt_backup"]
    assert "the GPT itself" in found.findings[0].means


def test_a_backup_that_says_something_else():
    disk, other = gpt({1: (100, 199)}), gpt({1: (100, 299)})
    disk[-33 * 512 :] = other[-33 * 512 :]
    found = table(disk)
    assert [p.length for p in found.partitions] == [51200]
    assert rules(found) == ["partitions.gpt_backup"]


@pytest.mark.parametrize("sector", [512, 4096])
def test_the_backup_of_a_grown_disk_is_not_at_its_end(sector):
    found = table(gpt({1: (100, 199)}, sector) + bytes(MB), sector)
    assert (len(found.partitions), rules(found)) == (1, ["partitions.gpt_not_at_end"])


def test_a_disk_cut_short_has_no_backup():
    found = table(gpt({1: (100, 199)})[:-MB])
    assert (len(found.partitions), rules(found)) == (1, ["partitions.gpt_backup"])


@pytest.mark.parametrize(("first", "last"), [(2, 33), (33, 40), (200, SIZE // 512 - 34), (1, 1)])
def test_a_partition_among_the_sectors_of_the_gpt_is_told_of(first, last):
    assert rules(table(gpt({1: (first, last)}))) == ["partitions.not_usable"]


def test_the_first_and_the_last_usable_sector_are_usable():
    assert rules(table(gpt({1: (34, 34), 2: (SIZE // 512 - 35, SIZE // 512 - 35)}))) == []


def test_a_backup_in_a_lost_block_is_a_finding(tmp_path):
    disk = gpt({1: (100, 199)}, size=4 * MB)
    path = dynamic(4 * MB, {0: full({0: bytes(disk[:MB])}), 3: reserved(5)}).save(tmp_path / "disk.vhdx")
    with vhdxreader.open(path) as opened:
        found = opened.partitions()
    assert (len(found.partitions), rules(found)) == (1, ["partitions.unreadable", "partitions.gpt_backup"])


def test_both_broken():
    disk = gpt({1: (100, 199)})
    disk[512] ^= 0xFF
    disk[-512] ^= 0xFF
    found = table(disk)
    assert (found.scheme, [p.type for p in found.partitions], rules(found)) == ("mbr", ["ee"], ["partitions.gpt"])


@pytest.mark.parametrize(
    ("count", "entry_size"), [(0xFFFFFFFF, 128), (128, 0x80000000), (1 << 20, 4096), (128, 127), (128, 0), (128, 129)]
)
def test_hostile_counts_are_refused(count, entry_size):
    disk = gpt({1: (100, 199)})
    disk[512 : 512 + 92] = header(1, 2, 2, 0, count, entry_size)
    assert rules(table(disk)) == ["partitions.gpt_primary"]


def test_partitions_are_clipped_to_the_disk():
    last = SIZE // 512 - 1
    found = table(gpt({1: (last - 1, last + 5), 2: (last + 1, last + 5), 3: (50, 40), 5: (1 << 63, (1 << 63) + 1)}))
    assert [(p.number, p.length) for p in found.partitions] == [(1, 1024)]
    assert rules(found) == ["partitions.outside"] * 4


@pytest.mark.parametrize(
    ("second", "found"),
    [((200, 299), []), ((199, 299), ["partitions.overlap"]), ((120, 130), ["partitions.overlap"])],
)
def test_partitions_that_overlap_are_told_of(second, found):
    of_gpt = table(gpt({1: (100, 199), 2: second}))
    assert (len(of_gpt.partitions), rules(of_gpt)) == (2, found)
    assert all(str(each).endswith(f" (rule {each.rule})") for each in of_gpt.findings)  # no section of [MS-VHDX]
    first, last = second
    of_mbr = table(mbr((7, first, last - first + 1), (7, 100, 100)) + bytes(SIZE - 512))
    assert (len(of_mbr.partitions), rules(of_mbr)) == (2, found)


def test_logical_partitions_do_not_overlap_the_extended_one():
    disk = mbr((5, 100, 400)) + bytes(SIZE - 512)
    disk[100 * 512 : 101 * 512] = mbr((7, 1, 200))[:512]
    assert rules(table(disk)) == []


def test_a_gpt_wins_only_over_an_mbr_that_protects_it():
    disk = gpt({1: (100, 199)})
    disk[:512] = mbr((0x83, 5000, 10))
    assert table(disk).scheme == "mbr"
    disk[:512] = mbr((0x83, 5000, 10), (0xEE, 1, 10))
    assert table(disk).scheme == "gpt"
    disk[:512] = bytes(512)
    assert table(disk).scheme == "gpt"


def test_a_loop_of_logical_partitions_ends():
    disk = bytearray(SIZE)
    disk[:512] = mbr((0x0F, 100, 1000))
    disk[51200:51712] = mbr((0x83, 10, 5), (0x05, 20, 10))
    disk[120 * 512 : 121 * 512] = mbr((0x83, 10, 5), (0x05, 0, 10))
    found = table(disk)
    assert [(p.number, p.disk_offset, p.length) for p in found.partitions] == [
        (1, 51200, 512000), (5, 110 * 512, 2560), (6, 130 * 512, 2560),
    ]  # fmt: skip
    assert rules(found) == ["partitions.logical"]


def test_a_chain_that_breaks_off():
    disk = bytearray(SIZE)
    disk[:512] = mbr((0x05, 100, 1000))
    found = table(disk)
    assert ([p.number for p in found.partitions], rules(found)) == ([1], ["partitions.logical"])


@pytest.mark.parametrize("size", [0, 511, 512, 1024])
def test_disks_too_small_for_a_table(size):
    assert table(bytes(size)).scheme == "none"


def test_what_cannot_be_read_is_a_finding_or_the_reads_error():
    disk = gpt({1: (100, 199)})

    def pread(size: int, offset: int) -> bytes:
        if offset <= unreadable < offset + size:
            raise OSError(5, "bad sector")
        return bytes(disk[offset : offset + size])

    unreadable = 512
    found = read_partitions(pread, len(disk), 512)
    assert rules(found) == ["partitions.unreadable", "partitions.gpt_primary"]
    assert len(found.partitions) == 1
    unreadable = 0
    with pytest.raises(OSError, match="bad sector"):
        read_partitions(pread, len(disk), 512)


VOLUMES = {
    "ext4": ["mkfs.ext4", "-q"],
    "ext2": ["mkfs.ext2", "-q"],
    "ext3": ["mkfs.ext3", "-q"],
    "FAT32": ["mkfs.vfat", "-F", "32"],
    "FAT16": ["mkfs.vfat", "-F", "16"],
    "swap": ["mkswap"],
}


@pytest.mark.witness
@pytest.mark.parametrize("name", VOLUMES)
def test_a_volume_without_a_table_is_named(name, tmp_path, witness):
    raw = tmp_path / "volume.raw"
    with open(raw, "wb") as file:
        file.truncate(SIZE)
    subprocess.run([witness(VOLUMES[name][0]), *VOLUMES[name][1:], raw], check=True, capture_output=True)
    found = table(raw.read_bytes())
    assert (found.scheme, found.volume, rules(found)) == ("none", name, [])


def test_a_partition_is_a_file_of_its_bytes(tmp_path):
    content = bytes(range(256)) * 4096
    disk = bytearray(3 * MB)
    disk[:512] = mbr((0x83, 2048, 2047), (0x07, 100, 10))
    disk[MB : 2 * MB] = content
    image = dynamic(3 * MB, {0: full({0: bytes(disk[:MB])}), 1: full({0: content})})
    path = image.save(tmp_path / "disk.vhdx")
    with vhdxreader.open(path) as opened:
        assert [part.number for part in opened.partitions().partitions] == [1, 2]
        with opened.partition(1) as file:
            length = 2047 * 512
            assert (file.size, file.name) == (length, f"{path}#1")
            assert file.read() == content[:length]
            assert file.pread(1000, length - 10) == content[length - 10 : length]
            assert file.pread(10, length + 5) == b""
            assert file.seek(-4, 2) == length - 4
            buffer = bytearray(b"x" * 16)
            assert file.readinto(buffer) == 4
            assert buffer == content[length - 4 : length] + b"x" * 12
            (extent,) = file.extents()
            assert (extent.disk_offset, extent.length, extent.kind) == (0, length, vhdxreader.Kind.DATA)
            with pytest.raises(ValueError, match="negative"):
                file.pread(1, -1)
        with pytest.raises(ValueError, match="closed"):
            file.read(1)
        assert opened.read(1) == bytes(1)
        with pytest.raises(KeyError):
            opened.partition(3)


def test_logical_partitions_of_two_extended_ones_have_numbers_of_their_own():
    def entry(kind: int, first: int, count: int) -> bytes:
        return struct.pack("<B3xB3xII", 0, kind, first, count)

    def sector(*entries: bytes) -> bytes:
        return (bytes(446) + b"".join(entries)).ljust(510, b"\0") + b"\x55\xaa"

    data = bytearray(MB)
    data[:512] = sector(entry(5, 100, 100), entry(5, 300, 100))
    data[100 * 512 : 101 * 512] = sector(entry(0x83, 8, 10))
    data[300 * 512 : 301 * 512] = sector(entry(0x83, 8, 20))
    found = table(data)
    assert [(one.number, one.disk_offset) for one in found.partitions if not one.extended] == [
        (5, 108 * 512),
        (6, 308 * 512),
    ]
