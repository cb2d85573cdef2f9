"""The documentation does what it says: its programs run, its commands work, every public name is in the reference."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from glob import glob
from importlib.util import find_spec
from pathlib import Path

import pytest
from builder import MB, dynamic, full
from grammar_tools import ROOT, need
from ranged_server import ranged_server

import vhdxreader
from vhdxreader.cli.app import run

DOCS = ROOT / "docs"
PAGES = {page.name: page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))}
PROGRAMS = [(name, code) for name, text in PAGES.items() for code in re.findall(r"```python\n(.*?)```", text, re.S)]
COMMANDS = {name: found for name, text in PAGES.items() if (found := re.findall(r"^\$ vhdxreader (.*)$", text, re.M))}
SESSIONS = re.findall(r"```console\n(.*?)```", PAGES["tutorial.md"], re.S)
NEEDS = {
    "pytsk3": "pytsk3",
    "from dissect": "dissect.extfs",
    "fsspec": "fsspec",
    "https://": "aiohttp",
    "from dfvfs": "dfvfs",
}
MANY = 10  # programs and commands there are at least: fewer would mean that they are no longer found
PATH = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def image(tmp_path, monkeypatch):
    """A disk.vhdx with a boot sector and one partition, an ext4 with hello.txt, in the current folder."""
    entry = b"\0\0\0\0\x83\0\0\0" + (2048).to_bytes(4, "little") + (8192).to_bytes(4, "little")
    boot = (bytes(446) + entry).ljust(510, b"\0") + b"\x55\xaa"
    monkeypatch.chdir(tmp_path)
    blocks = {1 + number: full(data) for number, data in enumerate(ext4(tmp_path))}
    return dynamic(5 * MB, {0: full(boot), **blocks}).save("disk.vhdx")


def ext4(folder):
    """The MiB of a small file system; none where the program that makes it is missing."""
    mke2fs = shutil.which("mke2fs", path=f"{PATH}{os.pathsep}/usr/sbin{os.pathsep}/sbin")
    if mke2fs is None:
        return []
    (folder / "files").mkdir()
    (folder / "files" / "hello.txt").write_text("hello from inside")
    command = [mke2fs, "-q", "-t", "ext4", "-d", "files", "part.raw", "4M"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    data = (folder / "part.raw").read_bytes()
    return [data[at : at + MB] for at in range(0, len(data), MB)]


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(("page", "code"), PROGRAMS, ids=[f"{page}-{i}" for i, (page, _) in enumerate(PROGRAMS)])
def test_program(page, code, capfd, monkeypatch):
    for sign, module in NEEDS.items():
        need(sign not in code or is_installed(module), module)
    monkeypatch.syspath_prepend(ROOT / "examples" / "integrations")
    need("hello.txt" not in code or Path("part.raw").exists(), "mke2fs")
    with ranged_server() as server:
        server.put("/images/disk.vhdx", Path("disk.vhdx").read_bytes())
        server.put("/disk.vhdx", Path("disk.vhdx").read_bytes())
        code = code.replace("https://example.org", server.url)
        if "__main__" in code:  # it starts processes, which read it again
            Path("program.py").write_text(code)
            subprocess.run([sys.executable, "program.py"], check=True)
        else:
            exec(compile(code, page, "exec"), {"__name__": "__main__"})
    printed = capfd.readouterr().out
    assert "boot signature" not in code or "boot signature: True" in printed
    assert "hello.txt" not in code or "hello from inside" in printed
    assert "are zeros" not in code or f"{zeros()} bytes of {5 * MB} are zeros" in printed


def is_installed(module):
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of what it is in
        return False


def zeros():
    with vhdxreader.open("disk.vhdx") as disk:
        return disk.read().count(0)


def test_there_are_programs_and_commands():
    assert len(PROGRAMS) > MANY
    assert sum(map(len, COMMANDS.values())) > MANY


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("page", set(COMMANDS) - {"tutorial.md"})
def test_commands(page):
    for command in COMMANDS[page]:
        need(".qcow2" not in command or shutil.which("qemu-img"), "qemu-img")
        words = [name for word in shlex.split(command, comments=True) for name in glob(word) or [word]]
        assert run(words) == 0, command


def test_the_tutorial_shows_what_is_printed(tmp_path):
    """Its commands one after another; a line of "…" stands for any number of lines."""
    demo = [sys.executable, ROOT / "examples" / "demo.py", "--keep", tmp_path / "disk.vhdx"]
    subprocess.run(demo, check=True, stdout=subprocess.DEVNULL)
    for session in SESSIONS:
        commands = [line[2:] for line in session.splitlines() if line.startswith("$ ")]
        script = "".join(f"echo {shlex.quote(f'$ {command}')}\n{command}\n" for command in commands)
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env={**os.environ, "PATH": PATH}, capture_output=True, check=True
        )
        pattern = "".join(r"(?:.*\n)*" if line == "…\n" else re.escape(line) for line in session.splitlines(True))
        assert re.fullmatch(pattern, done.stdout.decode()), done.stdout.decode() + done.stderr.decode()


def test_an_expert_witness_file_holds_the_disk(image, tmp_path):
    (script,) = re.findall(r"```sh\n(vhdxreader cat .*?)```", PAGES["recipes.md"], re.S)
    need(shutil.which("ewfacquirestream"), "ewfacquirestream (ewf-tools)")
    done = subprocess.run(
        ["bash", "-c", f"set -eo pipefail\n{script}\newfexport -q -u -f raw -t exported evidence.E01"],
        env={**os.environ, "PATH": PATH}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    with vhdxreader.open(image) as disk:
        expected = disk.read()
    (exported,) = tmp_path.glob("exported*raw")
    assert exported.read_bytes() == expected
    assert "ewfverify: SUCCESS" in done.stdout
    assert f"{hashlib.md5(expected).hexdigest()}  disk.vhdx" in done.stdout


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
