"""What can be done with an image: check it, convert it, show its structures. One module a task.

In: an image or a disk. Out: an answer, or another file; never a change of an image.
May import: all rooms below, but no other tool unless it builds on it.
"""
