"""What pip and make do with the tree: with and without Node.js, with and without network.

The parser is generated at build time and shipped inside the package. Each case is run for real, on a copy of
the tree, with the tools that a user has; the first build fetches Node.js as a wheel, since its PATH has none.
"""

import ast
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path, PurePosixPath

import generate
import pytest
from grammar_tools import need

ROOT = Path(__file__).resolve().parents[2]
DAY = {"SOURCE_DATE_EPOCH": "1790000000"}
NOBODY = "http://127.0.0.1:9"  # the discard port: refuses at once


@pytest.fixture(scope="module")
def no_node(tmp_path_factory):
    """An environment whose PATH has no node."""
    return {**os.environ, "PATH": str(tmp_path_factory.mktemp("empty"))}


@pytest.fixture(scope="module")
def offline(no_node):
    """The same, where neither pip nor npm reaches anything."""
    without_pip = {name: value for name, value in no_node.items() if not name.startswith("PIP_")}
    return {
        **without_pip,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"{NOBODY}/simple",
        "PIP_RETRIES": "0",
    }


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """The python of a fresh environment that has what is needed to build, and nothing of ours."""
    python = new_environment(tmp_path_factory.mktemp("tools"))
    run(python, "-m", "pip", "install", "--quiet", "build", "setuptools>=77")
    return python


@pytest.fixture(scope="module")
def built(tools, no_node, tmp_path_factory):
    """An sdist, and a wheel built from it, made from a fresh clone where there is no node."""
    folder = tmp_path_factory.mktemp("built")
    run(tools, "-m", "build", "--outdir", folder, clone(folder / "clone"), env={**no_node, **DAY})
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def test_the_parser_in_this_tree_is_fresh():
    assert generate.is_fresh(), "vhdx.ksy or the compiler has changed: run `python ksc/generate.py`"


def test_only_the_seam_imports_the_parser():
    importers = {
        file.name
        for file in sorted((ROOT / "vhdxreader").rglob("*.py"))
        if "_generated" not in file.parts and any("_generated" in name for name in imported_names(file))
    }
    assert importers == {"grammar.py"}


def test_a_change_of_the_grammar_makes_the_parser_stale(tmp_path):
    tree = clone(tmp_path / "tree", with_parser=True)
    assert "True" in run(sys.executable, "-c", "import generate; print(generate.is_fresh())", cwd=tree / "ksc")
    with open(tree / "vhdx.ksy", "a", encoding="utf-8") as grammar:
        grammar.write("# changed\n")
    assert "False" in run(sys.executable, "-c", "import generate; print(generate.is_fresh())", cwd=tree / "ksc")


def test_all_is_every_extra_for_users():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for_us = {"all", "bench", "dev", "docs", "fuzz", "release"}
    assert extras["all"] == [f"vhdxreader[{','.join(sorted({*extras} - for_us))}]"]


def test_the_conda_recipe_needs_what_the_package_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = (ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    needed = recipe.split("  run:\n")[1].split("\n\n")[0]
    assert needed.replace("    - ", "").replace(" ", "").split("\n") == [
        f"python{project['requires-python']}",
        *project["dependencies"],
    ]
    assert f'  version: "{project["version"]}"\n' in recipe


@pytest.mark.slow
def test_the_wheel_has_the_package_with_the_parser_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as wheel:
        files = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert wheel.read("vhdxreader/_generated/vhdx.py").decode().startswith(generate.stamp())
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "vhdxreader").rglob("*")
        if path.suffix in {".py", ".typed", ".html", ".css"} and "_generated" not in path.parts
    }
    assert files == sources | {"vhdxreader/_generated/__init__.py", "vhdxreader/_generated/vhdx.py"}


@pytest.mark.slow
def test_the_sdist_has_what_a_build_needs(built):
    with tarfile.open(built[0]) as sdist:
        files = {PurePosixPath(*PurePosixPath(name).parts[1:]).as_posix() for name in sdist.getnames()}
    assert files >= {
        "vhdx.ksy", "ksc/generate.py", "ksc/build_backend.py", "ksc/compile.js", "ksc/package.json",
        "ksc/package-lock.json", "generated/python/vhdx.py", "tests/project/test_packaging.py", "Makefile",
        "LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md",
    }  # fmt: skip
    assert not {name for name in files if "node_modules" in name or "_cache" in name or "__pycache__" in name}


@pytest.mark.slow
def test_the_wheel_installs_elsewhere_and_runs(built, tmp_path):
    python = new_environment(tmp_path / "environment")
    run(python, "-m", "pip", "install", "--quiet", built[1])
    code = "import vhdxreader, vhdxreader._generated.vhdx as p; print(p.Vhdx.Guid.from_bytes(bytes(16)).raw)"
    assert run(python, "-I", "-c", code, cwd=tmp_path).strip() == repr(bytes(16))
    assert "info" in run(python.parent / "vhdxreader", "--help", cwd=tmp_path)


@pytest.mark.slow
def test_an_sdist_needs_neither_node_nor_network(built, tools, offline, tmp_path):
    arguments = ["--no-build-isolation", "--no-deps", "--wheel-dir", tmp_path, built[0]]
    run(tools, "-m", "pip", "wheel", *arguments, env={**offline, **DAY})
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.read_bytes() == built[1].read_bytes()


@pytest.mark.slow
def test_two_trees_give_the_same_sdist(built, tools, no_node, tmp_path):
    tree = clone(tmp_path / "tree", with_parser=True)
    for path in tree.rglob("*.py"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    arguments = ["--sdist", "--no-isolation", "--outdir", tmp_path]
    run(tools, "-m", "build", *arguments, tree, env={**no_node, **DAY})
    assert (tmp_path / built[0].name).read_bytes() == built[0].read_bytes()


@pytest.mark.slow
def test_the_wheel_names_its_licences(built):
    with zipfile.ZipFile(built[1]) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = wheel.read(name).decode()
        text = wheel.read(name.replace("METADATA", "licenses/LICENSE")).decode()
    assert "License-Expression: MIT AND CC0-1.0\n" in metadata
    assert "License-File: LICENSE\n" in metadata
    assert text == (ROOT / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_editable_install_finds_the_parser_from_anywhere(no_node, tmp_path):
    tree = clone(tmp_path / "tree", with_parser=True)
    python = new_environment(tmp_path / "environment")
    run(python, "-m", "pip", "install", "--quiet", "--editable", tree, env=no_node)
    code = "import vhdxreader, vhdxreader._generated.vhdx as parser; print(vhdxreader.__file__, parser.__file__)"
    files = f"{tree / 'vhdxreader' / '__init__.py'} {tree / 'generated' / 'python' / 'vhdx.py'}"
    for folder in (tree, tmp_path):
        assert run(python, "-c", code, cwd=folder).strip() == files


@pytest.mark.slow
def test_without_node_one_sentence_says_so(tools, offline, tmp_path):
    tree = clone(tmp_path / "tree")
    sentence = "error: generating the parser from vhdx.ksy needs Node.js 18 or newer with npm, and there is none"
    assert_fails_with(sentence, tools, tree / "ksc" / "generate.py", env=offline)
    arguments = ["-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", tmp_path, tree]
    assert_fails_with(sentence, tools, *arguments, env=offline)


@pytest.mark.slow
def test_without_network_one_sentence_says_so(tools, offline, tmp_path):
    need(not generate.requirements(["all"]), "Node.js with npm, so that npm can fail")
    tree = clone(tmp_path / "tree")
    environment = {
        **offline,
        "PATH": os.environ["PATH"],
        "npm_config_registry": f"{NOBODY}/",
        "npm_config_cache": str(tmp_path / "cache"),
    }
    sentence = "error: generating the parser from vhdx.ksy needs the Kaitai Struct compiler, which npm cannot fetch"
    before = sorted((tree / "ksc").iterdir())
    assert_fails_with(sentence, tools, tree / "ksc" / "generate.py", env=environment)
    assert sorted((tree / "ksc").iterdir()) == before, "nothing half-made stays behind"
    arguments = ["-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", tmp_path, tree]
    assert_fails_with(sentence, tools, *arguments, env=environment)


def new_environment(folder):
    """The python of a new virtual environment."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def clone(folder, with_parser=False):
    """A copy of what git knows of the tree, as a fresh clone is; or with the generated parser, as an sdist is."""
    known = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, known):
        if (ROOT / name).exists():  # and not removed since
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    if with_parser:
        shutil.copytree(ROOT / "generated" / "python", folder / "generated" / "python")
    return folder


def run(*command, env=None, cwd=None):
    """What the command prints; it must succeed."""
    done = finished(command, env, cwd)
    assert done.returncode == 0, done.stdout
    return done.stdout


def assert_fails_with(sentence, *command, env):
    done = finished(command, env)
    assert done.returncode != 0
    assert done.stdout.count(sentence) == 1, done.stdout
    assert "Traceback" not in done.stdout, done.stdout


def finished(command, env=None, cwd=None):
    return subprocess.run(
        command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def imported_names(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    ("listed", "there", "free"),
    [
        ([], [], True),
        (["vhdxreader-0.1.0.tar.gz"], ["vhdxreader-0.1.0.tar.gz", "SHA256SUMS"], True),
        (["vhdxreader-0.1.0.tar.gz"], ["vhdxreader-0.1.0.tar.gz", "SHA256SUMS", "mine.txt"], False),
        (["mine.txt"], ["mine.txt", "SHA256SUMS"], False),
        ([], ["mine.txt"], False),
    ],
)
def test_a_release_replaces_nothing_but_a_release(listed, there, free, tmp_path):
    for name in there:
        (tmp_path / name).write_text("".join(f"0  {one}\n" for one in listed))
    assert runpy.run_path(str(ROOT / "packaging" / "release.py"))["is_free"](tmp_path) is free
