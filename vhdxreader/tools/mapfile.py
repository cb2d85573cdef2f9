"""A GNU ddrescue mapfile of what was lost: which bytes of an export are the disk's, and which are to be had elsewhere.

ddrescue goes on from it: `ddrescue -r1 OTHER-COPY EXPORT MAPFILE` reads again what is lost here, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..disk.salvage import DamagedRange, Doubtful, Lost


def mapfile(size: int, lost: Sequence[Lost], doubtful: Sequence[Doubtful] = ()) -> str:
    """The mapfile of a disk of `size` bytes: `lost` ranges, by offset, are bad sectors, all others finished. Comments
    say why, and what is doubtful."""
    lines = ["# Mapfile. Created by vhdxreader"]
    lines += _comments("lost", lost)
    lines += _comments("doubtful", doubtful)
    lines += [
        "# current_pos  current_status  current_pass",
        f"0x{size:08X}     +               1",
        "#      pos        size  status",
    ]
    lines += [f"0x{start:08X}  0x{end - start:08X}  {status}" for start, end, status in _blocks(size, lost)]
    return "\n".join(lines) + "\n"


def _comments(word: str, ranges: Iterable[DamagedRange]) -> Iterator[str]:
    for entry in ranges:
        reason = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in entry.reason)
        yield f"# {word}: 0x{entry.disk_offset:08X}  0x{entry.length:08X}  {reason}"


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
