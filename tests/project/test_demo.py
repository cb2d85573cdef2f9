"""`make demo IMAGE=`: whatever the image is, one line says what is wrong with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builder import MB, bat_entry, differencing, dynamic, full
from grammar_tools import ROOT, need

IMAGE = dynamic(4 * MB, {0: full(), 1: full()})
BROKEN = {
    "no image": (lambda: dynamic(MB).truncate(0), "vhdxfile"),
    "cut in its tables": (lambda: IMAGE.copy().truncate(MB), "not whole"),
    "cut in a block": (lambda: IMAGE.copy().truncate(IMAGE.file.length - MB), "the file ends"),
    "block far away": (lambda: dynamic(4 * MB, {0: full()}, overrides={"block[0]": bat_entry(6, 1 << 60)}), "file end"),
    "orphan": (lambda: differencing(4 * MB, {}, parent=IMAGE), "parent was not found"),
}


@pytest.fixture(autouse=True)
def make():
    need(shutil.which("make") is not None, "make")


def demo(path: Path | str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-s", "-o", "setup", "demo", f"BIN={Path(sys.executable).parent}", f"IMAGE={path}"]
    outer = {"MAKELEVEL", "MAKEFLAGS", "MFLAGS"}  # of `make test`
    env = {key: value for key, value in os.environ.items() if key not in outer}
    env["PYTHONIOENCODING"] = "utf-8:strict"  # as most languages have it
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_image(kind, tmp_path):
    make_image, reason = BROKEN[kind]
    done = demo(make_image().save(tmp_path / "it's broken.vhdx"))
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert reason in line
    assert "it's broken.vhdx" in line
    assert done.returncode


def test_no_file(tmp_path):
    done = demo(tmp_path / "nobody's.vhdx")
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert line.startswith("vhdxreader: ")
    assert "nobody's.vhdx: No such file" in line


@pytest.mark.parametrize("name", [b"it's a disk.vhdx", b'"two" `words` ; # *.vhdx', b"caf\xe9.vhdx"])
def test_names(name, tmp_path):
    path = tmp_path / os.fsdecode(name)
    try:
        IMAGE.save(path)
    except OSError:
        pytest.skip("the file system takes only UTF-8")
    done = demo(path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "SHA-256 of all 4194304 bytes: " in done.stdout
