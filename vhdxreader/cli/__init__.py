"""The command line: formatting and glue over the package's public names."""

from __future__ import annotations

import sys
from typing import NoReturn

_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line and exit with its code. An interrupt ends it without a word, also while modules load."""
    try:
        from .app import main as run_and_exit

        run_and_exit()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
