"""The usual trace of a copy that made the file's whole length first and broke off: nothing but zeros up to its end.

In: what was found of an image. Out: findings. Of the file only the end is read, and no more than a stated amount.
"""

from __future__ import annotations

from .. import spec
from ..disk.address_map import AddressMap, Kind
from ..disk.block_reads import Reader
from ..errors import VhdxError
from ..files.source import Source
from ..files.word_columns import joined, repeated
from ..format.rules import Findings

_MAX_READ = 64 * spec.MB
_MAX_STEPS = 1 << 16  # over holes, too
_FIRST_STEP = 4 * spec.KB
_FULLY_PRESENT = int(spec.PayloadState.FULLY_PRESENT)
_HAS_SPACE = 0b100  # a bit of all states in which a block may have space


def report_zero_tail(source: Source, address_map: AddressMap, findings: Findings) -> None:
    """The findings on zeros at the file's end that cover one whole present block at least."""
    start = zeros_from(source)
    if start + address_map.bat.geometry.block_size > source.size:
        return
    before, whole, is_cut = _blocks_around(address_map, start)
    if not whole or not (before or is_cut):  # a disk that was never written to
        return
    message = f"from {start:#x} on, or from before, the file holds only zeros, over {whole} whole present blocks"
    findings.add("file.zero_tail", message, start)
    if is_cut and _backup_gpt_is_gone(address_map, start):
        message = f"from {start:#x} on, inside a block, the file holds only zeros, and the disk's backup GPT is gone"
        findings.add("file.broken_off", message, start)


def zeros_from(source: Source) -> int:
    """From where on the file holds only zeros, in steps of 4 KiB. Holes are not read; of the rest, no more than 64 MiB,
    before which there may be zeros, too."""
    at, step, left = source.size, _FIRST_STEP, _MAX_READ
    for _ in range(_MAX_STEPS):
        if not at or left <= 0:
            break
        begin = max((at - 1) // step * step, 0)
        try:
            ranges = list(source.data_ranges(begin, at))
            if any(any(source.read_at(start, end - start)) for start, end in ranges):
                if step == _FIRST_STEP:
                    break
                step = _FIRST_STEP
                continue
        except (VhdxError, OSError):
            break
        left -= sum(end - start for start, end in ranges)
        at = begin
        if at % (16 * step) == 0 and step < spec.MB:
            step *= 16
    return at


def _blocks_around(address_map: AddressMap, start: int) -> tuple[int, int, bool]:
    """How many present payload blocks end before `start`, how many begin at it or behind, and whether one does
    neither."""
    bat, size = address_map.bat, address_map.bat.geometry.block_size
    step = bat.geometry.chunk_ratio + 1
    before = behind = cut = 0
    for first, words, _ in bat.pages(bat.geometry.entries):
        if not joined(words) & repeated(_HAS_SPACE, len(words)):
            continue
        del words[-(first + 1) % step :: step]  # the sector bitmap entries
        places = [word & spec.FILE_OFFSET_MASK for word in words if word & spec.STATE_MASK >= _FULLY_PRESENT]
        before += sum(place + size <= start for place in places)
        behind += sum(place >= start for place in places)
        cut += sum(place < start < place + size for place in places)
    return before, behind, bool(cut)


def _backup_gpt_is_gone(address_map: AddressMap, start: int) -> bool:
    """Whether the disk has a GPT whose backup lies in the zeros behind `start` of the file."""
    geometry, reader = address_map.bat.geometry, Reader((address_map,))
    sector = geometry.sector_size
    try:
        header = reader.pread(sector, sector)
        backup = int.from_bytes(header[32:40], "little") * sector  # AlternateLBA
        if not header.startswith(b"EFI PART") or not sector < backup <= address_map.size - sector:
            return False
        _, kind, where = address_map.run_at(backup, sector)
        return kind is Kind.DATA and where >= start
    except VhdxError:
        return False
