"""Programs that a test starts and talks to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def running(command: Sequence[Any], **how: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that is waited for at the end, and killed where the test fails: `Popen` alone waits for ever."""
    with subprocess.Popen(command, **how) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise
