"""A pool of processes that survives what it works on: one future an image, and a new pool where a process dies.

In: paths and a task. Out: each path with its record, or the reason why there is none.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .survey import SurveyTask

_WAITING = 2  # images a process, so that none waits for us


class _TimeLimitError(Exception):
    """The image took too long."""


def run_in_pool(paths: Sequence[str], task: SurveyTask, jobs: int) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Each path as it is done; of those that were under way when a process died, each is tried again alone."""
    left = deque(paths)
    while left:
        suspects: list[str] = []
        yield from _until_broken(left, task, jobs, suspects)
        for path in suspects:
            alone: list[str] = []
            yield from _until_broken(deque([path]), task, 1, alone)
            if alone:
                yield path, "its process was killed, by the system or by a fault of what reads it"


def _until_broken(
    left: deque[str], task: SurveyTask, jobs: int, suspects: list[str]
) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Work until nothing is left, or until a process dies: then `suspects` are what it may have died of."""
    running: dict[Future[dict[str, Any] | str], str] = {}
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin) as pool:
        try:
            while left or running:
                while left and len(running) < _WAITING * jobs:
                    running[pool.submit(_work, left[0], task)] = left[0]
                    left.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            suspects += running.values()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    """An interrupt from the keyboard is for the process that asked; it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(path: str, task: SurveyTask) -> dict[str, Any] | str:
    from .survey import survey_image

    try:
        with _limited(task.seconds):
            return survey_image(path, task)
    except _TimeLimitError:
        return f"it took longer than {task.seconds:g} seconds"
    except MemoryError:
        return "there was not enough memory"


@contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    """Raise `_TimeLimitError` after a while; where there is no such signal, end the process."""
    if seconds is None:
        yield
    elif hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _raise_time_limit)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    else:
        timer = threading.Timer(seconds, os._exit, (1,))
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _raise_time_limit(*_: object) -> None:
    raise _TimeLimitError
