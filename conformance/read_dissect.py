"""A command line over dissect.hypervisor, for run.py: read_dissect.py RAW IMAGE. It looks for parents by itself."""

import shutil
import sys
from pathlib import Path

from dissect.hypervisor.disk.vhdx import VHDX

raw, image = sys.argv[1:]
with open(raw, "wb") as out:
    shutil.copyfileobj(VHDX(Path(image)), out, 1 << 20)  # no read crosses a block's end
