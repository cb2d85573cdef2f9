"""`--record FILE.json`: what a command read, wrote and found, for whoever must account for it later."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, BinaryIO, TypeVar, cast

import click

import vhdxreader
from vhdxreader import CustodyRecord, PartitionStream, VhdxError, VirtualDisk

from .failure import exit_code_of
from .options import NewFile, terminable

F = TypeVar("F", bound=Callable[..., Any])


def records(command: F) -> F:
    """Give a command `--record` and `--record-digest`, as the keyword `record`: None where none is wanted."""

    @wraps(command)
    def recorded(*arguments: Any, record_path: str | None, record_digests: tuple[str, ...], **more: Any) -> Any:
        if record_path is None:
            if record_digests:
                raise click.UsageError("--record-digest goes with --record")
            return command(*arguments, record=None, **more)
        with terminable(), _new_record(record_path, record_digests) as record:
            try:
                record.exit_code = command(*arguments, record=record, **more)
            except BaseException as error:
                record.exit_code = exit_code_of(error)
                raise
        return record.exit_code

    for option in (
        click.option(
            "--record-digest",
            "record_digests",
            multiple=True,
            metavar="NAME",
            help="Put this digest of each file of the chain into the record, which reads all of it: sha256, ...",
        ),
        click.option(
            "--record",
            "record_path",
            type=NewFile(),
            metavar="FILE.json",
            help="Write what was read, found and written to a new file, also on failure.",
        ),
    ):
        recorded = option(recorded)
    return cast("F", recorded)


def reading(record: CustodyRecord | None, disk: VirtualDisk | PartitionStream) -> AbstractContextManager[Any]:
    """The context in which a disk is read, which gives what can be called to note digests and findings."""
    return nullcontext(lambda **_facts: None) if record is None else record.reading(disk)


def standard_output(record: CustodyRecord | None) -> BinaryIO:
    """Where the bytes of a disk go."""
    return sys.stdout.buffer if record is None else cast("BinaryIO", record.watched(sys.stdout.buffer))


def notes_failures(record: CustodyRecord | None, work: Callable[[str], int]) -> Callable[[str], int]:
    """The same work on one image of several, whose failure is in the record, too."""

    def noted(image: str) -> int:
        try:
            return work(image)
        except (VhdxError, OSError) as error:
            if record is not None:
                record.fail_image(image, error)
            raise

    return noted


def _new_record(path: str, digests: tuple[str, ...]) -> CustodyRecord:
    context = click.get_current_context()
    try:
        return vhdxreader.CustodyRecord(
            path, command=context.info_name or "", arguments=context.find_root().obj, digests=digests
        )
    except FileExistsError as error:
        what = f"{error.strerror} (a record is never replaced: give it another name)"
        raise FileExistsError(error.errno, what, error.filename) from error
    except ValueError as error:  # a digest that cannot be made
        raise click.UsageError(str(error)) from None
