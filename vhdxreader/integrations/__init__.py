"""Somebody else's system on one side, the package's public names on the other: NBD, FUSE, fsspec, forensic tools.

In: opened disks. Out: whatever that system calls a disk or a file. One module or folder a system, imported only by who
uses it.
May import: `vhdxreader`'s public names, and the package of the system it serves.
"""
