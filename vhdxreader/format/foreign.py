"""What a file is that is no VHDX: the kinds that people take for one, and what can be done with each.

In: a source. Out: words for a message. Only a look at the beginning and at the last sector.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from ..files.source import Source

_HEAD = 64 << 10
_VHD_FOOTER_SIZE = 512
_VHD_KINDS = {2: "fixed", 3: "dynamic", 4: "differencing"}  # DiskType, at byte 60 of the footer

_UNPACK = "unpack it first"
_CONVERT = "qemu-img can convert it (qemu-img convert -f {} -O raw)"

# Where the signature is, the signature, what such a file is, what to do.
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"KDMV", "a VMDK, VMware's image", _CONVERT.format("vmdk")),
    (0, b"COWD", "a VMDK, VMware's image", _CONVERT.format("vmdk")),
    (0, b"# Disk DescriptorFile", "the descriptor of a VMDK, VMware's image", _CONVERT.format("vmdk")),
    (0, b"QFI\xfb", "a QCOW2, QEMU's image", _CONVERT.format("qcow2")),
    (0x40, b"\x7f\x10\xda\xbe", "a VDI, VirtualBox's image", _CONVERT.format("vdi")),
    (0, b"EVF\x09\x0d\x0a\xff\x00", "an E01, EnCase's image", "ewfexport can convert it"),
    (0, b"\x1f\x8b", "compressed with gzip", _UNPACK + " (gzip -d)"),
    (0, b"BZh", "compressed with bzip2", _UNPACK + " (bzip2 -d)"),
    (0, b"\xfd7zXZ\0", "compressed with xz", _UNPACK + " (xz -d)"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK + " (zstd -d)"),
    (0, b"PK\x03\x04", "a zip archive", _UNPACK + " (unzip)"),
    (0, b"PK\x05\x06", "an empty zip archive", ""),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK + " (7zz x)"),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (0, b"MSWIM\0\0\0", "a WIM, Windows' archive of files", "wimlib or DISM can unpack it"),
    (
        0,
        b"version https://git-lfs",
        "a Git LFS pointer, which stands for the file",
        "git lfs pull brings the file itself",
    ),
    (
        0,
        b"\x14\x20\x28\x01",
        "a VMRS or VMCX, Hyper-V's state or configuration of a machine",
        "the machine's disks are files of their own",
    ),
    (512, b"EFI PART", "a raw disk image", "it holds the disk's bytes as they are, and needs no reader"),
    (4096, b"EFI PART", "a raw disk image", "it holds the disk's bytes as they are, and needs no reader"),
    (0x8001, b"CD001", "a CD or DVD image", "it holds the bytes as they are, and needs no reader"),
    (510, b"\x55\xaa", "a raw disk image", "it holds the disk's bytes as they are, and needs no reader"),
)
_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|\?xml)[\s>]", re.IGNORECASE)


def what_it_is(source: Source) -> str:
    """What the file is and what to do with it, in words that go on behind "it is"; empty where that is not known."""
    return "; ".join(filter(None, next(islice(_guesses(source), 1), ())))


def _guesses(source: Source) -> Iterator[tuple[str, str]]:
    if source.size == 0:
        yield "empty", "copy or download it again"
        return
    head = source.read_at(0, min(_HEAD, source.size))
    yield from _vhd(source, head)
    for offset, signature, name, advice in _SIGNATURES:
        if head.startswith(signature, offset):
            yield name, advice
    if _PAGE.match(head):
        yield (
            "a web page or another text with markup, and not what was to be downloaded",
            "look into it, download again",
        )
    if not any(head):
        yield f"zeros for its first {len(head)} bytes at least", "the copy or download was perhaps never finished"


def _vhd(source: Source, head: bytes) -> Iterator[tuple[str, str]]:
    """The older format, whose footer is the last sector; in all but fixed disks a copy of it is the first."""
    size = _VHD_FOOTER_SIZE
    last = source.read_at(source.size - size, size) if source.size >= size else b""
    for footer in (last, head[:size]):
        if footer.startswith(b"conectix") and len(footer) == size:
            kind = _VHD_KINDS.get(int.from_bytes(footer[60:64], "big"), "")
            yield f"a {kind} VHD, the older format".replace("  ", " "), _CONVERT.format("vpc")
