"""Functions of other languages than Python: their shape without names, and the definitions around them as a program.

    const near = (xs, t) => {             function closeBy(values, gap) {
      for (let i of xs)                     for (let v of values)         the same shape: names of variables and of the
        if (i > t) return true                if (v > gap) return true    text's own functions are replaced by their
    }                                     }                               order; types, comments, braces are left out

Read by tree-sitter, which also finds the functions of a text that is partly something else. JavaScript and TypeScript
are one family, and so are C++ and C: a function of one is compared with those of the other.
Nothing is run here; that is `codeup/decontaminate/programs.py`.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

from codeup.data.code_parses import parser
from codeup.data.contamination.functions import MOST_FUNCTIONS, Shape

FAMILIES = {
    "javascript": ("javascript", "typescript"), "cpp": ("cpp", "c"), "java": ("java",), "go": ("go",),
    "rust": ("rust",), "php": ("php",), "ruby": ("ruby",),
}  # fmt: skip
"""What is compared with each other, by the name of a grammar that reads all of it or the like of it."""
LANGUAGES = {each: family for family, some in FAMILIES.items() for each in some}
MOST_CHARACTERS = 50_000
"""Longer texts are data, not programs."""
LEAST_TOKENS = 8
"""Shorter functions have no shape: `x => x + 1` is everybody's."""


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_DEFINITIONS = {
    "javascript": "function_declaration generator_function_declaration class_declaration lexical_declaration "
    "variable_declaration import_statement interface_declaration type_alias_declaration enum_declaration",
    "cpp": "preproc_include preproc_def preproc_function_def using_declaration alias_declaration declaration "
    "function_definition template_declaration struct_specifier class_specifier enum_specifier type_definition",
    "java": "import_declaration class_declaration interface_declaration enum_declaration record_declaration "
    "method_declaration",
    "go": "import_declaration function_declaration method_declaration type_declaration var_declaration "
    "const_declaration",
    "rust": "use_declaration function_item struct_item enum_item impl_item trait_item const_item static_item type_item",
    "php": "function_definition class_declaration interface_declaration const_declaration",
    "ruby": "method class module",
}
"""What of a text's outermost level is kept to be run: no statement that would print, wait or run for long."""
_FUNCTIONS = _words(
    "function_declaration generator_function_declaration function_expression arrow_function method_definition ",
    "function_definition method_declaration function_item anonymous_function method",
)
_TYPED = frozenset(["cpp", "java", "go", "rust"])
_RETURNS = ("type", "result", "return_type")
_CLASSES = _words("class_declaration class_specifier struct_specifier class record_declaration")
_AROUND = _words("ERROR export_statement labeled_statement namespace_definition declaration_list")
"""What definitions are looked for in; `Here it is:` before one is a label for JavaScript."""
_CALLS = _words("call_expression method_invocation await_expression new_expression")
_VALUES = _words("arrow_function function_expression")
_NAMES = _words(
    "identifier shorthand_property_identifier shorthand_property_identifier_pattern statement_identifier name"
)
_LEFT_OUT = _words("comment line_comment block_comment type_annotation type_parameters")
_NO_TOKENS = _words("{ } ; , ( )")
_PARAMETERS = _words(
    "identifier required_parameter optional_parameter assignment_pattern object_pattern array_pattern rest_pattern ",
    "parameter_declaration optional_parameter_declaration variadic_parameter_declaration formal_parameter ",
    "spread_parameter parameter simple_parameter variadic_parameter keyword_parameter splat_parameter",
)
_OPTIONAL = _words(
    "optional_parameter assignment_pattern rest_pattern optional_parameter_declaration splat_parameter ",
    "variadic_parameter variadic_parameter_declaration spread_parameter keyword_parameter",
)


