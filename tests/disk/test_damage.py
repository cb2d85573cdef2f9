"""Good images cut off at every place and with every byte in use flipped, held against the builder's model.

CI takes a fixed sample. With VHDXREADER_FULL=1 all 4096 lengths and every byte are tried, which takes half an hour.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest
from builder import (
    KB,
    MB,
    Image,
    MustFail,
    Zero,
    differencing,
    dirty,
    dynamic,
    fixed,
    full,
    hide,
    partial,
    undefined,
    zeroed,
)
from builder.model import read_geometry

import vhdxreader
from vhdxreader import CorruptImageError, DirtyLogError, NotVhdxError, TruncatedImageError, VhdxError

FULL = bool(os.environ.get("VHDXREADER_FULL"))
LENGTHS = 4096
TABLE1, TABLE2 = 192 * KB, 256 * KB
SIZE = 5 * MB + 1536
BLOCKS = {0: full(), 2: zeroed(), 3: undefined(), 4: full(), 5: full()}
PARENT = dynamic(SIZE, blocks={1: full(), 4: full()}, name="parent")


@cache
def image_of(kind: str) -> Image:
    """Good images, whose structures lie in different orders."""
    if kind == "dynamic":
        return dynamic(SIZE, blocks=BLOCKS, order=("metadata", "bat", "junk", "blocks", "log"))
    if kind == "fixed":
        return fixed(SIZE, order=("log", "metadata", "blocks", "bat"), pad_last_block=False)
    child = differencing(SIZE, blocks={0: partial([0, 7, 8, 2047]), 1: full(), 5: partial([1])}, parent=PARENT)
    if kind == "differencing":
        return child
    stale, updates = hide(child, (child.bat_offset, 64), (child.metadata_offset + 64 * KB, 4 * KB))
    return dirty(stale, [*updates, Zero(child.block_offset[1], 8 * KB)], per_entry=1, at=MB - 12 * KB)


KINDS = ["dynamic", "fixed", "differencing", "dirty"]


def opened(image: Image) -> vhdxreader.VirtualDisk:
    return vhdxreader.open(image.open(), parents=lambda _: PARENT.open())


def is_whole(disk: vhdxreader.VirtualDisk, whole: bytes) -> None:
    """The disk is as it was: its size, and what lies around each start of a block."""
    assert disk.size == len(whole)
    for start in range(0, disk.size, MB):
        at = max(start - 512, 0)
        assert disk.pread(1024, at) == whole[at : at + 1024]


def agree(disk: vhdxreader.VirtualDisk, model: Image, *, until: int = 8 * MB) -> int:
    """Where the model gives data, so does the disk; where it must fail, it fails, from the same byte on. How often."""
    assert disk.size == read_geometry(model.file, model.metadata_offset, MB).virtual_size
    return sum(agree_on_range(disk, model, start, MB) for start in range(0, min(disk.size, until), MB))


def agree_on_range(disk: vhdxreader.VirtualDisk, model: Image, start: int, length: int) -> bool:
    try:
        wanted = model.reread(start, length)
    except MustFail as reason:
        good = reason.offset - start
        assert disk.pread(good, start) == model.reread(start, good)
        with pytest.raises(VhdxError):
            disk.pread(1, reason.offset)
        return True
    assert disk.pread(length, start) == wanted
    return False


# ---- cut off


def lengths(image: Image) -> list[int]:
    """Spread evenly over the file; half of them not on a boundary of anything."""
    rng = random.Random(1)
    step = image.file.length / LENGTHS
    every = [int(i * step) if i % 2 else rng.randrange(int(i * step), int((i + 1) * step)) for i in range(LENGTHS)]
    return [*(every if FULL else every[:: LENGTHS // 64]), image.file.length]


def needed(image: Image) -> int:
    """How much of the file must be there for it to open."""
    if image.spec.log.entries:
        return image.spec.log.entries[-1][1].flushed
    items = {name: image.item_offset[name] + size for name, size in sizes(image).items()}
    return max(TABLE2, image.metadata_offset + 64 * KB, *items.values())


def sizes(image: Image) -> dict[str, int]:
    found = {"file_parameters": 8, "virtual_disk_size": 8, "logical_sector_size": 4}
    if image.spec.kind == "differencing":
        entry = image.fields["metadata.parent_locator.length"].offset
        found["parent_locator"] = int.from_bytes(image.file.read(entry, 4), "little")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_cut_off_at_every_place(kind, record_property):
    image = image_of(kind)
    tally: Counter[str] = Counter()
    for length in lengths(image):
        tally[cut_off(image.copy().truncate(length), image)] += 1
    record_property("outcomes", dict(tally))
    print(kind, dict(tally))
    assert tally["opened"]
    assert tally["refused"]


def cut_off(cut: Image, image: Image) -> str:
    length = cut.file.length
    report = vhdxreader.check(cut.open(), deep=True)
    if length < needed(image):
        with pytest.raises((TruncatedImageError, NotVhdxError)) as caught:
            opened(cut)
        assert report.worst is vhdxreader.Severity.ERROR
        assert caught.value.file_offset is not None
        return "refused"
    model = cut.replayed()
    broken = 0
    with opened(cut) as disk:
        for n in range(6):
            if model.block_entry_offset(n) + 8 > length and not cut.spec.log.entries:
                with pytest.raises(TruncatedImageError):  # the model takes what is behind the end for zeros
                    disk.pread(1, n * MB)
                broken += 1
            else:
                broken += agree_on_range(disk, model, n * MB, MB)
    assert (report.worst is vhdxreader.Severity.ERROR) >= (broken > 0)
    return "opened"


# ---- bytes flipped


def flips(image: Image) -> Iterator[tuple[str, int]]:
    """(structure, file offset) of each byte of the structures in use."""
    yield from (("identifier", at) for at in range(8))
    yield from (("creator", 8 + at) for at in range(512))
    yield from (("header", start + at) for start in (64 * KB, 128 * KB) for at in range(4 * KB))
    yield from (("region table", start + at) for start in (TABLE1, TABLE2) for at in range(64 * KB))
    yield from (("metadata", image.metadata_offset + at) for at in range(32))
    for number, name in enumerate(image.item_offset, 1):
        structure = "parent_locator" if name == "parent_locator" else "metadata"
        yield from ((structure, image.metadata_offset + 32 * number + at) for at in range(32))
    for name, size in sizes(image).items():
        yield from ((name, image.item_offset[name] + at) for at in range(size))
    yield from (("unneeded item", image.item_offset["virtual_disk_id"] + at) for at in range(16))
    yield from (("unneeded item", image.item_offset["physical_sector_size"] + at) for at in range(4))
    yield from (("BAT", image.bat_offset + at) for at in range(6 * 8))
    if image.spec.kind == "differencing":
        yield from (("BAT", image.bitmap_entry_offset(0) + at) for at in range(8))
    yield from (("bitmap", start + at) for start in image.bitmap_offset.values() for at in range(6 * 256))
    for number, (ring_offset, entry) in enumerate(image.spec.log.entries):
        for at in range(len(entry)):
            yield f"log entry {number}", image.log_offset + (ring_offset + at) % MB


def sample(image: Image) -> list[tuple[str, int]]:
    every = list(flips(image))
    if FULL:  # the region tables of all kinds are nearly the same
        step = 1 if image.spec.kind == "dynamic" else 16
        return [flip for flip in every if flip[0] != "region table" or not flip[1] % step]
    rng = random.Random(2)
    chosen = [flip for flip in every if flip[0] in ("identifier", "BAT", "metadata") or "parameters" in flip[0]]
    return chosen + rng.sample(every, 150)


@pytest.mark.parametrize("kind", KINDS)
def test_each_byte_flipped(kind, record_property):
    image = image_of(kind)
    whole = image.replayed().reread()
    tally: Counter[str] = Counter()
    rng = random.Random(3)
    for structure, offset in sample(image):
        flipped = image.copy().flip(offset, rng.choice([1, 2, 4, 8, 16, 32, 64, 128, 255]))
        tally[flip_one(structure, flipped, whole)] += 1
    record_property("outcomes", dict(tally))
    print(kind, dict(tally))


def flip_one(structure: str, flipped: Image, whole: bytes) -> str:
    vhdxreader.check(flipped.open())
    if structure == "identifier":
        with pytest.raises(CorruptImageError, match=r"identifier\.damaged"):
            opened(flipped)
        return "refused"
    if structure in ("creator", "unneeded item"):
        with opened(flipped) as disk:
            is_whole(disk, whole)
        return "no matter"
    if structure in ("header", "region table"):
        return copy_flipped(structure, flipped, whole)
    if structure.startswith("log entry"):
        return log_flipped(int(structure[len("log entry ") :]), flipped)
    if structure == "parent_locator":
        return locator_flipped(flipped, whole)
    return unprotected_flipped(flipped, whole)


def copy_flipped(structure: str, flipped: Image, whole: bytes) -> str:
    """The other copy serves, and a finding says so."""
    with opened(flipped) as disk:
        is_whole(disk, whole)
        rules = {finding.rule for finding in disk.image.findings}
    prefix = structure.replace(" ", "_")
    assert rules & {f"{prefix}.checksum", f"{prefix}.signature"}
    return "right, with a finding"


def log_flipped(number: int, flipped: Image) -> str:
    """A torn entry ends the run: the entries before it are replayed, of which the first is the tail."""
    entries = flipped.spec.log.in_sequence[:number]
    if not entries:
        with pytest.raises(DirtyLogError):
            opened(flipped)
        return "refused"
    model = flipped.replayed(entries)
    try:
        model.reread(0, 0)
    except MustFail:
        with pytest.raises(VhdxError):
            opened(flipped)
        return "refused"
    with opened(flipped) as disk:
        agree(disk, model)
    return "as it was before that entry"


def locator_flipped(flipped: Image, whole: bytes) -> str:
    """The locator has no checksum, but says nothing of the data: another parent is refused, all else is right."""
    try:
        disk = opened(flipped)
    except VhdxError:
        return "refused"
    with disk:
        is_whole(disk, whole)
    return "no matter"


def unprotected_flipped(flipped: Image, whole: bytes) -> str:
    """What no checksum covers may change the disk, to what the changed bytes say. On disk, that is replayed over."""
    model = flipped.replayed()
    try:
        model.reread(0, 0)
    except MustFail:
        try:
            disk = opened(flipped)
        except (CorruptImageError, vhdxreader.UnsupportedImageError):
            return "refused"
        with disk:  # the model does not know that what nobody needs is tolerated
            assert any(finding.rule.endswith("_unknown") for finding in disk.image.findings)
            is_whole(disk, whole)
        return "right, with a finding"
    with opened(flipped) as disk:
        return "as the model has it, with errors" if agree(disk, model) else "as the model has it"
