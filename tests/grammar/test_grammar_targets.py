"""The grammar by itself: in the gallery's style, and compiled by every target the compiler has."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import generate
import pytest
from grammar_tools import BUILT, GRAMMAR, grammar, need, node, types

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


def test_no_parameter_can_be_null():
    """C# has a type of its own for what an `if` may leave out, and refuses it as a parameter; a cast unpacks it."""
    parameters = 0
    for kind in types(grammar()).values():
        instances = kind.get("instances", {})
        for instance in instances.values():
            for arguments in re.findall(r"^\w+\((.*)\)$", str(instance.get("type"))):
                given = arguments.split(", ")
                parameters += len(given)
                assert not [name for name in given if "if" in instances.get(name, {})]
    assert parameters == sum(len(kind.get("params", [])) for kind in types(grammar()).values())


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


WRITE = """
import sys
from io import BytesIO
from kaitaistruct import KaitaiStream
from vhdx import Vhdx
with open(sys.argv[1], "rb") as file:
    image = Vhdx(KaitaiStream(file))
    image._read()
    header = image.header_1
    header._fetch_instances()
    before, header.version = header._io.to_byte_array(), 0x4711
    header._check()
    out = KaitaiStream(BytesIO(bytearray(4096)))
    header._write(out)
    after = out.to_byte_array()
assert before[:66] + bytes.fromhex("1147") + before[68:] == after and len(after) == 4096
"""


@pytest.mark.usefixtures("compiled")
def test_read_write_mode_compiles_and_writes_what_it_read(tmp_path):
    """The gallery builds every grammar in this mode, too, for Python and Java."""
    node(ROOT / "tests" / "grammar" / "read_write.js", GRAMMAR, tmp_path, "python", "java")
    assert "extends KaitaiStruct.ReadWrite" in (tmp_path / "Vhdx.java").read_text(encoding="utf-8")
    image = BUILT["every_state"]().save(tmp_path / "disk.vhdx")
    done = subprocess.run(
        [sys.executable, "-c", WRITE, image],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# Words that a name must not be, in languages whose runtimes are in no registry, in the form that names have there.
KEYWORDS = {
    "C++": """alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl const constexpr
        const_cast continue decltype default delete do double dynamic_cast else enum explicit export extern false float
        for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
        protected public register reinterpret_cast return short signed sizeof static static_assert static_cast struct
        switch template this thread_local throw true try typedef typeid typename union unsigned using virtual void
        volatile wchar_t while xor xor_eq""",
    "Lua": """and break do else elseif end false for function goto if in local nil not or repeat return then true
        until while""",
    "Nim": """addr and as asm bind block break case cast concept const continue converter defer discard distinct div do
        elif else end enum except export finally for from func if import in include interface is isnot iterator let
        macro method mixin mod nil not notin object of or out proc ptr raise ref return shl shr static template try
        tuple type using var when while xor yield result""",
    "Perl": "new decode_entity from_file",
    "PHP": "abstract clone class echo empty exit eval isset list print unset",
    "Ruby": """alias and begin break case class def defined do else elsif end ensure false for if in module next nil
        not or redo rescue retry return self super then true undef unless until when while yield class method send
        hash display freeze dup clone""",
}


@pytest.mark.parametrize("language", KEYWORDS)
def test_no_name_is_a_word_of_the_language(language):
    kinds = types(grammar())
    names = {field["id"] for kind in kinds.values() for part in ("params", "seq") for field in kind.get(part, [])}
    names |= {name for kind in kinds.values() for name in kind.get("instances", {})} | set(kinds)
    names |= {member["id"] for members in kinds["vhdx"]["enums"].values() for member in members.values()}
    assert not names & set(KEYWORDS[language].split())


@pytest.mark.parametrize(
    ("tool", "options", "file"),
    [("ruby", ["-wc"], "ruby/vhdx.rb"), ("php", ["-l"], "php/Vhdx.php"), ("luac5.3", ["-p"], "lua/vhdx.lua")],
)
def test_what_needs_a_runtime_that_no_registry_has_is_at_least_its_language(tool, options, file, compiled):
    need(shutil.which(tool), tool)
    done = subprocess.run([tool, *options, compiled / file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr
