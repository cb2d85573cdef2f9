"""`import vhdxreader` in a source tree whose parser was not generated yet, or from another grammar."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
AS_EDITABLE = """
import importlib.util, sys
place = sys.argv[1] + "/generated/python"
spec = importlib.util.spec_from_file_location("vhdxreader._generated", place + "/__init__.py",
                                              submodule_search_locations=[place])
sys.modules[spec.name] = importlib.util.module_from_spec(spec)
import vhdxreader
"""


@pytest.fixture
def tree(tmp_path):
    """What of a tree, after `make setup`, matters here."""
    unwanted = shutil.ignore_patterns("__pycache__", "node_modules", "_generated")
    for name in ("vhdxreader", "ksc", "generated/python"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=unwanted)
    shutil.copy2(ROOT / "vhdx.ksy", tmp_path)
    return tmp_path


def problem(tree, code, libraries=LIBRARIES):
    """The last line of what Python says; "" where the import is fine."""
    path = os.pathsep.join([str(tree), *libraries])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-c", code, str(tree)]  # S: without what this tree's own installation adds
    done = subprocess.run(command, env=environment, cwd=tree, capture_output=True, text=True, check=False)
    assert bool(done.returncode) == bool(done.stderr)
    assert "During handling" not in done.stderr
    return done.stderr.strip().rpartition("\n")[2]


def test_before_anything_was_generated(tree):
    shutil.rmtree(tree / "generated")
    said = problem(tree, "import vhdxreader")
    assert said.startswith("ImportError: vhdxreader is not installed completely (No module named 'vhdxreader._gener")
    assert "`make setup`" in said


def test_before_anything_was_installed(tree):
    said = problem(tree, "import vhdxreader", libraries=())
    assert said.startswith("ImportError: vhdxreader is not installed completely (No module named ")


def test_a_parser_of_the_same_grammar_whatever_the_clock_says(tree):
    assert problem(tree, AS_EDITABLE) == ""
    os.utime(tree / "vhdx.ksy")  # as after a change of branches and back
    assert problem(tree, AS_EDITABLE) == ""


@pytest.mark.parametrize("name", ["vhdx.ksy", "ksc/compile.js", "ksc/package-lock.json"])
def test_a_parser_of_another_grammar(tree, name):
    with open(tree / name, "a") as file:
        file.write("\n")
    said = problem(tree, AS_EDITABLE)
    assert said.startswith(f"ImportError: the parser in {tree}/generated/python was not generated from the vhdx.ksy")
    assert "`make setup`" in said
