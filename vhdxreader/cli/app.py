"""The `vhdxreader` command: its subcommands, and how it ends."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, cast

import click

from vhdxreader import VhdxError

from .failure import FAILED, FINE, INTERRUPTED, USAGE, failed
from .options import named_image
from .suggestions import did_you_mean, similar

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS = {  # and what `--help` says of each, which then need not load them
    "cat": "The virtual disk's bytes to standard output.",
    "check": "All that is wrong with an image.",
    "compare": "Whether two disks hold the same bytes.",
    "completion": "The completion script for a shell.",
    "convert": "The virtual disk as raw, VHD, qcow2 and others.",
    "dump": "Every field of every structure.",
    "hash": "Digests of the virtual disk.",
    "info": "What an image is: type, sizes, state, parent.",
    "log": "Every entry of the log.",
    "map": "Where each part of the disk comes from.",
    "measure": "What a conversion needs, and what the image takes.",
    "mount": "The disk and its partitions as files, by FUSE.",
    "partitions": "The partitions inside the disk, and what they hold.",
    "report": "One page on an image, to keep.",
    "serve": "The virtual disk over NBD, read-only.",
    "skeleton": "A copy without the payload.",
    "survey": "A record of each of very many images.",
    "tree": "Which image is whose parent.",
}


class _Commands(click.Group):
    """Subcommands by module name, imported when they are asked for: `vhdxreader info` need not load the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f".{cmd_name}", __package__).command
        command.short_help = _COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What the Tab key proposes for a subcommand or an option."""
        from click.shell_completion import CompletionItem

        names = [name for name in _COMMANDS if name.startswith(incomplete)]
        proposed = [CompletionItem(name, help=_COMMANDS[name]) for name in names]
        return [*proposed, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that the first argument names; of another name, what may have been meant."""
        name = args[0]
        if name in _COMMANDS or name.startswith("-") or ctx.resilient_parsing:  # which completion is
            return super().resolve_command(ctx, args)
        meant = [f"info {name}"] if os.path.exists(name) else similar(name, _COMMANDS)
        raise click.UsageError(f"No such command {name!r}.{did_you_mean(meant)}", ctx)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand. Errors are met here, since click takes an `EOFError` for the user's wish to stop."""
        try:
            return super().invoke(ctx)
        except (VhdxError, OSError) as error:
            return failed(error, named_image(ctx))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="vhdxreader")
def app() -> None:
    """Read Microsoft VHDX disk images, never write them.

    Exit codes: 0 fine, 1 could not do it, 2 the image is corrupt, 3 done but worth a look (check only), 64 wrong usage,
    130 interrupted. Of several images the worst counts: 2 before 1 before 3. compare has cmp's: 0 the same, 1
    different, 2 trouble.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    if sys.stdout is None:  # closed, as by ">&-": the first file that is opened would get its number
        click.echo("vhdxreader: the standard output is closed", err=True)
        sys.exit(FAILED)
    sys.stdout, sys.stderr = _prepared(sys.stdout), _prepared(sys.stderr)
    sys.exit(run(arguments))


class _Piped(io.FileIO):
    """A standard stream, with which the process ends in silence, as cat does, when whoever reads it has gone.

    The signal does not stay on for that: the other end of a socket may go, too, which is an error.
    """

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            if hasattr(signal, "SIGPIPE") and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
                signal.raise_signal(signal.SIGPIPE)
            raise


def _prepared(stream: Any) -> Any:
    """A standard stream for output; text from an image may be in no character set of ours."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = _Piped(stream.fileno(), "wb", closefd=False)
    raw.name = stream.name  # as messages have it
    buffer = raw if isinstance(stream.buffer, io.RawIOBase) else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        cast("BinaryIO", buffer),
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code. Words go to standard error, whatever happens."""
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        code = app.main(given, prog_name="vhdxreader", standalone_mode=False, obj=given)
        sys.stdout.flush()
        return code or FINE
    except click.ClickException as error:
        error.show()
        return USAGE if isinstance(error, click.UsageError) else FAILED
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError as error:  # of the last flush
        return failed(error)
