"""The exception tree, and `Finding`: a deviation that was tolerated. Both are the one problem object of JSON."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

from .plain_values import plain

E = TypeVar("E", bound=BaseException)


class Severity(IntEnum):
    """How much a finding matters; ordered, so that the worst is the maximum. As text it is its lower-case word."""

    INFO = 1  # conforming, or so common that nobody needs to act
    WARNING = 2  # readable, but somebody should know
    ERROR = 3  # data is lost or cannot be trusted

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """One deviation from the specification, met at a place in the file.

    `rule` is a stable id (see `vhdxreader.rules`), `section` a section of [MS-VHDX]. `file_offset` is a byte offset in
    the file `filename`, `disk_offset` one in the virtual disk; None where no single place is meant. `means` says what a
    breach of the rule means for the data.
    """

    rule: str
    severity: Severity
    message: str
    file_offset: int | None
    section: str
    means: str = ""
    filename: str | None = None
    disk_offset: int | None = None

    def __str__(self) -> str:
        return f"{self.severity}: {self.message}{_where(self.file_offset, self.rule, self.section)}"

    def to_dict(self) -> dict[str, Any]:
        """The problem object."""
        return problem_to_dict(self, self.severity)


class VhdxError(Exception):
    """Root of every error of this package.

    `message` says what is wrong and what was expected; `file_offset` (bytes, in the file `filename`), `disk_offset`
    (bytes in the virtual disk), `rule`, `section` of [MS-VHDX], and `means` are None where they do not apply.
    """

    _errno: int | None = None  # of those that are an OSError too

    filename: str | None = None
    disk_offset: int | None = None
    means: str | None = None

    def __init__(
        self, message: str, *, file_offset: int | None = None, rule: str | None = None, section: str | None = None
    ) -> None:
        if self._errno is None:
            super().__init__(message)
        else:
            super().__init__(self._errno, message)
        self.message = message
        self.file_offset = file_offset
        self.rule = rule
        self.section = section

    def __str__(self) -> str:
        name = self.filename
        about = f"{name}: " if name and name not in self.message else ""
        return about + self.message + _where(self.file_offset, self.rule, self.section)

    def to_dict(self) -> dict[str, Any]:
        """The problem object."""
        return problem_to_dict(self, Severity.ERROR)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with OSError's arguments.
        return _rebuild, (type(self), self.message, dict(self.__dict__))


class NotVhdxError(VhdxError):
    """The file is not a VHDX at all."""


class CorruptImageError(VhdxError, OSError):
    """A MUST of the specification is broken and no copy saves it. Also an `OSError` with `errno.EIO`."""

    _errno = errno.EIO


class TruncatedImageError(CorruptImageError, EOFError):
    """A structure or a block lies past the end of the file."""


class UnreadableError(VhdxError, OSError):
    """The medium does not give bytes that are in the file: a bad sector. Also an `OSError` with the system's errno."""

    _errno = errno.EIO


class UnsupportedImageError(VhdxError):
    """A version, a required region or metadata item, or a locator type that is not known."""


class DirtyLogError(VhdxError):
    """The log must be replayed and cannot be, or must not be by the caller's wish."""


class ImageChangedError(VhdxError):
    """An image was changed while it was read, so that what was read is a mixture of several moments."""


class Tried(NamedTuple):
    """A place where a parent was looked for: the locator's `key` that names it, or the caller's keyword."""

    key: str
    filename: str
    message: str  # why it was not taken


class ParentError(VhdxError):
    """A differencing image's parent cannot serve; `tried` are the places where it was looked for."""

    tried: tuple[Tried, ...] = ()


class ParentNotFoundError(ParentError, FileNotFoundError):
    """No parent was found, or a read needs one that is not open."""

    _errno = errno.ENOENT


class ParentPermissionError(ParentError, PermissionError):
    """A parent is there, but this process may not read it. Also a `PermissionError`."""

    _errno = errno.EACCES


class ParentMismatchError(ParentError):
    """A parent was found, but it is not the one the child was made from."""


def untraced(error: E, outer: BaseException | None) -> E:
    """The error without tracebacks, to be kept: their frames have what was open, and whoever keeps it. Those of
    `outer`, in whose handling it was raised, stay."""
    each: BaseException | None = error
    while each is not None and each is not outer:
        each.__traceback__ = None
        each = each.__context__
    return error


def _rebuild(kind: type[VhdxError], message: str, state: dict[str, Any]) -> VhdxError:
    error = kind(message)
    error.__dict__.update(state)
    return error


def problem_to_dict(problem: object, severity: Severity = Severity.ERROR) -> dict[str, Any]:
    """The problem object of JSON, the same wherever something is wrong: of a finding, an error, any exception."""
    facts = {
        "severity": severity,
        "rule": getattr(problem, "rule", None),
        "section": getattr(problem, "section", None),
        "message": getattr(problem, "message", None) or getattr(problem, "strerror", None) or str(problem),
        "means": getattr(problem, "means", None),
        "filename": getattr(problem, "filename", None),
        "file_offset": getattr(problem, "file_offset", None),
        "disk_offset": getattr(problem, "disk_offset", None),
    }
    return {key: plain(value) for key, value in facts.items()}


def _where(offset: int | None, rule: str | None, section: str | None) -> str:
    parts = []
    if offset is not None:
        parts.append(f"file offset {offset:#x}")
    if rule is not None:
        parts.append(f"rule {rule}")
    if section:  # of partitions [MS-VHDX] says nothing
        parts.append(f"[MS-VHDX] {section}")
    return f" ({', '.join(parts)})" if parts else ""
