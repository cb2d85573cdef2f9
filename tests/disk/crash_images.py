"""Crash images by a real writer: qemu-io killed with SIGKILL while it writes to a VHDX.

    python tests/disk/crash_images.py [COUNT [SEED]]  # each image read by us and by qemu, which repairs a copy first

A difference is only accepted where a fault of qemu that `KNOWN_FAULTS` describes is shown to apply to that image.
"""

from __future__ import annotations

import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

MB = 1 << 20
DISK = 128 * MB

KNOWN_FAULTS = {
    "no entry": "the header names a log in which no entry is valid: refused, as the specification demands, and read "
    "with log='ignore'; qemu takes the log for empty",
}


@dataclass(frozen=True)
class Outcome:
    """What became of one image: `fault` is a key of `KNOWN_FAULTS`, or empty where both read the same; `entries` were
    replayed, and `mattered` if the disk is another without them."""

    dirty: bool
    fault: str
    entries: int
    mattered: bool


def commands(rng: random.Random) -> str:
    """Writes all over the disk, each with a byte of its own; most of them allocate a block."""
    lines = []
    for n in range(3000):
        offset, length = rng.randrange(DISK // 512) * 512, rng.choice([512, 4096, 65536, MB + 512])
        lines.append(f"write -P {n % 255 + 1} {offset} {min(length, DISK - offset)}")
        if rng.random() < 0.1:
            lines.append("flush")
    return "\n".join(lines) + "\n"


def crash(path: Path, rng: random.Random, tries: int = 5) -> None:
    """Make an image and leave it as a killed writer does, most often while its log is in use."""
    while not try_to_crash(path, rng) and tries > 1:
        tries -= 1


def try_to_crash(path: Path, rng: random.Random) -> bool:
    """False if the writer had ended before it was killed."""
    block = rng.choice([1, 2])  # many blocks, so many updates of the BAT, which go through the log
    run("qemu-img", "create", "-q", "-f", "vhdx", "-o", f"block_size={block}M", str(path), str(DISK))
    cache = rng.choice(["writeback", "writethrough"])
    with tempfile.TemporaryFile("w+") as script:
        script.write(commands(rng))
        script.seek(0)
        writer = subprocess.Popen(
            ["qemu-io", "-f", "vhdx", "-t", cache, str(path)],
            stdin=script,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with writer, path.open("rb", buffering=0) as image:
            wanted = rng.choice([is_dirty, is_logged, is_logged, is_logged])
            skipped = rng.randrange(8)
            while freeze(writer, rng.random() * 0.002):
                if wanted(image.fileno()):
                    skipped -= 1
                if skipped < 0:
                    writer.kill()
                    return True
                writer.send_signal(signal.SIGCONT)
    return False


def freeze(writer: subprocess.Popen[bytes], delay: float) -> bool:
    """Stop the writer a moment from now, wherever it is, so that its file can be looked at. False if it has ended."""
    end = time.perf_counter() + delay
    while time.perf_counter() < end:
        pass
    writer.send_signal(signal.SIGSTOP)
    if writer.returncode is not None:  # seen when the signal was sent
        return False
    _, status = os.waitpid(writer.pid, os.WUNTRACED)
    return os.WIFSTOPPED(status)


def log_guid(fd: int) -> bytes:
    """That of the header with the greater SequenceNumber."""
    headers = [os.pread(fd, 64, at) for at in (64 * 1024, 128 * 1024)]
    return max(headers, key=lambda header: int.from_bytes(header[8:16], "little"))[48:]


def is_dirty(fd: int) -> bool:
    """Whether the current header names a log."""
    return any(log_guid(fd))


def is_logged(fd: int) -> bool:
    """Whether an entry of that log has begun to be written; qemu puts it at the log's start."""
    entry = os.pread(fd, 64, MB)
    return entry.startswith(b"loge") and entry[32:48] == log_guid(fd)


def compare(path: Path, folder: Path) -> Outcome:
    """Read an image and a copy repaired by qemu; `AssertionError` where they differ for no known reason."""
    import vhdxreader

    copy, raw = folder / "copy.vhdx", folder / "copy.raw"
    before = path.read_bytes()
    shutil.copy(path, copy)
    with vhdxreader.open(path, log="ignore") as disk:
        stale, log = disk.read(), disk.image.log
    ours = stale
    if log is not None and log.entries:
        with vhdxreader.open(path) as disk:
            ours, log = disk.read(), disk.image.log
    run("qemu-img", "check", "-r", "all", str(copy))
    run("qemu-img", "convert", "-f", "vhdx", "-O", "raw", str(copy), str(raw))
    assert path.read_bytes() == before, "the image was written to"
    assert ours == raw.read_bytes(), "the disk differs from the one that qemu repaired"
    if log is None or log.active is not None:
        return Outcome(log is not None, "", len(log.active.to_replay) if log and log.active else 0, ours != stale)
    try:
        vhdxreader.open(path).close()
    except vhdxreader.DirtyLogError:
        return Outcome(True, "no entry", 0, False)
    raise AssertionError("a log without an entry was taken")


def run(*command: str) -> None:
    """A command that must succeed."""
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"


def main(count: int = 100, seed: int = 1) -> None:
    """Make and compare many images, and print what became of them."""
    outcomes: collections.Counter[Outcome] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n in range(seed, seed + count):
            path = folder / "image.vhdx"
            crash(path, random.Random(n))
            try:
                outcomes[compare(path, folder)] += 1
            except AssertionError:
                shutil.copy(path, f"crash-{n}.vhdx")
                raise
            path.unlink()
    for outcome, times in outcomes.items():
        print(f"{times:4} {outcome}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
