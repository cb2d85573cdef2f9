"""Running a program against a server that lives as long as the program."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from vhdxreader import VirtualDisk

from ..disk_files import partition_files
from .export import Export
from .listener import unix_socket
from .server import NbdServer

_SOCKET = "nbd.sock"


def named_exports(disks: Mapping[str, VirtualDisk]) -> dict[str, Export]:
    """Exports for disks by their paths: the first under "", each under its file's name, and each of its partitions
    under that name and /partition1 and so on. Of files with one name, the later ones go by their whole path."""
    exports: dict[str, Export] = {}
    for path, disk in disks.items():
        exports.setdefault("", disk)
        name = os.path.basename(path)
        name = path if name in exports else name
        exports[name] = disk
        exports |= {f"{name}/{file[:-4]}": part for file, part in partition_files(disk).items()}
    return exports


@contextmanager
def served(exports: Mapping[str, Export]) -> Iterator[str]:
    """The path of a socket, in a folder of this user only, at which the exports are served until the context ends."""
    with tempfile.TemporaryDirectory(prefix="vhdxreader-") as folder:
        path = os.path.join(folder, _SOCKET)
        with NbdServer(exports, unix_socket(path)) as server:
            thread = threading.Thread(target=server.serve, name="nbd server", daemon=True)
            thread.start()
            try:
                yield path
            finally:
                server.stop()
                thread.join()


def run_program(exports: Mapping[str, Export], command: str | Sequence[str]) -> int:
    """Run a program, a line for the shell or a list, and give its exit code.

    In its environment, and so in the line, `$uri` is the address of the export "", `$socket` the socket's path.
    """
    with served(exports) as path:
        environment = os.environ | {"uri": nbd_uri("", path), "socket": path}
        # the line is the caller's own, as one typed into a shell is
        return subprocess.run(  # noqa: S603
            command, shell=isinstance(command, str), env=environment, check=False
        ).returncode


def nbd_uri(name: str, socket: str | None = None, host: str = "", port: int = 10809) -> str:
    """The address of an export behind a Unix socket, or at a host."""
    if socket is not None:
        return f"nbd+unix:///{quote(name)}?socket={quote(socket)}"
    host = f"[{host}]" if ":" in host else host
    return f"nbd://{host}{'' if port == 10809 else f':{port}'}/{quote(name)}"
