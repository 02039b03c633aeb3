# ruff: noqa: E501 (a table: one mutation a line)
"""Programs that walk every line of EvalPlus's runner and oracles, made from canonical solutions at test time.

Each `Mutation` names the tasks it applies to; `cases` turns them into programs. Nothing of a benchmark is written here:
bodies wrap the canonical solution, whose answer they see as `out` and whose arguments as `args`. `own_tasks` are tasks
of ours for the oracles that version 0.2.0 of MBPP+ names but no longer contains.

The statuses EvalPlus gave are in tests/golden/, made by tests/evalplus_golden.py.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeup.bench.mutations import wrapped

FILES = {"humaneval": "HumanEvalPlus-v0.1.10.jsonl.gz", "mbpp": "MbppPlus-v0.2.0.jsonl.gz"}
PREFIX = {"humaneval": "HumanEval", "mbpp": "Mbpp"}

Build = Callable[[str, str], str]
"""(canonical program, entry point) -> program"""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to change a program.

    name    unique; part of the key in the golden file
    tasks   "H53 M3": HumanEval/53 and Mbpp/3; "O1" is a task of `own_tasks`
    build   canonical program and entry point to program
    forged  cheats the judge: EvalPlus may be fooled, we must not be
    clock   the status depends on a time limit, so 0.3.1 (1 s) and HEAD (4 s) may differ
    hang    does not return to the interpreter, or swallows the limit: EvalPlus waits for it (up to 62 s), we end it
    """

    name: str
    tasks: str
    build: Build
    forged: bool = False
    clock: bool = False
    hang: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One program for one task. `sample` is its row of a samples file."""

    benchmark: str
    task_id: str
    mutation: Mutation
    sample: dict[str, str]

    @property
    def key(self) -> str:
        return f"{self.task_id}/{self.mutation.name}"


def body(name: str, tasks: str, text: str, head: str = "", **flags: bool) -> Mutation:
    """Wrap the entry point."""
    return Mutation(name, tasks, lambda program, entry: wrapped(program, entry, text, head), **flags)


def after(name: str, tasks: str, text: str, **flags: bool) -> Mutation:
    """Append text; ENTRY in it is the entry point's name."""
    return Mutation(name, tasks, lambda program, entry: f"{program}\n{text.replace('ENTRY', entry)}\n", **flags)


def before(name: str, tasks: str, text: str, **flags: bool) -> Mutation:
    """Put text in front."""
    return Mutation(name, tasks, lambda program, entry: text + program, **flags)


def whole(name: str, tasks: str, text: str, **flags: bool) -> Mutation:
    """Another program altogether; ENTRY in it is the entry point's name."""
    return Mutation(name, tasks, lambda program, entry: text.replace("ENTRY", entry), **flags)


BOOL = "H0 H52 M3 M79"
INT = "H13 H53 H18 M86 M127 O1"
FLOAT = "H2 H4 H45 H71 H47 M14 M82 M98 M80 M65 O2"
MIXED = "H47 H71 H137 H99 M17 M65 M93 M126 M133 M145 M171 M404 O3"
"""Tasks that expect ints and floats: once a float was expected, every later input has a tolerance."""
FLOATS = "H21 H20 M261 M252 M618 M615 O4"
INTS = "H9 H30 H5 H42 M8 M4 M108 O5"
MIXED_LISTS = "H34 H37 H42 H58 H130 M108 M308 M447 M750 O4"
STRINGS = "H14 H1 H29 M118 M390"
STR = "H10 H27 H28 M11 M132"
TUPLE = "H8 H107 H112 H136 M106 M257 M429"
DICT = "H111 M97 M237 M87 M277 M88"
SET = "M473 O6"
SET_EQ = "M2 M7 M111 M140 M232 M579 M769 O7"
NOT_NONE = "M737 M787 M794"
NONES = "H12 H90 H128 M160 M395"
NESTED = "H87 M12 M259 M590 M391"
ROOT = "H32"
ANY = "H53 M3"
QUICK = "H39 M793"
"""Few inputs: a whole task limit of EvalPlus is 4 s to 12 s here instead of 62 s."""

EPSILONS = ("1e-9", "5e-8", "5e-7", "2e-6", "5e-5", "2e-4")
PLAIN = [
    Mutation("exact", "H0 H2 H9 H10 H21 H32 H47 H53 H111 H112 M2 M3 M82 M88 M473 M558 M581 M737 M793 O1 O2 O8 O9",
             lambda program, entry: wrapped(program, entry, "return out")),
    body("none", f"{ANY} H12 H90 H162 M160 M395 M2 M737 M558 M581 O8 O9 {ROOT} M793", "return None"),
    body("text", f"H0 H9 H21 H47 M82 M2 M737 O8 {ROOT}", "return repr(out)"),
    body("ellipsis", "H53 M82 M2", "return ..."),
    body("not_implemented", "H53 M82", "return NotImplemented"),
    body("object", "H53 M82 M737", "return object()"),
    body("function", "H53 M737", "return lambda: out"),
    body("type", "H53 M88", "return type(out)"),
    body("module", "H53", "import math\nreturn math"),
    body("in_list", "H53 H47 H21 M82 M14 M12", "return [out]"),
    body("in_tuple", "H53 H47 M82", "return (out,)"),
    body("first_of_pair", "H53 M3", "return out, None"),
    body("self_containing", "H9 H53", "loop = []\nloop.append(loop)\nreturn loop"),
    body("deep_list", "H9 H53", "deep = []\nfor _ in range(5000):\n    deep = [deep]\nreturn deep"),
    body("long_list", "H9 H53", "return [0] * 3_000_000"),
    body("huge_int", "H53 M82", "return 10 ** 20000"),
    body("class_equal", "H53", "return Box(out)", "from dataclasses import dataclass\n@dataclass\nclass Box:\n    x: int\n"),
]  # fmt: skip

