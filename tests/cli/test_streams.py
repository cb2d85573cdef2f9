"""Where the standard output is closed, and targets that are no files."""

from __future__ import annotations

import os
import signal
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


# ---- whoever reads what we write, or talks to us, has gone

ON_POSIX = pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="there is no SIGPIPE")


@ON_POSIX
@pytest.mark.parametrize("unbuffered", [[], ["-u"]], ids=str)
@pytest.mark.parametrize("command", ["cat", "info", "map", "convert"])
def test_a_reader_that_has_gone_ends_the_command_in_silence(tmp_path, command, unbuffered):
    path = dynamic(4 * MB, {0: full()}).save(tmp_path / "disk.vhdx")
    words = [
        sys.executable,
        *unbuffered,
        "-m",
        "vhdxreader",
        command,
        str(path),
        *(["-"] if command == "convert" else []),
    ]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


@ON_POSIX
def test_a_socket_whose_other_end_has_gone_is_an_error():
    """A command that talks to a server, in any of the libraries that it reads by."""
    program = """
import socket
from vhdxreader.cli import app

def run(_):
    ours, other = socket.socketpair()
    other.close()
    try:
        ours.send(b"x")
    except BrokenPipeError:
        print("an error")
    return 3

app.run = run
app.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "an error\n", "")
