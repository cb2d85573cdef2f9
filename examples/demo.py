"""The main job on one image: what it is, what is where, its partition table, every byte of it.

    python examples/demo.py [IMAGE | --keep FILE]

Without IMAGE it makes a small one with the tests' independent builder, and compares every byte with what was asked of
the builder; --keep leaves it as FILE, to try things on. With IMAGE it compares with qemu-img, where that is installed
and can read the image.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import vhdxreader
from vhdxreader.cli.app import run

MB = 1 << 20


def main() -> int:
    """Run the demonstration; 0 if what was compared is equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("image", nargs="?", type=Path, metavar="IMAGE")
    choice.add_argument("--keep", type=Path, metavar="FILE", help="leave the image that is made as FILE")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if wanted.image is not None:
            return show(wanted.image, None, Path(folder))
        path, expected = make_image(wanted.keep or Path(folder) / "demo.vhdx")
        return show(path, expected, Path(folder))


def make_image(path: Path) -> tuple[Path, bytes]:
    """A 16 MiB dynamic disk with a partition table, recognisable data, absent and zero blocks; and its bytes."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from builder import dynamic, full, zeroed

    partitions = [(0x80, 0x07, 2048, 14336), (0x00, 0x83, 16384, 16384)]
    table = b"".join(struct.pack("<B3xB3xII", *partition) for partition in partitions).ljust(64, b"\0")
    boot = b"\xeb\xfe".ljust(446, b"\0") + table + b"\x55\xaa"
    image = dynamic(
        16 * MB,
        blocks={0: full(boot), 1: full(b"first partition, first sector"), 2: zeroed(), 8: full(b"second partition")},
    )
    return image.save(path), image.expected()


def show(path: Path, expected: bytes | None, folder: Path) -> int:
    """Print what the image is, and compare its bytes."""
    code = run(["info", str(path)])
    if code:
        return code
    with vhdxreader.open(path) as disk:
        show_extents(disk)
        show_partitions(disk)
        digest = hashlib.file_digest(disk, "sha256").hexdigest()
        print(f"SHA-256 of all {disk.size} bytes: {digest}")
    if expected is not None:
        return compare("what the builder was asked for", digest, hashlib.sha256(expected).hexdigest())
    return compare_with_qemu(path, digest, folder)


def show_extents(disk: vhdxreader.VirtualDisk) -> None:
    """How much of the disk is data, and the first extents."""
    print("Extents:")
    sizes: dict[str, int] = {}
    number = 0
    for number, extent in enumerate(disk.extents()):
        sizes[extent.kind.value] = sizes.get(extent.kind.value, 0) + extent.length
        if number < 8:
            place = (
                ""
                if extent.file_offset is None
                else f" at {extent.file_offset:#x} of {vhdxreader.plain(Path(extent.filename).name)}"
            )
            print(f"  {extent.disk_offset:#14x}  {extent.length:>14} bytes  {extent.kind.value}{place}")
    if number >= 8:
        print(f"  ... and {number - 7} more")
    print("  in all: " + ", ".join(f"{size} bytes {kind}" for kind, size in sizes.items()))


def show_partitions(disk: vhdxreader.VirtualDisk) -> None:
    """The partition table."""
    table = disk.partitions()
    print(f"Partition table: {table.scheme}")
    for part in table.partitions:
        print(f"  {part.number}: {part.length} bytes at {part.disk_offset:#x}, {part.type_name or part.type}")


def compare_with_qemu(path: Path, digest: str, folder: Path) -> int:
    """Compare with what qemu-img makes of the image."""
    raw = folder / "qemu.raw"
    command = ["qemu-img", "convert", "-f", "vhdx", "-O", "raw", str(path), str(raw)]
    if not shutil.which("qemu-img"):
        print("Not compared: qemu-img is not installed")
        return 0
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print("Not compared: qemu-img cannot read this image")
        return 0
    with raw.open("rb") as file:
        return compare("what qemu-img convert gives", digest, hashlib.file_digest(file, "sha256").hexdigest())


def compare(other: str, digest: str, expected: str) -> int:
    """Say whether both are equal."""
    if digest != expected:
        print(f"DIFFERENT from {other}: {expected}")
        return 1
    print(f"Equal to {other}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (vhdxreader.VhdxError, OSError) as error:
        sys.exit(f"demo: {error}")
