"""The virtual disk: validated values become an address map, the map becomes reads, a chain of files becomes one disk.

In: sources and what `format` makes of them. Out: `VirtualDisk`, `VhdxImage`, `Extent`.
May import: `format`, `files` and the ground.
"""
