"""Memory of large reads and listings, and time of `check` beside a map: `python benchmarks/read_limits.py`.

Makes its images with the tests' builder in a temporary folder, and works on each in a process of its own. Memory is how
far the process's peak rises above what it had before, the bytes that were read not counted. Of times only the ratio of
two in one process is said, so that it means something on a busy machine. Exits with 1 where a bound of SECURITY.md is
not met.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from builder import LOG_GUID, MB, TB, Image, Junk, Log, bat_entry, differencing, dynamic, partial  # noqa: E402  found by the path above
from limits import full_tables  # noqa: E402
from log_replay import one_zero_entry  # noqa: E402

READ_SIZE = 600 * MB
LOG_SIZE = 8 * MB  # 2,048 sectors
READ_MEMORY, DUMP_MEMORY, RATIO = 8.0, 64.0, 3.0

PEAK = """
import json, os, re, sys, time
import vhdxreader
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
path, size = sys.argv[1], int(sys.argv[2])
"""
OPEN = "disk = vhdxreader.open(path)\n"
OPEN_OBJECT = "disk = vhdxreader.open(open(path, 'rb'))\n"
READ = """
disk.pread(1, 0)
before = peak()
data = disk.pread(size, 0)
print(max(peak() - before - len(data) / 2**20, 0))
"""
READ_TO_END = READ.replace("disk.pread(size, 0)", "disk.read()")
LISTED = """
from vhdxreader.cli.app import run
out, sys.stdout = sys.stdout, open(os.devnull, "w")
run(["dump", path, "header"])
before = peak()
assert run(["dump", path, *sys.argv[3:]]) == 0
print(peak() - before, file=out)
"""
RATIO_OF = """
def spent(work):
    start = time.process_time()
    work()
    return time.process_time() - start
times = [(spent(one), spent(other)) for _ in range(3)]
print(min(time for time, _ in times) / min(time for _, time in times))
"""
CHECK_BESIDE_MAP = (
    """
def one():
    vhdxreader.check(path)
def other():
    with vhdxreader.open(path) as disk:
        return sum(1 for _ in disk.extents())
"""
    + RATIO_OF
)
LOG_BESIDE_PLAIN = (
    """
def listed(path):
    with vhdxreader.read_log(path) as log:
        for entry in log.examined:
            for update in log.updates(entry):
                json.dumps(update.to_dict())
def one():
    listed(path)
def other():
    listed(os.path.join(os.path.dirname(path), "plain.vhdx"))
"""
    + RATIO_OF
)


def with_states(image: Image, words: Iterator[int], ratio: int) -> Image:
    """With these entries for its payload blocks, `ratio` of which a chunk has, in a file that is long enough."""
    table, end = bytearray(), image.file.length
    for block, word in enumerate(words):
        if block and block % ratio == 0:
            table += bytes(8)
        table += struct.pack("<Q", word)
        end = max(end, (word >> 20) * MB + 64 * MB)
    image.file.write(image.bat_offset, bytes(table))
    return image.truncate(end)


def all_there() -> Image:
    """A disk all of whose blocks are there, as holes."""
    blocks = READ_SIZE // MB
    return with_states(dynamic(READ_SIZE), (bat_entry(6, (n + 16) * MB) for n in range(blocks)), 4096)


def alternating(folder: Path) -> Image:
    """A child of which every other block has every other sector, on a parent that has all."""
    parent = all_there()
    parent.save(folder / "parent.vhdx")
    blocks = {n: partial(range(0, 2048, 2)) for n in range(0, READ_SIZE // MB, 2)}
    return differencing(READ_SIZE, blocks, parent=parent, junk=Junk.NONE)


def largest(word: Callable[[int], int]) -> Image:
    """64 TB in blocks of 64 MB, as qemu-img makes it."""
    image = dynamic(64 * TB, block_size=64 * MB)
    return with_states(image, map(word, range(1 << 20)), 64)


def clustered(block: int) -> int:
    """One in a hundred, a hundred together."""
    return bat_entry(6, (1024 + 64 * (block // 10_000 * 100 + block % 10_000)) * MB) if block % 10_000 < 100 else 0


def log_of_zeros(make: Callable[..., Image] = dynamic) -> Image:
    """A log of one entry, as long as that, and nothing in it but zero descriptors."""
    image = make(log=Log(length=LOG_SIZE, guid=LOG_GUID))
    (entry,) = one_zero_entry(LOG_SIZE)
    image.file.write(image.log_offset, entry)
    return image


def crowded(folder: Path) -> Image:
    """The same beside as many unknown regions as fit; without them in another file."""
    log_of_zeros().save(folder / "plain.vhdx")
    return log_of_zeros(full_tables)


Make = Callable[[Path], Image]
CASES: list[tuple[str, str, Make, str, list[str], float]] = [
    ("a pread of 600 MiB, by path", "MiB", lambda _: all_there(), OPEN + READ, [], READ_MEMORY),
    ("a pread of 600 MiB, by file object", "MiB", lambda _: all_there(), OPEN_OBJECT + READ, [], READ_MEMORY),
    ("a pread of 600 MiB, of a chain", "MiB", alternating, OPEN + READ, [], READ_MEMORY),
    ("read() to the end of 600 MiB, by path", "MiB", lambda _: all_there(), OPEN + READ_TO_END, [], READ_MEMORY),
    ("read() to the end of 600 MiB, of a chain", "MiB", alternating, OPEN + READ_TO_END, [], READ_MEMORY),
    ("dump log --json --count 2048, full of descriptors", "MiB", lambda _: log_of_zeros(), LISTED,
     ["log", "--json", "--count", "2048"], DUMP_MEMORY),
    ("log --json, the same beside 2,045 unknown regions", "times without them", crowded, LOG_BESIDE_PLAIN, [], RATIO),
    ("check of 64 TB, all ZERO", "times the map", lambda _: largest(lambda _: 2), CHECK_BESIDE_MAP, [], RATIO),
    ("check of 64 TB, all NOT_PRESENT", "times the map", lambda _: largest(lambda _: 0), CHECK_BESIDE_MAP, [], RATIO),
    ("check of 64 TB, 1 % in clusters", "times the map", lambda _: largest(clustered), CHECK_BESIDE_MAP, [], RATIO),
]  # fmt: skip


def main() -> int:
    """Run all cases; 0 if every bound is met."""
    print(f"{'work':<52}{'measured':>10}{'bound':>8}")
    met = [measure(*case) for case in CASES]
    return 0 if all(met) else 1


def measure(title: str, unit: str, make: Make, code: str, arguments: list[str], bound: float) -> bool:
    """Print a line; whether the bound is met."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.vhdx"
        make(Path(folder)).save(path)
        command = [sys.executable, "-c", PEAK + code, str(path), str(READ_SIZE), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    measured = float(json.loads(done.stdout))
    print(f"{title:<52}{measured:>10.2f}{bound:>8.1f}  {unit}", flush=True)
    return measured <= bound


if __name__ == "__main__":
    sys.exit(main())