NUMBERS = [
    body("negated", f"{BOOL} H47 M82 M14 O2", "return -out"),
    body("inverted", f"{BOOL} {NOT_NONE}", "return not out"),
    body("bool_as_int", f"{BOOL} H147", "return int(out)"),
    body("bool_as_float", BOOL, "return float(out)"),
    body("bool_as_numpy", BOOL, "import numpy\nreturn numpy.bool_(out)"),
    body("bool_as_text", BOOL, "return str(out)"),
    body("plus_one", f"{INT} H47 M17 M558 M581 O1 O8 O9", "return out + 1"),
    body("as_float", f"{INT} H47 M17 M558 M581 O1 O9", "return float(out)"),
    body("as_complex", f"{INT} H2 H47 M82", "return complex(out)"),
    body("as_bool", f"{INT} {MIXED}", "return bool(out)"),
    body("zero_and_one_as_bool", f"{INT} {MIXED}", "return bool(out) if out in (0, 1) else out"),
    body("as_int64", "H13 H18 H53 H47 M17 M127", "import numpy\nreturn numpy.int64(out) if abs(out) < 2**62 else out"),
    body("as_int32_where_it_fits", "H13 H53", "import numpy\nreturn numpy.int32(out) if abs(out) < 2**31 else out"),
    body("as_float64", f"{INT} {FLOAT} H99", "import numpy\nreturn numpy.float64(out)"),
    body("as_float32", "H2 H47 M82 M80 O2", "import numpy\nreturn numpy.float32(out)"),
    body("as_zero_dim_array", "H13 H53 H47 M82", "import numpy\nreturn numpy.array(out)"),
    body("as_array_of_one", "H13 H47 M82", "import numpy\nreturn numpy.array([out])"),
    body("as_decimal", f"{INT} H2 H47 M82 O2", "from decimal import Decimal\nreturn Decimal(out)"),
    body("as_decimal_of_text", "H2 H47 M82 O2", "from decimal import Decimal\nreturn Decimal(str(out))"),
    body("as_fraction", f"{INT} H2 H47 M82 O2", "from fractions import Fraction\nreturn Fraction(out)"),
    body("as_int_subclass", INT, "return Mine(out)", "class Mine(int):\n    pass\n"),
    body("as_float_subclass", FLOAT, "return Mine(out)", "class Mine(float):\n    pass\n"),
    body("as_float_subclass_off", FLOAT, "return Mine(out + 5e-7)", "class Mine(float):\n    pass\n"),
    body("as_int_enum", "H18 M86", "from enum import IntEnum\nreturn IntEnum('Some', {'a': out}).a"),
    body("as_int_flag", "H18", "from enum import IntFlag\nreturn IntFlag('Some', {'a': 1})(out)"),
    body("truncated", f"{FLOAT} H99", "return int(out)"),
    body("rounded", FLOAT, "return round(out)"),
    body("rounded_6", FLOAT, "return round(out, 6)"),
    body("rounded_2", FLOAT, "return round(out, 2)"),
    body("whole_floats_as_int", f"{FLOAT} {MIXED}", "return int(out) if out == out // 1 else out"),
    body("nan", f"{FLOAT} H53 {ROOT} M404", "return float('nan')"),
    body("inf", f"{FLOAT} H53 {ROOT} M404", "return float('inf')"),
    body("minus_inf", "H2 H47 M404", "return float('-inf')"),
    body("minus_zero", f"{FLOAT} H53", "return -0.0 if out == 0 else out"),
    *(body(f"plus_{e}", f"{FLOAT} H99 H53 M65 M404", f"return out + {e}") for e in EPSILONS),
    *(body(f"times_{e}", FLOAT, f"return out * (1 + {e})") for e in EPSILONS),
    *(body(f"floats_plus_{e}", MIXED, f"return out + {e} if isinstance(out, float) else out") for e in EPSILONS),
    *(body(f"float64_plus_{e}", "H45 H47 M82", f"import numpy\nreturn numpy.float64(out + {e})") for e in EPSILONS[2:4]),
    body("mixed_all_float", MIXED, "return float(out) if isinstance(out, (int, float)) else out"),
    body("mixed_ints_nearly", MIXED, "return out + 1e-9 if type(out) is int else out"),
    body("large_ints_off_by_one", f"{MIXED} {INT}", "return out + 1 if type(out) is int and abs(out) > 10 ** 8 else out"),
    body("large_ints_off_by_ten", "H47 M65 M404 O3", "return out + 10 if type(out) is int and abs(out) > 10 ** 6 else out"),
    body("small_ints_off_by_one", MIXED, "return out + 1 if type(out) is int and 0 <= out < 4 else out"),
]  # fmt: skip

