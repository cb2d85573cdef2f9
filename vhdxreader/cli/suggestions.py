"""What may have been meant by a name that is not there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import islice

_MAX_FILES = 10_000  # of a folder, that are looked at
_SHOWN = 3
_SUFFIXES_ALIKE = 0.75  # how like names of files must be: many end in .vhdx


def similar(name: str, names: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """The names that are the most like it, the best first."""
    from difflib import get_close_matches

    return get_close_matches(name, list(names), _SHOWN, cutoff)


def similar_files(path: str) -> list[str]:
    """The files in the same folder with names like that of a file that is not there."""
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for entry in islice(entries, _MAX_FILES) if entry.name != name]
    except (OSError, ValueError):
        return []
    return [os.path.join(folder, found) for found in similar(name, names, _SUFFIXES_ALIKE)]


def did_you_mean(names: Sequence[str]) -> str:
    """A sentence to add, with a space in front; empty where there is nothing to propose."""
    return f" Did you mean {' or '.join(map(repr, names))}?" if names else ""
