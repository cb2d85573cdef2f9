"""A structure-aware fuzzer: sets fields of good images to telling values, repairs checksums, asserts the invariant.

    python fuzz/mutate.py [--seconds 60] [--seed 1]

Needs no tool. Each run of a seed is the same; an image that breaks the invariant is written to the current folder.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import resource
import sys
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from bases import b, bases, windows  # noqa: E402  found by the path above
from invariant import exercise  # noqa: E402

MAX_SECONDS = 30
MAX_MEMORY = 2 << 30
_EDGES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 31, 255, 511, 512, 1024, 2047, 2048, 4095, 4096, 65535, 65536]
_EDGES += [n << 20 for n in (1, 2, 3, 4, 5, 6, 7, 8, 16, 255, 256, 257, 4095, 1 << 24, 1 << 26, 1 << 43)]
_EDGES += [(1 << bits) - 1 for bits in (31, 32, 44, 63, 64)] + [1 << 31, 1 << 32, 1 << 60, 1 << 63, -4096, -(1 << 20)]


def mutated(rng: random.Random, images: list[b.Image]) -> b.Image:
    """One of the images with one to four changes, mostly with its checksums repaired."""
    image = rng.choice(images).copy()
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 4])):
        rng.choice(_CHANGES)(rng, image)
    if rng.random() < 0.9:
        image.fix_checksums()
    if rng.random() < 0.1:
        image.truncate(_place(rng, image))
    return image


def _set_field(rng: random.Random, image: b.Image) -> None:
    field = image.fields[rng.choice(list(image.fields))]
    other = image.fields[rng.choice(list(image.fields))]
    taken = int.from_bytes(image.file.read(other.offset, min(other.size, 8)), "little")
    value = rng.choice([*_EDGES, taken, rng.getrandbits(8 * min(field.size, 8))]) + rng.choice([0, 0, 0, 1, -1])
    image.patch(field.offset, (value % (1 << 8 * field.size)).to_bytes(field.size, "little"))


def _set_entry(rng: random.Random, image: b.Image) -> None:
    index = rng.choice([*range(12), image.spec.geometry.bitmap_index(0)])
    place = rng.choice([*range(image.file.length // b.MB + 2), 1 << 43, (1 << 44) - 1])
    reserved = rng.choice([0, 0, 0, rng.getrandbits(17)])
    image.patch(image.bat_offset + 8 * index, rng.randrange(8) | reserved << 3 | place << 20)


def _set_word(rng: random.Random, image: b.Image) -> None:
    offset, length = rng.choice(windows(image))
    at = offset + rng.randrange(0, max(length - 8, 1), 4)
    size = rng.choice([1, 2, 4, 8])
    image.patch(at, (rng.choice([*_EDGES, rng.getrandbits(64)]) % (1 << 8 * size)).to_bytes(size, "little"))


def _flip(rng: random.Random, image: b.Image) -> None:
    offset, length = rng.choice(windows(image))
    image.flip(offset + rng.randrange(length), 1 << rng.randrange(8))


def _move(rng: random.Random, image: b.Image) -> None:
    (source, length), (target, room) = rng.choice(windows(image)), rng.choice(windows(image))
    size = rng.choice([4, 8, 16, 32, min(length, room)])
    image.patch(target, image.file.read(source, size))


def _place(rng: random.Random, image: b.Image) -> int:
    offset, length = rng.choice(windows(image))
    return rng.choice([offset + rng.randrange(length), rng.randrange(image.file.length), offset // b.MB * b.MB])


_CHANGES = [_set_field, _set_field, _set_field, _set_entry, _set_word, _flip, _move]


def run(seed: int, *, seconds: float = 0, executions: int = 0) -> Counter[str]:
    """Mutate for so long or so often; how often each outcome of opening came."""
    images = bases()
    outcomes: Counter[str] = Counter()
    started = time.monotonic()
    while sum(outcomes.values()) < executions or time.monotonic() - started < seconds:
        number = f"{seed}.{sum(outcomes.values())}"
        rng = random.Random(number)
        image = mutated(rng, images)
        try:
            outcomes[exercise(image.open, images[0].open, rng)] += 1
        except BaseException:
            image.save(f"broken-{number}.vhdx")
            print(f"broken-{number}.vhdx breaks the invariant", file=sys.stderr)
            raise
    return outcomes


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    faulthandler.enable()
    outcomes = run(arguments.seed, seconds=arguments.seconds)
    print(f"{sum(outcomes.values())} executions, all as they must be")
    for outcome, count in outcomes.most_common():
        print(f"{count:8} {outcome}")


if __name__ == "__main__":
    main()
