"""The Tab key in real shells, which have what `vhdxreader completion` prints."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from builder import MB, dynamic
from click.shell_completion import ShellComplete
from grammar_tools import need

from vhdxreader.cli.app import app, run

pty: ModuleType = pytest.importorskip("pty", reason="terminals are another matter on Windows")

TYPED = b"vhdxreader mea\t--form\tv\tdis\t\n"
ANSWER = b"A copy as vhd:"
SHELLS = {
    "bash": (["--noprofile", "--norc", "-i"], "PS1=READY'> '; source completion.bash\n"),
    "zsh": (["-f", "-i"], "PS1=READY'> '; autoload -U compinit; compinit -u -D; source completion.zsh\n"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with one image, and the scripts of all shells; the program is in the path."""
    dynamic(4 * MB).save(tmp_path / "disk.vhdx")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for shell in ("bash", "zsh", "fish"):
        assert run(["completion", shell]) == 0
        Path(f"completion.{shell}").write_text(capsys.readouterr().out)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("shell", SHELLS)
def test_a_line_typed_with_tabs_is_the_whole_command(shell: str) -> None:
    program = need_shell(shell)
    arguments, setup = SHELLS[shell]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [program, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "dumb", "HISTFILE": os.devnull},
    )
    os.close(theirs)
    try:
        os.write(ours, setup.encode())
        shown_until(ours, b"READY> ")
        os.write(ours, TYPED)
        shown_until(ours, ANSWER)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vhdxreader mea", ["measure"]),
        ("vhdxreader measure --form", ["--format"]),
        ("vhdxreader measure --format ", ["raw", "vhd"]),
        ("vhdxreader measure dis", ["disk.vhdx"]),
        ("vhdxreader nothing such", []),
    ],
)
def test_fish_proposes(line: str, expected: list[str]) -> None:
    command = f"source completion.fish; complete -C '{line}'"
    done = subprocess.run(
        [need_shell("fish"), "--no-config", "-c", command], capture_output=True, text=True, check=True
    )
    assert [proposed.partition("\t")[0] for proposed in done.stdout.splitlines()] == expected
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "expected"), [(["info", "--lo"], {"--log"}), (["sho", "--lo"], set()), (["i"], {"info"})]
)
def test_proposals(words: list[str], expected: set[str]) -> None:
    *before, last = words
    proposed = ShellComplete(app, {}, "vhdxreader", "_VHDXREADER_COMPLETE").get_completions(before, last)
    assert {one.value for one in proposed} == expected


def need_shell(name: str) -> str:
    program = shutil.which(name)
    need(program is not None, name)
    assert program is not None
    return program


def shown_until(descriptor: int, text: bytes) -> None:
    """Read what a terminal shows until the text is among it."""
    shown = b""
    while text not in shown:
        assert select.select([descriptor], [], [], 120)[0], shown.decode()
        shown += os.read(descriptor, 4096)
