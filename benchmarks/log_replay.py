"""Time and memory of replaying large and hostile logs: `python benchmarks/log_replay.py [--big]`.

Makes its images with the tests' builder in a temporary folder, opens each in a process of its own, and prints how long
the opening took and how far it raised the process's peak memory, beside the bounds of SECURITY.md: of processor time
1 s + 1 s per 8 MB of log that is not a hole; 72 MB + an eighth of the log. Ends with 1 where one is missed.
"""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import crc32c

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from builder import GB, KB, LOG_GUID, MB, Log, Spec, build  # noqa: E402

SECTOR = 4 * KB
TARGET = 4 * GB  # updates go where nothing is

Entry = tuple[
    int, list[tuple[int, int]]
]  # sequence number; (file offset, length) of zeros, or (file offset, 0) of data

OPEN = """
import json, re, sys, time
import vhdxreader
vhdxreader.open  # its modules are no cost of the log
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
before, start, cpu = peak(), time.perf_counter(), time.process_time()
try:
    with vhdxreader.open(sys.argv[1]) as disk:
        result = f"{disk.image.log.sectors} sectors, {disk.image.log.ranges} ranges"
except vhdxreader.VhdxError as error:
    result = f"{type(error).__name__} {error.rule}"
print(json.dumps([time.perf_counter() - start, time.process_time() - cpu, peak() - before, result]))
"""


