"""The public surface: what is promised, no more."""

from __future__ import annotations

import builtins
import importlib
import importlib.metadata
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from builder import MB, dynamic

import vhdxreader

PUBLIC = {
    "opening": "open open_chain open_unpacked is_packed is_vhdx BinaryFile RemotePath Source open_source Chain"
    " is_url without_secrets VhdxImage VirtualDisk Extent Kind Lost Doubtful DamagedRange",
    "structures": "Copy DiskType Geometry Header Metadata MetadataItem ParentLocator Region RegionTable",
    "log": "ActiveSequence ExaminedEntry LogChanges LogEntry LogHandling LogState LogStatus LogSummary"
    " LogListing LogUpdate read_log",
    "partitions": "Partition PartitionStream PartitionTable",
    "disks": "compare Comparison DifferingRange hash_disk hash_file hash_twice hash_blocks BlockDigest"
    " digest_algorithms parse_digest_list expected_digests ListedDigest measure Measurement FileUse",
    "surveys": "SURVEY_KEYS SurveyProgress SurveyTask forest_of stamp_of survey survey_image",
    "fleets": "Fleet Merge examine_fleet fleet_page write_fleet_report",
    "forests": "chain_forest find_images named_images Forest ForestNode ForestMember ParentState",
    "files": "WholeFile CustodyRecord needed_files",
    "tools": "check Report convert copy_range dump DumpNode DUMP_SECTIONS MAX_DUMP_COUNT lacks_payload Skeleton"
    " write_skeleton steady shared_blocks unused_ranges FileRange",
    "pictures": "disk_cells DiskCell file_cells FileCell total_parts report_page write_report",
    "findings": "plain printable short_size problem_to_dict Finding Severity Tried",
    "errors": "VhdxError NotVhdxError CorruptImageError TruncatedImageError UnreadableError UnsupportedImageError"
    " DirtyLogError ImageChangedError ParentError ParentMismatchError ParentNotFoundError ParentPermissionError",
}
NAMES = " ".join(PUBLIC.values()).split()
CONSTANTS = {"SURVEY_KEYS", "DUMP_SECTIONS", "MAX_DUMP_COUNT"}
MODULES = [m for m in pkgutil.walk_packages(vhdxreader.__path__, "vhdxreader.") if not m.name.endswith("__main__")]
FOREIGN = {"Callable", "Hashable", "Iterator", "UUID"}
NOT_PROMISED = {"DescriptorSource"}  # where a source has a descriptor (`Source.file_of`): for the rooms above
# Where `Any` stands in a public signature, by its end: why no narrower type would be true.
ANY = {
    "to_dict": "JSON: schemas say what is in it, docs/json.md",
    "entry_to_dict": "JSON",
    "problem_to_dict": "JSON",
    "summary": "JSON",
    "plain": "what JSON can say of a value, by the value",
    "survey": "records, which are JSON",
    "survey_image": "a record",
    "forest_of": "records",
    "stamp_of": "a record, and the values of its keys",
}