EACH = "return type(out)(({}) for x in out)"
LISTS = [
    *(body(f"each_plus_{e}", f"{FLOATS} {MIXED_LISTS}",
           f"return type(out)(x + {e} if isinstance(x, (int, float)) else x for x in out)") for e in EPSILONS),
    *(body(f"each_times_{e}", FLOATS, f"return type(out)(x * (1 + {e}) for x in out)") for e in EPSILONS[1:]),
    body("last_plus_2e-6", FLOATS, "return type(out)([*out[:-1], out[-1] + 2e-6]) if out else out"),
    body("one_nan", FLOATS, "return type(out)([*out[:-1], float('nan')])"),
    body("each_float64", f"{FLOATS} {INTS}", "import numpy\n" + EACH.format("numpy.float64(x)")),
    body("each_float", f"{INTS} {MIXED_LISTS}", "return [float(x) if type(x) is int else x for x in out]"),
    body("each_int64", "H9 H30 M8", "import numpy\n" + EACH.format("numpy.int64(x) if abs(x) < 2**62 else x")),
    body("each_bool_where_equal", f"{INTS} H34 M161", "return [bool(x) if x in (0, 1) else x for x in out]"),
    body("each_fraction", "H9 H21 M8", "from fractions import Fraction\n" + EACH.format("Fraction(x)")),
    body("each_decimal", "H9 H21", "from decimal import Decimal\n" + EACH.format("Decimal(x)")),
    body("each_text", INTS, EACH.format("str(x)")),
    body("as_tuple", f"{INTS} {FLOATS} {STRINGS} M12 M391", "return tuple(out)"),
    body("as_list", f"{TUPLE} {FLOATS} {STR} {SET} {DICT} M2 M579 H148", "return list(out)"),
    body("as_set", f"{INTS} {STRINGS} {TUPLE}", "return set(out)"),
    body("as_array", f"{INTS} {FLOATS} H8 M12", "import numpy\nreturn numpy.array(out)"),
    body("as_array_off", "H21 M261 O4", "import numpy\nreturn numpy.array(out) + 5e-7"),
    body("as_generator", f"{INTS} {STRINGS} {FLOATS} H8", "return (x for x in out)"),
    body("as_yield", "H9 M8 M2", "yield from out"),
    body("as_map", "H9 M8", "return map(lambda x: x, out)"),
    body("as_filter", "H9 M8", "return filter(lambda x: True, out)"),
    body("as_iterator", "H9 M2", "return iter(out)"),
    body("as_reversed", "H9 M8", "return reversed(out[::-1])"),
    body("as_zip", "M12 M255", "return zip(out)"),
    body("as_range", "H163 H96 M8", "return range(len(out))"),
    body("as_keys", "H9 M8 M2 M140", "return dict.fromkeys(out).keys()"),
    body("as_deque", "H9 M8", "from collections import deque\nreturn deque(out)"),
    body("as_user_list", "H9 M8 H14", "from collections import UserList\nreturn UserList(out)"),
    body("as_list_subclass", f"{INTS} {FLOATS}", "return Mine(out)", "class Mine(list):\n    pass\n"),
    body("as_list_subclass_off", f"{FLOATS} {MIXED_LISTS}",
         "return Mine(x + 5e-7 if isinstance(x, float) else x for x in out)", "class Mine(list):\n    pass\n"),
    body("as_bytearray", "H9 M8 H10", "return bytearray(str(out), 'utf-8')"),
    body("turned_round", f"{INTS} {FLOATS} {STRINGS} {SET_EQ} H8 H87", "return type(out)(list(out)[::-1])"),
    body("in_order", f"{INTS} H34 H58", "return sorted(out)"),
    body("one_short", f"{INTS} {FLOATS} {STRINGS} {SET_EQ} {STR} {TUPLE} H87",
         "return out[:-1] if not isinstance(out, set) else set(sorted(out, key=repr)[:-1])"),
    body("one_more", f"{INTS} {FLOATS} H8 M106", "return out + out[:1]"),
    body("one_more_element", SET_EQ, "return [*out, 'extra']"),
    body("emptied", f"{INTS} {FLOATS} {SET_EQ} {STR} {DICT} {SET}", "return type(out)()"),
    body("nested", f"{FLOATS} M2 M140", "return [list(out)]"),
    body("nested_floats_plus_5e-7", "H87 M12 M259 M445 O10",
         "return type(out)(type(row)(x + 5e-7 if isinstance(x, (int, float)) else x for x in row) for row in out)"),
    body("nested_floats_plus_1e-9", "M445 M12 O10",
         "return type(out)(type(row)(x + 1e-9 if isinstance(x, (int, float)) else x for x in row) for row in out)"),
    body("inner_lists", "H87 M64 M255 M259 M473", "return type(out)(list(x) for x in out) if type(out) is not set else [list(x) for x in out]"),
    body("inner_tuples", "M12 M104 M262 M778", "return type(out)(tuple(x) for x in out)"),
    body("set_order_of_text", "H14 H29", "return list(set(out))"),
    body("sum_of_answers", "H9", "return sum(out)"),
]  # fmt: skip

CONTAINERS = [
    body("text_subclass", STR, "return Mine(out)", "class Mine(str):\n    pass\n"),
    body("user_string", "H10 M11", "from collections import UserString\nreturn UserString(out)"),
    body("numpy_text", "H10 M11", "import numpy\nreturn numpy.str_(out)"),
    body("text_enum", "H10", "from enum import Enum\nreturn Enum('Some', {'a': out}, type=str).a"),
    body("as_bytes", STR, "return out.encode()"),
    body("trailing_space", STR, "return out + ' '"),
    body("trailing_newline", STR, "return out + chr(10)"),
    body("uppercase", STR, "return out.upper()"),
    body("surrogate", "H10", "return out + chr(0xd800)"),
    body("none_as_text", NONES, "return 'None' if out is None else out"),
    body("none_as_false", f"{NONES} H136 {NOT_NONE}", "return False if out is None else out"),
    body("none_as_empty", f"{NONES} H136", "return '' if out is None else out"),
    body("namedtuple", TUPLE, "from collections import namedtuple\nreturn namedtuple('Pair', [f'x{i}' for i in range(len(out))])(*out)"),
    body("typed_namedtuple", "H8 H107 H112", "return Pair(*out)",
         "from typing import NamedTuple\nclass Pair(NamedTuple):\n    a: int\n    b: int\n"),
    body("tuple_subclass", f"{TUPLE} M261", "return Mine(out)", "class Mine(tuple):\n    pass\n"),
    body("tuple_subclass_off", "M261 M252", "return Mine(x + 5e-7 for x in out)", "class Mine(tuple):\n    pass\n"),
    body("plain_dict", DICT, "return dict(out)"),
    body("counter", f"{DICT}", "from collections import Counter\nreturn Counter(out)"),
    body("ordered_dict", DICT, "from collections import OrderedDict\nreturn OrderedDict(out)"),
    body("default_dict", DICT, "from collections import defaultdict\nreturn defaultdict(int, out)"),
    body("dict_subclass", "H111 M97", "return Mine(out)", "class Mine(dict):\n    pass\n"),
    body("user_dict", "H111 M97", "from collections import UserDict\nreturn UserDict(out)"),
    body("chain_map", "H111", "from collections import ChainMap\nreturn ChainMap(out)"),
    body("mapping_proxy", "H111 M97", "from types import MappingProxyType\nreturn MappingProxyType(out)"),
    body("dict_turned_round", DICT, "return dict(list(out.items())[::-1])"),
    body("dict_items", "H111 M97", "return out.items()"),
    body("dict_float_values", "H111 M97 M88", "return {key: float(value) for key, value in out.items()}"),
    body("dict_off_values", "H111 M97 M88", "return {key: value + 1 for key, value in out.items()}"),
    body("dict_text_keys", "M97 M88 M740", "return {str(key): value for key, value in out.items()}"),
    body("dict_extra_key", "H111 M97 M88", "return {**out, 'extra': 0}"),
    body("counter_zero_counts", "M88", "from collections import Counter\nreturn Counter({**out, 'extra': 0})"),
    body("ordered_rows", "M391 M585", "from collections import OrderedDict\nreturn [OrderedDict(row) for row in out]"),
    body("frozen", f"{SET} M140 M2", "return frozenset(out)"),
    body("set_subclass", SET, "return Mine(out)", "class Mine(set):\n    pass\n"),
    body("set_keys", SET, "return dict.fromkeys(out).keys()"),
    body("set_in_order", SET, "return sorted(out)"),
    body("counter_for_set", "M140 O6", "from collections import Counter\nreturn Counter(out)"),
]  # fmt: skip

