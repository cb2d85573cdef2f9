"""Writes docs/rules.md from the table of rules; with --print to standard output."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from vhdxreader.format.rules import RULES, Effect, Rule
from vhdxreader.format.salvage_rules import SALVAGE, Salvage

_TITLES = {
    "identifier": "File type identifier",
    "file": "File",
    "header": "Headers",
    "log": "Log",
    "region_table": "Region tables",
    "region": "Regions",
    "metadata": "Metadata region",
    "metadata_table": "Metadata table",
    "item": "Metadata items",
    "file_parameters": "File Parameters",
    "virtual_disk_size": "Virtual Disk Size",
    "logical_sector_size": "Logical Sector Size",
    "physical_sector_size": "Physical Sector Size",
    "parent_locator": "Parent Locator",
    "parent": "Parents",
    "bat": "Block allocation table",
    "payload": "Payload blocks",
    "bitmap": "Sector bitmap blocks",
    "block": "All blocks",
}
_INTRODUCTION = """\
# Rules

Every rule of [MS-VHDX] that a reader can check, as errors and findings name it. This page is made from
`vhdxreader/format/rules.py` by `make rules`.

What a breach does is one of three things. The image is *refused at opening*, with the error that is named. Or it opens,
and there is an *error when the data is read* that is affected, and only then. Or it is only a *finding*. `vhdxreader
check` lists all of them as findings: of severity error where data is lost or cannot be trusted, warning where somebody
should know, info where nobody needs to act.

The last column says what a salvaging read gives (`errors="zero"`, `--salvage`) of an image that breaks the rule. What
is lost is listed in `disk.lost`, what is in the file but not proven to be in its place in `disk.doubtful`; what is in
neither is right.
"""


def main() -> None:
    """Run as a command."""
    text = page()
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(text)
    else:
        (Path(__file__).parent / "rules.md").write_text(text, encoding="utf-8")


def page() -> str:
    """The page, in Markdown."""
    groups = {title: [rule for rule in RULES.values() if _prefix(rule) == prefix] for prefix, title in _TITLES.items()}
    assert sum(map(len, groups.values())) == len(RULES), "a group of rules has no title"
    return _INTRODUCTION + "".join(_table(title, rules) for title, rules in groups.items())


def _prefix(rule: Rule) -> str:
    return rule.id.partition(".")[0]


def _table(title: str, rules: list[Rule]) -> str:
    rows = "".join(_row(rule) for rule in rules)
    head = "| rule | section | severity | what must be | a breach | means | salvage gives |"
    return f"\n## {title}\n\n{head}\n{'| --- ' * 7}|\n{rows}"


def _row(rule: Rule) -> str:
    effect = rule.effect.value if rule.effect is Effect.NOTE else f"{rule.effect.value}: {_error(rule)}"
    cells = (f"`{rule.id}`", rule.section, str(rule.severity), rule.must, effect, rule.means, _salvage(rule))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _salvage(rule: Rule) -> str:
    return SALVAGE.get(rule.id, Salvage.ALL).value


def _error(rule: Rule) -> str:
    return f"`{rule.error.__name__}`" if rule.error else "`OSError` of the file system"


if __name__ == "__main__":
    main()
