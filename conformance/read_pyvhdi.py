"""A command line over libvhdi's Python module, for run.py: read_pyvhdi.py RAW IMAGE PARENT..., nearest parent first."""

import sys
from itertools import pairwise

import pyvhdi

STEP = 1 << 20

raw, *paths = sys.argv[1:]
files = [pyvhdi.file() for _ in paths]
for file, path in zip(files, paths, strict=True):
    file.open(path)
for child, parent in reversed(list(pairwise(files))):  # the lowest first: a parent is whole when it is set
    child.set_parent(parent)
size = files[0].get_media_size()
with open(raw, "wb") as out:
    for at in range(0, size, STEP):
        data = files[0].read_buffer_at_offset(min(STEP, size - at), at)
        if len(data) != min(STEP, size - at):
            sys.exit(f"{len(data)} bytes at {at}")
        out.write(data)
