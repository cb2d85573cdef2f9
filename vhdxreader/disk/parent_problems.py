"""Why no file was taken for a parent, and the error that says so of every place that was tried.

In: what the system or a check says of each. Out: a `ParentError`, or the system's error where the process is short of
something.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..errors import ParentError, Tried
from ..format.rules import breach
from .parent_search import OUTSIDE, Place

T = TypeVar("T")

_OF_THE_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # they say nothing of the file
_WHAT = {
    "parent.not_found": "its parent was not found",
    "parent.mismatch": "what was found is not its parent",
    "parent.permission": "its parent could not be opened",
}


class NotTakenError(Exception):
    """Why a place does not serve: nothing was `found` there, what is there may not be read (`denied`), or it is another
    than the parent (`mismatch`)."""

    def __init__(self, reason: str, *, mismatch: bool = False, found: bool = True, denied: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.mismatch = mismatch
        self.found = found
        self.denied = denied


def opened(open_it: Callable[[], T]) -> T:
    """What `open_it` gives, or `NotTakenError`; the system's error where it is short of descriptors or memory."""
    try:
        return open_it()
    except FileNotFoundError:
        raise NotTakenError("no such file", found=False) from None
    except (OSError, ValueError) as error:  # ValueError: a name that the system cannot have
        number = getattr(error, "errno", None)
        if number in _OF_THE_PROCESS:
            raise
        if number == errno.EXDEV:  # of `Beneath`; whether anything is there stays untold
            raise NotTakenError(OUTSIDE, found=False) from None
        reason = getattr(error, "strerror", None) or "not a possible file name"
        raise NotTakenError(reason, denied=isinstance(error, PermissionError)) from None


def parent_error(child: str, problems: Sequence[tuple[Place, NotTakenError]], advice: str = "") -> ParentError:
    """The error that lists what was tried for the file `child`; a mismatch if nothing but mismatches was found."""
    found = [problem for _, problem in problems if problem.found]
    if found and all(problem.mismatch for problem in found):
        rule = "parent.mismatch"
    else:
        rule = "parent.permission" if any(problem.denied for problem in found) else "parent.not_found"
    tried = tuple(Tried(place.key, place.path, problem.reason) for place, problem in problems)
    listed = "; ".join(f"{key} {_printable(place)}: {reason}" for key, place, reason in tried)
    message = f"{child}: {_WHAT[rule]} ({listed or 'its parent locator names no path'})"
    error = breach(rule, f"{message}; {advice}" if advice else message, filename=child)
    assert isinstance(error, ParentError)
    error.tried = tried
    return error


def _printable(path: str) -> str:
    """A path from an untrusted file, of bounded length and without control characters."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in path[:1000])
