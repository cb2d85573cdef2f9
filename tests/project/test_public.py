"""The public surface: what is promised, no more."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

from builder import MB, dynamic

import vhdxreader

PUBLIC = [
    "CorruptImageError",
    "DirtyLogError",
    "Extent",
    "Finding",
    "Kind",
    "Lost",
    "NotVhdxError",
    "ParentError",
    "ParentLocator",
    "ParentMismatchError",
    "ParentNotFoundError",
    "Report",
    "Severity",
    "Tried",
    "TruncatedImageError",
    "UnsupportedImageError",
    "VhdxError",
    "VhdxImage",
    "VirtualDisk",
    "check",
    "is_vhdx",
    "open",
]


def test_exactly_these_names():
    assert sorted(vhdxreader.__all__) == PUBLIC
    names = {}
    exec("from vhdxreader import *", names)
    assert sorted(set(names) - {"__builtins__"}) == PUBLIC


def test_each_says_what_it_is():
    for name in PUBLIC:
        assert inspect.getdoc(getattr(vhdxreader, name)), name


def test_open_is_as_promised():
    parameters = inspect.signature(vhdxreader.open).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert positional == ["file"]
    assert defaults == {"parent": None, "parents": "relative", "log": "replay", "errors": "raise"}


def test_the_library_loads_neither_the_command_line_nor_programs_nor_the_network():
    code = "import sys, vhdxreader; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    unwanted = {"click", "rich", "vhdxreader.cli", "subprocess", "ssl", "http", "asyncio"}
    assert unwanted & set(loaded) == set()


def test_text_from_an_image_where_no_character_set_of_ours_has_it(tmp_path):
    path = dynamic(MB, creator="\u65e5\u672c").save(tmp_path / "disk.vhdx")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "vhdxreader", "info", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u65e5\\u672c" in done.stdout
