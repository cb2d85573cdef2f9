"""A plugin for nbdkit, for its filters and TLS; else `vhdxreader serve` is simpler, and needs nothing.

nbdkit python examples/integrations/nbdkit_vhdx.py file=disk.vhdx

nbdkit runs the Python that it was built with: that one must have vhdxreader (or PYTHONPATH lead to it).
"""

from __future__ import annotations

import nbdkit

import vhdxreader

API_VERSION = 2
_MAX_BLOCK = 32 << 20  # clients drop a disk that prefers more

options: dict[str, str] = {}


def config(key: str, value: str) -> None:
    """`file=` is the image; `parent=`, `parents=`, `log=` and `errors=` are as for `vhdxreader.open`."""
    if key not in ("file", "parent", "parents", "log", "errors"):
        raise ValueError(f"unknown parameter {key}")
    options[key] = value


def thread_model() -> int:
    """Reads may run at the same time."""
    return nbdkit.THREAD_MODEL_PARALLEL


def open(readonly: bool) -> vhdxreader.VirtualDisk:  # noqa: ARG001
    """A disk for each connection."""
    return vhdxreader.open(**options)


def close(disk: vhdxreader.VirtualDisk) -> None:
    """Close it."""
    disk.close()


def get_size(disk: vhdxreader.VirtualDisk) -> int:
    """Bytes."""
    return disk.size


def block_size(disk: vhdxreader.VirtualDisk) -> tuple[int, int, int]:
    """The least, what is best, and the most."""
    return 1, min(disk.image.metadata.block_size, _MAX_BLOCK), 0xFFFFFFFF


def can_multi_conn(disk: vhdxreader.VirtualDisk) -> bool:  # noqa: ARG001
    """All connections see the same."""
    return True


def pread(disk: vhdxreader.VirtualDisk, buffer: bytearray, offset: int, flags: int) -> None:  # noqa: ARG001
    """Fill the buffer."""
    disk.preadinto(buffer, offset)


def can_extents(disk: vhdxreader.VirtualDisk) -> bool:  # noqa: ARG001
    """Holes are known."""
    return True


def extents(disk: vhdxreader.VirtualDisk, count: int, offset: int, flags: int) -> list[tuple[int, int, int]]:  # noqa: ARG001
    """What is data, and what reads as zeros."""
    hole = nbdkit.EXTENT_HOLE | nbdkit.EXTENT_ZERO
    found = disk.extents(offset=offset, length=count)
    return [(extent.disk_offset, extent.length, hole if extent.zero else 0) for extent in found]
