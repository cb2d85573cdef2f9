"""The argument and the options that commands share, each in this one place."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

import vhdxreader
from vhdxreader import VhdxError

if TYPE_CHECKING:  # what `--help` need not load
    from vhdxreader import Geometry, PartitionStream, VirtualDisk

F = TypeVar("F", bound=Callable[..., Any])

_IMAGE = "vhdxreader.image"
_MAX_TEMP = "vhdxreader.max_temp"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def size(text: str) -> int:
    """Bytes: decimal or 0x hexadecimal, or decimal with K, M, G or T (powers of 1024)."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", text):
        return int(text, 16)
    match = re.fullmatch(r"([0-9]+)([KMGT]?)(?:iB|B)?", text, re.IGNORECASE)
    if not match:
        raise click.BadParameter(f"{text!r} is not a size such as 4096, 0x1000, 64K or 1M")
    return int(match[1]) * _UNITS[match[2].upper()]


class NewFile(click.Path):
    """The name of a file to be written, which "-" is not: nobody means a file of that name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "-":
            self.fail("'-' is not a file: what goes there cannot go to standard output. Give the name of a new file.")
        return super().convert(value, param, ctx)


def _remember(context: click.Context, _argument: click.Parameter, image: str) -> str:
    context.meta[_IMAGE] = image
    return image


def named_image(context: click.Context) -> str | None:
    """The IMAGE of the command that runs, None if it has none or several."""
    return context.meta.get(_IMAGE)


def _keep_limit(context: click.Context, _option: click.Parameter, limit: int | None) -> None:
    context.meta[_MAX_TEMP] = limit


def max_temp(context: click.Context) -> int | None:
    """How much temporary space may be taken; None for what is usual."""
    return context.meta.get(_MAX_TEMP)


_max_temp_option = click.option(
    "--max-temp",
    type=size,
    metavar="SIZE",
    expose_value=False,
    callback=_keep_limit,
    help="Take no more temporary space than this for an IMAGE that is packed, or -.  [default: half of what is free]",
)


def image_argument(command: F) -> F:
    """Give a command its IMAGE, which may be packed (.gz, .xz, .bz2, .zip), or - for standard input."""
    return click.argument("image", type=click.Path(allow_dash=True), callback=_remember)(_max_temp_option(command))


def images_argument(command: F) -> F:
    """As `image_argument`, one or more of them."""
    path = click.Path(allow_dash=True)
    return click.argument("images", metavar="IMAGE...", type=path, nargs=-1, required=True)(_max_temp_option(command))


# How an image is opened: each becomes a keyword of `vhdxreader.open`.
_PARENT_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--parent",
        type=click.Path(),
        metavar="FILE",
        multiple=True,
        help="The parent of a differencing image; given again, the parent of that one, and so on.",
    ),
    click.option(
        "--parents",
        type=click.Choice(["relative", "inside", "all", "none"]),
        default="relative",
        show_default=True,
        callback=lambda _context, _option, value: None if value == "none" else value,
        help="Where other parents may be: where relative_path points to, only inside the image's folder, at absolute"
        " paths too, or nowhere.",
    ),
    click.option(
        "--search",
        "folders",
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        multiple=True,
        help="Look for parents also in DIR and below, by their DataWriteGuid, whatever they are called.",
    ),
]
_OPEN_OPTIONS: list[Callable[[Any], Any]] = [
    *_PARENT_OPTIONS,
    click.option(
        "--log",
        type=click.Choice(["replay", "refuse", "ignore"]),
        default="replay",
        show_default=True,
        help="What to do with an image that was not closed cleanly: replay its log in memory, refuse it, or show its"
        " stale state.",
    ),
]


@contextmanager
def offers_force() -> Iterator[None]:
    """Name the way out where what is to be written is there already."""
    try:
        yield
    except FileExistsError as error:
        raise FileExistsError(error.errno, f"{error.strerror} (--force overwrites it)", error.filename) from error


def opens_image(command: F) -> F:
    """Give a command the IMAGE argument and every option on how to open it, as keywords for `vhdxreader.open`."""
    return image_argument(opens(command))


def _searches(command: F) -> F:
    """Make folders to search the value of `parents`."""

    @wraps(command)
    def with_folders(*arguments: Any, folders: tuple[str, ...], **more: Any) -> Any:
        if folders:
            more["parents"] = list(folders)
        return command(*arguments, **more)

    return cast("F", with_folders)


def opens(command: F) -> F:
    """Give a command every option on how to open an image, as keywords for `vhdxreader.open`."""
    for decorate in reversed(_OPEN_OPTIONS):
        command = decorate(command)
    return _searches(command)


def parent_options(command: F) -> F:
    """Give a command the options on where parents may be."""
    for decorate in reversed(_PARENT_OPTIONS):
        command = decorate(command)
    return _searches(command)


def _pattern(_context: click.Context, _option: click.Parameter, text: str | None) -> bytes:
    """Bytes: 0x and hexadecimal digits, or text as it is."""
    if text is None:
        return b"\0"
    try:
        pattern = bytes.fromhex(text[2:]) if text[:2] in ("0x", "0X") else os.fsencode(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not 0x and pairs of hexadecimal digits") from None
    if not pattern:
        raise click.BadParameter("it is empty")
    return pattern


def _geometry(_context: click.Context, _option: click.Parameter, text: str | None) -> Geometry | None:
    """What `size=10G,block=32M,sector=512,parent=no` says; the parent may be left out."""
    if text is None:
        return None
    facts = {"parent": "no"} | dict(part.partition("=")[::2] for part in text.split(","))
    if set(facts) != {"size", "block", "sector", "parent"} or facts["parent"] not in ("yes", "no"):
        raise click.BadParameter(f"{text!r} is not size=SIZE,block=SIZE,sector=SIZE,parent=yes|no")
    try:
        return vhdxreader.Geometry.checked(
            size(facts["size"]), size(facts["block"]), size(facts["sector"]), facts["parent"] == "yes"
        )
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_SALVAGE_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--salvage",
        "errors",
        flag_value="zero",
        default="raise",
        help="Give all that can be had of a damaged image, zeros for what is lost; that, and what is not certain,"
        " is listed on standard error.",
    ),
    click.option(
        "--fill", metavar="PATTERN", callback=_pattern, help="With --salvage: this, over and over, for what is lost."
    ),
    click.option(
        "--geometry",
        metavar="size=S,block=S,sector=S,parent=yes|no",
        callback=_geometry,
        help="With --salvage: what the metadata would say if they were not gone.",
    ),
    click.option(
        "--ignore-mismatch",
        is_flag=True,
        help="Take the --parent that is given, though it is not the one it should be.",
    ),
]


def salvage_options(command: F) -> F:
    """Give a command the options on what to do with a damaged image, as keywords for `vhdxreader.open`."""

    @wraps(command)
    def checked(*arguments: Any, **how: Any) -> Any:
        if how["errors"] == "raise" and (any(how["fill"]) or how["geometry"] is not None):
            raise click.UsageError("--fill and --geometry go with --salvage")
        if how["ignore_mismatch"] and not how["parent"]:
            raise click.UsageError("--ignore-mismatch goes with --parent")
        return command(*arguments, **how)

    for decorate in reversed(_SALVAGE_OPTIONS):
        checked = decorate(checked)
    return cast("F", checked)


changing_option = click.option(
    "--changing",
    is_flag=True,
    help="Go on where the image is changed meanwhile, as that of a running machine; what is read is of no one moment.",
)


trimmed_option = click.option(
    "--trimmed",
    is_flag=True,
    help="Show the old content of blocks that were trimmed, where it is still in its place; otherwise zeros.",
)


def reads_data(command: F) -> F:
    """As `opens_image`, for a command that reads the virtual disk: it can be asked to salvage, and not to mind changes,
    which is its keyword `changing`."""
    return opens_image(salvage_options(trimmed_option(changing_option(command))))


partition_option = click.option(
    "--partition",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only partition N, by Linux's numbers; `vhdxreader partitions` lists them.",
)


def part_of(disk: VirtualDisk, number: int | None) -> VirtualDisk | PartitionStream:
    """The partition that a command is asked for; the disk itself if it is asked for none."""
    if number is None:
        return disk
    try:
        return disk.partition(number)
    except KeyError:
        raise VhdxError(f"{disk.name} has no partition {number}") from None


@contextmanager
def terminable() -> Iterator[None]:
    """Have the signals that end a process undo what was begun, as an interrupt from the keyboard does.

    One that does not end it, as SIGHUP under nohup, stays as it is.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ending = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in ending:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)
