"""What people see: tables as wide as their terminal, colour and progress where wanted, and what they may have meant."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from builder import MB, differencing, dynamic, full, reserved

from vhdxreader.cli.app import run
from vhdxreader.cli.output import short_size, size
from vhdxreader.cli.table import shortened

pty: ModuleType = pytest.importorskip("pty", reason="terminals are another matter on Windows")

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(columns: int, *arguments: object, code: int | None = None, **environment: str) -> str:
    """What the command shows on a terminal of so many columns, standard error with it."""
    ours, theirs = pty.openpty()
    known = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "vhdxreader", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**known, "COLUMNS": str(columns), "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    shown = b"".join(_pieces(ours))
    os.close(ours)
    assert process.wait() in ((0, 2, 3) if code is None else (code,))
    return shown.decode().replace("\r\n", "\n")


def _pieces(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(descriptor, 1 << 16)
        except OSError:  # how Linux says that nobody writes to the terminal any more
            return
        if not piece:
            return
        yield piece


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    deep = tmp_path / "a folder with a name of some length" / "and another one below it that is no shorter"
    deep.mkdir(parents=True)
    base = dynamic(4 * MB, {0: full(), 2: full()}, name="base")
    base.save(deep / "base of all the others.vhdx")
    differencing(4 * MB, {1: full()}, parent=base, parent_path="base of all the others.vhdx").save(deep / "child.avhdx")
    dynamic(4 * MB, {1: reserved(5)}).flip(64 * 1024 + 9).save(deep / "broken.vhdx")
    return deep


COMMANDS = {
    "info": ["info", "base of all the others.vhdx", "child.avhdx", "broken.vhdx"],
    "info of one": ["info", "-v", "child.avhdx"],
    "check": ["check", "base of all the others.vhdx", "child.avhdx", "broken.vhdx"],
    "check of one": ["check", "broken.vhdx"],
    "map": ["map", "child.avhdx"],
    "map of a broken one": ["map", "broken.vhdx"],
    "dump": ["dump", "child.avhdx", "metadata"],
}


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_wider_than_the_terminal(folder: Path, columns: int, command: str) -> None:
    name, *arguments = COMMANDS[command]
    paths = [folder / part if part.endswith("vhdx") else part for part in arguments]
    lines = ESCAPE.sub("", on_terminal(columns, name, *paths)).splitlines()
    own_line = [str(path) for path in paths]  # the title of one image
    assert [line for line in lines if len(line) > columns and not any(path in line for path in own_line)] == []
    if command in ("info", "check"):
        assert max(map(len, lines)) <= columns
        rows = [line for line in lines if line.startswith(str(folder)[:4])]
        assert len(rows) == 3
        assert all("dynamic" in row or "differencing" in row for row in rows)
        assert all("…" in row for row in rows)


def test_elsewhere_nothing_is_cut(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(path) for path in sorted(folder.iterdir())]
    assert run(["info", *paths]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.startswith(path) for line, path in zip(lines[1:], paths, strict=True))


def test_colour_is_for_terminals_that_want_it(folder: Path) -> None:
    broken = folder / "broken.vhdx"
    assert "\x1b[" in on_terminal(120, "check", broken)
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        for arguments in (["check", broken], ["check", broken, broken], ["info", broken], ["info", broken, broken]):
            assert not re.search(r"\x1b\[[0-9;]*3[0-9]", on_terminal(120, *arguments, **environment))
    command = [sys.executable, "-m", "vhdxreader", "check", str(broken)]
    assert b"\x1b" not in subprocess.run(command, capture_output=True, check=False).stdout


def test_a_disk_does_not_go_to_the_terminal(folder: Path) -> None:
    shown = on_terminal(80, "cat", folder / "child.avhdx", code=64)
    assert "give them to a file or a program" in " ".join(shown.split())
    assert "\0" not in shown


def test_progress_comes_late_and_where_it_is_seen(folder: Path, tmp_path: Path) -> None:
    image, target = folder / "base of all the others.vhdx", tmp_path / "disk.raw"
    assert "Converting" not in on_terminal(80, "convert", "--force", image, target)  # in less than a second
    shown = ESCAPE.sub("", on_terminal(80, "convert", "--force", "--progress", image, target))
    assert "Converting" in shown
    assert "4 MiB of 4 MiB" in shown
    assert "Converting" not in on_terminal(80, "convert", "--force", "-p", "-q", image, target)
    command = [sys.executable, "-m", "vhdxreader", "convert", "--force", str(image), str(target)]
    assert subprocess.run(command, capture_output=True, check=True).stderr == b""


def test_several_images_are_each_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever happens to the others; corrupt counts before what could not be done, that before a warning."""
    base, broken, none = folder / "base of all the others.vhdx", folder / "broken.vhdx", folder / "none.vhdx"
    for names, code in (([base, base], 0), ([base, none], 1), ([none, broken, base], 2)):
        assert run(["check", *map(str, names)]) == code
        output = capsys.readouterr()
        assert len(output.out.splitlines()) == 1 + len(names)
        assert (f"{none}: No such file" in output.err) == (none in names)
    assert run(["check", "-v", str(base), str(broken)]) == 2
    assert "error payload.state" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["inof", "disk.vhdx"], 64, "Did you mean 'info'?"),
        (["info", "--jsn", "disk.vhdx"], 64, "'--json'"),
        (["disk.vhdx"], 64, "Did you mean 'info disk.vhdx'?"),
        (["info", "dsk.vhdx"], 1, "dsk.vhdx: No such file or directory. Did you mean 'disk.vhdx'?"),
        (["info", "disk.vhd"], 1, "disk.vhd: No such file or directory. Did you mean 'disk.vhdx'?"),
    ],
)
def test_what_was_meant(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    dynamic(MB).save(tmp_path / "disk.vhdx")
    assert run(arguments) == code
    assert words in capsys.readouterr().err


def test_units() -> None:
    assert [size(value) for value in (0, 1023, 1024, 1536, 64 << 40)] == [
        "0 bytes",
        "1023 bytes",
        "1 KiB (1024 bytes)",
        "1.5 KiB (1536 bytes)",
        f"64 TiB ({64 << 40} bytes)",
    ]
    assert short_size(10_000_000) == "9.54 MiB"


def test_a_path_keeps_its_name() -> None:
    path = "/mnt/evidence/case 17/exports/server.vhdx"
    assert shortened(path, len(path)) == path
    for width in range(3, len(path)):
        short = shortened(path, width)
        assert len(short) == width
        head, tail = short.split("…")
        assert path.startswith(head)
        assert path.endswith(tail)
    assert shortened(path, 24).endswith("server.vhdx")