@dataclass(frozen=True, slots=True)
class Found:
    """A function that can be called: its name, the class that it is in ('' for none), how many arguments it takes.

    `signature` is what stands before its body; `types` are those of its parameters as written ('' where none is), and
    `returns` is that of what it gives.
    """

    name: str
    owner: str
    fewest: int
    most: int
    signature: str
    parameters: tuple[str, ...]
    types: tuple[str, ...]
    returns: str
    static: bool = False

    def may_answer(self, wanted: Found) -> bool:
        """Whether it takes as many arguments as another, and values of the same kinds where languages say so."""
        if not self.fewest <= len(wanted.parameters) <= self.most:
            return False
        mine, theirs = ([*map(kind, each.types), kind(each.returns)] for each in (self, wanted))
        return len(mine) != len(theirs) or all(a == b or "" in (a, b) for a, b in zip(mine, theirs, strict=True))


_LIST = r"(?i)vector|\w*list\b|\[|\barray\b|\bvec\b|set<|deque|slice|pair|tuple|optional|option<"
_ELEMENTS = (
    ("text", r"(?i)str|char\s*\*"),
    ("truth", r"(?i)\bbool"),
    ("real", r"(?i)double|float|\bf\d\d"),
    ("whole", r"(?i)int|long|short|size|\b[iu]\d"),
    ("letter", r"(?i)char|rune|byte"),
)
_KINDS = (
    ("map", r"(?i)map\b|map<|map\[|dict"),
    ("list", _LIST),
    ("text", r"(?i)str|char\s*\*"),
    ("truth", r"(?i)\bbool"),
    ("number", r"(?i)\b(?:int|integer|long|double|float|short|size_t|unsigned|[iuf]\d\d?|usize|int\d\d|float\d\d)\b"),
    ("nothing", r"^\s*void\s*$"),
)


@functools.lru_cache(maxsize=4096)
def kind(type_: str) -> str:
    """What a type is roughly; '' where that is not told. Of a list also how deep, and of what.

    >>> kind("const std::vector<int>&"), kind("List<List<String>>"), kind("[]float64"), kind("T")
    ('list whole', 'list list text', 'list real', '')
    """
    if type_.startswith("("):  # Go's several results
        return ""
    found = next((name for name, pattern in _KINDS if re.search(pattern, type_)), "")
    if found != "list":
        return found
    inner = re.sub(_LIST, "", type_)
    elements = next((name for name, pattern in _ELEMENTS if re.search(pattern, inner)), "?")
    return f"{'list ' * len(re.findall(_LIST, type_))}{elements}"


