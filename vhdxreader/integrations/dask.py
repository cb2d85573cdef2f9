"""Surveys by an existing Dask cluster: its workers open the images, by path or URL, and give the same records.

In: a cluster's address. Out: what `vhdxreader.survey(…, run=…)` takes. Needs `pip install vhdxreader[fleet]`, and the
same version of vhdxreader on the workers.
"""

from __future__ import annotations

import errno
import queue
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import vhdxreader
from vhdxreader import SurveyTask

_WAITING = 2  # images a thread of the cluster, so that none waits for us
_PATIENCE = 30.0  # seconds without a result or a worker
_RESTART = 120.0  # seconds for a worker that died to be replaced
_REFRESH = 5.0  # seconds for which the number of threads is believed
_KILLED = "the workers of the cluster that looked at it died"

Result = tuple[str, "dict[str, Any] | str"]


@contextmanager
def dask_cluster(address: str) -> Iterator[Callable[[Iterable[str], SurveyTask], Iterator[Result]]]:
    """What has the cluster at `address` (`tcp://host:8786`) look at images: for `vhdxreader.survey(…, run=…)`.

    A bounded number of images is under way at a time. A worker may die of an image: that is looked at again alone, when
    all others are done, and if more workers die of it, its record says so. How many they are is decided by the
    cluster's `distributed.scheduler.allowed-failures`. Raises `OSError` where there is no cluster, no worker is left,
    or the workers have another vhdxreader.
    """
    try:
        from distributed import Client
    except ImportError as error:
        message = f"a Dask cluster needs more packages: pip install 'vhdxreader[fleet]' ({error})"
        raise OSError(errno.EPROTONOSUPPORT, message) from error
    try:
        client = Client(address, set_as_default=False)
    except ValueError as error:  # no such kind of address
        raise OSError(errno.EINVAL, str(error), address) from error
    with client:
        _hold_versions(client, address)
        yield partial(_run, client)


def _run(client: Any, paths: Iterable[str], task: SurveyTask) -> Iterator[Result]:
    left = iter(paths)
    suspects: list[str] = []
    yield from _until_done(client, left, task, suspects)
    for path in suspects:
        alone: list[str] = []
        yield from _until_done(client, iter([path]), task, alone)
        if alone:
            yield path, _KILLED


def _until_done(client: Any, left: Iterator[str], task: SurveyTask, suspects: list[str]) -> Iterator[Result]:
    """Work until nothing is left; those of which workers died are added to `suspects`."""
    from distributed import KilledWorker

    running: dict[Any, str] = {}
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    limit = _Limit(client)
    try:
        while True:
            for path in islice(left, max(limit() - len(running), 0)):
                future = client.submit(vhdxreader.survey_image, path, task, pure=False)
                running[future] = path
                future.add_done_callback(done.put)
            if not running:
                return
            future = _next(client, done)
            path = running.pop(future)
            try:
                yield path, _result(client, future)
            except KilledWorker:
                suspects.append(path)
    finally:
        client.cancel(list(running))


class _Limit:
    """How many images may be under way: the cluster may grow and shrink meanwhile."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._count, self._until = 0, 0.0

    def __call__(self) -> int:
        if time.monotonic() >= self._until:
            self._count = max(_WAITING * sum(self._client.nthreads().values()), 1)
            self._until = time.monotonic() + _REFRESH
        return self._count


def _next(client: Any, done: queue.SimpleQueue[Any]) -> Any:
    while True:
        try:
            return done.get(timeout=_PATIENCE)
        except queue.Empty:
            _hold_workers(client)


def _result(client: Any, future: Any) -> Any:
    """What came out; where the worker that had it died meanwhile, it is found out again."""
    while True:
        try:
            return future.result(timeout=_PATIENCE)
        except TimeoutError:
            _hold_workers(client)


def _hold_workers(client: Any) -> None:
    """`OSError` where nobody is left who could do anything, nor comes back."""
    try:
        client.wait_for_workers(1, timeout=_RESTART)
    except TimeoutError as error:
        raise OSError(errno.ECONNABORTED, "the cluster has no workers any more") from error


def _hold_versions(client: Any, address: str) -> None:
    """`OSError` unless there is a worker, and all have this version."""
    if not client.nthreads():
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise OSError(errno.ECONNREFUSED, "the cluster has no workers", address) from error
    for worker, version in client.run(_version, on_error="return").items():
        if version != vhdxreader.__version__:
            message = f"the worker {worker} has vhdxreader {version}, here is {vhdxreader.__version__}"
            raise OSError(errno.EPROTO, message, address)


def _version() -> str:
    return vhdxreader.__version__