ORACLES = [
    body("doubled", SET_EQ, "return list(out) * 2"),
    body("as_list_of_set", SET_EQ, "return list(set(out))"),
    body("as_text", "M2 M7", "return ''.join(map(str, out))"),
    body("unhashable_elements", "M2 M769", "return [[x] for x in out]"),
    body("number", "M2 M769", "return len(out)"),
    body("equal_floats", "M2 M111 M232", "return [float(x) if type(x) is int else x for x in out]"),
    body("numpy_set", "M232 M769", "import numpy\nreturn numpy.array(list(out))"),
    body("dict_for_set", "M2 M140", "return {x: 1 for x in out}"),
    body("match_as_bool", NOT_NONE, "return out is not None"),
    body("match_as_bool_inverted", NOT_NONE, "return out is None"),
    body("match_as_text", NOT_NONE, "return 'found' if out else 'not found'"),
    body("match_as_text_or_none", NOT_NONE, "return 'found' if out else None"),
    body("match_as_zero_or_none", NOT_NONE, "return 0 if out else None"),
    body("match_as_int", NOT_NONE, "return 1 if out else 0"),
    body("match_as_list", NOT_NONE, "return [1] if out else []"),
    body("match_as_numpy_bool", NOT_NONE, "import numpy\nreturn numpy.bool_(out is not None)"),
    body("match_as_span", NOT_NONE, "return out.span() if out else None"),
    body("always_true", f"{NOT_NONE} {BOOL}", "return True"),
    body("always_false", NOT_NONE, "return False"),
    body("surface_by_height", "M581",
         "import math\nb, h = args\nreturn round(b * b + 2 * b * math.sqrt((b / 2) ** 2 + h * h))"),
    body("surface_by_height_float", "M581",
         "import math\nb, h = args\nreturn float(round(b * b + 2 * b * math.sqrt((b / 2) ** 2 + h * h)))"),
    body("surface_by_height_unrounded", "M581",
         "import math\nb, h = args\nreturn b * b + 2 * b * math.sqrt((b / 2) ** 2 + h * h)"),
    body("surface_text", "M581", "return 'wide'"),
    body("padded_digits", "M558",
         "a, b = map(str, args)\nn = max(len(a), len(b))\n"
         "return sum(abs(int(x) - int(y)) for x, y in zip(a.zfill(n), b.zfill(n)))"),
    body("padded_digits_float", "M558",
         "a, b = map(str, args)\nn = max(len(a), len(b))\n"
         "return float(sum(abs(int(x) - int(y)) for x, y in zip(a.zfill(n), b.zfill(n))))"),
    body("unpadded_digits", "M558", "return sum(abs(int(x) - int(y)) for x, y in zip(str(args[0]), str(args[1])))"),
    body("zero", "M558 M581 O8 O9 H53", "return 0"),
    body("zero_float", "O9", "return 0.0"),
    body("zero_false", "O9", "return False"),
    body("anything", "O8", "return 'anything'"),
    body("raises_type_error", "O8 O9 M558", "return out < 'text'"),
]  # fmt: skip

ROOTS = [
    *(body(f"root_plus_{e}", ROOT, f"return out + {e}") for e in ("1e-12", "1e-9", "1e-6", "1e-4", "1e-2", "10")),
    body("root_float64", ROOT, "import numpy\nreturn numpy.float64(out)"),
    body("root_float32", ROOT, "import numpy\nreturn numpy.float32(out)"),
    body("root_array", ROOT, "import numpy\nreturn numpy.array([out])"),
    body("root_zero_dim", ROOT, "import numpy\nreturn numpy.array(out)"),
    body("root_fraction", ROOT, "from fractions import Fraction\nreturn Fraction(out)"),
    body("root_decimal", ROOT, "from decimal import Decimal\nreturn Decimal(out)"),
    body("root_int", ROOT, "return int(out)"),
    body("root_true", ROOT, "return True"),
    body("root_complex", ROOT, "return complex(out)"),
    body("root_list", ROOT, "return [out]"),
    body("root_subclass", ROOT, "return Mine(out)", "class Mine(float):\n    pass\n"),
    body("clears_coefficients", ROOT, "args[0].clear()\nreturn out"),
    body("clears_coefficients_nan", ROOT, "args[0].clear()\nreturn float('nan')"),
    body("clears_coefficients_none", ROOT, "args[0].clear()\nreturn None"),
    body("zeroes_coefficients", ROOT, "args[0][:] = [0] * len(args[0])\nreturn 12345.0"),
    body("zeroes_coefficients_inf", ROOT, "args[0][:] = [0] * len(args[0])\nreturn float('inf')"),
    body("appends_coefficient", ROOT, "args[0].append(1)\nreturn out"),
    body("drops_coefficient", ROOT, "args[0].pop()\nreturn out"),
    body("text_coefficients", ROOT, "args[0][0] = 'x'\nreturn out"),
    body("sorts_coefficients", ROOT, "args[0].sort()\nreturn out"),
]  # fmt: skip

