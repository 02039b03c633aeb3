"""A row's function under the name that a benchmark item's tests call, as one program.

    item   C++, float mean_absolute_deviation(vector<float> numbers)
    row    double spread(const std::vector<double>& data) { ... }   ->   float mean_absolute_deviation(const
           std::vector<float> data) { ... }

Names are exchanged in the whole text, so that a recursion stays one. A method is put into the class that the tests
make, or gets a function that calls it. Where a compiler would mind, types that mean the same are converted: C++'s
double to the item's float and references to values, others by a function around it (converted.py). Nothing else is
changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from codeup.data.contamination.other_functions import Found, Source
from codeup.decontaminate.converted import converting


def under_name(source: Source, function: Found, wanted: Found) -> str:
    """The definitions of a text with one function called as the item's tests call it."""
    more = _converting(source, function, wanted)
    name = f"{wanted.name}_own" if more else wanted.name
    names = _exchanged(function.name, name)
    if more and function.name != wanted.name:  # the name is that of the function around it
        names[wanted.name] = f"{wanted.name}_before"
    if function.owner and wanted.owner:
        names |= _exchanged(function.owner, wanted.owner)
    parts: list[tuple[str, str]] = []
    for node in source.definitions():
        end = ";" if source.family == "cpp" and node.type.endswith("_specifier") else ""
        parts.append((node.type, _renamed(source, node, names) + end))
    if function.owner and not wanted.owner:
        parts.append(("", _forwarding(source.family, function, wanted)))
    if source.family == "java":
        return _java(parts, function, wanted, more)
    text = "\n".join(part for _, part in parts)
    if source.family == "cpp":
        return _cpp(text, name, wanted) + more
    return f"<?php\n{text}\n" if source.family == "php" else f"{text}\n{more}"


def _converting(source: Source, function: Found, wanted: Found) -> str:
    """converted.py's function that calls this one, where one is needed."""
    if (source.family == "java") != bool(wanted.owner) or (function.owner and not wanted.owner):
        return ""
    if source.family == "cpp" and _floats(wanted):
        types = tuple(each.replace("double", "float") for each in function.types)
        function = replace(function, types=types, returns=function.returns.replace("double", "float"))
    return converting(source.family, function, wanted)


def definitions(source: Source) -> str:
    """The same with all names as they are, without imports."""
    return "\n".join(source.text(node) for node in source.definitions() if not node.type.startswith("import"))


def expression(family: str, function: Found) -> str:
    """JavaScript or PHP that calls a function of such definitions."""
    if family == "php":
        made = f"{function.owner}::" if function.static else f"(new {function.owner}())->"
        return f"fn(...$a) => {made if function.owner else ''}{function.name}(...$a)"
    if not function.owner:
        return function.name
    made = function.owner if function.static else f"new {function.owner}()"
    return f"(...a) => {made}.{function.name}(...a)"


def _exchanged(name: str, wanted: str) -> dict[str, str]:
    """The one for the other; what had the wanted name already gets a third."""
    return {} if name == wanted else {name: wanted, wanted: f"{wanted}_before"}


def _renamed(source: Source, node: Any, names: Mapping[str, str]) -> str:
    """A definition's text with other names in it."""
    parts, at = [], node.start_byte
    for leaf in source.called(node):
        new = names.get(source.text(leaf))
        if new is not None:
            parts += [source.bytes[at : leaf.start_byte], new.encode()]
            at = leaf.end_byte
    return b"".join([*parts, source.bytes[at : node.end_byte]]).decode("utf-8", "replace")


def _forwarding(family: str, function: Found, wanted: Found) -> str:
    """A function of the wanted name that calls a method, which has that name too by now."""
    owner, name = function.owner, wanted.name
    if family == "javascript":
        made = owner if function.static else f"new {owner}()"
        return f"const {name} = (...a) => {made}.{name}(...a);"
    if family == "php":
        return f"function {name}(...$a) {{ return (new {owner})->{name}(...$a); }}"
    if family == "cpp":
        head = re.sub(r"\b(?:static|virtual|inline)\b|\b(?:const|override)\s*$", "", function.signature)
        head = re.sub(rf"\b{re.escape(function.name)}\s*\(", f"{name}(", head, count=1)
        return f"{head} {{ {owner} made; return made.{name}({', '.join(function.parameters)}); }}"
    if family == "ruby":
        return f"def {name}(*a)\n  {owner}.new.{name}(*a)\nend"
    return ""


# --- languages whose compilers mind -----------------------------------------------------------------------------------


def _cpp(text: str, name: str, wanted: Found) -> str:
    """With arguments by value, because tests pass temporary ones, and float where the tests compare floats."""
    head = re.compile(rf"\b{re.escape(name)}\s*\([^(){{}};]*\)(?=\s*(?:const\s*)?\{{)")
    text = head.sub(lambda match: match[0].replace("&", " "), text)
    if _floats(wanted):
        text = re.sub(r"\bdouble\b", "float", text)
    return f"using namespace std;\n{text}\n"


def _floats(wanted: Found) -> bool:
    return "float" in wanted.signature and "double" not in wanted.signature


def _java(parts: Sequence[tuple[str, str]], function: Found, wanted: Found, more: str) -> str:
    """Imports first, everything public, methods without a class in that of the tests, with `more` in it."""
    imports = ["import java.util.*;", *(part for kind, part in parts if kind == "import_declaration")]
    rest = "\n".join(part for kind, part in parts if kind != "import_declaration")
    rest = re.sub(r"\b(?:private|protected)\b", "public", rest)
    if wanted.owner and not function.owner:
        rest = f"class {wanted.owner} {{\n{rest}\n}}"
    if more:
        rest = re.sub(rf"(\bclass\s+{re.escape(wanted.owner)}\b[^{{]*\{{)", lambda match: f"{match[0]}\n{more}\n", rest,
                      count=1)  # fmt: skip
    return "\n".join([*imports, rest, ""])
