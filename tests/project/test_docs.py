"""The documentation does what it says: its programs run, its commands work, every public name is in the reference."""

from __future__ import annotations

import re
import shlex
import subprocess
from glob import glob

import pytest
from builder import MB, dynamic, full
from grammar_tools import ROOT

import vhdxreader
from vhdxreader.cli.app import run

DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", DOCS / "tutorial.md", DOCS / "how-to.md")
PROGRAMS = [(page.name, code) for page in PAGES for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S)]


@pytest.fixture
def image(tmp_path, monkeypatch):
    """A disk.vhdx with a boot sector and one partition, in the current folder."""
    entry = b"\0\0\0\0\x07\0\0\0" + (2048).to_bytes(4, "little") + (4096).to_bytes(4, "little")
    boot = (bytes(446) + entry).ljust(510, b"\0") + b"\x55\xaa"
    monkeypatch.chdir(tmp_path)
    return dynamic(4 * MB, {0: full(boot), 3: full(b"end")}).save("disk.vhdx")


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(("page", "code"), PROGRAMS, ids=[f"{page}-{i}" for i, (page, _) in enumerate(PROGRAMS)])
def test_program(page, code, capsys):
    exec(compile(code, page, "exec"), {})
    printed = capsys.readouterr().out
    assert "boot signature" not in code or "boot signature: True" in printed
    assert "partition" not in code or "type 0x07: 4096 sectors from 2048" in printed


@pytest.mark.usefixtures("image")
def test_commands():
    pages = "".join(page.read_text() for page in PAGES)
    commands = re.findall(r"^\$ vhdxreader (.*)$", pages, re.M)
    assert len(commands) >= 10
    for command in commands:
        words = [name for word in shlex.split(command, comments=True) for name in glob(word) or [word]]
        assert run(words) == 0, command


def test_every_public_name_is_in_the_reference():
    page = (DOCS / "reference.md").read_text()
    assert sorted(re.findall(r"^::: vhdxreader\.(?:check\.)?(\w+)$", page, re.M)) == sorted(vhdxreader.__all__)


def test_every_picture_is_there_and_small():
    tracked = subprocess.run(["git", "ls-files", "docs/images"], cwd=ROOT, capture_output=True, text=True, check=False)
    for page in DOCS.glob("*.md"):
        for picture in re.findall(r"!\[[^]]*\]\((images/[^)]+)\)", page.read_text(encoding="utf-8")):
            if picture != "images/grammar.svg":  # made by `make docs`
                assert (DOCS / picture).stat().st_size < 300_000, picture
    assert "grammar.svg" not in tracked.stdout
