"""`map --plot`: pictures that are as wide as the screen, and say the same without colour."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from builder import MB, TB, differencing, dynamic, full, partial, reserved, zeroed

from vhdxreader.cli.app import run


@pytest.fixture
def chain(tmp_path):
    base = dynamic(64 * MB, {0: full(), 1: full(), 4: zeroed()}, name="base")
    child = differencing(
        64 * MB, {0: partial(range(2000)), 1: partial([7]), 9: full()}, parent=base, parent_path="base.vhdx", name="c"
    )
    base.save(tmp_path / "base.vhdx")
    return child.save(tmp_path / "child.avhdx")


def plotted(path, columns, *options, **environment):
    command = [sys.executable, "-m", "vhdxreader", "map", "--plot", str(path), *options]
    environment = {**os.environ, "COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8", **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)


def rows(text):
    return re.findall(r"^ *(0x[0-9a-f]+) (\S+)$", text, re.MULTILINE)


def test_each_kind_has_its_character(chain):
    done = plotted(chain, 80)
    assert (done.returncode, done.stderr) == (0, "")
    disk, file = done.stdout.split("\n\n")
    drawn = "".join(row for _, row in rows(disk))
    each = 64 * MB // len(drawn)
    at = [drawn[offset // each] for offset in (0, MB + each, 4 * MB, 9 * MB, 20 * MB)]
    assert at == ["█", "1", "░", "█", "·"]
    assert len(drawn) * each == 64 * MB
    assert "1 parent 1" in disk
    assert {"S", "█"} <= set("".join(row for _, row in rows(file)))
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("columns", [20, 40, 80, 120, 250])
def test_it_is_one_screen_wide_at_any_width(chain, columns):
    text = plotted(chain, columns).stdout
    assert all(len(line) <= columns for line in text.splitlines()[1:] if not line.startswith("Its file"))
    offsets = [int(offset, 16) for offset, _ in rows(text.split("\n\n")[0])]
    assert offsets == sorted(offsets)
    assert max(len(row) for _, row in rows(text)) > columns // 2 - 8


@pytest.mark.parametrize("columns", [80, 120])
def test_its_words_are_whole(chain, columns):
    text = plotted(chain, columns).stdout
    for meaning in ("headers, log, BAT, metadata", "payload and sector bitmap blocks"):
        assert any(line.endswith(meaning) for line in text.splitlines()), text


def test_in_ascii_where_the_terminal_has_nothing_else(chain):
    text = plotted(chain, 80, PYTHONIOENCODING="ascii").stdout
    assert text.isascii()
    assert set("".join(row for _, row in rows(text.split("\n\n")[0]))) == set("#1-.")


def test_what_is_lost_is_seen_and_told_by_the_exit_code(tmp_path):
    path = dynamic(64 * TB, {0: full(), 1: reserved(5)}).save(tmp_path / "lost.vhdx")
    done = plotted(path, 80)
    assert done.returncode == 2
    assert rows(done.stdout)[0][1].startswith("X·")
    assert re.search(r"^  X lost +1 MiB \(<0\.1 %\)  cannot be read$", done.stdout, re.MULTILINE)


def test_it_goes_with_no_other_form(chain, capsys):
    for option in ("--json", "--jsonl", "--qemu", "--unused"):
        assert run(["map", "--plot", option, str(chain)]) == 64
    assert "--plot is for people" in capsys.readouterr().err
