"""A hook of mkdocs: a page for every command of the command line, from what its `--help` says."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from command_help import CommandHelp, Paragraph, Section, all_help
from mkdocs.structure.files import File, Files

_SECTION = "Commands"  # of the navigation
_CODE = re.compile(r"`([^`]+)`")


def on_config(config: Any) -> Any:
    """List the pages where the navigation has their section."""
    pages = [{one.name or "All commands": f"commands/{one.name or 'index'}.md"} for one in all_help()]
    config.nav = [{_SECTION: pages} if _SECTION in entry else entry for entry in config.nav]
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages."""
    for uri, content in pages(Path(config.docs_dir)):
        files.append(File.generated(config, uri, content=content))
    return files


def pages(docs: Path) -> Iterator[tuple[str, str]]:
    """The path of each page, and its text; `docs` is the folder of the other pages."""
    for one in all_help():
        schema = docs / "schemas" / f"{one.name}.json"
        yield f"commands/{one.name or 'index'}.md", _page(one, schema.name if one.name and schema.exists() else None)


def _page(one: CommandHelp, schema: str | None) -> str:
    lines = [f"# {one.path}", "", *(line for section in one.sections for line in _section(section, one.usage))]
    lines += ["[Exit codes](../exit-codes.md)"]
    if schema is not None:
        lines[-1] += f", [what `--json` prints](../schemas/{schema}), [all of JSON](../json.md)"
    return "\n".join([*lines, ""])


def _section(section: Section, usage: str) -> Iterator[str]:
    if section.heading:
        yield from (f"## {section.heading}", "")
    else:
        yield from ("```text", usage, "```", "")
    yield from map(_paragraph, section.paragraphs)
    if section.definitions:
        yield from ("<dl>", *map(_definition, section.definitions), "</dl>", "")


def _paragraph(paragraph: Paragraph) -> str:
    if paragraph.verbatim:
        return f"```text\n{paragraph.text}\n```\n"
    return f"<p>{_html(paragraph.text)}</p>\n"


def _definition(pair: tuple[str, str]) -> str:
    """An option, to which its long name can be linked; or a command, with its page."""
    term, text = pair
    if not term.startswith("-"):
        return f'<dt><a href="{escape(term)}/"><code>{escape(term)}</code></a></dt><dd>{_html(text)}</dd>'
    name = re.search(r"--([\w-]+)", term)
    anchor = f' id="{name[1]}"' if name else ""
    return f"<dt{anchor}><code>{escape(term)}</code></dt><dd>{_html(text)}</dd>"


def _html(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))