ARGUMENTS = [
    body("clears_arguments", "H9 H21 M4 M71", "args[0].clear()\nreturn out"),
    body("appends_to_argument", "H9 M8", "args[0].append(0)\nreturn out"),
    body("returns_argument", "H9 H33 M71 M2", "return args[0]"),
    body("returns_arguments", "H8 H53", "return args"),
]  # fmt: skip

RAISES = {
    "value_error": "raise ValueError('no')", "system_exit_0": "raise SystemExit(0)", "sys_exit": "import sys\nsys.exit(0)",
    "keyboard_interrupt": "raise KeyboardInterrupt", "exit": "exit()", "quit": "quit(0)", "generator_exit": "raise GeneratorExit",
    "stop_iteration": "raise StopIteration", "base_exception": "raise BaseException", "assertion": "assert False",
    "timeout_error": "raise TimeoutError", "memory_error": "raise MemoryError", "name_error": "return undefined_name",
    "own_exception": "class Odd(BaseException):\n    def __str__(self):\n        raise self\nraise Odd",
    "endless_recursion": "def again():\n    return again()\nreturn again()",
    "os_exit_0": "import os\nos._exit(0)", "os_exit_1": "import os\nos._exit(1)", "abort": "import os\nos.abort()",
    "kill_itself": "import os\nos.kill(os.getpid(), 9)", "raise_sigkill": "import signal\nsignal.raise_signal(signal.SIGKILL)",
    "raise_sigterm": "import signal\nsignal.raise_signal(signal.SIGTERM)",
    "segfault": "import ctypes\nctypes.string_at(0)", "help": "help()",
}  # fmt: skip
AT_IMPORT = ("value_error", "system_exit_0", "sys_exit", "keyboard_interrupt", "exit", "assertion", "os_exit_0", "abort",
             "base_exception", "raise_sigkill", "segfault")  # fmt: skip

ENDINGS = [
    *(body(f"raises_{name}", ANY, text) for name, text in RAISES.items()),
    *(after(f"import_{name}", f"{ANY} M793", text) for name, text in RAISES.items() if name in AT_IMPORT),
    body("raises_on_third_call", "H53 M3", "global calls\ncalls += 1\nif calls == 3: raise ValueError\nreturn out", "calls = 0\n"),
    body("exits_on_third_call", "H53 M3", "import sys\nglobal calls\ncalls += 1\nif calls == 3: sys.exit()\nreturn out", "calls = 0\n"),
    body("os_exit_after_three_calls", "H53 M3",
         "import os\nglobal calls\ncalls += 1\nif calls == 4: os._exit(0)\nreturn out", "calls = 0\n"),
    body("right_for_three_calls", "H53 M3", "global calls\ncalls += 1\nreturn out if calls <= 3 else None", "calls = 0\n"),
    body("right_for_110_calls", "H53 M3", "global calls\ncalls += 1\nreturn out if calls <= 110 else None", "calls = 0\n"),
    body("wrong_first_call", "H53 M3", "global calls\ncalls += 1\nreturn out if calls > 1 else None", "calls = 0\n"),
    body("right_by_default_argument", "H53 M3", "return remember(out)",
         "def remember(x, seen=[]):\n    seen.append(x)\n    return seen[-1] if len(seen) <= 3 else None\n"),
]  # fmt: skip

TEXTS = [
    after("syntax_error", ANY, "def (:"),
    after("unclosed", ANY, "x = ("),
    after("unclosed_text", ANY, "x = '"),
    before("indented", ANY, "    "),
    after("nul", ANY, "x = '\x00'"),
    after("surrogate_in_text", ANY, "x = '\ud800'"),
    after("non_ascii_names", ANY, "größe = 'žluť 蟒'"),
    before("byte_order_mark", ANY, "\ufeff"),
    before("coding_line", ANY, "# -*- coding: latin-1 -*-\nx = 'ž'\n"),
    Mutation("windows_lines", ANY, lambda program, entry: program.replace("\n", "\r\n")),
    before("form_feed", ANY, "\f\n"),
    before("future_import", ANY, "from __future__ import annotations\n"),
    after("late_future_import", ANY, "from __future__ import annotations"),
    after("tabs_and_spaces", ANY, "if True:\n\tx = 1\n        y = 2"),
    after("fence_left_in", ANY, "```"),
    after("prose_left_in", ANY, "This function works as described."),
    after("python_2_print", ANY, "print 'hello'"),
    after("return_outside", ANY, "return 1"),
    after("deep_parentheses", ANY, "x = " + "(" * 300 + "1" + ")" * 300),
    after("deep_expression", ANY, "x = " + "-" * 20000 + "1"),
    after("long_literal", ANY, "x = '" + "a" * 300_000 + "'"),
    after("huge_int_literal", ANY, "x = " + "9" * 5000),
    whole("empty", ANY, ""),
    whole("blank", ANY, "  \n\n"),
    whole("comment_only", ANY, "# nothing\n"),
    whole("stub", f"{ANY} {NOT_NONE} M793", "def ENTRY(*args):\n    pass\n"),
    whole("no_arguments", f"{ANY} M793", "def ENTRY():\n    return None\n"),
    whole("other_name", f"{ANY} M793", "def another(*args):\n    return True\n"),
    after("deleted", f"{ANY} M793", "del ENTRY"),
    after("number_for_function", f"{ANY} M793", "ENTRY = 5"),
    after("none_for_function", f"{ANY} M793", "ENTRY = None"),
    after("instance_for_function", ANY,
          "_original = ENTRY\nclass Caller:\n    def __call__(self, *args):\n        return _original(*args)\nENTRY = Caller()"),
    after("class_for_function", ANY, "_original = ENTRY\nclass ENTRY:\n    def __new__(cls, *args):\n        return _original(*args)"),
    after("lambda_for_function", ANY, "_original = ENTRY\nENTRY = lambda *args: _original(*args)"),
    after("partial_for_function", ANY, "import functools\nENTRY = functools.partial(ENTRY)"),
    after("cached", ANY, "import functools\n_cached = functools.lru_cache(None)(ENTRY)\n"
                         "def ENTRY(*args):\n    return _cached(*args)"),
    after("async", ANY, "_original = ENTRY\nasync def ENTRY(*args):\n    return _original(*args)"),
    after("async_run", "H53", "import asyncio\n_original = ENTRY\nasync def _wait(args):\n    return _original(*args)\n"
                          "def ENTRY(*args):\n    return asyncio.run(_wait(args))"),
    after("method", ANY, "class Solution:\n    def ENTRY(self, *args):\n        return 1\ndel ENTRY"),
    after("defined_again_wrong", ANY, "def ENTRY(*args):\n    return 'later'"),
    after("shadowed_builtin", ANY, "len = sum = None\nprint = 3"),
]  # fmt: skip

