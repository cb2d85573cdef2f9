"""The IMAGE of a command as what it is read from: a path, or what was unpacked of an archive or standard input."""

from __future__ import annotations

import sys
from typing import Any, cast

import click

import vhdxreader
from vhdxreader import BinaryFile, Source

from .options import max_temp
from .output import complain, size

_META = "vhdxreader.sources"
_SUFFIXES = (".gz", ".xz", ".bz2", ".zip")  # of all others nothing more is asked: it would import what unpacks


def source_of(image: str) -> str | Source | BinaryFile:
    """What to read an image from; what was unpacked for it is kept until the command ends.

    `-` is standard input, which is read as it is where it is an image in a file. Unpacking says what it costs.
    """
    context = click.get_current_context()
    known = context.meta.setdefault(_META, {})
    if image not in known:
        known[image] = _found(image, context)
    found: str | Source | BinaryFile = known[image]
    return found


def _found(image: str, context: click.Context) -> str | Source | BinaryFile:
    stream: Any = sys.stdin.buffer if image == "-" else None
    if stream is not None and stream.seekable() and stream.tell() == 0 and stream.peek(8)[:8] == b"vhdxfile":
        return cast("BinaryFile", stream)
    if stream is None and not (image.lower().endswith(_SUFFIXES) and vhdxreader.is_packed(image)):
        return image
    import tempfile

    source = vhdxreader.open_unpacked(image if stream is None else stream, max_size=max_temp(context))
    context.call_on_close(source.close)
    cost = f"{size(source.size)} of temporary space in {tempfile.gettempdir()}, less where it has zeros"
    name = "standard input" if stream is not None else image
    complain(f"vhdxreader: {name} was unpacked, which takes {cost}")
    return source
