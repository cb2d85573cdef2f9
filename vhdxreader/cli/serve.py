"""`vhdxreader serve`: disks over NBD."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

import vhdxreader

from .grouped import GroupedCommand
from .options import images_argument, opens, salvage_options
from .output import report_findings
from .source import source_of

if TYPE_CHECKING:
    from vhdxreader.integrations.nbd import NbdServer

_SOCKET = "nbd.sock"


@click.command("serve", cls=GroupedCommand)
@images_argument
@opens
@salvage_options
@click.option("--socket", "path", type=click.Path(), metavar="PATH", help="Listen on this Unix socket.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="Listen on this port of 127.0.0.1; 0: any.")
@click.option("--bind", metavar="ADDRESS", help="With --port: listen on this address. Whoever reaches it can read.")
@click.option("--exec", "program", metavar="COMMAND", help="Run a shell command with $uri, and end with its exit code.")
def command(
    images: Sequence[str],
    path: str | None,
    port: int | None,
    bind: str | None,
    program: str | None,
    **how: Any,
) -> int:
    """Serve the disks in each IMAGE to NBD clients, until a signal ends it; without --socket or --port on a Unix socket
    in a folder of this user only, whose address is printed.

    The first disk is the default export; each is an export of its file's name, and each of its partitions one of that
    name with /partitionN behind it. There is neither encryption nor authentication: nbdkit's filters can add them.

        vhdxreader serve disk.vhdx --exec 'qemu-img convert -f raw -O qcow2 $uri disk.qcow2'
    """
    if bind is not None and port is None:
        raise click.UsageError("--bind needs --port")
    if path is not None and port is not None:
        raise click.UsageError("--socket and --port exclude each other")
    from vhdxreader.integrations import nbd

    logging.basicConfig(format="vhdxreader: %(message)s")
    with ExitStack() as stack:
        disks = {image: stack.enter_context(vhdxreader.open(source_of(image), **how)) for image in images}
        for disk in disks.values():
            report_findings(disk)
        exports = nbd.named_exports(disks)
        if program is not None:
            return nbd.run_program(exports, program)
        if path is None and port is None:
            path = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(prefix="vhdxreader-")), _SOCKET)
        listener = nbd.tcp_socket(bind or "127.0.0.1", port or 0) if path is None else nbd.unix_socket(path)
        server = stack.enter_context(nbd.NbdServer(exports, listener))
        stack.enter_context(_ended_by_signals(server))
        for name in exports:
            click.echo(_uri(name, listener))
        sys.stdout.flush()
        server.serve()
    return 0


@contextmanager
def _ended_by_signals(server: NbdServer) -> Iterator[None]:
    before = signal.set_wakeup_fd(server.wakeup_fd)
    try:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda *_: None)
        yield
    finally:
        signal.set_wakeup_fd(before)


def _uri(name: str, listener: socket.socket) -> str:
    from vhdxreader.integrations import nbd

    address = listener.getsockname()
    if isinstance(address, str):
        return nbd.nbd_uri(name, os.path.abspath(address))
    return nbd.nbd_uri(name, host=address[0], port=address[1])