class Source:
    """A text of some language, read once."""

    def __init__(self, language: str, text: str) -> None:
        """Raises UserError where the grammar is not installed."""
        self.family = LANGUAGES[language]
        self.language = "cpp" if language == "c" else language
        text = text if language != "php" or "<?" in text else f"<?php\n{text}"
        self.bytes = text.encode("utf-8", "replace")
        self.root = parser(self.language).parse(self.bytes).root_node

    def text(self, node: Any) -> str:
        """What stands at a node."""
        return str(self.bytes[node.start_byte : node.end_byte].decode("utf-8", "replace"))

    def outermost(self) -> Iterator[Any]:
        """The nodes of the outermost level, also of what is exported or stands in something that does not parse."""
        waiting = list(reversed(self.root.children))
        while waiting:
            node = waiting.pop()
            if node.type in _AROUND:
                waiting += reversed(node.children)
            else:
                yield node

    def definitions(self) -> list[Any]:
        """The nodes that a program of its functions consists of."""
        wanted = _DEFINITIONS[self.family].split()
        return [node for node in self.outermost() if node.type in wanted and self._harmless(node)]

    def _harmless(self, node: Any) -> bool:
        """No main, and no variable whose value a call makes."""
        if self.family in ("cpp", "go") and (found := self._function(node, "")) and found.name == "main":
            return False
        if node.type in ("lexical_declaration", "variable_declaration", "declaration", "var_declaration"):
            return any(each.type in _VALUES for each in _values(node)) or not any(
                each.type in _CALLS for each in walk(node)
            )
        return True

    # --- functions that can be called --------------------------------------------------------------------------------

    def functions(self) -> list[Found]:
        """Those of the outermost level and the methods of its classes."""
        found: list[Found] = []
        for node in self.definitions():
            if node.type in _CLASSES:
                found += self._methods(node)
            else:
                found += [each for each in [self._function(node, "")] if each]
        return found[:MOST_FUNCTIONS]

    def _methods(self, node: Any) -> Iterator[Found]:
        owner = node.child_by_field_name("name")
        body = node.child_by_field_name("body")
        for each in body.children if owner is not None and body is not None else ():
            found = self._function(each, self.text(owner))
            if found and found.name not in ("constructor", "main", "__construct", "initialize", found.owner):
                yield found

    def _function(self, node: Any, owner: str) -> Found | None:
        """What a definition defines, where that is one function."""
        outer = node
        if node.type == "template_declaration":
            node = next((each for each in node.children if each.type in _FUNCTIONS), node)
        name, function = node.child_by_field_name("name"), node
        if node.type in ("lexical_declaration", "variable_declaration"):
            declarator = next((each for each in node.children if each.type == "variable_declarator"), node)
            function = declarator.child_by_field_name("value")
            name = declarator.child_by_field_name("name")
        elif self.family == "cpp" and node.type == "function_definition":
            function = _declarator(node)
            name = function.child_by_field_name("declarator")
        if function is None or name is None or name.child_count:
            return None
        if node.type not in _FUNCTIONS and function.type not in _VALUES:
            return None
        body = node.child_by_field_name("body")
        some = self._parameters(_listed(function))
        optional = sum(1 for each in some if each.type in _OPTIONAL or (each.child_by_field_name("default_value")))
        many = any(re.match(r"rest|variadic|spread|splat", each.type) for each in some)
        names, types = [], []
        for each in some:
            own = self._names(each)
            names += own
            types += [self._type(each)] * len(own)
        head = self.bytes[outer.start_byte : body.start_byte].decode("utf-8", "replace") if body is not None else ""
        given = next((found for field in _RETURNS if (found := node.child_by_field_name(field)) is not None), None)
        returns = self.text(given) if given is not None and self.family in _TYPED else ""
        return Found(
            self.text(name), owner, len(names) - optional, 99 if many else len(names), head, tuple(names),
            tuple(types), returns, bool(re.search(r"\bstatic\b", head)),
        )  # fmt: skip

    def _type(self, parameter: Any) -> str:
        """The type of a parameter as written, with what C++ writes at its name (`int a[]`, `char *s`)."""
        if self.family not in _TYPED:
            return ""
        found = parameter.child_by_field_name("type")
        declarator = parameter.child_by_field_name("declarator")
        more = re.sub(r"\w+|=.*", "", self.text(declarator)) if declarator is not None and self.family == "cpp" else ""
        return f"{self.text(found) if found is not None else ''}{more}"

    def _parameters(self, listed: Any) -> list[Any]:
        if listed is None:
            return []
        if listed.type == "identifier":  # x => ...
            return [listed]
        some = [each for each in listed.children if each.type in _PARAMETERS]
        return [] if len(some) == 1 and self.text(some[0]) == "void" else some

    def _names(self, parameter: Any) -> list[str]:
        """Its names; Go's `a, b int` has two."""
        if self.family == "go" and (own := parameter.children_by_field_name("name")):
            return [self.text(each) for each in own]
        leaves = [leaf for leaf in walk(parameter) if leaf.type in ("identifier", "variable_name")]
        return [self.text(leaves[0] if leaves else parameter)]

    def called(self, node: Any) -> list[Any]:
        """The leaves with names of anything."""
        return [leaf for leaf in walk(node) if not leaf.child_count and (leaf.type in _NAMES or "identif" in leaf.type)]

    # --- shapes ------------------------------------------------------------------------------------------------------

    def shapes(self) -> list[Shape]:
        """Shapes of all functions, methods and inner functions included."""
        own = {self.text(name) for node in walk(self.root) if (name := _name_of(node)) is not None}
        nodes = [node for node in walk(self.root) if node.type in _FUNCTIONS]
        found = [self._shape(node, own) for node in nodes[:MOST_FUNCTIONS]]
        return [each for each in found if each.nodes >= LEAST_TOKENS]

    def _shape(self, function: Any, own: set[str]) -> Shape:
        body = function.child_by_field_name("body")
        if body is None:
            return Shape(0, frozenset(), 0)
        names: dict[str, str] = {}
        tokens: list[str] = []
        statements: list[tuple[int, int]] = []
        for each in walk(_listed(function)) if _listed(function) is not None else ():
            if not each.child_count and each.type in ("identifier", "name"):
                names.setdefault(self.text(each), f"v{len(names)}")
        try:
            self._tokens(body, own, names, tokens, statements)
        except RecursionError:  # no person nests so deep
            return Shape(0, frozenset(), 0)
        whole = _hash(f"{self.family} {' '.join(tokens)}")
        parts = {_hash(f"{self.family} {' '.join(tokens[a:b])}") for a, b in statements if b - a >= 3}
        return Shape(whole, frozenset(parts), len(tokens))

    def _tokens(
        self, node: Any, own: set[str], names: dict[str, str], tokens: list[str], statements: list[tuple[int, int]]
    ) -> None:
        """The leaves below a node as words, and where its statements begin and end among them."""
        if node.type in _LEFT_OUT or node.type in _NO_TOKENS:
            return
        if not node.child_count:
            text = self.text(node)
            if node.type in _NAMES and (text in own or not _is_callee(node)):
                text = names.setdefault(text, f"v{len(names)}")
            tokens.append('"' if text in ("'", "`") else text)
            return
        begin = len(tokens)
        for child in node.children:
            self._tokens(child, own, names, tokens, statements)
        if node.is_named and re.search(r"_statement$|declaration$|_expression$|assignment$", node.type):
            statements.append((begin, len(tokens)))


