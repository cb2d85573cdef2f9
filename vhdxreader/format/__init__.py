"""The chapters of [MS-VHDX]: bytes become validated values.

In: a `Source`. Out: frozen dataclasses, and findings for what is tolerated. Nothing here knows the virtual disk.
May import: `files` and the ground. Only `grammar` knows Kaitai.
"""