SURROUNDINGS = [
    after("main_block", ANY, "if __name__ == '__main__':\n    raise SystemExit(1)"),
    after("name_is_builtins", ANY, "assert __name__ == 'builtins'"),
    after("uses_file", ANY, "here = __file__"),
    after("uses_spec", ANY, "x = __spec__, __loader__, __package__, __doc__"),
    after("only_own_globals", ANY, "assert '__builtins__' in globals() and '__name__' not in globals()"),
    after("builtins_is_dict", ANY, "assert isinstance(__builtins__, dict)"),
    after("class_module", ANY, "class A:\n    pass\nassert A.__module__ == 'builtins'"),
    after("dataclass", ANY, "from dataclasses import dataclass, field\n@dataclass\nclass A:\n    x: int = 0\n"
                            "    y: list = field(default_factory=list)\nassert A(1) == A(1)"),
    before("dataclass_future", ANY, "from __future__ import annotations\nfrom dataclasses import dataclass\n"
                                    "from typing import ClassVar\n@dataclass\nclass A:\n    x: int\n    z: ClassVar[int] = 1\n"),
    after("typed_tuple", ANY, "from typing import NamedTuple\nclass A(NamedTuple):\n    x: int\nassert A(1).x == 1"),
    after("enumeration", ANY, "from enum import Enum\nclass A(Enum):\n    x = 1"),
    after("abstract_class", ANY, "from abc import ABC, abstractmethod\nclass A(ABC):\n    @abstractmethod\n    def f(self): ..."),
    after("type_hints", ANY, "import typing\nclass A:\n    x: 'list[int]'\ntyping.get_type_hints(A)"),
    after("pickles_own_class", ANY, "import pickle\nclass A:\n    pass\npickle.dumps(A())"),
    after("deep_copies", ANY, "import copy\nclass A:\n    pass\ncopy.deepcopy([A()])"),
    after("imports_numpy", ANY, "import numpy as np\nassert np.array([1]).sum() == 1"),
    after("imports_heavily", ANY, "import re, json, math, heapq, bisect, itertools, string, datetime, random, typing, hashlib, "
                                  "decimal, fractions, statistics, operator, collections, functools, sys, os, copy, time"),
    after("imports_resource", ANY, "import resource"),
    after("imports_psutil", ANY, "import psutil"),
    after("imports_tkinter", ANY, "import tkinter"),
    after("imports_joblib", ANY, "import joblib"),
    after("tries_psutil", ANY, "try:\n    import psutil\nexcept ImportError:\n    psutil = None"),
    after("imports_missing", ANY, "import a_package_nobody_has"),
    body("opens_file", ANY, "open('x', 'w').close()\nreturn out"),
    body("io_opens_file", ANY, "import io\nwith io.open('x', 'w') as f:\n    f.write('x')\nreturn out"),
    body("path_writes", ANY, "import pathlib\npathlib.Path('x').write_text('x')\nreturn out"),
    body("lists_folder", ANY, "import os\nassert os.listdir('.') == []\nreturn out"),
    body("makes_folder", ANY, "import os\nos.makedirs('d', exist_ok=True)\nreturn out"),
    body("getcwd", ANY, "import os\nos.getcwd()\nreturn out"),
    body("removes_file", ANY, "import os\nos.remove('x')\nreturn out"),
    body("environment", ANY, "import os\nos.environ['A'] = '1'\nassert os.environ.get('OMP_NUM_THREADS') == '1'\nreturn out"),
    body("asks_for_input", ANY, "input()\nreturn out"),
    body("reads_stdin", ANY, "import sys\nsys.stdin.read()\nreturn out"),
    body("reads_stdin_lines", ANY, "import sys\nfor line in sys.stdin:\n    pass\nreturn out"),
    after("import_asks_for_input", ANY, "n = int(input())"),
    body("prints", ANY, "print(out, 'x' * 1000)\nreturn out"),
    body("prints_flood", "H53 M3", "print('x' * 300_000)\nreturn out"),
    body("stderr_flood", "M3", "import sys\nprint('x' * 300_000, file=sys.stderr)\nreturn out"),
    after("import_prints", ANY, "print('hello ' * 1000)"),
    body("prints_surrogate", ANY, "print(chr(0xd800))\nreturn out"),
    body("flushes", ANY, "import sys\nsys.stdout.write('x')\nsys.stdout.flush()\nsys.stdout.isatty()\nreturn out"),
    body("stdout_fileno", ANY, "import sys\nsys.stdout.fileno()\nreturn out"),
    body("stdout_buffer", ANY, "import sys\nsys.stdout.buffer.write(b'x')\nreturn out"),
    body("writes_descriptor_1", ANY, "import os\nos.write(1, b'')\nreturn out"),
    body("replaces_stdout", ANY, "import sys\nsys.stdout = None\nreturn out"),
    body("subprocess", ANY, "import subprocess\nsubprocess.run(['true'])\nreturn out"),
    body("os_system", ANY, "import os\nos.system('true')\nreturn out"),
    body("os_popen", ANY, "import os\nos.popen('true')\nreturn out"),
    body("os_fork", ANY, "import os\nif os.fork() == 0: os._exit(0)\nreturn out"),
    body("thread", "H53 M3", "import threading\nt = threading.Thread(target=lambda: None)\nt.start()\nt.join()\nreturn out"),
    body("seeded_random", ANY, "import random\nrandom.seed(1)\nassert random.random() < 0.2\nreturn out"),
    body("warns", ANY, "import warnings\nwarnings.warn('x')\nreturn out"),
    body("garbage", "M3", "import gc\ngc.collect()\nreturn out"),
    *(body(f"recursion_{depth}", ANY, f"assert sink({depth}) == 0\nreturn out",
           "def sink(n):\n    return 0 if n == 0 else sink(n - 1)\n")
      for depth in (500, 900, 930, 940, 945, 950, 955, 960, 965, 970, 975, 980, 985, 990, 1000, 2000)),
    body("raised_limit_recursion", ANY, "import sys\nsys.setrecursionlimit(10 ** 6)\nassert sink(20_000) == 0\nreturn out",
         "def sink(n):\n    return 0 if n == 0 else sink(n - 1)\n"),
    body("catches_recursion", ANY, "try:\n    again()\nexcept RecursionError:\n    return out", "def again():\n    return again()\n"),
    body("allocates_3_gib", ANY, "assert len(bytes(3 << 30))\nreturn out"),
    body("allocates_8_gib", ANY, "assert len(bytes(8 << 30))\nreturn out"),
    body("catches_memory_error", ANY, "try:\n    bytes(8 << 30)\nexcept MemoryError:\n    return out"),
    body("sleeps_1_ms", "M3", "import time\ntime.sleep(0.001)\nreturn out"),
]  # fmt: skip

