"""Where the standard output is closed, and targets that are no files."""

from __future__ import annotations

import subprocess
import sys

import pytest
from builder import MB, dynamic, full

from vhdxreader.cli.app import run

COMMANDS = ["info", "check", "map", "log", "dump", "cat", "convert", "skeleton", "--help"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_standard_output_is_one_line(command, tmp_path):
    path = dynamic(2 * MB, {0: full()}).save(tmp_path / "disk.vhdx")
    target = f" '{tmp_path / 'out'}'" if command in ("convert", "skeleton") else ""
    line = f"'{sys.executable}' -m vhdxreader {command} '{path}'{target} >&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "vhdxreader: the standard output is closed\n")


@pytest.mark.parametrize("command", ["convert", "skeleton"])
def test_a_target_that_ends_with_a_slash(command, tmp_path, capsys):
    path = dynamic(2 * MB, {0: full()}).save(tmp_path / "disk.vhdx")
    assert run([command, str(path), f"{tmp_path}/newdir/"]) == 1
    assert "not a folder" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["disk.vhdx"]
