"""The suite for other readers: it is what it says, and its runner tells right readers from wrong ones."""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from builder import MustFail

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from conformance import build  # noqa: E402

CASES = build.all_cases()
MODELLED = re.compile(
    r"state-|block-(on|header|past)|block-size|sector-size|disk-size|metadata-(signature|count)|item-|cut-(block|half|sector)"
)
SAMPLE = [
    "state-all-present",
    "size-512-sector-512",
    "partial-odd-1",
    "log-all-1-at-1016k",
    "state-4-dynamic-1",
    "item-virtual_disk_id-missing",
]
READER = f"{shlex.quote(sys.executable)} -m vhdxreader convert {{image}} {{raw}}"


def test_manifest_vocabulary():
    assert 300 <= len(CASES) <= 400
    for case in CASES:
        assert case.tests, case.name
        assert re.fullmatch(r"2\.\d(\.\d)*", case.section), case.name
        assert not (case.refused and case.either), case.name


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.refused and MODELLED.match(case.name)], ids=lambda case: case.name
)
def test_the_model_refuses_too(case):
    """The builder's second model, which knows only the file's bytes, gives no data for these either."""
    image = case.make()
    with pytest.raises(MustFail):
        image.reread()


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    out = tmp_path_factory.mktemp("suite")
    entries = [build.write(case, out) for case in CASES if case.name in SAMPLE]
    (out / "manifest.json").write_text(json.dumps({"cases": entries}))
    return out


def verdicts(suite, tmp_path, command, *options):
    result = tmp_path / "verdicts.json"
    arguments = [sys.executable, ROOT / "conformance/run.py", suite, command, "--json", result, *options]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.exists(), done.stderr
    return done.returncode, Counter(json.loads(result.read_text()).values())


def test_a_right_reader(suite, tmp_path):
    assert verdicts(suite, tmp_path, READER) == (0, {"right": 6})


@pytest.mark.parametrize(
    ("command", "options", "found"),
    [
        ("false {image} {raw}", (), {"refuses valid": 3, "may refuse": 2, "right": 1}),
        ("cat {image}", ("--stdout",), {"WRONG DATA": 5, "accepts broken": 1}),
        ("sh -c 'kill -SEGV $$' {image} {raw}", (), {"crash": 6}),
        ("sh -c 'sleep 60' {image} {raw}", ("--timeout", "0.1"), {"timeout": 6}),
        (f"sh -c '{READER}; exit 2'", (), {"right, but error": 3, "may refuse": 2, "right": 1}),
    ],
)
def test_wrong_readers(suite, tmp_path, command, options, found):
    assert verdicts(suite, tmp_path, command, *options) == (1, found)


def test_a_reader_that_starts_others_is_ended_with_them(suite, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    command = f"sh -c 'sleep 301 >{tmp_path}/pipe & wait' {{image}} {{raw}}"
    assert verdicts(suite, tmp_path, command, "--timeout", "0.5", "--only", "state-4") == (1, {"timeout": 1})
    assert select.select([pipe], [], [], 60)[0]
    assert os.read(pipe, 1) == b""  # nobody has the other end
    os.close(pipe)


def test_a_reader_that_writes_to_the_images_is_told_of(suite, tmp_path):
    copy = shutil.copytree(suite, tmp_path / "copy")
    command = "sh -c 'printf x >> $0' {image} {raw}"
    assert verdicts(copy, tmp_path, command, "--only", "state-4") == (1, {"CHANGED IMAGE": 1})


def test_a_reader_that_makes_a_folder_wrote_no_disk(suite, tmp_path):
    assert verdicts(suite, tmp_path, "sh -c 'mkdir $0' {raw} {image}", "--only", "state-all") == (1, {"WRONG DATA": 1})


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("nosuch {image} {raw}", ()),
        ("/tmp {image} {raw}", ()),
        ("'cat {image} {raw}", ()),
        ("", ()),
        ("cat {raw}", ()),
        ("cat {image}", ()),
        ("cat {image} {raw} --parents={parents}", ()),
        ("cat {image} {raw}", ("--only", "nothing")),
    ],
)
def test_a_command_line_that_cannot_be_meant_is_no_reader(suite, command, options):
    arguments = [sys.executable, ROOT / "conformance/run.py", suite, command, *options]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert done.stderr
    assert "Traceback" not in done.stderr
