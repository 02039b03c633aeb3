"""Values between processes: what survives, what becomes opaque, and digests of what is too large to send."""

from __future__ import annotations

import collections
import enum
import json
import socket
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest

from codeup.sandbox import digests, values, wire

VALUES: list[Any] = [
    None, True, False, 0, -1, 2**63, -(2**400), 0.1, -0.0, float("inf"), 1 + 2j, "", "naïve \ud800 \x00", b"\x00\xff",
    [], [1, [2, ()]], (1, (2.5, "x")), {1, 2}, frozenset({"a", (1, 2)}), {}, {1: "a", (1, 2): {"b": {3}}, None: [True]},
    bytearray(b"x"), Decimal("1.50"), Fraction(2**70, 3), collections.Counter("aab"), collections.deque([1, [2]]),
    collections.OrderedDict(b=1, a=2), [2**64, 1], [True, 1, 1.0], {"a": 1}.keys(),
]  # fmt: skip
ARRAYS = [np.int64(3), np.float32(0.1), np.bool_(True), np.str_("x"), np.complex128(1j), np.arange(6).reshape(2, 3),
          np.array([]), np.array(["ab", "c"]), np.array(2.5),
          np.array([[2**70, "x"]], dtype=object)]  # fmt: skip


def there_and_back(value: Any, *, opaque: bool = False) -> Any:
    return values.decode(json.loads(json.dumps(values.encode(value, opaque=opaque)), parse_constant=float))


@pytest.mark.parametrize("value", VALUES)
def test_plain_values_survive_with_their_types(value: Any) -> None:
    back = there_and_back(value)
    assert repr(back) == repr(value) or (back == value and type(back) is type(value))


@pytest.mark.parametrize("value", ARRAYS)
def test_numpy_values_survive_with_type_and_shape(value: Any) -> None:
    back = there_and_back(value)
    assert type(back) is type(value) and back.dtype == value.dtype and np.shape(back) == np.shape(value)
    assert np.array_equal(back, value)


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.IntEnum):
    RED = 1


class Sly(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class SlyList(list[Any]):
    def __eq__(self, other: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter(["not", "the", "content"])


SUBCLASSES = [(Point(1, 2), (1, 2)), (Colour.RED, 1), (Sly(0), 0), (SlyList([1, 2]), [1, 2]), ([Sly(7)], [7])]


@pytest.mark.parametrize(("value", "plain"), SUBCLASSES)
def test_a_subclass_equals_what_its_content_equals_and_nothing_else(value: Any, plain: Any) -> None:
    back = there_and_back(value)
    assert back == plain
    assert back not in (plain[:-1] if isinstance(plain, list | tuple) else plain + 1, object())


def test_a_subclass_is_not_of_the_plain_type() -> None:
    assert type(there_and_back(Point(1, 2))) is not tuple
    assert isinstance(there_and_back(Point(1, 2)), tuple)


OPAQUE = [object(), len, Point, memoryview(b"x")]


@pytest.mark.parametrize("value", OPAQUE, ids=lambda value: type(value).__name__)
def test_what_has_no_content_does_not_travel_or_equals_nothing(value: Any) -> None:
    with pytest.raises(values.Unencodable):
        values.encode(value)
    back = there_and_back(value, opaque=True)
    assert back != back and back != value and back is not None


@pytest.mark.parametrize(
    "value", [range(3), iter([0, 1, 2]), map(int, "012"), (i for i in range(3))], ids=lambda value: type(value).__name__
)
def test_an_iterable_brings_what_it_held_and_equals_nothing(value: Any) -> None:
    back = there_and_back(value, opaque=True)
    assert set(back) == {0, 1, 2} and back != [0, 1, 2] and back != range(3)


def test_every_nan_is_a_nan_of_its_own() -> None:
    nan = float("nan")
    assert [nan] == [nan], "Python compares by identity first, so the decoder must not share one"
    first, second = there_and_back([nan, nan])
    assert [first] != [second]


@pytest.mark.parametrize(
    "value",
    [{}, {"int": 3}, {"set": [[1]]}, {"dict": [1]}, {"dict": [[[1], 2]]}, {"eval": "1"}, {"a": 1, "b": 2},
     {"bytes": "zz"}, {"complex": ["x", 1]}, {"tuple": 3}, {"set": 4}, {"numpy": ["O", None, ""]},
     {"numpy": ["<f8", None, ""]}, {"numpy": ["<f8", [9], "00"]}, {"Fraction": ["1", "0"]}, {"Decimal": "x"}],
    ids=str,
)  # fmt: skip
def test_what_encode_never_wrote_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the kind is the property
        values.decode(value)


EQUAL = [
    ([1] * 9, [True] * 9), ([1.0, 2], [1, 2.0]), ((1, "a"), (1.0, "a")), ({1, 2, 3}, {3.0, 2, True}),
    ({"a": 1, "b": [2.0]}, {"b": [2], "a": True}), ([2 + 0j], [2]), ([{"x"}], [{"x"}]), ("text", "text"),
]  # fmt: skip
UNEQUAL = [
    ([1, 2], (1, 2)), ([1, 2], [2, 1]), ([1.5], [1]), (["1"], [1]), ([[1]], [(1,)]), ([b"a"], ["a"]),
    ({1: 2}, {2: 1}), ({1}, [1]), ([None], [0]),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_equal_values_have_one_normal_form(a: Any, b: Any) -> None:
    assert a == b and digests.normal(a) == digests.normal(b)


@pytest.mark.parametrize(("a", "b"), UNEQUAL)
def test_unequal_values_have_different_normal_forms(a: Any, b: Any) -> None:
    assert a != b and digests.normal(a) != digests.normal(b)


def test_a_value_is_digested_only_above_the_limit_and_in_pieces() -> None:
    small, large = [1] * 10, list(range(3 * digests.PIECE))
    assert digests.scan(small, 1000) is None
    one, same, other = (digests.scan(value, 1000) for value in (large, list(large), [*large[:-1], -1]))
    assert one is not None and one == same and one != other
    nans = digests.scan([float("nan")] * 1000, 100, check=True)
    assert nans is not None and not nans.stable
    assert digests.scan([object()] * 1000, 100) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(["a", ("b", [None])], True), ([["a", 1]], False), ("x", True), (3, False), ([{"a"}], False)],
)
def test_rigid_values_hold_no_numbers(value: Any, expected: bool) -> None:
    assert digests.rigid(value) is expected


def test_the_wire_makes_every_nan_anew() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(ours, [[float("nan")], [float("nan")], float("inf")])
        first, second, infinity = wire.receive(theirs)
    assert first != second and infinity == float("inf")
