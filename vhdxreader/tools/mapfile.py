"""A GNU ddrescue mapfile of what was lost: which bytes of an export are the disk's, and which are only zeros."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..disk.salvage import Lost


def mapfile(size: int, lost: Iterable[Lost]) -> str:
    """The mapfile of a disk of `size` bytes: `lost` ranges, by offset, are bad sectors, all others finished."""
    lines = [
        "# Mapfile. Created by vhdxreader",
        "# current_pos  current_status  current_pass",
        f"0x{size:08X}     +               1",
        "#      pos        size  status",
    ]
    lines += [f"0x{start:08X}  0x{end - start:08X}  {status}" for start, end, status in _blocks(size, lost)]
    return "\n".join(lines) + "\n"


def _blocks(size: int, lost: Iterable[Lost]) -> Iterator[tuple[int, int, str]]:
    """The whole disk without gaps. Lost ranges may overlap."""
    done = 0
    for item in lost:
        if item.disk_offset > done:
            yield done, item.disk_offset, "+"
            done = item.disk_offset
        if item.end > done:
            yield done, item.end, "-"
            done = item.end
    if done < size:
        yield done, size, "+"
