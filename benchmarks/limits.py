"""Time and memory for files made to be expensive: `python benchmarks/limits.py`.

Makes its images with the tests' builder in a temporary folder, works on each in a process of its own, and prints the
CPU time that took (on a busy machine the clock says little) and how far it raised the process's peak memory, beside the
bounds of SECURITY.md. Exits with 1 where a bound is not met. Reads, dumps and ratios are in read_limits.py, logs that
are large in earnest in log_replay.py.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from builder import (  # noqa: E402  found by the path above
    GB,
    IS_USER,
    LOG_GUID,
    MB,
    TB,
    Image,
    Item,
    Junk,
    Log,
    LogEntry,
    Region,
    Zero,
    bat_entry,
    differencing,
    dirty,
    dynamic,
    full,
    hide,
    partial,
    with_log,
)

OPEN_SECONDS, OPEN_MEMORY = 1.0, 64 * MB
CHECK_SECONDS_PER_MILLION, CHECK_MEMORY = 10.0, 64 * MB
ENTRIES = 1_000_000

WORK = """
import json, re, sys, time
import vhdxreader
vhdxreader.open, vhdxreader.check  # their modules are no cost of the file
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
before, start = peak(), time.process_time()
if sys.argv[1] == "check":
    report = vhdxreader.check(sys.argv[2])
    result = ", ".join(f"{count} {rule}" for rule, count in report.counts.items()) or "no findings"
else:
    try:
        with vhdxreader.open(sys.argv[2], parents=None, errors="zero") as disk:
            disk.pread(1 << 20, 0)
            disk.pread(1 << 20, disk.size - (1 << 20))
            result = f"{disk.image.metadata.disk_type}, {disk.size} bytes, {len(disk.lost)} lost"
    except vhdxreader.VhdxError as error:
        result = f"{type(error).__name__} {error.rule}"
print(json.dumps([time.process_time() - start, peak() - before, result]))
"""


def guid(number: int) -> uuid.UUID:
    """One of many that differ."""
    return uuid.UUID(int=number + 1)


def full_tables(**more: Any) -> Image:
    """As many regions and metadata items as fit, each over the others."""
    regions = [Region(f"r{n}", guid(n)) for n in range(2045)]
    items = [Item(f"i{n}", guid(n), bytes(4000), IS_USER * (n % 2), offset=100_000 + n) for n in range(2042)]
    overrides = {f"region.r{n}.file_offset": 2 * MB for n in range(2045)}
    overrides |= {f"region.r{n}.length": 0xFFF00000 for n in range(2045)}
    return dynamic(4 * MB, extra_regions=regions, extra_items=items, overrides=overrides, junk=Junk.NONE, **more)


def overlapping_strings() -> Image:
    """65 535 keys and values that all lie on the same 64 KB."""
    count = 65535
    header = uuid.UUID("B04AEFB7-D19E-4A81-B789-25B8E9445913").bytes_le + struct.pack("<HH", 0, count)
    start = len(header) + 12 * count
    entries = struct.pack("<IIHH", start, start, 65534, 65534) * count
    return differencing(4 * MB, parent=dynamic(4 * MB), item_data={"parent_locator": header + entries + b"a\0" * 32767})


def hollow_log() -> Image:
    """A log of nearly 4 GB, all of it a hole."""
    image = dynamic(4 * MB, blocks={0: full()}, overrides={"header.log_guid": LOG_GUID})
    start = image.file.length // MB * MB
    image.truncate(start + 0xFFF00000)
    for header in ("header1", "header2"):
        image.patch(f"{header}.log_offset", start).patch(f"{header}.log_length", 0xFFF00000)
    return image.fix_checksums()


def far_zeros() -> Image:
    """Zero descriptors of 2^60 bytes, and a LastFileOffset of 2^63."""
    image = dynamic(4 * MB, blocks={0: full()})
    zeros = [Zero(256 * MB + (n << 40), 1 << 60) for n in range(100)]
    return with_log(image, Log(entries=[(0, LogEntry(1, descriptors=zeros, last=1 << 63))], guid=LOG_GUID))


def far_offsets() -> Image:
    """Every offset as far away as its field allows; the BAT that is read is good."""
    overrides = {f"block[{n}]": bat_entry(6, ((1 << 44) - 1 - n) * MB) for n in range(4)}
    return dynamic(4 * MB, overrides={**overrides, "header.log_offset": (1 << 64) - MB})


def alternating_sectors() -> Image:
    """A bitmap in which every other sector is the parent's, who is absent."""
    blocks = {n: partial(range(0, 2048, 2)) for n in range(256)}
    return differencing(256 * MB, blocks=blocks, parent=dynamic(256 * MB), junk=Junk.NONE)


def table_of(word: int) -> Image:
    """A million equal BAT entries."""
    image = dynamic(ENTRIES * MB)
    image.file.write(image.bat_offset, struct.pack("<Q", word) * (ENTRIES + ENTRIES // 4096))
    return image


def largest() -> Image:
    """64 TB in blocks of 1 MB, behind a log that restores the BAT."""
    image = dynamic(64 * TB, blocks={0: full(), 64 * MB - 1: full()})
    return dirty(*hide(image, (image.bat_offset, 4096)))


CASES: list[tuple[str, str, Callable[[], Image]]] = [
    ("open", "65 535 metadata entries claimed", lambda: dynamic(4 * MB, overrides={"metadata.entry_count": 65535})),
    ("open", "2047 regions and items, all overlapping", full_tables),
    ("open", "65 535 overlapping locator strings", overlapping_strings),
    ("open", "log of 4 GB that is a hole", hollow_log),
    ("open", "zeros of 2^60 bytes, a file of 2^63", far_zeros),
    ("open", "offsets of 2^63 and more", far_offsets),
    ("open", "disk of 64 TB, 67 million entries, dirty", largest),
    ("open", "every other sector absent", alternating_sectors),
    ("check", "disk of 64 TB, 67 million entries, dirty", largest),
    ("check", "2047 regions and items, all overlapping", full_tables),
    ("check", "zeros of 2^60 bytes, a file of 2^63", far_zeros),
    ("check", "a million blocks in a reserved state", lambda: table_of(5 | 1 << 3)),
    ("check", "a million blocks on one place", lambda: table_of(bat_entry(6, 64 * MB)).truncate(GB)),
    ("check", "a million blocks past the end", lambda: table_of(bat_entry(6, 1 << 60))),
]


def main() -> int:
    """Run all cases; 0 if every bound is met."""
    print(f"{'work':<7}{'file':<44}{'time':>8}{'bound':>7}{'memory':>9}{'bound':>7}  result")
    met = [measure(*case) for case in CASES]
    return 0 if all(met) else 1


def measure(work: str, title: str, make: Callable[[], Image]) -> bool:
    """Print a line; whether the bounds are met."""
    with tempfile.TemporaryDirectory() as folder:
        path = make().save(Path(folder) / "hostile.vhdx")
        command = [sys.executable, "-c", WORK, work, path]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    seconds, memory, result = json.loads(done.stdout)
    limit = OPEN_SECONDS if work == "open" else CHECK_SECONDS_PER_MILLION
    room = OPEN_MEMORY if work == "open" else CHECK_MEMORY
    print(
        f"{work:<7}{title:<44}{seconds:6.2f} s{limit:5.0f} s{memory / MB:6.1f} MB{room // MB:4} MB  {result}",
        flush=True,
    )
    return seconds <= limit and memory <= room


if __name__ == "__main__":
    sys.exit(main())
