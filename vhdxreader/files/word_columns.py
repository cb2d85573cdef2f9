"""Columns of 64-bit words handled as one long integer, so that an operation on all of them is one operation.

A word is in 64 bits of the integer. Sums and differences are those of the words as long as none leaves its 64 bits.
"""

from __future__ import annotations

import sys
from array import array
from functools import lru_cache

_WORD = 8
_AT_ONCE = 4096  # words that `from_doubles` joins
_TOP = 1 << 63
_EXPONENT = 0x433 << 52  # of the doubles from 2^52 up to 2^53, which are the integers


def joined(words: array[int]) -> int:
    """All words as one integer."""
    return int.from_bytes(words.tobytes(), sys.byteorder)


def are_zero(words: array[int]) -> bool:
    """Whether all words are 0, without an integer for each."""
    return words.tobytes() == bytes(_WORD * len(words))


def split(column: int, count: int) -> array[int]:
    """The `count` words of a column."""
    return array("Q", column.to_bytes(_WORD * count, sys.byteorder))


@lru_cache(maxsize=8)
def repeated(word: int, count: int) -> int:
    """A column of `count` times the same word."""
    return joined(array("Q", [word]) * count)


def all_at_least(column: int, least: int, count: int) -> bool:
    """Whether none of `count` words is less than `least`; all must be less than 2^63."""
    tops = repeated(_TOP, count)
    return (column + repeated(_TOP - least, count)) & tops == tops


def as_doubles(column: int, count: int) -> array[float]:
    """The words, all less than 2^52, each 2^52 greater: the bits of such a double are its exponent, and the word. They
    are in the same order, and Python sorts them twice as fast as large integers."""
    return array("d", (column | repeated(_EXPONENT, count)).to_bytes(_WORD * count, sys.byteorder))


def from_doubles(doubles: array[float]) -> array[int]:
    """The words that `as_doubles` was given."""
    words = array("Q")
    for at in range(0, len(doubles), _AT_ONCE):
        part = doubles[at : at + _AT_ONCE].tobytes()
        count = len(part) // _WORD
        words += split(int.from_bytes(part, sys.byteorder) ^ repeated(_EXPONENT, count), count)
    return words
