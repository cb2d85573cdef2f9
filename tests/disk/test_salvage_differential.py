"""Images with several damages at once, by chance: what salvage says of no byte that it is lost or doubtful, is right.

Damage is of the kinds that can be seen: what has a checksum or a copy is overwritten, the file ends early, sectors of
the medium fail. (A BAT entry or payload with other bytes in it looks like a BAT entry or payload.)
"""

from __future__ import annotations

import errno
import random
from collections import Counter

import pytest
from builder import KB, MB, Data, Image, Zero, differencing, dirty, dynamic, fixed, full, hide, partial, pattern, zeroed

import vhdxreader
from vhdxreader import VhdxError

SIZE = 6 * MB + 512
PIECE = 16 * KB
BLOCKS = {0: full(), 2: zeroed(), 3: full(), 5: full()}
PARENT = dynamic(SIZE, {1: full(), 4: full(), 6: full()}, name="parent")


def wet() -> tuple[Image, Image]:
    """A dirty image with a log of one entry, and what its replay must make of it."""
    good = dynamic(SIZE, BLOCKS, order=("log", "metadata", "blocks", "bat"))
    stale, updates = hide(good, (good.bat_offset, 4 * KB), (good.block_offset[3] + 64 * KB, 8 * KB))
    more = [Data(good.block_offset[0] + 32 * KB, pattern("late", 4 * KB)), Zero(good.block_offset[5], 12 * KB)]
    image = dirty(stale, [*updates, *more], at=MB - 8 * KB)
    at = image.log_offset + image.spec.log.entries[0][0]
    image.patch(at + 48, bytes(8)).fix_checksums("log[0]")  # FlushedFileOffset: a cut is another matter
    return image, image.replayed()


CHILD = differencing(SIZE, {0: partial([0, 7, 2047]), 3: full(), 6: partial([0])}, parent=PARENT)
CLEAN = dynamic(SIZE, BLOCKS, order=("metadata", "blocks", "bat", "log"))
FIXED = fixed(SIZE)
MAKERS = {
    "dynamic": lambda: (CLEAN.copy(), CLEAN),
    "fixed": lambda: (FIXED.copy(), FIXED),
    "child": lambda: (CHILD.copy(), CHILD),
    "dirty": wet,
}


def damage(image: Image, rng: random.Random) -> list[int]:
    """Damage it in place; the sectors that the medium does not give."""
    bad: list[int] = []
    for _ in range(rng.randrange(1, 5)):
        kind = rng.randrange(4)
        if kind == 0:
            structure = rng.choice([64 * KB, 128 * KB]) + rng.choice([0, 4, 8, 40, 48, 64, 72, 600])
            image.patch(structure, rng.randbytes(rng.choice([1, 4, 16])))
        elif kind == 1:
            table = rng.choice([192 * KB, 256 * KB])
            image.patch(table + rng.choice([0, 4, 8, 16, 32, 48, 64, 4096]), rng.randbytes(rng.choice([1, 8])))
        elif kind == 2 and rng.random() < 0.4:
            image.truncate(rng.randrange(MB, image.file.length))
        else:
            places = [64 * KB, 192 * KB, image.metadata_offset, image.bat_offset, *image.block_offset.values()]
            bad += [(rng.choice(places) + rng.randrange(0, 128 * KB)) // 512 for _ in range(rng.randrange(1, 4))]
    return bad


def on_medium(image: Image, bad: list[int]):
    class Medium(type(image.open())):
        def readinto(self, buffer):
            if any(self.tell() < (n + 1) * 512 and n * 512 < self.tell() + len(buffer) for n in bad):
                raise OSError(errno.EIO, "bad sector")
            return super().readinto(buffer)

    return Medium(image.file)


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_neither_lost_nor_doubtful_is_right(kind, record_property):
    rng, tally = random.Random(f"salvage {kind}"), Counter()
    for _ in range(30):
        image, good = MAKERS[kind]()
        bad = damage(image, rng)
        how = {} if kind != "child" else {"parents": lambda _: PARENT.open() if rng.random() < 0.8 else None}
        try:
            disk = vhdxreader.open(on_medium(image, bad), errors="zero", **how)
        except VhdxError:
            tally["nothing to be had"] += 1
            continue
        with disk:
            assert disk.size == SIZE
            compare(disk, good, tally, bad)
    record_property("pieces", dict(tally))
    print(kind, dict(tally))
    assert tally["right"]
    assert tally["lost"]
    assert tally["doubtful"]


def compare(disk: vhdxreader.VirtualDisk, good: Image, tally: Counter[str], bad: list[int]) -> None:
    whole = disk.read()
    ranges = {"lost": disk.lost, "doubtful": disk.doubtful}
    for start in range(0, SIZE, PIECE):
        end = min(start + PIECE, SIZE)
        state = next(
            (name for name in ranges if any(r.disk_offset < end and start < r.end for r in ranges[name])), "right"
        )
        tally[state] += 1
        if state == "right":
            wanted = good.reread(start, end - start)
            assert whole[start:end] == wanted, (hex(start), bad, [str(f) for f in disk.image.findings])
