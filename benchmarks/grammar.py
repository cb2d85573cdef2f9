"""How long the grammar takes: to compile, to import, to read what an image says of itself.

    python benchmarks/grammar.py [IMAGE]

Needs Node.js with the compiler (`make languages`). Without IMAGE one of a 64 TB disk is made.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARSER = ROOT / "generated" / "python"
sys.path[:0] = [str(ROOT / "tests"), str(PARSER)]


IMPORT = "import time; start = time.perf_counter(); import vhdx; print(time.perf_counter() - start)"


def main() -> None:
    """Print the median of some runs of each, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        compiler = ["node", ROOT / "ksc" / "compile.js", ROOT / "vhdx.ksy", folder, "python"]
        show("compile to Python", [seconds(lambda: subprocess.run(compiler, check=True)) for _ in range(5)])
        show("import parser and runtime", [import_once() for _ in range(9)])
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else make_image(Path(folder))
        times = [seconds(lambda: read(path)) for _ in range(200)]
        show("read identifier, headers, region tables, metadata, geometry", times)


def import_once() -> float:
    """Seconds, in a new process."""
    command = [sys.executable, "-c", IMPORT]
    return float(subprocess.run(command, cwd=PARSER, check=True, capture_output=True, text=True).stdout)


def read(path: Path) -> list[object]:
    """Everything but BAT entries, log and payload."""
    from vhdx import Vhdx

    with Vhdx.from_file(path) as image:
        metadata = image.metadata
        found = [image.identifier.creator, image.header_1, image.header_2, image.current_header]
        found += [image.region_table_1.entries, image.region_table_2.entries, metadata.table.entries]
        found += [metadata.file_parameters, metadata.virtual_disk_size, metadata.virtual_disk_id]
        found += [metadata.logical_sector_size, metadata.physical_sector_size]
        if metadata.parent_locator:
            found += [(entry.key, entry.value) for entry in metadata.parent_locator.entries]
        return [*found, image.block_allocation_table.num_chunks]


def make_image(folder: Path) -> Path:
    """A dynamic disk of 64 TB in blocks of 32 MB."""
    from builder import MB, TB, dynamic

    return dynamic(64 * TB, block_size=32 * MB).save(folder / "disk.vhdx")


def seconds(run: Callable[[], object]) -> float:
    """How long one run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def show(what: str, times: list[float]) -> None:
    """Print the median."""
    print(f"{what}: {statistics.median(times) * 1000:.2f} ms")


if __name__ == "__main__":
    main()