def run_python(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_exactly_these_names():
    assert sorted(vhdxreader.__all__) == sorted(NAMES)
    names = {}
    exec("from vhdxreader import *", names)
    assert sorted(set(names) - {"__builtins__"}) == sorted(NAMES)
    assert set(NAMES) <= set(dir(vhdxreader))
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        vhdxreader.opne  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_is_under_its_name(name):
    value = getattr(vhdxreader, name)
    assert name in CONSTANTS or inspect.getdoc(value)
    assert name in CONSTANTS or value.__name__ == name  # no other in tracebacks and pages


def test_late_names_are_found_by_a_fresh_interpreter():
    for name in sorted(set(NAMES) - set(run_python("import vhdxreader; print(*vars(vhdxreader))").split())):
        assert run_python("import sys, vhdxreader; print(hasattr(vhdxreader, sys.argv[1]))", name) == "True\n"


def test_no_module_is_hidden_by_a_public_name():
    for name in (module.name for module in MODULES):
        package, _, last = name.rpartition(".")
        assert getattr(importlib.import_module(package), last, None) in (None, importlib.import_module(name)), name


def test_the_version_is_that_of_the_installed_package():
    assert vhdxreader.__version__ == importlib.metadata.version("vhdxreader")


def test_types_of_public_attributes_are_public():
    """What a public class says that its attributes, properties and methods give."""
    modules = [importlib.import_module(module.name) for module in MODULES]
    ours = {name for module in modules for name, value in vars(module).items() if isinstance(value, type)}
    ours = {name for name in ours if not hasattr(builtins, name) and not hasattr(typing, name)}
    for kind in [value for name in NAMES if isinstance(value := getattr(vhdxreader, name), type)]:
        for name, annotation in annotations(kind):
            given = ours.intersection(re.findall(r"\w+", str(annotation)))
            assert given <= {*NAMES, *FOREIGN, *NOT_PROMISED}, f"{kind.__name__}.{name}: {annotation}"


def test_any_stands_in_no_public_signature_without_a_reason():
    found = set()
    for name in NAMES:
        value = getattr(vhdxreader, name)
        signatures = members(value) if isinstance(value, type) else [(name, value)] if callable(value) else []
        for member, function in signatures:
            if re.search(r"\bAny\b", str(list(function.__annotations__.values()))):
                found.add(member)
    assert found == set(ANY)


def members(kind):
    """Properties and methods of a class, as functions, by name."""
    for base in kind.__mro__:
        for name, member in vars(base).items() if base.__module__.startswith("vhdxreader") else ():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if inspect.isfunction(function) and (name[0] != "_" or name == "__init__"):
                yield name, function


def annotations(kind):
    """Of attributes, and of what properties and methods give back, as they are written."""
    for base in kind.__mro__:
        if not base.__module__.startswith("vhdxreader"):
            continue
        yield from ((name, text) for name, text in vars(base).get("__annotations__", {}).items() if name[0] != "_")
        for name, member in vars(base).items():
            function = member.fget if isinstance(member, property) else member
            if name[0] != "_" and inspect.isfunction(function):
                yield name, function.__annotations__.get("return", "")


def test_open_is_as_promised():
    parameters = inspect.signature(vhdxreader.open).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert positional == ["file"]
    assert defaults == {
        "parent": None,
        "parents": "relative",
        "log": "replay",
        "errors": "raise",
        "fill": b"\0",
        "geometry": None,
        "ignore_mismatch": False,
        "trimmed": False,
    }


def test_the_library_loads_neither_the_command_line_nor_programs_nor_the_network():
    loaded = run_python("import sys, vhdxreader; print(*sys.modules)").split()
    unwanted = {"click", "rich", "vhdxreader.cli", "subprocess", "ssl", "http", "asyncio", "vhdxreader.tools"}
    assert unwanted & set(loaded) == set()


def test_help_loads_no_reader():
    asked = "import sys, vhdxreader.cli.app as app; app.run(['--help']); print(*sys.modules)"
    loaded = run_python(asked).splitlines()[-1].split()
    unwanted = {"vhdxreader.disk", "vhdxreader.files", "vhdxreader._generated", "crc32c", "importlib.metadata"}
    assert "click" in loaded
    assert unwanted & set(loaded) == set()


def test_text_from_an_image_where_no_character_set_of_ours_has_it(tmp_path):
    path = dynamic(MB, creator="\u65e5\u672c").save(tmp_path / "disk.vhdx")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "vhdxreader", "info", "-v", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u65e5\\u672c" in done.stdout


TYPED = """
import gzip, io, mmap, tempfile, zipfile
from pathlib import Path
from typing import BinaryIO

import vhdxreader

def sources(path: Path, archive: zipfile.ZipFile, packed: gzip.GzipFile, mapped: mmap.mmap, file: BinaryIO) -> None:
    for source in (str(path), path, bytes(path), packed, mapped, file, io.BytesIO(), tempfile.TemporaryFile()):
        vhdxreader.open(source)
    with archive.open("disk.vhdx") as member, vhdxreader.open(member) as disk, vhdxreader.open(disk) as nested:
        nested.read(512)

def takes_a_binary_file(disk: vhdxreader.VirtualDisk, part: vhdxreader.PartitionStream) -> list[BinaryIO]:
    io.BufferedReader(disk)
    return [disk, part]

def attributes(image: vhdxreader.VhdxImage) -> tuple[vhdxreader.Header, vhdxreader.Metadata, vhdxreader.Geometry]:
    log: vhdxreader.LogState | None = image.log
    copies: tuple[vhdxreader.Copy[vhdxreader.Header], vhdxreader.Copy[vhdxreader.Header]] = image.headers
    version: str = vhdxreader.__version__
    return image.header, image.metadata, image.geometry

vhdxreader.open("disk.vhdx", log="reply")  # error: arg-type
vhdxreader.open("disk.vhdx", errors="ignore")  # error: arg-type
vhdxreader.open("disk.vhdx", parents="everywhere")  # error: arg-type
vhdxreader.open(17)  # error: arg-type
vhdxreader.opne("disk.vhdx")  # error: attr-defined
"""


def test_types_as_they_work_and_no_others(tmp_path):
    """A program that uses the package, seen by a strict type checker: wrong is what is marked, and nothing else."""
    program = tmp_path / "program.py"
    program.write_text(TYPED)
    options = ["--strict", "--follow-imports=silent", f"--cache-dir={tmp_path}", "--config-file="]
    command = [sys.executable, "-m", "mypy", *options, str(program)]
    environment = {**os.environ, "MYPYPATH": str(Path(vhdxreader.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    found = re.findall(r"program\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    lines = enumerate(TYPED.splitlines(), 1)
    marked = [(str(number), line.split("error: ")[1]) for number, line in lines if "# error: " in line]
    assert found == marked, done.stdout + done.stderr


def test_places_and_lengths_have_the_names_that_json_has() -> None:
    """No bare `offset`, and no size called `*_bytes`, in what the library hands out."""
    classes = [getattr(vhdxreader, name) for name in vhdxreader.__all__]
    named = {
        f"{one.__name__}.{field}"
        for one in classes
        if inspect.isclass(one)
        for field in getattr(one, "__annotations__", {})
        if field == "offset" or field.endswith("_bytes") or field.startswith("bytes_")
    }
    assert named == set()
