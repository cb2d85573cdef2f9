"""The grammar by itself: in the gallery's style, and compiled by every target the compiler has."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import generate
import pytest
from grammar_tools import need

ROOT = Path(__file__).resolve().parents[2]
CHECKERS = ROOT.parent / "shared" / "tools"
TARGETS = {
    "construct", "cpp_stl", "csharp", "go", "graphviz", "html", "java", "javascript", "lua", "nim", "perl",
    "php", "python", "ruby", "rust",
}  # fmt: skip


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder with the output of every target; the compiler is then in ksc/node_modules."""
    need(not generate.requirements(["all"]), "Node.js with npm")
    folder = tmp_path_factory.mktemp("targets")
    generate.generate(["all"], folder)
    return folder


def test_every_target_compiles(compiled):
    assert {path.name for path in compiled.iterdir()} == TARGETS
    for target in TARGETS:
        assert any(path.stat().st_size for path in (compiled / target).rglob("*") if path.is_file()), target


def test_nothing_is_calculated_in_32_bits_in_silence(compiled):
    """Rust's target takes both sides of an operator for 32 bits where their types differ: only `==` may bear that."""
    code = (compiled / "rust" / "vhdx.rs").read_text(encoding="utf-8")
    narrow = re.findall(r"as i32\) *(\S+) *\(*\w+ as i32", code)
    assert narrow
    assert set(narrow) == {"=="}
    assert code.count("as i32") == 2 * len(narrow)


@pytest.mark.usefixtures("compiled")
def test_an_unknown_target_is_refused_by_name(tmp_path):
    with pytest.raises(generate.GenerateError, match=r"no such target: klingon; there are .*python"):
        generate.generate(["klingon"], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("checker", ["ksc_lint.js", "ksy_order.js"])
def test_checker_is_silent(checker):
    node = shutil.which("node")
    need(node and CHECKERS.is_dir(), "node on PATH and the checkers of ../shared/tools")
    done = subprocess.run(
        [node, CHECKERS / checker, ROOT / "vhdx.ksy"],
        env={**os.environ, "KSC_NM": str(ROOT / "ksc" / "node_modules")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("no ")
