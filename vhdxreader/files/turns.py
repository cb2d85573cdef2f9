"""Whose turn it is to move a file object: its position is one, however many sources are over it.

In: a file object. Out: its `Turns`, the same as long as any source holds them.
"""

from __future__ import annotations

import io
import mmap
import os
import threading
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

_known: WeakValueDictionary[int, Turns] = WeakValueDictionary()  # by the address of the file object
_known_lock = threading.RLock()


class Turns:
    """Has one piece of work at a time done with a file object."""

    def __init__(self, file: object) -> None:
        self._lock = threading.RLock()  # a signal handler must find out that the turn is its own thread's
        self._busy = False
        self.is_lost = False  # to the process that this one was forked from
        self._stays_whole = type(file) in (io.BytesIO, mmap.mmap)  # in a forked process: its position is its own there

    def run(self, work: Callable[[], T]) -> T:
        """What `work` gives.

        `RuntimeError` where the same thread is in the middle of another piece, as in a signal handler, or where this is
        a process forked since: its parent has the same position.
        """
        if self.is_lost:
            raise RuntimeError("the file object shares its position with another process; open the image again")
        with self._lock:
            if self._busy:
                raise RuntimeError("a read of the file object is under way in this thread, below this one")
            try:
                self._busy = True
                return work()
            finally:
                self._busy = False

    def after_fork(self) -> None:
        """In the new process: threads that held a turn are not there."""
        self._lock = threading.RLock()
        self._busy = False
        self.is_lost = not self._stays_whole


def turns_of(file: object) -> Turns:
    """The turns of a file object; whoever asks holds both, so that the object's address stays its own."""
    with _known_lock:
        return _known.setdefault(id(file), Turns(file))


def _after_fork() -> None:
    global _known_lock
    _known_lock = threading.RLock()
    for turns in list(_known.values()):
        turns.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
