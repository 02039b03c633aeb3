"""In which language the code of an answer is written: the fence's tag, else a first line `#!`, else how it looks.

    ```js …```                     ->  javascript   (by its tag)
    #!/usr/bin/env bash …          ->  bash         (by its first line)
    def f(x):\\n    return x        ->  python       (by how it looks; an answer without a fence that is code)

Looks are a few strong signs per language, the heaviest sum wins and too little says nothing: "" is an honest answer.
Short scripts and queries inside sentences are not found; C and C++, or JavaScript and TypeScript, are told apart only
where the code shows it.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Sequence

from codeup.data.fences import Piece, blocks
from codeup.data.needles import Needles
from codeup.types import Conversation

ALIASES = {
    "py": "python", "python3": "python", "py3": "python", "python2": "python", "ipython": "python", "pycon": "python",
    "js": "javascript", "node": "javascript", "jsx": "javascript", "mjs": "javascript", "nodejs": "javascript",
    "ts": "typescript", "tsx": "typescript", "c++": "cpp", "cc": "cpp", "cxx": "cpp", "hpp": "cpp", "h": "c",
    "c#": "csharp", "cs": "csharp", "c-sharp": "csharp", "golang": "go", "rs": "rust", "rb": "ruby", "sh": "bash",
    "shell": "bash", "zsh": "bash", "console": "bash", "shell-session": "bash", "ksh": "bash", "yml": "yaml",
    "htm": "html", "xhtml": "html", "kt": "kotlin", "ps1": "powershell", "pwsh": "powershell", "objective-c": "objc",
    "postgresql": "sql", "mysql": "sql", "sqlite": "sql", "tsql": "sql", "plsql": "sql", "hs": "haskell",
    "dockerfile": "docker", "make": "makefile", "vue": "html", "rscript": "r", "pl": "perl", "scss": "css",
}  # fmt: skip
"""Other spellings of a tag; a tag that is not here is its own name."""
NOT_CODE = frozenset({"text", "txt", "plaintext", "plain", "output", "markdown", "md", "log", "none", "diff", "csv"})
SHEBANGS = (
    ("python", "python"), ("node", "javascript"), ("bash", "bash"), ("zsh", "bash"), ("sh", "bash"), ("ruby", "ruby"),
    ("perl", "perl"), ("php", "php"), ("Rscript", "r"), ("lua", "lua"), ("awk", "awk"),
)  # fmt: skip
ENOUGH = 2
"""The weight from which looks decide."""
MOST_CHARACTERS = 2000
"""How much of a block is looked at."""


def _compiled(sign: str) -> re.Pattern[str]:
    """The sign, for a text with a line break put before it: `\\n` is found far faster than `^`."""
    return re.compile(rf"\n{sign[1:]}" if sign[0] == "^" else sign.replace(r"\A", r"\A\n"), re.MULTILINE)


# (language, a text that must be in it, weight, the sign; '' where the text is sign enough).
# The text is looked for first because that is cheap.
_SIGNS = [
    ("python", "def ", 2, r"^[ \t]*(?:async )?def \w+\(.*\)(?: *->.*)?:[ \t]*(?:#.*)?$"),
    ("python", "class ", 2, r"^class \w+(?:\([\w., =]*\))?:"),
    ("python", "import ", 2, r"^(?:from [\w.]+ import [\w*(]|import [\w.]+(?: as \w+)?[ \t]*$)"),
    ("python", "print(", 1, r"^[ \t]*print\(.*\)[ \t]*$"),
    ("python", ":", 2, r"^[ \t]*(?:for \w+(?:, ?\w+)* in|while|elif|if|with) [^{;\n]+:[ \t]*$"),
    ("python", " = ", 1, r"^\w+ = (?:\[.*\]|\{.*\}|[\w.]+\(.*\)|'[^']*'|\"[^\"]*\"|[\d.]+)[ \t]*$"),
    ("python", "lambda", 1, r"\blambda \w+(?:, ?\w+)*:"),
    ("javascript", "function", 2, r"function\*?\s*\w*\s*\([\w\s,={}\[\].$]*\)\s*\{"),
    ("javascript", "=> ", 2, r" => (?:(?<=\w => )|(?<=\w\) => ))[{(\w\[`'\"]"),
    ("javascript", "const ", 1, r"^[ \t]*const [\w{\[][^;:]*= "),
    ("javascript", "let ", 1, r"^[ \t]*(?:for \()?let \w+(?: =|;)"),
    ("javascript", "var ", 1, r"^[ \t]*var \w+ = .*;?[ \t]*$"),
    ("javascript", "console.log(", 3, ""),
    ("javascript", "document.", 2, r"document\.(?:getElement|querySelector|addEventListener|createElement|write)"),
    ("javascript", "require('", 2, ""),
    ("javascript", " === ", 2, ""),
    ("javascript", " !== ", 2, ""),
    ("typescript", "interface ", 3, r"^[ \t]*(?:export )?interface \w+(?: extends \w+)? \{\n[ \t]*\w+\??: "),
    ("typescript", ": string", 4, r": string\[?\]?[;,) ={]"),
    ("typescript", ": number", 4, r": number\[?\]?[;,) ={]"),
    ("java", "public ", 3, r"public (?:static |final |abstract )*(?:class|interface|enum|void|int|String|boolean) \w+"),
    ("java", "System.out.print", 4, ""),
    ("java", "import java", 4, r"^import javax?\.[\w.]+(?:\.\*)?;"),
    ("java", "String ", 1, r"String(?:\[\])? \w+ ="),
    ("csharp", "using System", 5, r"^using System[\w.]*;"),
    ("csharp", "Console.Write", 5, ""),
    ("csharp", "namespace ", 2, r"^namespace [\w.]+\s*[{;]"),
    ("csharp", "string ", 5, r"(?:public|private|static) (?:async )?(?:string|bool) \w+"),
    ("cpp", "std::", 4, ""),
    ("cpp", "#include", 5, r"#include *<(?:iostream|vector|string|map|algorithm|bits/stdc\+\+\.h|memory|set|queue)>"),
    ("cpp", "cout <<", 4, ""),
    ("cpp", "using namespace std;", 4, ""),
    ("cpp", "template", 3, r"^template *<"),
    ("c", "#include", 4, r"#include *[<\"][\w./]+\.h[>\"]"),
    ("c", "printf(", 1, r"^[ \t]*printf\(\""),
    ("c", "int main(", 1, ""),
    ("go", "func ", 3, r"^func (?:\(\w+ \*?\w+\) )?\w+\([^)\n]*\).*\{"),
    ("go", "package ", 3, r"^package \w+[ \t]*$"),
    ("go", ":=", 1, r"\b\w+(?:, \w+)* := "),
    ("go", "fmt.Print", 3, ""),
    ("rust", "fn ", 3, r"fn \w+(?:<[^>\n]*>)?\([^)\n]*\)(?: -> [^{\n]+)?\s*\{"),
    ("rust", "let mut ", 3, ""),
    ("rust", "println!(", 3, ""),
    ("ruby", "\nend", 3, r"^[ \t]*(?:def|class|module) \w[\w.]*[?!]?(?:\([^)\n]*\))?(?: < \w+)?[ \t]*$"),
    ("ruby", "puts ", 2, r"^[ \t]*puts "),
    ("ruby", " do |", 3, r" do \|\w+(?:, \w+)*\|"),
    ("php", "<?php", 6, ""),
    ("php", "$", 2, r"^[ \t]*\$\w+ = .*;[ \t]*$"),
    ("php", "echo ", 1, r"^[ \t]*echo .*;[ \t]*$"),
    ("bash", "#!/", 4, r"\A#! ?/(?:usr/)?bin/(?:env )?(?:ba|z)?sh\b"),
    ("bash", "then", 3, r"if \[\[? .* \]\]?(?:; ?|\n[ \t]*)then"),
    ("bash", "done", 2, r"^[ \t]*(?:for|while) .*; ?do\b"),
    ("bash", "$", 2, r"\A(?:\$ )?(?:sudo|apt|pip|npm|git|cd|ls|grep|find|curl|docker|mkdir) [-\w./]"),
    ("sql", "SELECT", 4, r"SELECT\b[\s\S]{1,400}?\bFROM\b"),
    ("sql", "INSERT INTO ", 4, ""),
    ("sql", "CREATE ", 4, r"CREATE (?:TABLE|VIEW|INDEX|DATABASE)\b"),
    ("sql", "UPDATE ", 4, r"^UPDATE [\w.]+\s+SET\b"),
    ("sql", "DELETE FROM ", 4, ""),
    ("html", "<", 3, r"(?i)<(?:!doctype html|html\b|(?:div|form|table|body|head|ul|h1|input|button)\b[^>\n]*>)"),
    ("html", "</", 2, r"(?i)</(?:html|body|div|form|table|ul|h1|p|a|button|script)>"),
    ("css", "{", 3, r"\{\s*[a-z-]+: ?[^;{}\n]+;\s*[}a-z-]"),
    ("swift", "func ", 4, r"func \w+(?:<[^>\n]*>)?\((?:[^)\n]*: [^)\n]+)?\)(?: throws)?(?: -> [^\n{]+)? \{"),
    ("swift", "print(", 1, r"let \w+ = .*\n"),
    ("swift", "import ", 3, r"^import (?:UIKit|Foundation|SwiftUI)\b"),
    ("kotlin", "fun ", 4, r"fun \w+\([^)\n]*\)(?:: \w+)? *[{=]"),
    ("r", "<-", 3, r"^[ \t]*[\w.]+ <- "),
    ("perl", "my ", 3, r"^[ \t]*my [$@%]\w+ = "),
]  # fmt: skip
_NEEDLES = sorted({needle for _, needle, _, _ in _SIGNS})
_OF_SIGN = [_NEEDLES.index(needle) for _, needle, _, _ in _SIGNS]
_COMPILED = [_compiled(sign) if sign else None for _, _, _, sign in _SIGNS]


def named(tag: str) -> str:
    """The language that a fence's tag means; '' for none or for one that says it is no code.

    >>> named("JS"), named("{.python"), named("text")
    ('javascript', 'python', '')
    """
    plain = tag.lower().strip("{}.:,`").removeprefix("language-")
    return "" if plain in NOT_CODE else ALIASES.get(plain, plain)


def looks_like(code: str) -> str:
    """The language that a piece of text without a tag is written in; '' where it is none, or cannot be told."""
    head = code[:MOST_CHARACTERS]
    there = [needle in head for needle in _NEEDLES]
    return _weighed(head, [sign for sign, needle in enumerate(_OF_SIGN) if there[needle]])


def look_like(codes: Sequence[str]) -> list[str]:
    """The same for many pieces at once, which takes less time for each."""
    heads = [code[:MOST_CHARACTERS] for code in codes]
    of, signs = _needles().within(heads)[:, _OF_SIGN].nonzero()
    begins = of.searchsorted(range(len(heads) + 1)).tolist()
    all_signs = signs.tolist()
    return [_weighed(head, all_signs[a:b]) for head, (a, b) in zip(heads, itertools.pairwise(begins), strict=True)]


@functools.cache
def _needles() -> Needles:
    return Needles(_NEEDLES)


def _weighed(head: str, signs: list[int]) -> str:
    """The language with the heaviest signs, of those whose needles are in the text."""
    if head.startswith("#!"):
        first = head.split("\n", 1)[0]
        return next((language for word, language in SHEBANGS if word in first), "")
    weights: dict[str, int] = {}
    text = f"\n{head}"
    for number in signs:
        sign = _COMPILED[number]
        if sign is None or sign.search(text):
            language, _, weight, _ = _SIGNS[number]
            weights[language] = weights.get(language, 0) + weight
    if not weights:
        return ""
    if "typescript" in weights:  # whatever is a sign of JavaScript is one of TypeScript too
        weights["typescript"] += weights.get("javascript", 0)
    if "cpp" in weights:
        weights["cpp"] += weights.get("c", 0)
    best = max(weights, key=lambda language: weights[language])
    return best if weights[best] >= ENOUGH else ""


def of_text(text: str) -> list[tuple[str, str]]:
    """(language, code) of each fenced block; of a text without a fence that looks like code, the whole of it."""
    fenced = blocks(text)
    if not fenced:
        language = looks_like(text)
        return [(language, text)] if language else []
    return [(named(piece.tag) or looks_like(piece.code), piece.code) for piece in fenced if not _said_not(piece)]


def of_texts(texts: Sequence[str]) -> list[list[tuple[str, str]]]:
    """The same for many texts at once."""
    fenced = [blocks(text) for text in texts]
    told: list[list[tuple[str, str]]] = [
        [(named(piece.tag), piece.code) for piece in some if not _said_not(piece)] if some else [("", text)]
        for text, some in zip(texts, fenced, strict=True)
    ]
    looks = iter(look_like([code for some in told for language, code in some if not language]))
    found = [[(language or next(looks), code) for language, code in some] for some in told]
    return [
        each if some else [(language, code) for language, code in each if language]
        for each, some in zip(found, fenced, strict=True)
    ]


def _said_not(piece: Piece) -> bool:
    """Whether a fence says that it holds no code."""
    return piece.tag.lower() in NOT_CODE


def of_answers(conversation: Conversation) -> Counter[str]:
    """Blocks of each language in what the model learns to say; those that cannot be told under ''."""
    answers = (turn.content for turn in conversation.messages if turn.role == "assistant")
    return Counter(language for answer in answers for language, _ in of_text(answer))
