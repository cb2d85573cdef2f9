"""The command line: formatting and glue over the package's public names."""

from .app import main

__all__ = ["main"]
