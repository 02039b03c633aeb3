"""A row's function under the name that a benchmark item's tests call, as one program.

    item   C++, float mean_absolute_deviation(vector<float> numbers)
    row    double spread(const std::vector<double>& data) { ... }   ->   float mean_absolute_deviation(const
           std::vector<float> data) { ... }

Names are exchanged in the whole text, so that a recursion stays one. A method is put into the class that the tests
make, or gets a function that calls it. Where a compiler would mind, types that mean the same are converted: C++'s
double to the item's float and references to values, Java's arrays to lists and back. Nothing else is changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from codeup.data.contamination.other_functions import Found, Source

JAVA_TO = {
    ("list", "int[]"): "{}.stream().mapToInt(i -> i).toArray()",
    ("list", "long[]"): "{}.stream().mapToLong(i -> i).toArray()",
    ("list", "double[]"): "{}.stream().mapToDouble(i -> i).toArray()",
}
"""A list as an array of plain numbers."""


def under_name(source: Source, function: Found, wanted: Found) -> str:
    """The definitions of a text with one function called as the item's tests call it."""
    converted = source.family == "java" and bool(wanted.owner) and _differ(function, wanted)
    name = f"{wanted.name}_own" if converted else wanted.name
    names = _exchanged(function.name, name)
    if function.owner and wanted.owner:
        names |= _exchanged(function.owner, wanted.owner)
    parts: list[tuple[str, str]] = []
    for node in source.definitions():
        end = ";" if source.family == "cpp" and node.type.endswith("_specifier") else ""
        parts.append((node.type, _renamed(source, node, names) + end))
    if function.owner and not wanted.owner:
        parts.append(("", _forwarding(source.family, function, wanted)))
    if source.family == "java":
        return _java(parts, function, wanted, _converting(function, wanted) if converted else "")
    text = "\n".join(part for _, part in parts)
    if source.family == "cpp":
        return _cpp(text, wanted)
    return f"<?php\n{text}\n" if source.family == "php" else f"{text}\n"


def definitions(source: Source) -> str:
    """The same with all names as they are, without imports."""
    return "\n".join(source.text(node) for node in source.definitions() if not node.type.startswith("import"))


def expression(function: Found) -> str:
    """JavaScript that calls a function of such definitions."""
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


def _cpp(text: str, wanted: Found) -> str:
    """With arguments by value, because tests pass temporary ones, and float where the tests compare floats."""
    head = re.compile(rf"\b{re.escape(wanted.name)}\s*\([^(){{}};]*\)(?=\s*(?:const\s*)?\{{)")
    text = head.sub(lambda match: match[0].replace("&", " "), text)
    if "float" in wanted.signature and "double" not in wanted.signature:
        text = re.sub(r"\bdouble\b", "float", text)
    return f"using namespace std;\n{text}\n"


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


def _differ(function: Found, wanted: Found) -> bool:
    plain = [tuple(map(_bare, (*each.types, each.returns))) for each in (function, wanted)]
    return plain[0] != plain[1] and len(function.types) == len(wanted.types)


def _bare(type_: str) -> str:
    return re.sub(r"\s+|java\.util\.", "", type_)


def _converting(function: Found, wanted: Found) -> str:
    """The method that the tests call: their types on the outside, the row's on the inside."""
    given = [_java_to(name, own) for name, own in zip(wanted.parameters, map(_bare, function.types), strict=True)]
    call = f"{wanted.name}_own({', '.join(given)})"
    head = re.sub(r"\bstatic\b", "", wanted.signature).strip()
    return f"{head} {{ return {_java_back(call, _bare(function.returns), _bare(wanted.returns))}; }}"


def _java_to(name: str, own: str) -> str:
    if ("list", own) in JAVA_TO:
        return JAVA_TO["list", own].format(name)
    if own.endswith("[]"):
        return f"{name}.toArray(new {own[:-2]}[0])"
    if own.startswith(("ArrayList<", "LinkedList<")):
        return f"new {own.partition('<')[0]}<>({name})"
    return f"({own}) {name}" if own in ("int", "long", "double", "float") else name


def _java_back(call: str, own: str, wanted: str) -> str:
    if own in ("int[]", "long[]", "double[]"):
        return f"Arrays.stream({call}).boxed().collect(java.util.stream.Collectors.toList())"
    if own.endswith("[]"):
        return f"Arrays.asList({call})"
    return f"({wanted}) {call}" if wanted in ("int", "long", "double", "float") else call
