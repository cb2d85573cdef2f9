"""What a command that fails says, and the exit code that it ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import click

from vhdxreader import CorruptImageError, VhdxError

from .answer import asked_for_json
from .output import complain, in_options
from .suggestions import did_you_mean, similar_files

FINE, FAILED, CORRUPT, WARNED, USAGE, INTERRUPTED = 0, 1, 2, 3, 64, 130

_BADNESS = (FINE, WARNED, FAILED, CORRUPT)


def failed(error: Exception, filename: str | None = None) -> int:
    """Say on standard error, and in JSON where that is asked for, what went wrong; the exit code for it."""
    answer = asked_for_json()
    if answer is not None:
        answer.fail(error, filename)
    complain(f"vhdxreader: {error_text(error, filename)}")
    return exit_code_of(error)


def exit_code_of(error: BaseException) -> int:
    """The exit code of a command that ends with an error."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED
    if isinstance(error, click.UsageError):
        return USAGE
    return CORRUPT if isinstance(error, CorruptImageError) else FAILED


def error_text(error: Exception, filename: str | None = None) -> str:
    """What went wrong, and with which file."""
    text, meant = in_options(str(error)) if isinstance(error, VhdxError) else str(error), ""
    if isinstance(error, OSError) and not isinstance(error, VhdxError) and error.strerror:
        filename, text = error.filename or filename, error.strerror
        if isinstance(error, FileNotFoundError) and isinstance(filename, str):
            meant = did_you_mean(similar_files(filename))
    name = str(filename) if filename is not None else ""
    text = text if not name or name in text else f"{name}: {text}"
    return f"{text}.{meant}" if meant else text


def each_image(images: Sequence[str], work: Callable[[str], int]) -> int:
    """Do the work for each image, whatever happens to the others; the worst exit code."""
    answer = asked_for_json()
    if answer is not None and len(images) > 1:
        answer.begin_several()
    code = worst(_code(image, work) for image in images)
    if answer is not None:
        answer.end_several()
    return code


def worst(codes: Iterable[int]) -> int:
    """Of several exit codes the one that counts: corrupt, could not, warned, fine."""
    return max(codes, key=_BADNESS.index, default=FINE)


def _code(image: str, work: Callable[[str], int]) -> int:
    try:
        return work(image)
    except (VhdxError, OSError) as error:
        return failed(error, image)
