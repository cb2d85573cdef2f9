"""Whether the parser that is generated from vhdx.ksy can be used, and one sentence where it cannot.

Out: nothing, or an `ImportError`. What is installed is right and costs nothing: only a source tree can have a parser of
another grammar.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

NOT_BUILT = (
    "vhdxreader is not installed completely ({}): its parser is generated from vhdx.ksy; in a source tree, run"
    " `make setup`, or `pip install -e .`"
)
_STALE = (
    "the parser in {} was not generated from the vhdx.ksy that is there now: run `make setup`, or `pip install -e .`"
)
_INPUTS = ("vhdx.ksy", os.path.join("ksc", "package-lock.json"), os.path.join("ksc", "compile.js"))


def check_parser() -> None:
    """Raise `ImportError` if there is no parser, or one in a source tree that was made from another grammar.

    Nothing of it is imported for this.
    """
    found = find_spec("vhdxreader._generated")
    folders = None if found is None else found.submodule_search_locations
    if not folders:
        raise ImportError(NOT_BUILT.format("No module named 'vhdxreader._generated'"))
    parser = os.path.join(folders[0], "vhdx.py")
    if os.path.basename(folders[0]) != "_generated" and os.path.exists(parser):  # a source tree's
        _check_fresh(parser)


def _check_fresh(parser: str) -> None:
    folder = os.path.dirname(parser)
    tree = os.path.dirname(os.path.dirname(folder))
    if _may_be_stale(tree, parser) and not _is_fresh(tree):
        raise ImportError(_STALE.format(folder))


def _may_be_stale(tree: str, parser: str) -> bool:
    made = os.stat(parser).st_mtime
    inputs = [os.path.join(tree, name) for name in _INPUTS]
    return any(os.path.exists(path) and os.stat(path).st_mtime > made for path in inputs)


def _is_fresh(tree: str) -> bool:
    from runpy import run_path

    fresh: bool = run_path(os.path.join(tree, "ksc", "generate.py"))["is_fresh"]()
    return fresh
