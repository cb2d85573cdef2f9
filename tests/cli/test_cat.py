"""`cat`: every byte arrives, whatever standard output is."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from builder import MB, dynamic, full

from vhdxreader.cli.app import run


class Stingy(io.RawIOBase):
    """Takes 100 000 bytes at a time, as a pipe may."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: memoryview) -> int:
        self.taken += data[:100_000]
        return min(len(data), 100_000)


@pytest.mark.parametrize("command", [["cat"], ["convert"]], ids=str)
def test_standard_output_that_takes_a_part_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    image = dynamic(5 * MB, {0: full(), 1: full(), 4: full()})
    path, out = image.save(tmp_path / "disk.vhdx"), Stingy()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, write_through=True))
    assert run([*command, str(path), *["-"] * (command == ["convert"])]) == 0
    assert out.taken == image.expected()


@pytest.mark.skipif(not hasattr(os, "set_blocking") or os.name == "nt", reason="no pipes that do not block")
def test_a_pipe_that_does_not_block_is_an_error_and_no_short_output(tmp_path: Path) -> None:
    path = dynamic(5 * MB, {0: full(), 1: full(), 4: full()}).save(tmp_path / "disk.vhdx")
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        command = [sys.executable, "-u", "-m", "vhdxreader", "cat", str(path)]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == 1
    assert "without a wait" in done.stderr
