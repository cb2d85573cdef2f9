"""The grammar in other languages: built without a warning, and every value of every image equal to Python's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builder import MB, TB, Image, Locator
from grammar_tools import BUILT, GRAMMAR, ROOT, generate, need, node
from hostile_images import HOSTILE

DUMP = ROOT / "tests" / "grammar" / "languages"
EXAMPLES = ROOT / "examples" / "languages"
REAL = ("swap", "vhdx-log-replay", "iotest-dynamic-1G", "small_ntfs_test", "config2_base", "empty_3145728_4096_4096")
IMAGES = [*BUILT, *HOSTILE, *(pytest.param(name, marks=pytest.mark.corpus) for name in REAL)]
EXACT = 2**53  # up to here a 64-bit float, JavaScript's number, has every integer
NOTHING = {"= 0", "= false", '= ""', "= 0 bytes ", "= 0 items"}


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The names that are dumped, with the parsers in generated/."""
    generate("all")
    path = tmp_path_factory.mktemp("fields") / "fields.txt"
    path.write_text(node(DUMP / "fields.js", GRAMMAR), encoding="ascii")
    return path


@pytest.fixture(scope="module")
def save(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`save(name)` is the path of an image; each is made once."""
    folder = tmp_path_factory.mktemp("images")

    def find(name: str) -> Path:
        if name in REAL:
            return Path(request.getfixturevalue("corpus"), f"{name}.vhdx")
        path = folder / f"{name}.vhdx"
        return path if path.exists() else (BUILT | HOSTILE)[name]().save(path)

    return find


@pytest.fixture(scope="module")
def python_lines(fields: Path, save: Callable[[str], Path]) -> Callable[[str], dict[str, str]]:
    """`python_lines(name)` are the values of an image by their path, as Python has them."""
    found: dict[str, dict[str, str]] = {}

    def lines(name: str) -> dict[str, str]:
        if name not in found:
            found[name] = by_path(python(DUMP / "dump.py", fields, save(name)))
        return found[name]

    return lines


def by_path(text: str) -> dict[str, str]:
    lines = dict(line.split(" ", 1) for line in text.splitlines())
    assert len(lines) == text.count("\n")
    return lines


def run(*command: str | Path, folder: Path | None = None, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python(*arguments: str | Path) -> str:
    environment = {"PYTHONPATH": str(ROOT / "generated" / "python"), "PYTHONIOENCODING": "utf-8"}
    return run(sys.executable, "-W", "error", *arguments, **environment)


# ---- each language's program: built with the language's own tools, every warning an error


def build_javascript(fields: Path) -> Callable[[Path], str]:
    return lambda image: node(DUMP / "dump.js", fields, image)


def build_java(fields: Path) -> Callable[[Path], str]:
    need(shutil.which("mvn") and shutil.which("java"), "Java with Maven")
    run("mvn", "--quiet", "--batch-mode", "package", folder=DUMP / "java")  # the warnings are in pom.xml
    return lambda image: run("java", "-jar", DUMP / "java" / "target" / "dump.jar", fields, image)


def build_go(fields: Path) -> Callable[[Path], str]:
    need(shutil.which("go"), "Go")
    folder = DUMP / "go"
    run("go", "generate", folder=folder)
    run("go", "vet", "-assign=false", "./...", folder=folder)  # the compiler writes `x = x` where it casts
    run("go", "build", "-o", "dump", folder=folder)
    return lambda image: run(folder / "dump", fields, image)


def build_rust(fields: Path) -> Callable[[Path], str]:
    need(shutil.which("cargo"), "Rust with Cargo")
    strict = {"RUSTFLAGS": "-D warnings", "VHDX_FIELDS": str(fields)}
    run("cargo", "build", "--release", "--quiet", folder=DUMP / "rust", **strict)
    return lambda image: run(DUMP / "rust" / "target" / "release" / "dump", image)


BUILDS = {"JavaScript": build_javascript, "Java": build_java, "Go": build_go, "Rust": build_rust}


@pytest.fixture(scope="module", params=BUILDS)
def language(request: pytest.FixtureRequest, fields: Path) -> tuple[str, Callable[[Path], str]]:
    """Name of a language, and what dumps an image with it."""
    return request.param, BUILDS[request.param](fields)


@pytest.mark.parametrize("name", IMAGES)
def test_every_value_is_that_of_python(name, language, python_lines, save):
    language, dump = language
    ours, theirs = python_lines(name), by_path(dump(save(name)))
    assert list(ours) == list(theirs)
    different = [(path, mine, theirs[path]) for path, mine in ours.items() if mine != theirs[path]]
    assert not [values for values in different if not is_known(language, name, *values)]


def is_known(language: str, image: str, path: str, ours: str, theirs: str) -> bool:
    """Whether it is a difference that docs/languages.md names."""
    return is_replaced(language, image, ours, theirs) or KNOWN[language](image, path.rpartition("/")[2], ours, theirs)


def is_replaced(language: str, image: str, ours: str, theirs: str) -> bool:
    """Text that is none is an error, or has U+FFFD in it."""
    replaced = re.fullmatch(r'= ".*\\u\{fffd\}.*"', theirs) is not None
    return image == "text_that_is_none" and language != "Rust" and ours == "error" and replaced


def has_default(_image: str, _field: str, ours: str, theirs: str) -> bool:
    """There is no null: what an `if` leaves out has the value that everything begins with."""
    return ours == "none" and theirs in NOTHING


def is_signed(image: str, field: str, ours: str, theirs: str) -> bool:
    """All numbers are signed; a state without a name is none; and a place may not lie beyond 2 GiB behind nothing."""
    return (
        number(ours) - number(theirs) == 2**64
        or (image == "reserved_states" and field == "state" and theirs == "none")
        or (image.startswith("size_") and field == "size_mib")
        or (image == "wild_log" and field == "data_sectors" and (ours, theirs) == ("= 0 items", "error"))
    )


def is_rounded(image: str, field: str, ours: str, theirs: str) -> bool:
    """All numbers are floats; in sound images only the log's sequence numbers are too large for one."""
    wild = image in HOSTILE or image in ("broken_header", "junk_tables")
    rounded = number(ours) > EXACT and number(theirs) == int(float(number(ours)))
    return (rounded and (wild or field == "sequence_number")) or (image == "size_at_the_end" and field == "size_mib")


KNOWN = {"JavaScript": is_rounded, "Java": is_signed, "Go": has_default, "Rust": has_default}


def number(text: str) -> int:
    found = re.fullmatch(r"= (-?\d+)", text)
    return int(found[1]) if found else 0


# ---- that Python's values are right is told by what the builder was asked for


def test_the_images_show_every_field_of_the_grammar(fields, python_lines):
    seen: set[str] = set()
    for name in ("every_state", "child", "dirty_log"):
        for path, shown in python_lines(name).items():
            seen.update(re.sub(r"\[\d+\]", "", path).split("/") if shown not in ("none", "error") else ())
    names = {line.split()[1] for line in fields.read_text("ascii").splitlines()}
    assert names - {"-"} <= seen


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.startswith("sequence_numbers_")])
def test_the_header_with_the_greater_number_is_current(name, python_lines):
    expected = "= 1" if name.endswith("equal") else "= 2"
    assert python_lines(name)["/current_header_number"] == expected


