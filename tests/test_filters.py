"""Filters leave out, or mask, what they are for, and nothing else; all are off unless asked for."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeup import plugins
from codeup import recipe as recipes
from codeup.data import code_languages, code_parses, fences, needles, prose_language, secrets
from codeup.data.content import Contents, account
from codeup.data.load import Funnel, load_source
from codeup.data.mend import mender
from codeup.data.needles import Needles
from codeup.data.rows import Drop
from codeup.errors import UserError
from codeup.types import Conversation, Message

# Made up for these tests, of the issuers' forms.
KEY = "AKIAQ3EGRVJYXKJ4TL2M"
GITHUB = "ghp_" + "k3JdV9sQ2mXb7LzR1tYw8NcF5pHgA6eUoK4i"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiIsIm4iOiJCIn0.Qm7v2LkXz9RtYw8NcF5pHgA6eUoK4iJd"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    "MIIEowIBAAKCAQEAu1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gun\n"
    "VTLw7onLRnrq0/IzW7yWR7QkrmBL7jTKEn5u+qKhbwKfBstIs+bMY2Zkp18gnTxK\n"
    "-----END RSA PRIVATE KEY-----"
)


def ask(question: str, answer: str, extra: str = "") -> Conversation:
    return Conversation((Message("user", question, extra), Message("assistant", answer)), "s", 0)


def through(setting: dict[str, Any], item: Conversation) -> Conversation | Drop:
    return mender({}, setting)("alpaca", item)


def reason(item: Conversation | Drop) -> str:
    return item.reason if isinstance(item, Drop) else "kept"


def test_every_filter_has_a_setting_that_is_off_and_described() -> None:
    settings = recipes.Filters.model_fields
    assert set(plugins.names("filters")) == set(settings) - {"report_only"}
    item = ask(f"mail bob.smith@acme-tools.io {KEY}", "```java\nnope(\n```")
    assert through(recipes.Filters().model_dump(), item) is item


# --- secrets ---------------------------------------------------------------------------------------------------------

PRESENT = [
    ("aws_access_key", f"key={KEY}."),
    ("github_token", f"token: {GITHUB}"),
    ("slack_token", "xoxb-2418937461-k3JdV9sQ2mXb7LzR"),
    ("jwt", f"Bearer {JWT}"),
    ("private_key", f"a\n{PEM}\nb"),
    ("google_key", "AIza" + "SyK3JdV9sQ2mXb7LzR1tYw8NcF5pHgA6eUo"),
    ("assigned_secret", 'api_key = "IH6noKXV7kU6S5BS6LTYMOSo"'),
    ("email", "write to bob.smith@acme-tools.io now"),
    ("ip_address", "ssh root@81.2.69.142 -p 22"),
    ("ip_address", "ping 2a00:1450:4001:81b::200e"),
]
ABSENT = [
    "AKIAIOSFODNN7EXAMPLE",
    "AKIAAAAAAAAAAAAAAAAA",
    "AKIA" + "Q3EGRVJYXKJ4TL2",
    "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "eyJhIjoxfQx.eyJzdWIiOiI0MiJ9.Qm7v2LkXz9RtYw8NcF5p",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "api_key = os.environ['SERVICE_API_KEY_NAME']",
    'password = "correct horse battery"',
    'secret_key = "your-secret-key-here"',
    "me@example.com, user@host.org, git@github.com, @decorator, a@b",
    "192.168.0.1 10.1.2.3 127.0.0.1 192.0.2.7 8.8.8.8 999.1.2.3 version 1.2.3.4 1.2.3",
    "12:30:45:59, aa:bb:cc:dd:ee:ff, std::vector<int>::iterator, 2001:db8::1",
]


@pytest.mark.parametrize(("kind", "text"), PRESENT, ids=[kind for kind, _ in PRESENT])
def test_a_secret_is_found_and_masked_and_its_mask_is_no_secret(kind: str, text: str) -> None:
    found = secrets.find(text)
    assert [item.kind for item in found] == [kind]
    hidden = secrets.masked(text, found)
    assert f"<{kind.upper()}>" in hidden and secrets.find(hidden) == []
    for value in (KEY, GITHUB, JWT, "MIIEow", "bob.smith", "81.2.69.142"):
        assert value not in hidden


@pytest.mark.parametrize("text", ABSENT)
def test_placeholders_reserved_names_and_lookalikes_are_not_secrets(text: str) -> None:
    assert secrets.find(text) == []


def test_secrets_are_masked_or_dropped_in_questions_inputs_and_answers(tmp_path: Path) -> None:
    row = {"instruction": f"use {KEY}", "input": f"or {GITHUB}", "output": f"{PEM}\nsent to bob.smith@acme-tools.io"}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps({"instruction": "a", "output": "b"}) + "\n")
    funnel = Funnel()
    first, second = load_source("alpaca", [path], funnel=funnel, mend=mender({}, {"secrets": "mask"}))
    assert isinstance(first, Conversation) and [turn.content for turn in first.messages] == [
        "use <AWS_ACCESS_KEY>",
        "<PRIVATE_KEY>\nsent to bob.smith@acme-tools.io",
    ]
    assert first.messages[0].input == "or <GITHUB_TOKEN>"
    assert isinstance(second, Conversation) and second.messages[1].content == "b"
    told = json.dumps(funnel.to_dict())
    assert funnel.to_dict()["repaired"] == {"secrets masked": 1} and "<AWS_ACCESS_KEY>" in told
    assert not any(value in told for value in (KEY, GITHUB, "MIIEow"))
    funnel = Funnel()
    list(load_source("alpaca", [path], funnel=funnel, mend=mender({}, {"secrets": "drop", "personal": "drop"})))
    assert funnel.to_dict()["dropped"] == {"filter: personal": 1}, "the first filter by name"
    assert KEY not in json.dumps(funnel.to_dict()) and "email" in json.dumps(funnel.to_dict())


# --- code ------------------------------------------------------------------------------------------------------------


def test_fences_are_cut_out_to_the_byte() -> None:
    text = "Sure:\r\n```python\nx = 1\n```\nthen\n  ~~~~ js extra\n```\nnot a fence\n~~~\n~~~~\nend\n````\nopen ```"
    cut = list(fences.pieces(text))
    assert "".join(piece.text for piece in cut) == text
    assert [(piece.tag, piece.code) for piece in cut if piece.fenced] == [
        ("python", "x = 1\n"),
        ("js", "```\nnot a fence\n~~~\n"),
        ("", "open ```"),
    ]
    assert fences.prose(text) == "Sure:\r\nthen\nend\n"
    assert list(fences.pieces("a `inline` ```b``` c")) == [fences.Piece("a `inline` ```b``` c")]


@pytest.mark.parametrize(
    ("text", "languages"),
    [
        ("```PY\nx\n```", ["python"]),
        ("```c++\nint x;\n```\n```C#\nvar x;\n```", ["cpp", "csharp"]),
        ("```\n#!/usr/bin/env bash\necho hi\n```", ["bash"]),
        ("```text\noutput\n```", []),
        ("```\nquite unclear\n```", [""]),
        ("def f(x):\n    return x", ["python"]),
        ("SELECT name FROM people;", ["sql"]),
        ("#include <iostream>\nint main() { std::cout << 1; }", ["cpp"]),
        ('#include <stdio.h>\nint main() {\n  printf("x");\n}', ["c"]),
        ("package main\n\nfunc main() {\n}", ["go"]),
        ("interface A {\n  name: string;\n}\nconst f = (a: string) => { return a; }", ["typescript"]),
        ("const f = x => { console.log(x); }", ["javascript"]),
        ("Sorting is fun. You select from a list, if you like.", []),
    ],
)
def test_the_language_of_code_is_its_tag_or_its_first_line_or_its_looks(text: str, languages: list[str]) -> None:
    assert [language for language, _ in code_languages.of_text(text)] == languages


def test_many_texts_at_once_are_told_as_one_by_one() -> None:
    texts = [
        "def f(x):\n    return x", "", "SELECT name FROM people;", "```js\nx()\n```\n```\nputs 1\nend\n```", "prose",
        "```text\nno code\n```", "#!/bin/sh\nls", "x <- c(1)", "caf\u00e9 => {x}", "a\x00b := 1",
    ]  # fmt: skip
    assert code_languages.of_texts(texts) == [code_languages.of_text(text) for text in texts]
    assert code_languages.of_texts([]) == []


SOUGHT = ["a", "=>", "=> ", "ab", " = ", "abcabcabc", "\u00e9a", "cab", "b\n"]
FINDER = Needles(SOUGHT)


@given(st.lists(st.text(alphabet="abc=>\u00e9 \n", max_size=30), max_size=8))
def test_needles_are_found_where_they_are(texts: list[str]) -> None:
    found = FINDER.within(texts)
    assert found.tolist() == [[needle in text for needle in SOUGHT] for text in texts]


def test_needles_are_found_over_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needles, "BLOCK", 50)
    texts = [f"{'x' * (number % 60)}needle{number}" for number in range(200)]
    found = Needles(["needle7", "xneedle1", "eedle19"]).within(texts)
    assert found.tolist() == [["needle7" in text, "xneedle1" in text, "eedle19" in text] for text in texts]
    assert found.sum(axis=0).tolist() == [11, 109, 11]


NAMES = {"python": "python", "javascript": "javascript", "java": "java", "c++": "cpp", "c#": "csharp", "sql": "sql",
         "php": "php", "ruby": "ruby", "bash": "bash", "go": "go", "swift": "swift", "html": "html"}  # fmt: skip


@pytest.mark.real_data
def test_looks_agree_with_the_one_language_that_a_request_names(public_data: Path) -> None:
    rows = json.loads((public_data / "train" / "new_codealpaca.json").read_text())
    right = wrong = asked = 0
    for row in rows:
        words = [word.strip(".,:?()\"'") for word in row["instruction"].lower().split()]
        named = {NAMES[word] for word in words if word in NAMES}
        if len(named) == 1 and not {"translate", "convert"} & set(words):
            found = {name for name, _ in code_languages.of_text(row["output"])}
            asked, right, wrong = asked + 1, right + bool(found & named), wrong + bool(found and not found & named)
    assert asked > 3500 and right / asked > 0.9 and wrong / asked < 0.01, (asked, right, wrong)


def test_code_in_other_languages_is_left_out_and_rows_without_code_stay() -> None:
    keep = {"code_languages": ["py", "bash"]}
    assert reason(through(keep, ask("q", "```python\nx = 1\n```"))) == "kept"
    assert reason(through(keep, ask("q", "In words."))) == "kept"
    assert reason(through(keep, ask("q ```java\nx\n```", "```sh\nls\n```"))) == "kept"
    dropped = through(keep, ask("q", "```python\nx\n```\n```rust\nfn main() {}\n```"))
    assert (
        reason(dropped) == "filter: code_languages" and isinstance(dropped, Drop) and dropped.detail == "code in rust"
    )


@pytest.mark.parametrize(
    ("language", "good", "bad"),
    [
        ("python", "def f(x):\n    return x", "def f(x)\n    return x"),
        ("javascript", "const f = (x) => x + 1;", "const f = (x => ;"),
        ("typescript", "let x: number = 1;", "let x: = 1;"),
        ("java", "class A { int f() { return 1; } }", "class A { int f( { }"),
        ("go", "package main\nfunc f() int { return 1 }", "package main\nfunc f( {"),
        ("rust", "fn f() -> i32 { 1 }", "fn f( -> { 1"),
        ("c", "int f(void) { return 1; }", "int f(void) { return ;;; ) }"),
        ("cpp", "template <class T> T f(T x) { return x; }", "template <class T T f(T x { }"),
        ("csharp", "class A { int F() => 1; }", "class A { int F( => 1 }"),
        ("php", "echo 1;", "echo (1;"),
        ("ruby", "def f(x)\n  x\nend", "def f(x\n  x"),
        ("bash", "if true; then echo 1; fi", "if true; then echo 1;"),
    ],
)
def test_code_that_parses_is_told_from_code_that_does_not(language: str, good: str, bad: str) -> None:
    assert code_parses.parses(language, good) is True
    assert code_parses.parses(language, bad) is False
    keep = {"code_parses": [language]}
    assert reason(through(keep, ask("q", f"```{language}\n{good}\n```"))) == "kept"
    assert reason(through(keep, ask("q", f"```{language}\n{bad}\n```"))) == "filter: code_parses"
    assert reason(through(keep, ask(f"```{language}\n{bad}\n```", "no code"))) == "kept", "a question may hold a fault"


def test_every_grammar_is_tried_above_and_others_say_nothing() -> None:
    assert len(code_parses.LANGUAGES) == 12
    assert code_parses.parses("cobol", "MOVE A TO B.") is None
    with pytest.raises(UserError, match="no grammar of cobol"):
        mender({}, {"code_parses": ["cobol"]})


def test_a_grammar_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(code_parses.GRAMMARS, "bash", ("tree_sitter_of_nobody", "language"))
    code_parses.parser.cache_clear()
    with pytest.raises(UserError, match=r"tree-sitter-of-nobody[\s\S]*\.\[code\]"):
        mender({}, {"code_parses": ["bash"]})
    code_parses.parser.cache_clear()


# --- prose and length ------------------------------------------------------------------------------------------------

GERMAN = "Schreibe bitte eine Funktion, die alle geraden Zahlen einer Liste in umgekehrter Reihenfolge zurückgibt."
ENGLISH = "Please write a function that returns all even numbers of a list in the reverse of their order."


@pytest.mark.parametrize(
    ("text", "language"), [(GERMAN, "de"), (ENGLISH, "en"), ("Hi!", ""), ("x = [1, 2]\nprint(x)\n" * 9, "")]
)
def test_the_language_of_prose_is_told_or_nothing_is_said(text: str, language: str) -> None:
    assert prose_language.of(ask("", text)) == language


def test_code_does_not_decide_the_language_of_the_prose() -> None:
    code = "```python\n" + "for name in names: print('the name is', name)  # over and over again\n" * 20 + "```\n"
    assert prose_language.of(ask(GERMAN, code)) == "de"


def test_prose_in_other_languages_is_left_out_and_what_cannot_be_told_stays() -> None:
    keep = {"natural_languages": ["en"]}
    assert reason(through(keep, ask(ENGLISH, "Sure."))) == "kept"
    assert reason(through(keep, ask("Hi", "Ho"))) == "kept"
    assert reason(through(keep, ask(GERMAN, "Klar."))) == "filter: natural_languages"
    with pytest.raises(UserError, match="english"):
        mender({}, {"natural_languages": ["english"]})


@pytest.mark.parametrize(
    ("setting", "detail", "just"),
    [
        ({"max_characters": 9}, "10 characters", {"max_characters": 10}),
        ({"min_answer": 4}, "an answer of 3 characters", {"min_answer": 3}),
        ({"max_turns": 1}, "2 turns", {"max_turns": 2}),
    ],
)
def test_length_is_limited_in_characters_and_turns(setting: dict[str, int], detail: str, just: dict[str, int]) -> None:
    item = ask("12345", "abc ", "x")
    dropped = through({"length": setting}, item)
    assert isinstance(dropped, Drop) and (dropped.reason, dropped.detail) == ("filter: length", detail)
    assert through({"length": just}, item) is item


SNIPPETS = (
    "def f(x):", "class A:", "import os", "print(x)", "x = 1", "const a = 1;", "let b = 2;", "console.log(a)",
    "a === b",
    "interface A {\n  b: string;", "public class A {", "String s = t;", "std::string s;", "#include <vector>",
    "#include <a.h>", "int main() {", 'printf("a");', "func f() {", "fn f() -> u8 {", "$a = 1;", "echo 1;", "<div>",
    "</p>",
    "a <- 1", "my $a = 1;", "let a = 1\n", "function f() {", "end", "puts 1", "words of prose",
)  # fmt: skip


def heaviest(text: str) -> str:
    """Every sign looked for, the heaviest sum, of equals the language that is listed first."""
    weights: dict[str, int] = {}
    for language, needle, weight, sign in code_languages._SIGNS:
        pattern = code_languages._compiled(sign) if sign else None
        if needle in text and (pattern is None or pattern.search(f"\n{text}")):
            weights[language] = weights.get(language, 0) + weight
    for one, other in (("typescript", "javascript"), ("cpp", "c")):
        if one in weights:
            weights[one] += weights.get(other, 0)
    best = max(weights, key=lambda language: weights[language], default="")
    return best if weights.get(best, 0) >= code_languages.ENOUGH else ""


def test_looks_are_those_of_weighing_every_language() -> None:
    rng = random.Random(5)
    texts = ["\n".join(rng.sample(SNIPPETS, rng.randint(1, 5))) for _ in range(1500)]
    assert code_languages.look_like(texts) == [heaviest(text) for text in texts]
    assert [code_languages.looks_like(text) for text in texts[:200]] == [heaviest(text) for text in texts[:200]]


# --- account ---------------------------------------------------------------------------------------------------------


def test_the_content_of_what_is_kept_is_counted_by_rows_and_source() -> None:
    rows = [
        ask("q", "```python\nx = 1\n```\n```py\ny = 2\n```\n```js\n1\n```"),
        ask("look", "```python\nx = (\n```", "https://acme.io/x"),
        Conversation((Message("user", GERMAN), Message("assistant", f"{KEY}")), "t", 0),
    ]
    plain = account(Contents({}).lines(rows))
    assert plain == {
        "s": {"rows": 2, "code_langs": {"python": 2, "javascript": 1}, "inputs": {"web address": 1}},
        "t": {"rows": 1, "code_langs": {}},
    }
    asked = {"code_parses": ["python"], "secrets": "report", "natural_languages": ["en"], "report_only": True}
    told = account(Contents(asked).lines(rows))
    assert told["s"]["code_unparsed"] == {"python": 1} and told["s"]["would_drop"] == {"filter: code_parses": 1}
    assert told["t"]["secrets"] == {"aws_access_key": 1} and told["t"]["natural_langs"] == {"de": 1}
    assert told["t"]["would_drop"] == {"filter: natural_languages": 1}
    assert mender({}, asked)("s", rows[1]) is rows[1], "report_only leaves everything in"


def test_php_is_known_by_its_typed_parameters_and_javascript_may_have_dollars() -> None:
    bare = "function isOdd(string $word): bool\n{\n    return strlen($word) % 2 !== 0;\n}"
    angular = "function Main($scope, $http) {\n  $scope.list = [];\n  $http.get('/a');\n}"
    assert [code_languages.looks_like(text) for text in (bare, angular)] == ["php", "javascript"]
