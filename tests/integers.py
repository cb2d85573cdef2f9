"""Integers of other libraries."""

from __future__ import annotations


class Index:
    """An integer, and nothing else."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class Wrapping(Index):
    """An unsigned integer of `bits` as numpy's: all that is done with it stays in so many bits."""

    def __init__(self, value, bits):
        super().__init__(value)
        self.bits = bits

    def __int__(self):
        return self.value

    def _wrap(self, value):
        return Wrapping(value & (1 << self.bits) - 1, self.bits)

    def __add__(self, other):
        return self._wrap(self.value + int(other))

    def __radd__(self, other):
        return self._wrap(int(other) + self.value)

    def __sub__(self, other):
        return self._wrap(self.value - int(other))

    def __rsub__(self, other):
        return self._wrap(int(other) - self.value)

    def __mul__(self, other):
        return self._wrap(self.value * int(other))

    def __rmul__(self, other):
        return self._wrap(int(other) * self.value)

    def __floordiv__(self, other):
        return self._wrap(self.value // int(other))

    def __mod__(self, other):
        return self._wrap(self.value % int(other))

    def __divmod__(self, other):
        return self // other, self % other

    def __truediv__(self, other):
        return self.value / int(other)

    def __rshift__(self, other):
        return self._wrap(self.value >> int(other))

    def __and__(self, other):
        return self._wrap(self.value & int(other))

    def __hash__(self):
        return hash(self.value)

    def __eq__(self, other):
        return self.value == int(other)

    def __le__(self, other):
        return self.value <= int(other)

    def __ge__(self, other):
        return self.value >= int(other)

    def __lt__(self, other):
        return self.value < int(other)

    def __gt__(self, other):
        return self.value > int(other)
