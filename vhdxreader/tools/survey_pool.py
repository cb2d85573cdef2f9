"""A pool of processes that survives what it works on: one future an image, and a new pool where a process dies.

In: paths and a task. Out: each path with its record, or the reason why there is none. No process outlives the one that
began it, however that ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

from .survey_record import Result, SurveyTask, survey_image

_KILLED = "its process was killed, by the system or by a fault of what reads it"
_WAITING = 2  # images a process, so that none waits for us


def run_in_pool(paths: Iterable[str], task: SurveyTask, jobs: int) -> Iterator[Result]:
    """Each path as it is done; of those that were under way when a process died, each is tried again alone."""
    left = iter(paths)
    suspects = yield from _until_broken(left, task, jobs)
    while suspects:
        for path in suspects:
            if (yield from _until_broken(iter([path]), task, 1)):
                yield path, _KILLED
        suspects = yield from _until_broken(left, task, jobs)


def _until_broken(left: Iterator[str], task: SurveyTask, jobs: int) -> Generator[Result, None, list[str]]:
    """Work until nothing is left, or until a process dies: what comes back is what it may have died of."""
    running: dict[Future[dict[str, Any]], str] = {}
    context = multiprocessing.get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)
    with lifeline, held, ProcessPoolExecutor(jobs, context, _begin, (lifeline,)) as pool:
        try:
            while True:
                for path in islice(left, _WAITING * jobs - len(running)):
                    running[pool.submit(survey_image, path, task)] = path
                if not running:
                    return []
                wait(running, return_when=FIRST_COMPLETED)
                for future in [one for one in running if one.done()]:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            return list(running.values())
        finally:
            if running:  # whoever asked wants no more: what is under way need not come to its end
                held.close()
                pool.shutdown(cancel_futures=True)


def _begin(lifeline: Connection) -> None:
    """An interrupt from the keyboard is for the process that asked; when that ends, this one does, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    """End when nobody has the other end of the pipe any more, also where its process was killed."""
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)
