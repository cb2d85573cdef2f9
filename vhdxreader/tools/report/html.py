"""Templates made into pages. Whatever comes from an image is text in them, and can be nothing else.

In: the name of a template and its values. Out: one HTML text with its style in it.

All templates extend `base.html`, which has the frame, and use the macros of `parts.html`. Every value that a template
puts out is escaped, and its characters that cannot be seen, or that change the direction of text, are shown by their
numbers. The page itself forbids scripts, and everything that would come from elsewhere, by its policy.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ...plain_values import plain, printable, short_size
from .drawing import class_of

if TYPE_CHECKING:
    from jinja2 import Environment

_LONGEST = 600  # characters of one value: a parent locator's can have 32,767


def render(template: str, **values: Any) -> str:
    """A page. Raises `ImportError` where jinja2 is not installed."""
    environment = _environment()
    style = environment.get_template("style.css").render()
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(template).render(style=style, style_digest=digest, **values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ImportError("a page needs the Python package jinja2: pip install vhdxreader[report]") from error
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_text,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = {"short_size": short_size, "hexadecimal": hex, "percent": percent, "moment": moment}
    environment.filters |= filters | {"base_name": os.path.basename}
    environment.globals |= {"version": version("vhdxreader"), "class_of": class_of}
    return environment


def _text(value: Any) -> Any:
    """What is put out for a value: of text, what can be seen of it, and not more than a page can bear."""
    if value is None:
        return "—"
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    if len(value) > _LONGEST:
        value = f"{value[:_LONGEST]}… ({len(value)} characters)"
    return printable(plain(value))


def percent(part: int, whole: int) -> str:
    """A share; never 0 % of something, nor 100 % of not all."""
    share = 100 * part / whole if whole else 100.0
    if part < whole:
        share = min(share, 99.9)
    return "<0.1 %" if 0 < share < 0.1 else f"{share:.1f} %".replace(".0 %", " %")


def moment(nanoseconds: int | None) -> str | None:
    """A time of the file system, in UTC."""
    if nanoseconds is None:
        return None
    try:
        return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):  # beyond the calendar
        return f"{nanoseconds} ns"
