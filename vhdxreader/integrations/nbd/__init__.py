"""A read-only server of the NBD protocol: any number of disks, for any number of clients at once.

    with vhdxreader.open("disk.vhdx") as disk, NbdServer({"": disk}, unix_socket("/run/disk.sock")) as server:
        server.serve()

It knows the fixed newstyle handshake, structured replies, `base:allocation`, block sizes and multi-conn; TLS and
authentication are for a proxy in front, such as nbdkit.
"""

from .export import Export
from .listener import tcp_socket, unix_socket
from .program import named_exports, nbd_uri, run_program, served
from .server import NbdServer

__all__ = ["Export", "NbdServer", "named_exports", "nbd_uri", "run_program", "served", "tcp_socket", "unix_socket"]
