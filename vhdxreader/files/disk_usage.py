"""How much of a file its file system shares with other files (reflinks), as Linux's FIEMAP tells.

In: a descriptor. Out: bytes, or None where the system does not say.
"""

from __future__ import annotations

import struct

_FIEMAP = 0xC020660B  # the ioctl
_HEADER = struct.Struct("=QQIIII")  # start, length, flags, mapped extents, room for extents, reserved
_EXTENT = struct.Struct("=QQQ16xI12x")  # logical, physical, length, flags
_ROOM = 256  # extents a call
_LAST, _SHARED = 0x1, 0x2000  # flags of an extent


def shared_bytes(fd: int) -> int | None:
    """How many bytes of a file lie in extents that other files have, too."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return None
    answer = bytearray(_HEADER.size + _ROOM * _EXTENT.size)
    start = total = 0
    while True:
        _HEADER.pack_into(answer, 0, start, (1 << 63) - start, 0, 0, _ROOM, 0)
        try:
            fcntl.ioctl(fd, _FIEMAP, answer)
        except OSError:  # a file system that does not tell
            return None
        extents = list(_EXTENT.iter_unpack(answer[_HEADER.size :]))[: _HEADER.unpack_from(answer)[3]]
        total += sum(int(length) for _, _, length, flags in extents if flags & _SHARED)
        if not extents or extents[-1][3] & _LAST:
            return total
        start = extents[-1][0] + extents[-1][2]
