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
_FIRST_STEP = 64 * spec.KB
_MAX_STEP = 4 * spec.MB  # of what is read; over holes a step may be of any length
_UNIT = 4 * spec.KB
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
    before which there may be zeros, too. Each read is four times as long as the one before, up to 4 MiB."""
    at, step, left = source.size, _FIRST_STEP, _MAX_READ
    while at and left >= _FIRST_STEP:
        begin = max(_up(at - step, _FIRST_STEP), 0)
        try:
            if next(source.data_ranges(begin, at), None) is not None:
                if step > min(left, _MAX_STEP):
                    step = min(left, _MAX_STEP) // _FIRST_STEP * _FIRST_STEP
                    continue
                end, size = _end_of_data(source, begin, at)
                if end > begin:
                    return min(_up(end, _UNIT), at)
                left -= size
        except (VhdxError, OSError):
            if step == _FIRST_STEP or source.is_remote:
                break
            step = _FIRST_STEP  # what is behind a bad place may be zeros
            continue
        at, step = begin, 4 * step
    return at


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


def _end_of_data(source: Source, begin: int, at: int) -> tuple[int, int]:
    """Behind the last byte of a range that is not zero, `begin` if there is none; and how many bytes were read."""
    read = 0
    for start, end in reversed(list(source.data_ranges(begin, at))):
        read += end - start
        if data := source.read_at(start, end - start).rstrip(b"\0"):
            return start + len(data), read
    return begin, read


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
        with_state = filter(None, words)  # a tenth of the time, where few have one
        places = [word & spec.FILE_OFFSET_MASK for word in with_state if word & spec.STATE_MASK >= _FULLY_PRESENT]
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
