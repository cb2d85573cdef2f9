"""The images that fuzzing starts from, and their parts that readers look at. Made by the tests' own builder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import builder as b


def bases() -> list[b.Image]:
    """Small images of every kind, in a fixed order."""
    blocks = {0: b.full(), 2: b.zeroed(), 3: b.unmapped(), 5: b.full(), 7: b.undefined(), 9: b.full()}
    dynamic = b.dynamic(9 * b.MB + 512, blocks=blocks)
    child_blocks = {0: b.partial([0, 1, 7, 9, 2047]), 1: b.full(), 2: b.zeroed(), 4: b.partial(range(64, 200))}
    locator = b.Locator(
        [
            ("parent_linkage", f"{{{dynamic.data_write_guid}}}"),
            ("parent_linkage2", "{00000000-0000-0000-0000-000000000000}"),
            ("relative_path", ".\\parent.vhdx"),
            ("absolute_win32_path", "\\\\?\\c:\\parent.vhdx"),
        ]
    )
    child = b.differencing(9 * b.MB + 512, blocks=child_blocks, parent=dynamic, locator=locator)
    stale, updates = b.hide(child, (child.bat_offset, 64), (child.metadata_offset, 64 * b.KB))
    user_item = b.Item("note", b.LOG_GUID, b"text", b.IS_USER)
    return [
        dynamic,
        b.fixed(4 * b.MB, extra_regions=[b.Region("more", b.LOG_GUID)], extra_items=[user_item]),
        b.dynamic(40 * b.MB, blocks={1: b.full()}, sector_size=4096, block_size=8 * b.MB, pad_last_block=False),
        child,
        b.dirty(stale, [*updates, b.Zero(child.block_offset[1], 8 * b.KB)], per_entry=3, at=b.MB - 8 * b.KB, first=9),
    ]


def windows(image: b.Image) -> list[tuple[int, int]]:
    """(file offset, length) of the structures of an image, in file order, without most of what is never looked at."""
    found = [(0, 16)]
    found += [(offset * b.KB, 96) for offset in (64, 128)]
    found += [(offset * b.KB, 16 + 32 * 4) for offset in (192, 256)]
    found += [(image.metadata_offset, 32 + 32 * 8)]
    items = image.item_offset.values()
    found += [(min(items), max(items) + 512 - min(items))]
    found += [(image.bat_offset, 8 * 12)]
    found += [(image.bitmap_entry_offset(0), 8)] if image.spec.kind == "differencing" else []
    found += [(offset, 256) for offset in image.bitmap_offset.values()]
    for ring_offset, entry in image.spec.log.entries:
        found += [(image.log_offset + (ring_offset + at) % b.MB, 160) for at in range(0, len(entry), 4 * b.KB)]
    return sorted(found)
