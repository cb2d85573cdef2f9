"""Bytes at offsets: where an image's bytes come from, and how files are written.

In: a path or a file object. Out: a `Source` with exact positioned reads; a new file that is whole or not there.
May import: the ground, `errors` and `spec`.
"""
