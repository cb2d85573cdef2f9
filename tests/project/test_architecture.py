"""docs/architecture.md shows the rooms as they are: the picture of the flow is held against the imports."""

from __future__ import annotations

import ast
import re

from grammar_tools import ROOT

PACKAGE = ROOT / "vhdxreader"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROOMS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
GROUND = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}


def imported_rooms(room):
    """The rooms, and modules of the ground, that the modules of a room import; "vhdxreader" is the public names."""
    found = set()
    for path in (PACKAGE / room).rglob("*.py"):
        depth = len(path.relative_to(PACKAGE).parts)  # dots that lead to the package itself
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == depth:
                names = [node.module] if node.module else [alias.name for alias in node.names]
                first = {name.partition(".")[0] for name in names}
                found |= {name if name in ROOMS | GROUND else "vhdxreader" for name in first - {"_generated"}}
            elif isinstance(node, ast.Import) and any(alias.name == "vhdxreader" for alias in node.names):
                found.add("vhdxreader")
    return found


def test_the_picture_shows_what_each_room_imports():
    shown = dict(re.findall(r"^ *(\w+) +◀── (.+)$", PAGE, re.M))
    assert {room: set(names.split()) for room, names in shown.items()} == {room: imported_rooms(room) for room in ROOMS}


def test_data_flows_from_left_to_right():
    """What a room imports stands before it, in the picture's order."""
    order = re.findall(r"^ *(\w+) +◀──", PAGE, re.M)
    assert set(order) == ROOMS
    for room in order:
        assert imported_rooms(room) - GROUND - {"vhdxreader"} <= set(order[: order.index(room)])


def test_every_path_that_is_named_is_there():
    pages = PAGE + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:vhdxreader|tests|docs)/[\w/.]*)`", pages)
    modules = re.findall(r"`((?:files|format|disk|tools)/\w+)`", pages)
    assert len(paths) > 10
    assert len(modules) > 10
    for name in [*paths, *(f"vhdxreader/{name}.py" for name in modules)]:
        assert (ROOT / name).exists(), name
