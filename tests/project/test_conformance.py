"""The suite for other readers: it is what it says, and its runner tells right readers from wrong ones."""

from __future__ import annotations

import json
import re
import shlex
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
        ("false", (), {"refuses valid": 3, "may refuse": 2, "right": 1}),
        ("cat {image}", ("--stdout",), {"WRONG DATA": 5, "accepts broken": 1}),
        ("sh -c 'kill -SEGV $$'", (), {"crash": 6}),
        ("sleep 60", ("--timeout", "0.1"), {"timeout": 6}),
        (f"sh -c '{READER}; exit 2'", (), {"right, but error": 3, "may refuse": 2, "right": 1}),
    ],
)
def test_wrong_readers(suite, tmp_path, command, options, found):
    assert verdicts(suite, tmp_path, command, *options) == (1, found)
