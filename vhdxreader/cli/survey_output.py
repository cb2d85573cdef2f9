"""Where the records of a survey go: lines of JSON, which a later survey goes on from, or a Parquet table."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, TextIO

import click

import vhdxreader

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

Writer = Callable[[Mapping[str, Any]], None]

_SCHEMA = "vhdxreader/survey/1"
_BEGINS = {".jsonl": b"{", ".parquet": b"PAR1", ".html": b"<"}
_FORMS = (".jsonl", ".parquet")


def output_form(output: str | None, *, resume: bool) -> str:
    """The form that the name of the file asks for; `UsageError` for another one, or one that cannot be gone on with."""
    form = os.path.splitext(output or "")[1].lower()
    if output is not None and form not in _FORMS:
        raise click.UsageError(f"--output is a .jsonl or a .parquet file, not {output!r}")
    if resume and form != ".jsonl":
        raise click.UsageError("--resume needs --output FILE.jsonl")
    return form


def keep_others(path: str | None, form: str) -> None:
    """`VhdxError` for a file that no survey has written: it may be an image that is looked at, even if nothing of it is
    whole, or one that others name as their parent, which is known too late."""
    if path is not None and os.path.isfile(path):
        with open(path, "rb") as file:
            begin = file.read(4)
        if begin and not begin.startswith(_BEGINS[form]):
            raise vhdxreader.VhdxError(f"{path} is an image, or another file that no survey wrote, and stays as it is")


def known_records(path: str) -> Iterator[dict[str, Any]]:
    """The records of an earlier survey, if there was one. The last line, if it was torn by a kill, is none of them."""
    if not os.path.exists(path):
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                yield _parsed(line, f"{path}, line {number}")


def _parsed(line: bytes, place: str) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(line)
        if record["schema"] == _SCHEMA:
            return dict.fromkeys(vhdxreader.SURVEY_KEYS) | record
    except (ValueError, TypeError, KeyError):
        pass
    raise click.ClickException(f"{place}: no record of {_SCHEMA}, so --resume cannot go on from this file")


@contextmanager
def open_writer(output: str | None, form: str, *, resume: bool, force: bool) -> Iterator[Writer]:
    """What takes records one after another; standard output without a file."""
    if output is None:
        yield _to_lines(sys.stdout)
    elif form == ".parquet":
        whole = vhdxreader.WholeFile(output, overwrite=force, protected=())
        with whole, open(whole.fd, "wb", closefd=False) as file:
            table = _Parquet(file)
            yield table.add
            table.close()
    else:
        with open(output, "x" if not (resume or force) else "a", encoding="utf-8") as lines:
            _lock(lines)
            _cut(output, lines, resume=resume)
            yield _to_lines(lines)


def no_writer(_record: Mapping[str, Any]) -> None:
    """Drop a record."""


def _to_lines(file: TextIO) -> Writer:
    frame = {"schema": _SCHEMA, "version": vhdxreader.__version__}

    def write(record: Mapping[str, Any]) -> None:
        file.write(json.dumps(frame | dict(record)) + "\n")
        file.flush()

    return write


def _lock(file: TextIO) -> None:
    """Have it alone, where the system can tell: two surveys would mix their lines."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.ClickException(f"{file.name}: another survey is writing it") from None
        except OSError:  # a file system without locks
            return


def _cut(path: str, file: TextIO, *, resume: bool) -> None:
    """Drop a line that was torn, or all."""
    end = 0
    if resume:
        with open(path, "rb") as lines:
            end = sum(len(line) for line in lines if line.endswith(b"\n"))
    file.truncate(end)


class _Parquet:
    """Records as a table; lists and objects are JSON in it."""

    _BATCH = 1000

    def __init__(self, file: BinaryIO) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise click.ClickException("Parquet needs pyarrow: pip install 'vhdxreader[fleet]'") from None
        numbers = {"file_size", "modified_ns", "allocated_size", "virtual_size", "block_size", "allocated_block_count"}
        types = {key: pyarrow.int64() if key in numbers else pyarrow.string() for key in vhdxreader.SURVEY_KEYS}
        types |= {"seconds": pyarrow.float64(), "inode": pyarrow.uint64(), "device": pyarrow.uint64()}
        self._make_table = pyarrow.Table.from_pylist
        self._schema = pyarrow.schema(types)
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema)
        self._rows: list[dict[str, Any]] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """Write a record, sooner or later."""
        row = {key: json.dumps(value) if isinstance(value, (dict, list)) else value for key, value in record.items()}
        self._rows.append(row)
        if len(self._rows) == self._BATCH:
            self._flush()

    def close(self) -> None:
        """Write what is left; without, there is no table."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._make_table(self._rows, schema=self._schema))
        self._rows.clear()
