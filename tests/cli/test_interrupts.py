"""An interrupt while the modules of a command load: 130, and not a word."""

from __future__ import annotations

import subprocess
import sys

import pytest
from builder import MB, dynamic, full

from vhdxreader.cli.app import _COMMANDS

INTERRUPTED = """
import os, runpy, signal, sys

module, sys.argv = sys.argv[1], ["vhdxreader", *sys.argv[2:]]

class Interrupting:
    def find_spec(self, name, *_):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
runpy.run_module("vhdxreader", run_name="__main__")
"""


def interrupted(module: str, *words: object) -> tuple[int, str, str]:
    line = [sys.executable, "-c", INTERRUPTED, module, *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr.strip()  # a new line, after what a terminal shows of the key


@pytest.mark.parametrize("command", _COMMANDS)
def test_while_the_commands_own_module_loads(tmp_path, command):
    assert interrupted(f"vhdxreader.cli.{command}", command, tmp_path / "disk.vhdx") == (130, "", "")


LOADED = ["cli.app", "errors", "disk.chain", "format.grammar", "_generated.vhdx"]


@pytest.mark.parametrize("module", [*(f"vhdxreader.{name}" for name in LOADED), "click", "crc32c"])
def test_while_other_modules_load(tmp_path, module):
    path = dynamic(2 * MB, {0: full()}).save(tmp_path / "disk.vhdx")
    assert interrupted(module, "info", path) == (130, "", "")
