"""The grammar in other languages: every value of every image equal to Python's, and the examples."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from builder import TB, Locator
from grammar_tools import BUILT, REAL, ROOT, generate, grammar, node, types

DUMP = ROOT / "tests" / "grammar" / "languages"
EXAMPLES = ROOT / "examples" / "languages"
EXACT = 2**53  # up to here a 64-bit float, JavaScript's number, has every integer
JUNK = {"broken_header", "junk_tables"}  # where any field may hold any number


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grammar as JSON, with the parsers made of it in generated/."""
    generate("python", "javascript")
    path = tmp_path_factory.mktemp("spec") / "vhdx.json"
    path.write_text(json.dumps(grammar()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def save(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`save(name)` is the path of an image; each is made once."""
    folder = tmp_path_factory.mktemp("images")

    def find(name: str) -> Path:
        if name in REAL:
            return Path(request.getfixturevalue("corpus"), f"{name}.vhdx")
        path = folder / f"{name}.vhdx"
        return path if path.exists() else BUILT[name]().save(path)

    return find


def python(*arguments: str | Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "generated" / "python"), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [*BUILT, *(pytest.param(name, marks=pytest.mark.corpus) for name in REAL)])
def test_javascript_has_the_same_values_as_python(name, spec, save):
    image = save(name)
    ours = python(DUMP / "dump.py", spec, image).splitlines()
    theirs = node(DUMP / "dump.js", spec, image).splitlines()
    assert len(ours) == len(theirs) > 50
    rounded = [(mine, other) for mine, other in zip(ours, theirs, strict=True) if mine != other]
    for mine, other in rounded:
        path, _, value = mine.partition(" = ")
        assert int(value) > EXACT, mine
        assert other == f"{path} = {int(float(int(value)))}"
        assert name in JUNK or path.endswith("/sequence_number"), mine


def test_the_images_show_every_field_of_the_grammar(spec, save):
    seen: set[str] = set()
    for name in ("every_state", "child", "dirty_log"):
        for line in python(DUMP / "dump.py", spec, save(name)).splitlines():
            path, shown, _ = line.partition(" = ")
            seen.update(re.sub(r"\[\d+\]", "", path).split("/") if shown else ())
    kinds = types(json.loads(spec.read_text(encoding="utf-8"))).values()
    fields = {field["id"] for kind in kinds for part in ("params", "seq") for field in kind.get(part, [])}
    assert fields | {name for kind in kinds for name in kind.get("instances", {})} <= seen


@pytest.mark.parametrize("language", ["python", "javascript"])
@pytest.mark.parametrize("name", ["every_state", "child", "many_chunks", "dirty_log"])
@pytest.mark.usefixtures("spec")
def test_example_tells_what_was_asked_of_the_builder(name, language, save):
    image = BUILT[name]()
    run = (python, EXAMPLES / "info.py") if language == "python" else (node, EXAMPLES / "info.js")
    lines = run[0](run[1], save(name)).splitlines()
    spec = image.spec
    names = {0: "NOT_PRESENT", 1: "UNDEFINED", 2: "ZERO", 3: "UNMAPPED", 6: "FULLY_PRESENT", 7: "PARTIALLY_PRESENT"}
    states = Counter(names[spec.block(n).state] for n in range(spec.geometry.blocks))
    assert lines == [
        f"creator: {spec.creator}",
        f"current header: 2, log to replay: {str(bool(spec.log.guid.int)).lower()}",
        f"disk: {spec.kind}, {spec.virtual_size} bytes, blocks of {spec.block_size}",
        *(f"parent: {key} = {value}" for key, value in (spec.locator or Locator([])).pairs),
        *(f"blocks: {count} {state}" for state, count in sorted(states.items())),
    ]


def test_sizes_beyond_32_bits_are_exact_in_javascript(spec, tmp_path):
    """Offsets are put together from two halves: what would be lost in 32 bits, and in a float's bit operations."""
    image = BUILT["largest"]()
    last = image.spec.geometry.bitmap_index(16382)
    image.patch(image.bat_offset + 8 * (last + 1), (6 | 0xFFFFFFFFFFF << 20).to_bytes(8, "little"))
    dump = node(DUMP / "dump.js", spec, image.save(tmp_path / "disk.vhdx"))
    assert f"/metadata/virtual_disk_size/virtual_disk_size = {64 * TB}\n" in dump
    entry = "/block_allocation_table/chunks[16383]/payload_blocks[0]/entry"
    assert f"{entry}/file_offset_mb = {0xFFFFFFFFFFF}\n" in dump
    assert f"{entry}/ofs_block = {0xFFFFFFFFFFF << 20}\n" in dump


def test_what_the_construct_target_makes_is_no_python():
    """Stated in docs/languages.md: it has no bit fields. If this fails, the compiler has learned them."""
    made = (generate("construct") / "construct" / "vhdx.py").read_text(encoding="utf-8")
    with pytest.raises(SyntaxError):
        compile(made, "vhdx.py", "exec")