def _declarator(function: Any) -> Any:
    """What holds the name and the parameters of a C++ function; of others the function itself."""
    found = function.child_by_field_name("declarator") if function.type == "function_definition" else None
    while found is not None and found.type in ("pointer_declarator", "reference_declarator"):
        found = next((each for each in found.children if each.type.endswith("_declarator")), None)
    return found if found is not None else function


def _listed(function: Any) -> Any:
    """The parameters of a function."""
    of = _declarator(function)
    return of.child_by_field_name("parameters") or of.child_by_field_name("parameter")


def _name_of(node: Any) -> Any:
    """The name that a function has, or that a variable gives it."""
    if node.type not in _FUNCTIONS:
        return None
    if node.type in _VALUES:
        return node.parent.child_by_field_name("name") if node.parent.type == "variable_declarator" else None
    of = _declarator(node)
    return of.child_by_field_name("name") or of.child_by_field_name("declarator")


def _is_callee(node: Any) -> bool:
    """Whether a leaf is the name of a function that is called: that of a library says what is done."""
    above = node.parent
    return bool(
        above is not None
        and above.type in ("call_expression", "method_invocation", "function_call_expression", "call", "call_suffix")
        and any(above.child_by_field_name(field) == node for field in ("function", "name", "method"))
    )


def _values(declaration: Any) -> Iterator[Any]:
    for each in declaration.children:
        value = each.child_by_field_name("value") if each.type == "variable_declarator" else None
        if value is not None:
            yield value


def walk(node: Any) -> Iterator[Any]:
    """A node and all below it, in order."""
    waiting = [node]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += reversed(each.children)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def sources(blocks: Sequence[tuple[str, str]], families: Set[str]) -> list[Source]:
    """The (language, code) of some families that may hold a function, read."""
    return [
        Source(language, code) for language, code in blocks
        if LANGUAGES.get(language) in families and len(code) <= MOST_CHARACTERS
    ]  # fmt: skip
