"""The man pages and the site's pages of commands say all that `--help` says, in the same words."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html import unescape

import pytest
from click.testing import CliRunner
from grammar_tools import ROOT, need

from vhdxreader.cli import failure
from vhdxreader.cli.app import app

DOCS = ROOT / "docs"
COMMANDS = ["", *app.list_commands(None)]


def words_of_help(command: str) -> list[str]:
    """The words that `--help` prints, without the lines that are its headings."""
    arguments = [*command.split(), "--help"]
    shown = CliRunner().invoke(app, arguments, prog_name="vhdxreader", terminal_width=500).output
    shown = shown.removeprefix("Usage:")
    return [word for line in shown.splitlines() if not re.match(r"\S.*:$", line) for word in line.split()]


def words_are_in_order(words: list[str], text: str) -> None:
    rest = iter(text.replace("`", "").split())
    for word in " ".join(words).replace("`", "").split():
        assert word in rest, f"{word!r} is missing, or not in its place, of: {' '.join(words)}"


@pytest.mark.parametrize("command", COMMANDS)
def test_man_page(command: str, man_pages) -> None:
    need(shutil.which("groff"), "groff")
    page = man_pages / f"{'-'.join(['vhdxreader', *command.split()])}.1"
    shown = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii", "-P-cbou", "-rLL=2000n", "-rHY=0", page],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    words_are_in_order(words_of_help(command), shown.stdout)


@pytest.fixture(scope="module")
def man_pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, DOCS / "make_man.py", folder], check=True)
    return folder


def test_page_of_the_site(site_pages) -> None:
    assert {uri for uri, _ in site_pages} == {f"commands/{command or 'index'}.md" for command in COMMANDS}
    for uri, content in site_pages:
        command = uri.removeprefix("commands/").removesuffix(".md")
        text = unescape(re.sub(r"<[^>]+>", " ", content))
        words_are_in_order(words_of_help("" if command == "index" else command), text)


@pytest.fixture(scope="module")
def site_pages():
    pytest.importorskip("mkdocs", reason="the site's tools are not installed: make docs")
    sys.path.insert(0, str(DOCS))
    from command_pages import pages

    return list(pages(DOCS))


def test_exit_codes_are_those_of_the_page() -> None:
    page = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.M)}
    assert table == {failure.FINE, failure.FAILED, failure.CORRUPT, failure.WARNED, failure.USAGE, failure.INTERRUPTED}
