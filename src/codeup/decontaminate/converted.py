"""Types that mean the same in two programs: a function with an item's types that calls one with a row's.

    item   fn below_threshold(numbers: Vec<i32>, threshold: i32) -> bool
    row    fn all_below(values: &[i64], limit: i64) -> bool { ... }         as below_threshold_own

    fn below_threshold(numbers: Vec<i32>, threshold: i32) -> bool {
        below_threshold_own(&numbers.into_iter().map(|x| x as i64).collect::<Vec<i64>>(), threshold as i64)
    }

Rust, C++ and Java, whose compilers refuse the one for the other. Numbers become numbers of another size, lists lists of
them, slices, references and arrays what they stand for. What is not known is left as it is, and the compiler decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from codeup.data.contamination.other_functions import Found

Convert = Callable[[str, str, str], str | None]
"""(expression, the type that it has, the type that is needed) -> an expression of that; None where none is known."""

_REAL = re.compile(r"(?i)float|double|\bf(?:32|64)\b")


def converting(family: str, function: Found, wanted: Found) -> str:
    """The function that the item's tests call, with `wanted.name` + "_own" in it; '' where types differ in nothing, or
    in something that is not known here."""
    if family not in _CONVERT or len(function.types) != len(wanted.types):
        return ""
    convert, bare = _CONVERT[family]
    given = [*zip(wanted.parameters, wanted.types, function.types, strict=True)]
    if all(bare(a) == bare(b) for _, a, b in (*given, ("", wanted.returns, function.returns))):
        return ""
    arguments = [convert(name, bare(theirs), bare(own)) for name, theirs, own in given]
    if any(each is None for each in arguments):
        return ""
    if _REAL.search(function.returns) and not _REAL.search(wanted.returns):
        return ""  # cut off to a whole number, a wrong answer may be right
    call = f"{wanted.name}_own({', '.join(map(str, arguments))})"
    result = convert(call, bare(function.returns), bare(wanted.returns))
    head = re.sub(r"\bstatic\b", "", wanted.signature).strip()
    return f"{head} {{ return {result}; }}" if result is not None else ""


# --- Rust ------------------------------------------------------------------------------------------------------------

_RUST_NUMBER = re.compile(r"[iuf](?:8|16|32|64|128|size)")


def _rust_bare(type_: str) -> str:
    type_ = re.sub(r"'\w+\s*", "", type_)
    return re.sub(r"&mut(?=\S)", "&mut ", re.sub(r"\s+", "", type_))


def _rust(has: str, given: str, needed: str) -> str | None:
    """See Convert.

    >>> _rust("v", "Vec<i32>", "&[i32]"), _rust("s", "&str", "String"), _rust("n", "i32", "u64")
    ('&v', 's.to_string()', '(n as u64)')
    >>> _rust("v", "Vec<String>", "Vec<&str>"), _rust("v", "Vec<i32>", "HashMap<i32,i32>")
    ('v.iter().map(|x| x.as_str()).collect::<Vec<&str>>()', None)
    """
    if given == needed:
        return has
    if given == "&str" or needed == "&str":
        plain = {("&str", "String"): f"{has}.to_string()", ("String", "&str"): f"&{has}"}
        return plain.get((given, needed), plain.get((given, needed.removeprefix("&"))))
    if inner := re.fullmatch(r"&(mut )?(.+)", needed):
        held = re.sub(r"^\[(.+)\]$", r"Vec<\1>", inner[2])
        if given.startswith("&") and not inner[1] and _rust_held(given) == held:
            return has
        made = _rust(has, given, held)
        return f"&{inner[1] or ''}{made}" if made is not None else None
    if given.startswith("&"):
        held = _rust_held(given)
        return _rust(f"{has}.to_vec()" if held.startswith("Vec<") else f"(*{has})", held, needed)
    if _RUST_NUMBER.fullmatch(given) and _RUST_NUMBER.fullmatch(needed):
        return f"({has} as {needed})"
    a, b = (re.fullmatch(r"(Vec|Option)<(.+)>", each) for each in (given, needed))
    if a is None or b is None or a[1] != b[1]:
        return None
    borrowed = (a[2], b[2]) == ("String", "&str")
    each = "x.as_str()" if borrowed else _rust("x", a[2], b[2])
    if each is None:
        return None
    if a[1] == "Option":
        return f"{has}.map(|x| {each})"
    return f"{has}.{'iter' if borrowed else 'into_iter'}().map(|x| {each}).collect::<{needed}>()"


def _rust_held(reference: str) -> str:
    return re.sub(r"^\[(.+)\]$", r"Vec<\1>", re.sub(r"^&(?:mut )?", "", reference))


# --- C++ -------------------------------------------------------------------------------------------------------------

_CPP_NUMBER = re.compile(r"(?:(?:unsigned|signed|long|short|int|float|double|size_t|u?int\d+_t|char|bool) ?)+")


def _cpp_bare(type_: str) -> str:
    """Without what makes no difference where arguments are given by value: const, &, std::."""
    type_ = re.sub(r"\bconst\b|\bstd::|&", " ", type_)
    return re.sub(r"\s*([<>,*])\s*", r"\1", re.sub(r"\s+", " ", type_)).strip()


def _cpp(has: str, given: str, needed: str) -> str | None:
    """See Convert.

    >>> _cpp("n", "int", "long long"), _cpp("v", "vector<int>", "string")
    ('n', None)
    >>> _cpp("v", "vector<int>", "vector<long long>")
    '[&] { auto made = v; return vector<long long>(made.begin(), made.end()); }()'
    """
    if given == needed or all(_CPP_NUMBER.fullmatch(each) for each in (given, needed)):
        return has
    a, b = (re.fullmatch(r"(vector|pair)<([^<>]+)>", each) for each in (given, needed))
    if a is None or b is None or b[1] != "vector":
        return None
    if not all(_CPP_NUMBER.fullmatch(each) for each in (*a[2].split(","), b[2])):
        return None
    parts = "(made.begin(), made.end())" if a[1] == "vector" else f"{{({b[2]}) made.first, ({b[2]}) made.second}}"
    return f"[&] {{ auto made = {has}; return vector<{b[2]}>{parts}; }}()"


# --- Java ------------------------------------------------------------------------------------------------------------

_JAVA_PLAIN = {"int": "Integer", "long": "Long", "double": "Double", "float": "Float"}
_JAVA_LIST = "java.util.stream.Collectors.toList()"


def _java_bare(type_: str) -> str:
    return re.sub(r"\s+|java\.util\.|\bfinal\b", "", type_)


def _java(has: str, given: str, needed: str) -> str:
    """See Convert; what is not known is left to the compiler.

    >>> _java("v", "List<Integer>", "int[]"), _java("v", "String[]", "List<String>")
    ('v.stream().mapToInt(x -> x).toArray()', 'Arrays.asList(v)')
    >>> _java("v", "List<List<Integer>>", "int[][]")
    'v.stream().map(y -> y.stream().mapToInt(x -> x).toArray()).toArray(int[][]::new)'
    """
    if given == needed:
        return has
    if needed in _JAVA_PLAIN and given in {*_JAVA_PLAIN, *_JAVA_PLAIN.values()}:
        return f"({needed}) {has}"
    inner = re.fullmatch(r"(?:List|ArrayList|LinkedList|Collection)<(.+)>", given)
    if inner and needed.endswith("[][]"):
        return f"{has}.stream().map(y -> {_java('y', inner[1], needed[:-2])}).toArray({needed}::new)"
    if inner and needed in ("int[]", "long[]", "double[]"):
        return f"{has}.stream().mapTo{needed[:-2].capitalize()}(x -> x).toArray()"
    if inner and needed.endswith("[]"):
        return f"{has}.toArray(new {needed[:-2]}[0])"
    if given.endswith("[][]"):
        row = re.sub(r"^List<(.+)>$", r"\1", needed)
        return f"Arrays.stream({has}).map(y -> {_java('y', given[:-2], row)}).collect({_JAVA_LIST})"
    if given in ("int[]", "long[]", "double[]"):
        return f"Arrays.stream({has}).boxed().collect({_JAVA_LIST})"
    if given.endswith("[]"):
        return f"Arrays.asList({has})"
    if inner and needed.startswith(("ArrayList<", "LinkedList<")):
        return f"new {needed.partition('<')[0]}<>({has})"
    return has


_CONVERT: dict[str, tuple[Convert, Callable[[str], str]]] = {
    "rust": (_rust, _rust_bare),
    "cpp": (_cpp, _cpp_bare),
    "java": (_java, _java_bare),
}
