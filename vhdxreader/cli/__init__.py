"""The command line: formatting and glue over the package's public names. Layer 8."""

from .app import main

__all__ = ["main"]