FIRST = "global calls\ncalls += 1\n"
BURN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end:\n    pass\n"
CLOCKS = [
    body("first_call_burns_0.3_s", ANY, FIRST + "if calls == 1:\n    burn()\nreturn out",
         "calls = 0\ndef burn():\n" + "".join(f"    {line}\n" for line in BURN.format(0.3).splitlines()), clock=True),
    body("first_call_burns_2_s", ANY, FIRST + "if calls == 1:\n    burn()\nreturn out",
         "calls = 0\ndef burn():\n" + "".join(f"    {line}\n" for line in BURN.format(2).splitlines()), clock=True),
    body("first_call_sleeps_0.3_s", ANY, "import time\n" + FIRST + "if calls == 1:\n    time.sleep(0.3)\nreturn out", "calls = 0\n", clock=True),
    body("first_call_sleeps_2_s", ANY, "import time\n" + FIRST + "if calls == 1:\n    time.sleep(2)\nreturn out", "calls = 0\n", clock=True),
    body("endless_loop", f"{ANY} H39 M793 O2", "while True:\n    pass", clock=True),
    body("endless_sleep", ANY, "import time\ntime.sleep(10 ** 6)", clock=True),
    body("endless_growth", ANY, "hoard = []\nwhile True:\n    hoard.append(bytearray(64 << 20))", clock=True),
    body("endless_list_growth", "M3", "hoard = [0]\nwhile True:\n    hoard += hoard", clock=True, hang=True),
    body("endless_printing", "M3", "while True:\n    print('x' * 1000)", clock=True),
    body("catches_time_limit_once", "H39 M793", "try:\n    while True:\n        pass\nexcept Exception:\n    return out",
         clock=True, hang=True),
    after("import_burns_2_s", "H53", BURN.format(2), clock=True),
    after("import_sleeps_2_s", "H53", "import time\ntime.sleep(2)", clock=True),
    after("import_hangs", QUICK, "while True:\n    pass", clock=True, hang=True),
    after("import_sleeps", "M793", "import time\ntime.sleep(10 ** 6)", clock=True, hang=True),
    body("swallows_time_limit", QUICK, "while True:\n    try:\n        while True:\n            pass\n    except:\n        pass",
         clock=True, hang=True),
    body("c_loop_sum", QUICK, "return sum(range(10 ** 13))", clock=True, hang=True),
    body("c_loop_product", "M793", "from itertools import product\nreturn len(list(filter(None, product(range(10 ** 3), repeat=9))))",
         clock=True, hang=True),
    body("c_loop_pow", "H39", "return 3 ** (10 ** 9) % 7", clock=True, hang=True),
    body("c_loop_regex", "M793", "import re\nreturn re.match('(a+)+$', 'a' * 60 + 'b')", clock=True, hang=True),
    body("lock_forever", "M793", "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()", clock=True, hang=True),
]  # fmt: skip

