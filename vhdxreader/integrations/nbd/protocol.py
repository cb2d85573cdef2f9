"""What goes over the wire, by the NBD protocol's own names."""

from __future__ import annotations

import struct
from enum import IntEnum

KB, MB = 1 << 10, 1 << 20

GREETING = struct.pack(">8s8sH", b"NBDMAGIC", b"IHAVEOPT", 0b11)  # fixed newstyle, no zeroes
CLIENT_FLAGS = struct.Struct(">I")
OPTION = struct.Struct(">8sII")  # magic, option, length of its data
OPTION_MAGIC = b"IHAVEOPT"
OPTION_REPLY = struct.Struct(">QIII")  # magic, option, type, length of its data
OPTION_REPLY_MAGIC = 0x3E889045565A9
REQUEST = struct.Struct(">IHHQQI")  # magic, flags, type, cookie, offset, length
REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY = struct.Struct(">IIQ")  # magic, error, cookie
SIMPLE_REPLY_MAGIC = 0x67446698
CHUNK = struct.Struct(">IHHQI")  # magic, flags, type, cookie, length
CHUNK_MAGIC = 0x668E33EF
EXPORT_INFO = struct.Struct(">HQH")  # type, size, transmission flags
BLOCK_SIZE_INFO = struct.Struct(">HIII")  # type, least, preferred, most

MAX_OPTION = 64 * KB  # bytes of one option's data
MAX_OPTIONS = 1000
MAX_REQUEST = 32 * MB
PREFERRED = 4 * KB


class Option(IntEnum):
    """What a client can ask for before it has an export."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class Reply(IntEnum):
    """Types of replies to options."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = 0x80000001
    ERR_INVALID = 0x80000003
    ERR_UNKNOWN = 0x80000006
    ERR_TOO_BIG = 0x80000009


class Info(IntEnum):
    """What is told of an export."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class Command(IntEnum):
    """What a client can ask of an export."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(IntEnum):
    """How it wants that."""

    DF = 1 << 2  # the reply must not be fragmented
    REQ_ONE = 1 << 3  # one extent only


class Chunk(IntEnum):
    """Types of a structured reply's chunks."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    ERROR = 0x8001


DONE = 1  # flag of the last chunk


class Error(IntEnum):
    """Why a request is refused."""

    EPERM = 1
    EIO = 5
    EINVAL = 22
    EOVERFLOW = 75
    ENOTSUP = 95


class State(IntEnum):
    """Of an extent in `base:allocation`."""

    HOLE = 1
    ZERO = 2


# has flags, read-only, may ask not to fragment, may open many connections
TRANSMISSION_FLAGS = 1 << 0 | 1 << 1 | 1 << 7 | 1 << 8


class ProtocolError(Exception):
    """The client breaks the protocol, or has gone: its connection ends."""
