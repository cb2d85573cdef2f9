"""The map of the file's space, against one list of booleans."""

from __future__ import annotations

from builder import MB
from hypothesis import given, settings
from hypothesis import strategies as st

from vhdxreader.disk.space_map import SpaceMap

SIZES = st.sampled_from([1, 7, 8, 9, 64, 33_000, 70_000])


@settings(deadline=None, max_examples=60)
@given(SIZES, st.lists(st.tuples(st.integers(0, 70_000), st.sampled_from([1, 3, 9, 1000, 40_000])), max_size=12))
def test_as_a_list_of_booleans(size, takes):
    space, model = SpaceMap(size * MB - 5), [False] * size
    for start, length in takes:
        was_free = not any(model[start : start + length])
        assert space.is_free(start * MB, (start + length) * MB) == was_free
        assert space.take(start * MB, (start + length) * MB) == was_free
        model[start : start + length] = [True] * len(model[start : start + length])
    for kind in (True, False):
        edges = [i for i in range(size + 1) if (i < size and model[i] == kind) != (i > 0 and model[i - 1] == kind)]
        expected = [(first * MB, last * MB) for first, last in zip(edges[::2], edges[1::2], strict=True)]
        assert list(space.ranges(taken=kind)) == expected
    assert space.taken() == sum(model) * MB


def test_two_maps_together():
    one, other = SpaceMap(8 * MB), SpaceMap(8 * MB)
    one.take(0, 3 * MB)
    other.take(2 * MB, 5 * MB)
    assert list(one.both(other).ranges(taken=True)) == [(2 * MB, 3 * MB)]
    assert list(one.without(other).ranges(taken=True)) == [(0, 2 * MB)]
    assert list(one.either(other).ranges(taken=True)) == [(0, 5 * MB)]
