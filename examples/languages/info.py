"""What a VHDX image is, by its grammar alone: PYTHONPATH=generated/python python examples/languages/info.py IMAGE

Needs `make languages` and the runtime, `pip install kaitaistruct`. Checksums are not verified and a log is not
replayed: for that there is the library.
"""

import sys
from collections import Counter

from vhdx import Vhdx


def main(path: str) -> None:
    """Print creator, header, disk, parent, and how many blocks are in which state."""
    with Vhdx.from_file(path) as image:
        print(f"creator: {image.identifier.creator}")
        has_log = "true" if image.current_header.has_log else "false"
        print(f"current header: {image.current_header_number}, log to replay: {has_log}")
        metadata = image.metadata
        parameters = metadata.file_parameters
        kind = "differencing" if parameters.has_parent else "fixed" if parameters.leave_block_allocated else "dynamic"
        print(f"disk: {kind}, {metadata.virtual_disk_size.virtual_disk_size} bytes, blocks of {parameters.len_block}")
        if parameters.has_parent:
            for entry in metadata.parent_locator.entries:
                print(f"parent: {entry.key} = {entry.value}")
        for state, count in sorted(count_states(image.block_allocation_table).items()):
            print(f"blocks: {count} {state}")


def count_states(bat: Vhdx.Bat) -> Counter[str]:
    """How many payload blocks are in which state, by name, or by number where it has none."""
    states = (block.entry.state for chunk in bat.chunks for block in chunk.payload_blocks)
    return Counter(str(getattr(state, "name", state)).upper() for state in states)


if __name__ == "__main__":
    main(sys.argv[1])