@pytest.mark.parametrize("name", ["size_beyond_a_signed_number", "size_at_the_end", "size_one_sector_too_large"])
def test_a_size_beyond_the_limit_gives_no_geometry(name, python_lines):
    lines = python_lines(name)
    assert lines["/metadata/is_geometry_ok"] == lines["/layout/is_complete"] == "= false"
    assert lines["/block_allocation_table"] == "none"


def blocks(image: Image, lines: dict[str, str]) -> Iterator[tuple[int, str]]:
    chunk_ratio = image.spec.geometry.chunk_ratio
    for n in range(image.spec.geometry.blocks):
        chunk, at = divmod(n, chunk_ratio)
        yield n, lines[f"/block_allocation_table/chunks[{chunk}]/payload_blocks[{at}]/data"]


@pytest.mark.parametrize(
    "name",
    ["every_state", "child", "fixed_4k", "cut_in_block", "blocks_outside_the_file", "reserved_states",
     "a_block_that_its_disk_does_not_fill", "a_block_that_is_cut"],
)  # fmt: skip
def test_a_block_is_there_whole_up_to_the_end_of_the_disk_or_not_at_all(name, python_lines):
    image = (BUILT | HOSTILE)[name]()
    shown = 0
    for n, data in blocks(image, python_lines(name)):
        word = int.from_bytes(image.file.read(image.block_entry_offset(n), 8), "little")
        place, length = word >> 20 << 20, min(image.spec.block_size, image.size - n * image.spec.block_size)
        is_there = word & 7 in (6, 7) and place + length <= image.file.length
        expected = f"= {length} bytes {zlib.adler32(image.file.read(place, length))}" if is_there else "none"
        assert data == expected, n
        shown += is_there
    assert shown


