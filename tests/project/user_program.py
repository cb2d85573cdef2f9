"""What a user writes, as mypy --strict and pyright see it: every type is the one that the user would name.

Checked, not run: `make types`, and pyright in CI. `assert_type` fails where a public signature became Any.
"""

from __future__ import annotations

import array
import io
import mmap
from pathlib import Path
from typing import assert_type

import vhdxreader


def first_sector(path: Path) -> bytes:
    with vhdxreader.open(path) as disk:
        assert_type(disk, vhdxreader.VirtualDisk)
        assert_type(disk.read(512), bytes)
        assert_type(disk.image, vhdxreader.VhdxImage)
        return disk.pread(512, 0)


def holes(disk: vhdxreader.VirtualDisk) -> int:
    return sum(extent.length for extent in disk.extents() if extent.kind is vhdxreader.Kind.ABSENT)


def as_any_file(path: str) -> io.RawIOBase:
    return vhdxreader.open(path, log="replay", errors="zero")


def problems(path: Path) -> list[str]:
    report = vhdxreader.check(path)
    assert_type(report, vhdxreader.Report)
    return [f.message for f in report.findings if f.severity is vhdxreader.Severity.ERROR]


def why_not(path: Path) -> str | None:
    try:
        first_sector(path)
    except vhdxreader.ParentNotFoundError as error:
        return str(error)
    except vhdxreader.VhdxError as error:
        return f"{error.rule} at {error.file_offset}: {error.message}"
    return None


def is_one(path: Path) -> bool:
    return vhdxreader.is_vhdx(path)


def into_buffers(disk: vhdxreader.VirtualDisk, mapped: mmap.mmap) -> int:
    for buffer in (bytearray(512), memoryview(bytearray(512)), array.array("Q", bytes(512)), mapped):
        assert_type(disk.preadinto(buffer, 0), int)
        assert_type(disk.image.preadinto(buffer, 0), int)
        assert_type(disk.partition(1).preadinto(buffer, 0), int)
    return disk.readinto(bytearray(4096))


def of_a_partition(disk: vhdxreader.VirtualDisk) -> bytes:
    found = [part for part in disk.partitions().partitions if part.number == 2]
    assert_type(found, list[vhdxreader.Partition])
    with disk.partition(found[0].number) as part:
        assert_type(part, vhdxreader.PartitionStream)
        return io.BufferedReader(part).read(4)


def lost_bytes(path: Path) -> int:
    with vhdxreader.open(path, errors="zero", fill=b"LOST") as disk:
        vhdxreader.convert(disk, "disk.raw")
        assert_type(disk.doubtful, tuple[vhdxreader.Doubtful, ...])
        return sum(lost.length for lost in disk.lost)


def of_the_log(path: Path) -> list[str]:
    with vhdxreader.open(path) as disk:
        log = disk.image.log
        over: vhdxreader.Source | None = log.overlay if log else None
    assert over is None or over.size > 0
    with vhdxreader.read_log(path) as listing:
        assert_type(listing, vhdxreader.LogListing)
        return [str(entry) for entry in listing.examined]


def tools(path: Path) -> None:
    with vhdxreader.open(path) as disk, vhdxreader.open(path) as other:
        assert_type(vhdxreader.compare(disk, other), vhdxreader.Comparison)
        assert_type(vhdxreader.measure(disk), vhdxreader.Measurement)
        assert_type(list(vhdxreader.hash_blocks(disk)), list[vhdxreader.BlockDigest])
        digests = vhdxreader.hash_disk(disk, ["sha256"])
    print(digests["sha256"], [node.name for node in vhdxreader.dump(path, ["header"])])


def families(folder: Path) -> list[str]:
    forest = vhdxreader.chain_forest([folder])
    assert_type(forest, vhdxreader.Forest)
    return [f"{depth} {node.member.filename}" for root in forest.roots() for depth, node in forest.walk(root)]


def in_folders(folder: Path, target: Path) -> list[dict[str, object]]:
    vhdxreader.write_skeleton(next(vhdxreader.find_images(folder)), target, max_size=1 << 20)
    found: list[str | Path] = [folder / "disk.vhdx", *vhdxreader.find_images(str(folder))]
    return [vhdxreader.survey_image(path) for path in found]


def many(paths: list[Path]) -> list[object]:
    return [record["filename"] for record in vhdxreader.survey(paths)]
