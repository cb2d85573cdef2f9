"""What the tests of the grammar share: the tools it is compiled and run with, the images it is tried on."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from builder import (  # fmt: skip
    KB,
    LOG_GUID,
    MB,
    TB,
    Data,
    Image,
    Log,
    Zero,
    differencing,
    dynamic,
    fixed,
    full,
    partial,
    run,
    undefined,
    unmapped,
    with_log,
    zeroed,
)

ROOT = Path(__file__).resolve().parents[1]
GRAMMAR = ROOT / "vhdx.ksy"
NODE_MODULES = ROOT / "ksc" / "node_modules"
CORPUS = ROOT.parent / "shared" / "corpus"


def need(there: object, what: str) -> None:
    """Skip the test where a tool is missing; in CI, where all are installed, fail it."""
    if not there:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {what}")


def node(*arguments: str | Path, stdin: str | None = None) -> str:
    """What Node.js prints; the pinned compiler and runtime are found as modules."""
    command = shutil.which("node")
    need(command and (NODE_MODULES / "kaitai-struct").is_dir(), "node, and `npm ci` in ksc/")
    environment = {**os.environ, "NODE_PATH": str(NODE_MODULES)}
    done = subprocess.run(
        [str(command), *arguments], input=stdin, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def generate(*targets: str) -> Path:
    """Compile the grammar into generated/, as make does; gives that folder."""
    need(shutil.which("node"), "node")
    done = subprocess.run(
        [sys.executable, ROOT / "ksc" / "generate.py", *targets], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return ROOT / "generated"


def grammar() -> dict[str, Any]:
    """vhdx.ksy as data, read as the compiler reads it."""
    script = (
        "const yaml = require('js-yaml');"
        "const text = require('fs').readFileSync(process.argv[1], 'utf8');"
        "console.log(JSON.stringify(yaml.load(text, {schema: yaml.CORE_SCHEMA})))"
    )
    loaded: dict[str, Any] = json.loads(node("-e", script, GRAMMAR))
    return loaded


def types(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every type of the grammar by its id, the file itself included."""
    found = {spec["meta"]["id"]: spec}
    assert not any("types" in inner for inner in spec["types"].values()), "types are all on one level"
    return found | spec["types"]


def number(data: bytes, offset: int, layout: str) -> int:
    """An unsigned little-endian number, decoded without grammar or reader."""
    value: int = struct.unpack_from("<" + layout, data, offset)[0]
    return value


# ---- images by name, each made when it is asked for


def every_state() -> Image:
    """Blocks in all the states a dynamic disk can have, with stale offsets in the absent ones."""
    blocks = {0: full(b"first"), 1: zeroed(), 2: undefined(), 3: unmapped(), 9: full(b"last")}
    return dynamic(10 * MB + 512, blocks, creator="a creator: näive, 虚拟磁盘, \U0001f4be")


def child() -> Image:
    """A differencing disk: its own blocks, some sectors of others, and its parent's."""
    parent = dynamic(20 * MB, {0: full(b"parent"), 3: full(b"parent too")})
    blocks = {0: full(b"child"), 2: partial([0, 7, 2047]), 3: partial({5: b"five"}), 4: zeroed()}
    return differencing(20 * MB, blocks, parent=parent, parent_path="../bases/parent disk.vhdx")


def many_chunks() -> Image:
    """Three chunks and a part of a fourth, with blocks at the edges."""
    return dynamic(int(3.5 * 2048 * 2 * MB), {0: full(b"a"), 2047: full(b"b"), 2048: full(b"c")}, block_size=2 * MB)


def dirty_log() -> Image:
    """A log whose sequence numbers are too large for a 64-bit float, with both kinds of descriptors and a wrap."""
    image = dynamic(8 * MB, {1: full(b"data")})
    page = bytes(range(256)) * 16
    groups: Sequence[Sequence[Data | Zero]] = [
        [],
        [Data(image.bat_offset, page), Zero(image.bat_offset + 64 * KB, 8 * KB)],
        [Data(image.bat_offset + at * 4 * KB, page) for at in range(130)],
    ]
    entries = run(groups, at=600 * KB, first=2**53 + 1, flushed=image.file.length, last=image.file.length)
    return with_log(image, Log(entries=entries, guid=LOG_GUID))


def broken_header() -> Image:
    """Header 2, which was current, overwritten."""
    image = every_state()
    return image.patch(128 * KB, b"\xa5" * 4096)


def junk_tables() -> Image:
    """Region table 1 overwritten with what claims four thousand million entries."""
    return every_state().patch(192 * KB, b"\xff" * 64 * KB)


def largest() -> Image:
    """64 TiB in blocks of 32 MiB, as Windows makes them: two million BAT entries."""
    return dynamic(64 * TB, {2**21 - 1: full(b"last")}, block_size=32 * MB)


def truncated() -> Image:
    """Cut within the region tables."""
    return every_state().truncate(200 * KB)


def cut_in_block() -> Image:
    """Cut within the last block of the file."""
    image = every_state()
    return image.truncate(max(image.block_offset.values()) + 1000)


BUILT = {
    make.__name__: make
    for make in (
        every_state,
        child,
        many_chunks,
        dirty_log,
        broken_header,
        junk_tables,
        largest,
        truncated,
        cut_in_block,
    )
}
BUILT["fixed_4k"] = lambda: fixed(3 * MB, {1: full(b"x")}, sector_size=4096, physical_sector_size=4096)
BUILT["empty_disk"] = lambda: dynamic(0)