def test_a_bitmap_is_there_whole_or_not_at_all(python_lines):
    path = "/block_allocation_table/chunks[0]/sector_bitmap_block/bitmap"
    image = BUILT["child"]()
    whole = image.file.read(image.bitmap_offset[0], MB)
    assert python_lines("child")[path] == f"= {MB} bytes {zlib.adler32(whole)}"
    assert python_lines("bitmap_that_is_cut")[path] == python_lines("bitmaps_outside_the_file")[path] == "none"


def test_an_entry_that_goes_on_at_the_start_of_the_log_says_how_much(python_lines):
    lines, image = python_lines("log_that_wraps"), HOSTILE["log_that_wraps"]()
    for at, entry in image.spec.log.entries:
        sector = f"/log/sectors[{at // 4096}]"
        wrapped = max(0, at + len(entry) - MB)
        assert lines[f"{sector}/len_wrapped"] == f"= {wrapped}"
        assert (lines.get(f"{sector}/entry") == "none") == bool(wrapped)
        assert lines[f"{sector}/body/sequence_high"] == f"= {entry.sequence >> 32}"
        assert lines[f"{sector}/body/sequence_low"] == f"= {entry.sequence % 2**32}"
        assert lines[f"{sector}/body/session"] == '= "current"'
    assert any(at + len(entry) > MB for at, entry in image.spec.log.entries)


# ---- the smallest examples


@pytest.mark.parametrize("language", ["python", "javascript"])
@pytest.mark.parametrize("name", ["every_state", "child", "many_chunks", "dirty_log"])
@pytest.mark.usefixtures("fields")
def test_example_tells_what_was_asked_of_the_builder(name, language, save):
    image = BUILT[name]()
    tell = (python, EXAMPLES / "info.py") if language == "python" else (node, EXAMPLES / "info.js")
    lines = tell[0](tell[1], save(name)).splitlines()
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


def test_sizes_beyond_32_bits_are_exact_in_every_language(language, tmp_path):
    """Offsets are put together from two halves: what would be lost in 32 bits, and in a float's bit operations."""
    image = BUILT["largest"]()
    last = image.spec.geometry.bitmap_index(16382)
    image.patch(image.bat_offset + 8 * (last + 1), (6 | 0xFFFFFFFFFFF << 20).to_bytes(8, "little"))
    lines = by_path(language[1](image.save(tmp_path / "disk.vhdx")))
    assert lines["/metadata/virtual_disk_size/virtual_disk_size"] == f"= {64 * TB}"
    entry = "/block_allocation_table/chunks[16383]/payload_blocks[0]/entry"
    assert lines[f"{entry}/file_offset_mb"] == f"= {0xFFFFFFFFFFF}"
    place = 0xFFFFFFFFFFF << 20
    assert number(lines[f"{entry}/ofs_block"]) in (place, place - 2**64 if language[0] == "Java" else place)


def test_what_the_construct_target_makes_is_no_python():
    """Stated in docs/languages.md: it has no bit fields. If this fails, the compiler has learned them."""
    made = (generate("construct") / "construct" / "vhdx.py").read_text(encoding="utf-8")
    with pytest.raises(SyntaxError):
        compile(made, "vhdx.py", "exec")
