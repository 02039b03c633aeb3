"""Plain data between processes: a closed, tagged encoding that `json` can write.

What is decoded is built here from plain parts, so `==` on it is Python's own (or numpy's): an object with its own
`__eq__` cannot reach the referee. No pickle, no class of the program is ever looked up.

    3               -> 3                        (1, 2.5)      -> {"tuple": [1, 2.5]}
    2**70           -> {"int": "400..0"}  hex   {1: "a"}      -> {"dict": [[1, "a"]]}
    float("nan")    -> NaN                      [b"x"]        -> [{"bytes": "78"}]
    np.float64(1)   -> {"numpy": ["<f8", null, "000000000000f03f"]}
    Point(1, 2)     -> {"sub": {"tuple": [1, 2]}}       a namedtuple, or any other subclass of a plain type

A subclass travels as the content of its plain base and arrives as a type of our own with that content: it equals what
the base equals, and its type is not the base's. What has no plain content raises Unencodable, or with `opaque` becomes
{"opaque": its type}, which equals nothing. Object identity is lost.
"""

from __future__ import annotations

import sys
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, UserString, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

MAX_DEPTH = 200
MOST_DIGITS = 20_000
_SMALL = 1 << 63
_FLAT = frozenset((str, float, bool, type(None)))
_SEQUENCES: dict[Any, str] = {tuple: "tuple", set: "set", frozenset: "frozenset", deque: "deque"}
_MAPPINGS: dict[Any, str] = {dict: "dict", Counter: "Counter", OrderedDict: "OrderedDict", defaultdict: "defaultdict"}
_BASES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (int, lambda value: int.__add__(value, 0)),
    (float, float.__pos__),
    (str, str.__str__),
    (bytes, lambda value: bytes.__add__(value, b"")),
    (complex, complex.__pos__),
    (list, lambda value: list(list.__iter__(value))),
    (tuple, lambda value: tuple(tuple.__iter__(value))),
    (dict, lambda value: dict(dict.items(value))),
    (set, lambda value: set(set.__iter__(value))),
    (frozenset, lambda value: frozenset(frozenset.__iter__(value))),
)
"""How to take the plain content out of an instance of a subclass, without calling what the subclass defines."""

_WRAPPERS: dict[Any, Callable[[Any], Any]] = {
    UserList: lambda value: list(value.data),
    UserString: lambda value: str(value.data),
    UserDict: dict,
    ChainMap: dict,
    MappingProxyType: dict,
}
"""Types of the standard library that equal what they wrap."""

_NUMPY_KINDS = "biufcU"
_VIEWS: dict[Any, str] = {type({}.keys()): "keys", type({}.items()): "items", type({}.values()): "values"}


class Unencodable(Exception):
    """The value holds something that is not plain data; the message names its type."""