ALWAYS = "class Always:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n    __hash__ = None\n"
FORGED = [
    body("always_equal", "H53 M3 H9 M14", "return Always()", ALWAYS, forged=True),
    body("always_equal_subclass", "H53", "return Same(0)",
         "class Same(int):\n    def __eq__(self, other): return True\n    __hash__ = None\n", forged=True),
    body("always_equal_in_list", "H9", "return [Always() for _ in out]", ALWAYS, forged=True),
    body("frame_expected", ANY, "import sys\nframe = sys._getframe(1)\nreturn frame.f_locals['expected'][frame.f_locals['i']]", forged=True),
    after("patched_allclose", "H45 M14", "import numpy\nnumpy.allclose = lambda *a, **k: True\ndef ENTRY(*args):\n    return 0.0", forged=True),
    after("patched_set", "M2", "import builtins\nbuiltins.set = lambda *a: 0\ndef ENTRY(*args):\n    return None", forged=True),
    after("forged_success", ANY,
          "import sys, posix\nframe = sys._getframe()\nwhile frame and 'details' not in frame.f_locals:\n    frame = frame.f_back\n"
          "if frame:\n    n = len(frame.f_locals['inputs'])\n    for i in range(n):\n        frame.f_locals['details'][i] = True\n"
          "    frame.f_locals['progress'].value = n\n    frame.f_locals['stat'].value = 0\n    posix._exit(0)\n"
          "def ENTRY(*args):\n    return None", forged=True),
]  # fmt: skip

MUTATIONS = [
    *PLAIN, *NUMBERS, *LISTS, *CONTAINERS, *ORACLES, *ROOTS, *ARGUMENTS, *ENDINGS, *TEXTS, *SURROUNDINGS, *CLOCKS, *FORGED,
]  # fmt: skip
CANONICAL = Mutation("canonical", "", lambda program, entry: program)
COMPLETION = Mutation("completion", "H0 H53 M3", lambda program, entry: "")
BOTH_FIELDS = Mutation("solution_and_completion", "H53", lambda program, entry: program)

OWN = {
    "O1": ("count_up", "def count_up(n):\n    return n % 7\n", [[3], [7], [8]], [[14], [15], [10**30]], 0),
    "O2": ("halve", "def halve(n):\n    return n / 2\n", [[3], [0], [-1]], [[1e8], [1e-8], [10**15], [2]], 0),
    "O3": ("late_float", "def late_float(n):\n    return n / 4 if n == 5 else n * 10 ** 9\n",
           [[1], [5], [2], [0]], [[2], [3], [5], [1], [0], [7]], 0),
    "O4": ("quarters", "def quarters(xs):\n    return [x / 4 for x in xs]\n", [[[1, 2]], [[3]], [[]]], [[[1e9, 1]], [[]], [[0, 0.5]]], 0),
    "O5": ("squares", "def squares(xs):\n    return [x * x for x in xs]\n", [[[1, 2]], [[]], [[10**20]]], [[[0, 1]], [[3, 3]]], 0),
    "O6": ("distinct", "def distinct(xs):\n    return set(xs)\n", [[[1, 2, 2]], [[]], [["a", 1]]], [[[0, 1]], [[3, 3]]], 0),
    "O7": ("intersection_array", "def intersection_array(a, b):\n    return [x for x in b if x in a]\n",
           [[[1, 2, 3], [3, 1]], [[1], [2]]], [[[1, 1, 2], [1, 1]], [[], []]], 0),
    "O8": ("are_equivalent", "def are_equivalent(a, b):\n    return a % 3 == b % 3\n", [[3, 6], [1, 2]], [[9, 12], [4, 5]], 0),
    "O9": ("sum_div", "def sum_div(n):\n    return sum(d for d in range(1, n) if n % d == 0)\n", [[8], [12]], [[7], [28]], 0),
    "O10": ("grid", "def grid(n):\n    return [[i / 2 for i in range(n)] for _ in range(2)]\n", [[1], [2]], [[3], [0]], 0.0001),
}  # fmt: skip
"""Tasks of ours, in the shape of MBPP+: entry point, program, base inputs, plus inputs, tolerance."""


def own_tasks() -> list[dict[str, Any]]:
    """Rows of a data file in the shape of MBPP+, with tasks of ours only."""
    return [
        {
            "task_id": f"Mbpp/{9000 + number}", "prompt": f'"""\nTask {number} of the parity tests.\n"""\n', "entry_point": entry,
            "canonical_solution": program, "base_input": base, "plus_input": plus, "atol": atol,
            "contract": "", "assertion": f"assert callable({entry})",
        }
        for number, (entry, program, base, plus, atol) in enumerate(OWN.values(), 1)
    ]  # fmt: skip


def read_tasks(data: Path, benchmark: str) -> list[dict[str, Any]]:
    """Rows of a benchmark's public file in `data`; "own" gives our tasks."""
    if benchmark == "own":
        return own_tasks()
    with gzip.open(data / FILES[benchmark], "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def cases(benchmark: str, tasks: list[dict[str, Any]], *, canonical: bool = True) -> Iterator[Case]:
    """Every program for a benchmark ("humaneval", "mbpp" or "own"), in the order of its tasks."""
    wanted: dict[str, list[Mutation]] = {}
    for mutation in [*MUTATIONS, COMPLETION, BOTH_FIELDS]:
        for name in dict.fromkeys(mutation.tasks.split()):
            wanted.setdefault(name, []).append(mutation)
    for task in tasks:
        number = int(task["task_id"].split("/")[1])
        short = {"humaneval": f"H{number}", "mbpp": f"M{number}", "own": f"O{number - 9000}"}[benchmark]
        program, entry = task["prompt"] + task["canonical_solution"], task["entry_point"]
        for mutation in [*([CANONICAL] if canonical else []), *wanted.get(short, [])]:
            yield Case(benchmark, task["task_id"], mutation, _sample(task, mutation, program, entry))


def _sample(task: dict[str, Any], mutation: Mutation, program: str, entry: str) -> dict[str, str]:
    row = {"task_id": task["task_id"]}
    if mutation is COMPLETION:
        return {**row, "completion": task["canonical_solution"]}
    if mutation is BOTH_FIELDS:
        return {**row, "completion": "    return 'not this one'\n", "solution": program}
    return {**row, "solution": mutation.build(program, entry)}
