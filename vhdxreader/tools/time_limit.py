"""A time limit for what may take for ever.

In: seconds. Out: a context that raises `TimeLimitError` in the thread that entered it.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TimeLimitError(Exception):
    """It took too long."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `TimeLimitError` after a while, never for None. A wait for the system is interrupted where the main thread
    of a POSIX system waits; elsewhere the error comes when Python goes on."""
    if seconds is None:
        yield
    elif hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGALRM, _raise)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    else:
        thread = ctypes.c_ulong(threading.get_ident())
        timer = threading.Timer(seconds, _raise_in, (thread, ctypes.py_object(TimeLimitError)))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            _raise_in(thread, None)  # what was not raised by now is not to be


def _raise(*_: object) -> None:
    raise TimeLimitError


def _raise_in(thread: ctypes.c_ulong, error: ctypes.py_object[type[BaseException]] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)