class Opaque:
    """Stands for an object without plain content. It equals nothing, not even another of its kind."""

    __slots__ = ("kind",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __eq__(self, other: object) -> bool:
        return False

    def __repr__(self) -> str:
        return f"<{'an' if self.kind[:1] in 'aeiou' else 'a'} {self.kind} object>"


class Contents(Opaque):
    """What an iterator or a range held: equal to nothing, but it can be iterated, as the original could."""

    __slots__ = ("items",)

    def __init__(self, kind: str, items: list[Any]) -> None:
        super().__init__(kind)
        self.items = items

    def __iter__(self) -> Any:
        return iter(self.items)


def encode(value: Any, depth: int = 0, *, opaque: bool = False) -> Any:
    """Turn a value into what `json` can write; raises Unencodable, unless `opaque`.

    With `opaque`, iterators are exhausted to send what they hold: this runs the program's code.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is float:
        return value
    if kind is int:
        return value if -_SMALL < value < _SMALL else {"int": f"{value:x}"}
    if depth >= MAX_DEPTH:
        return _no_content(value, f"data nested deeper than {MAX_DEPTH}", opaque)
    if kind is list:
        return _items(value, depth, opaque)
    if kind in _SEQUENCES:
        return {_SEQUENCES[kind]: _items(list(value), depth, opaque)}
    if kind in _MAPPINGS:
        return {_MAPPINGS[kind]: [[encode(k, depth + 1, opaque=opaque), encode(v, depth + 1, opaque=opaque)]
                                  for k, v in value.items()]}  # fmt: skip
    if kind is bytes or kind is bytearray:
        return {kind.__name__: value.hex()}
    if kind is complex:
        return {"complex": [value.real, value.imag]}
    return _uncommon(value, kind, depth, opaque)


def _items(value: list[Any], depth: int, opaque: bool) -> list[Any]:
    """Elements of a list; one of small numbers and strings only is passed on as it is, at C speed."""
    kinds = set(map(type, value))
    if kinds <= _FLAT or (kinds == {int} and min(value) > -_SMALL and max(value) < _SMALL):
        return value
    return [encode(item, depth + 1, opaque=opaque) for item in value]


def _uncommon(value: Any, kind: type, depth: int, opaque: bool) -> Any:
    if kind is Decimal:
        return {"Decimal": str(value)}
    if kind is Fraction:
        return {"Fraction": [f"{value.numerator:x}", f"{value.denominator:x}"]}
    view = _VIEWS.get(kind)
    if view:
        return {view: _items(list(value), depth, opaque)}
    numpy = sys.modules.get("numpy")
    if numpy is not None and kind.__module__ == "numpy" and isinstance(value, numpy.generic | numpy.ndarray):
        return _numpy(value, numpy, opaque)
    wrapped = _WRAPPERS.get(kind)
    if wrapped:
        return {"sub": encode(wrapped(value), depth + 1, opaque=opaque)}
    for base, content in _BASES:
        if issubclass(kind, base):
            return {"sub": encode(content(value), depth + 1, opaque=opaque)}
    return _no_content(value, f"{'an' if kind.__name__[:1] in 'aeiou' else 'a'} {kind.__name__[:80]} object", opaque)


def _numpy(value: Any, numpy: Any, opaque: bool) -> Any:
    array = numpy.asarray(value)
    if array.dtype.kind == "O":
        return {"objects": [list(array.shape), _items(array.ravel().tolist(), MAX_DEPTH // 2, opaque)]}
    if array.dtype.kind not in _NUMPY_KINDS or array.dtype.char in "gG":
        return _no_content(value, f"a numpy {array.dtype} object", opaque)
    shape = None if isinstance(value, numpy.generic) else list(array.shape)
    return {"numpy": [array.dtype.str, shape, array.tobytes().hex()]}


def _no_content(value: Any, why: str, opaque: bool) -> Any:
    if not opaque:
        raise Unencodable(why)
    name = type(value).__name__[:80]
    if type(value) is range or hasattr(type(value), "__next__"):
        return {"iterable": [name, encode(list(value), MAX_DEPTH // 2, opaque=True)]}
    return {"opaque": name}


def decode(value: Any, depth: int = 0) -> Any:
    """The value that `encode` wrote; raises ValueError on anything it could not have written."""
    kind = type(value)
    if value is None or kind in (bool, str, float, int):
        return value
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    if kind is list:
        return _decoded(value, depth)
    if kind is not dict or len(value) != 1:
        raise ValueError("not an encoded value")
    ((tag, body),) = value.items()
    try:
        return _decode_tagged(tag, body, depth + 1)
    except (TypeError, AttributeError, ArithmeticError, LookupError) as error:
        raise ValueError(f"not an encoded value: {error}") from None


def _decoded(items: list[Any], depth: int) -> list[Any]:
    """Elements of a list. Scalars only: a copy, so that nobody changes what was sent."""
    if not {list, dict} & set(map(type, items)):
        return list(items)
    return [decode(item, depth + 1) for item in items]


class _SubInt(int): ...


class _SubFloat(float): ...


class _SubStr(str): ...


class _SubBytes(bytes): ...


class _SubComplex(complex): ...


class _SubList(list[Any]): ...


class _SubTuple(tuple[Any, ...]): ...


class _SubDict(dict[Any, Any]): ...


class _SubSet(set[Any]): ...


class _SubFrozenset(frozenset[Any]): ...  # fmt: skip


_SUBS: dict[type, Any] = {
    int: _SubInt, float: _SubFloat, str: _SubStr, bytes: _SubBytes, complex: _SubComplex, list: _SubList,
    tuple: _SubTuple, dict: _SubDict, set: _SubSet, frozenset: _SubFrozenset,
}  # fmt: skip


def _decode_tagged(tag: str, body: Any, depth: int) -> Any:
    if tag == "int":
        return int(body, 16)
    if tag in ("bytes", "bytearray"):
        return bytes.fromhex(body) if tag == "bytes" else bytearray.fromhex(body)
    if tag == "Decimal":
        return Decimal(body)
    if tag == "opaque":
        return Opaque(str(body)[:80])
    if tag == "sub":
        content = decode(body, depth)
        return _SUBS[type(content)](content) if type(content) in _SUBS else Opaque("subclass")
    if type(body) is not list:
        raise ValueError("not an encoded value")
    if tag in ("tuple", "deque", "values"):
        items = _decoded(body, depth)
        return tuple(items) if tag == "tuple" else deque(items) if tag == "deque" else Contents("dict_values", items)
    if tag in ("set", "frozenset"):
        plain = _set(body, depth)
        return plain if tag == "set" else frozenset(plain)
    if tag in ("dict", "Counter", "OrderedDict", "defaultdict"):
        return _mapping(tag, body, depth)
    if tag == "keys":
        return dict.fromkeys(_set(body, depth)).keys()
    if tag == "items":
        return dict(decode(item, depth) for item in body).items()
    if tag == "complex":
        real, imag = body
        return complex(float(real), float(imag))
    if tag == "Fraction":
        if len(body[0]) + len(body[1]) > MOST_DIGITS:
            raise ValueError("a fraction of too many digits")  # reducing it could not be interrupted
        return Fraction(int(body[0], 16), int(body[1], 16))
    if tag == "iterable":
        return Contents(str(body[0])[:80], _decoded(body[1], depth))
    if tag == "numpy":
        return _decode_numpy(*body)
    if tag == "objects":
        return _decode_objects(body[0], _decoded(body[1], depth))
    raise ValueError(f"unknown tag {tag[:20]!r}")


def _set(body: list[Any], depth: int) -> set[Any]:
    """One element at a time, so that a timer can interrupt a set made of colliding hashes."""
    plain: set[Any] = set()
    for item in body:
        plain.add(decode(item, depth))
    return plain


def _mapping(tag: str, body: list[Any], depth: int) -> Any:
    types: dict[str, Any] = {"dict": dict, "Counter": Counter, "OrderedDict": OrderedDict, "defaultdict": defaultdict}
    mapping = types[tag]()
    for key, item in body:
        mapping[decode(key, depth)] = decode(item, depth)
    return mapping


def _decode_objects(shape: list[int], items: list[Any]) -> Any:
    import numpy

    array = numpy.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)


def _decode_numpy(dtype: str, shape: list[int] | None, data: str) -> Any:
    import numpy

    kind = numpy.dtype(dtype)
    if kind.kind not in _NUMPY_KINDS or kind.hasobject:
        raise ValueError("a numpy type that is not plain data")
    array = numpy.frombuffer(bytes.fromhex(data), kind) if kind.itemsize else numpy.empty(0, kind)
    return array[0] if shape is None else array.reshape(shape).copy()


def short(value: Any, most: int = 120) -> str:
    """A value in at most `most` characters, for a line that a person reads."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}: {type(error).__name__}>"
    return text if len(text) <= most else text[: most - 3] + "..."