def pack(sequence: int, updates: list[tuple[int, int]], tail: int = 0) -> bytes:
    """A log entry, faster than the builder makes it."""
    sectors = 1 + max(0, -(-(len(updates) - 126) // 128))
    data = sum(not length for _, length in updates)
    length = SECTOR * (sectors + data)
    parts = [
        struct.pack("<4sIIIQII16sQQ", b"loge", 0, length, tail, sequence, len(updates), 0, LOG_GUID.bytes_le, 0, 0)
    ]
    for offset, size in updates:
        parts.append(struct.pack("<4s4xQQQ", b"zero" if size else b"desc", size, offset, sequence))
    entry = b"".join(parts).ljust(SECTOR * sectors, b"\0")
    sector = struct.pack("<4sI4084xI", b"data", sequence >> 32, sequence & 0xFFFFFFFF)
    entry += sector * data
    return entry[:4] + struct.pack("<I", crc32c.crc32c(entry)) + entry[8:]


def data_log(length: int, per_entry: int) -> Iterator[bytes]:
    """Data descriptors throughout, every sector somewhere else."""
    sectors = length // SECTOR // (1 + per_entry) * per_entry
    numbers = list(range(sectors))
    random.Random(1).shuffle(numbers)
    for i in range(0, sectors, per_entry):
        group = numbers[i : i + per_entry]
        yield pack(1 + i // per_entry, [(TARGET + 2 * SECTOR * n, 0) for n in group])


def zero_log(length: int, *, shuffled: bool, scale: int = SECTOR) -> Iterator[bytes]:
    """Zero descriptors throughout, in one-sector entries; none of the ranges touch."""
    sectors = length // SECTOR
    numbers = list(range(sectors * 126))
    if shuffled:
        random.Random(1).shuffle(numbers)
    for i in range(sectors):
        yield pack(i + 1, [(TARGET + 2 * scale * n, SECTOR) for n in numbers[126 * i : 126 * i + 126]])


def worst_zero_log(length: int) -> Iterator[bytes]:
    """As `zero_log`, far apart, in any order, and of any length: nothing about them can be known but by sorting."""
    rng = random.Random(1)
    sectors = length // SECTOR
    numbers = list(range(sectors * 126))
    rng.shuffle(numbers)
    for i in range(sectors):
        yield pack(
            i + 1, [(TARGET + GB * n, SECTOR * rng.randrange(1, 200000)) for n in numbers[126 * i : 126 * i + 126]]
        )


def one_zero_entry(length: int) -> Iterator[bytes]:
    """One entry as long as the log, full of zero descriptors."""
    count = 126 + 128 * (length // SECTOR - 1)
    numbers = list(range(count))
    random.Random(1).shuffle(numbers)
    yield pack(1, [(TARGET + 2 * SECTOR * n, SECTOR) for n in numbers])


def hidden_log(length: int) -> Iterator[bytes]:
    """Data in the first entry, then zero descriptors that all cover it, but for one sector."""
    updates = [(TARGET + 2 * SECTOR * n, 0) for n in range(126)]
    first = pack(1, updates)
    yield first
    for i in range((length - len(first)) // SECTOR):
        yield pack(i + 2, [(TARGET + SECTOR * (1 + (i + n) % 64), MB) for n in range(126)])


def empty_entries(length: int) -> Iterator[bytes]:
    """Valid entries of one sector, without descriptors."""
    for i in range(length // SECTOR):
        yield pack(i + 1, [])


def no_sequence(length: int) -> Iterator[bytes]:
    """A run whose head has its Tail at no entry: every start is tried."""
    for i in range(length // SECTOR - 1):
        yield pack(i + 1, [], tail=length - SECTOR)


def claims_all(length: int) -> Iterator[bytes]:
    """Every sector claims to begin an entry as long as the log."""
    claim = pack(1, [])
    claim = claim[:8] + struct.pack("<I", length) + claim[12:]
    for _ in range(length // SECTOR):
        yield claim


Case = tuple[str, int, Callable[[int], Iterator[bytes]]]

CASES: list[Case] = [
    ("data, 126 in an entry", 64 * MB, lambda n: data_log(n, 126)),
    ("data, 1 in an entry", 64 * MB, lambda n: data_log(n, 1)),
    ("zeros, ascending", 64 * MB, lambda n: zero_log(n, shuffled=False)),
    ("zeros, any order", 64 * MB, lambda n: zero_log(n, shuffled=True)),
    ("zeros, any order, far apart", 64 * MB, lambda n: zero_log(n, shuffled=True, scale=GB)),
    ("zeros, any order and length, far apart", 64 * MB, worst_zero_log),
    ("zeros, in one entry", 64 * MB, one_zero_entry),
    ("zeros over data", 64 * MB, hidden_log),
    ("empty entries", 64 * MB, empty_entries),
    ("no sequence", 64 * MB, no_sequence),
    ("each sector claims the log", 64 * MB, claims_all),
    ("sparse", GB, lambda _: data_log(4 * MB, 126)),
]
BIG: list[Case] = [
    ("empty entries", GB, empty_entries),
    ("no sequence", GB, no_sequence),
    ("each sector claims the log", GB, claims_all),
    ("zeros, the same", GB, lambda n: (pack(i + 1, [(TARGET, SECTOR)] * 126) for i in range(n // SECTOR))),
    (
        "zeros, refused",
        GB,
        lambda n: (
            pack(i + 1, [(TARGET + MB * (126 * i + n), SECTOR) for n in range(126)]) for i in range(n // SECTOR)
        ),
    ),
    ("hole", 4 * GB - MB, lambda _: iter([pack(1, [])])),
]


def make(path: Path, log_length: int, entries: Iterator[bytes]) -> int:
    """An image with this log; gives how much of the log is no hole."""
    image = build(Spec(log=Log(length=log_length, guid=LOG_GUID)))
    image.save(path)
    with path.open("r+b") as file:
        file.seek(image.log_offset)
        return sum(file.write(entry) for entry in entries)


def main() -> int:
    """Print a line for each case; 1 where one is over a bound."""
    within = True
    cases = BIG if "--big" in sys.argv[1:] else CASES
    print(f"{'log':<42}{'time':>8}{'CPU':>8}{'bound':>8}{'memory':>10}{'bound':>10}  result")
    with tempfile.TemporaryDirectory() as folder:
        for name, length, entries in cases:
            path = Path(folder) / "image.vhdx"
            used = make(path, length, entries(length))
            command = [sys.executable, "-c", OPEN, str(path)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            seconds, cpu, memory, result = json.loads(output)
            most_seconds, most_memory = 1 + used / (8 * MB), 72 * MB + length / 8
            within &= cpu <= most_seconds and memory <= most_memory
            print(
                f"{name + f', {length // MB} MB':<42}{seconds:>7.2f}s{cpu:>7.2f}s{most_seconds:>7.1f}s"
                f"{memory / MB:>7.1f} MB{most_memory / MB:>7.1f} MB  {result}"
            )
            path.unlink()
    return int(not within)


if __name__ == "__main__":
    sys.exit(main())
