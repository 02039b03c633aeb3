"""Functions of other languages than Python: which there are, their shape without names, the program they become."""

from __future__ import annotations

import pytest

from codeup.data.contamination.other_functions import Found, Source, kind
from codeup.decontaminate.renamed import under_name

WAYS = [
    ("javascript", "const f = (a, b = 1) => a + b;", "f", "", (1, 2)),
    ("javascript", "const g = a => a;", "g", "", (1, 1)),
    ("javascript", "class C { constructor(x) {} m(p, ...q) { return p; } }", "m", "C", (1, 99)),
    ("typescript", "export function f<T>(xs: T[], k?: number): T { return xs[0]; }", "f", "", (1, 2)),
    ("cpp", "std::vector<int> f(const std::vector<int> &v, int k = 2) { return v; }\nint main() { f({}); }", "f", "",
     (1, 2)),
    ("c", "int *f(int *a, int n) { return a; }", "f", "", (2, 2)),
    ("cpp", "struct S { int m(int a) const { return a; } };", "m", "S", (1, 1)),
    ("java", "public class A { private static int f(int[] x, List<String> y) { return 1; } }", "f", "A", (2, 2)),
    ("java", "public static int f(int x) { return x; }", "f", "", (1, 1)),
    ("go", "package main\nfunc F(a, b int, c []string) (int, error) { return a, nil }\nfunc main() {}", "F", "",
     (3, 3)),
    ("rust", "pub fn f(a: &[i32], b: String) -> Vec<i32> { vec![] }", "f", "", (2, 2)),
    ("php", "function f($a, array $b = []) { return $a; }", "f", "", (1, 2)),
    ("ruby", "def f(a, b)\n  a + b\nend", "f", "", (2, 2)),
    ("javascript", "Here it is:\nfunction f(x) { return x; }\nEnjoy it!", "f", "", (1, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("language", "text", "name", "owner", "arity"), WAYS, ids=[way[1][:24] for way in WAYS])
def test_the_functions_of_a_text_are_found_with_their_class_and_arguments(
    language: str, text: str, name: str, owner: str, arity: tuple[int, int]
) -> None:
    (found,) = Source(language, text).functions()
    assert (found.name, found.owner, (found.fewest, found.most)) == (name, owner, arity)


ONE = "function near(xs, t) { for (let i of xs) { if (Math.abs(i - t) < 1) return true; } return false; }"
IF = "if (Math.abs(c - b) < 1)"
SAME = [
    ("javascript", f"function closeBy(a, b) {{ for (let c of a) {{ {IF} return true; }} return false; }}"),
    ("javascript", f"const q = (a, b) => {{ // of numbers\n for (let c of a)\n {IF} return true\n return false\n}}"),
    (
        "typescript",
        f"function w(a: number[], b: T): boolean {{ for (let c of a) {{ {IF} return true; }} return false; }}",
    ),
]
OTHER = [
    ONE.replace("<", ">"), ONE.replace("Math.abs", "Math.ceil"), ONE.replace("return false", "return true"),
    ONE.replace("i - t", "t - i"), ONE.replace("< 1", "< 2"),
]  # fmt: skip


@pytest.mark.parametrize(("language", "text"), SAME)
def test_shapes_forget_names_types_comments_and_braces(language: str, text: str) -> None:
    assert Source(language, text).shapes()[0].whole == Source("javascript", ONE).shapes()[0].whole


@pytest.mark.parametrize("text", OTHER)
def test_shapes_keep_operators_constants_library_names_and_the_order_of_variables(text: str) -> None:
    one, other = (Source("javascript", each).shapes()[0] for each in (ONE, text))
    assert one.whole != other.whole


def test_a_recursion_and_a_helper_of_the_text_may_be_called_anything() -> None:
    texts = [
        "int f(int n) { if (n < 2) return n; return f(n - 1) + help(n - 2); } int help(int n) { return f(n); }",
        "int g(int k) { if (k < 2) return k; return g(k - 1) + other(k - 2); } int other(int k) { return g(k); }",
    ]
    one, other = (Source("cpp", text).shapes()[0] for text in texts)
    assert one == other and one.nodes == 16


def test_text_nested_beyond_all_measure_has_no_shape_and_breaks_nothing() -> None:
    assert Source("javascript", f"function f() {{ return {'(' * 5000}1{')' * 5000}; }}").shapes() == []


def test_kinds_tell_functions_apart_that_cannot_answer_each_other() -> None:
    wanted = one("cpp", "bool f(vector<float> a, float b) { return true; }")
    for text, may in (
        ("bool g(const std::vector<double>& xs, int k) { return false; }", True),
        ("auto g(auto xs, auto k) { return false; }", True),
        ("bool g(std::string s, int k) { return false; }", False),
        ("void g(vector<float> a, float b) { }", False),
        ("bool g(vector<int> a, float b) { return true; }", False),
        ("bool g(vector<vector<float>> a, float b) { return true; }", False),
        ("bool g(vector<float> a) { return true; }", False),
    ):
        assert one("cpp", text).may_answer(wanted) is may
    assert [kind(each) for each in ("String[]", "HashMap<String, Integer>", "unsigned long", "&str", "Node")] == [
        "list text", "map", "number", "text", "",
    ]  # fmt: skip


def one(language: str, text: str) -> Found:
    return Source(language, text).functions()[0]


def program(language: str, text: str, wanted: str) -> str:
    source = Source(language, text)
    return " ".join(under_name(source, source.functions()[-1], one(language, wanted)).split())


def test_a_function_gets_the_wanted_name_everywhere_and_what_had_it_another() -> None:
    text = "const wanted = 3;\nfunction mine(n) { return n ? mine(n - 1) + wanted : 0; }\nconsole.log(mine(2));"
    assert program("javascript", text, "function wanted(n) {}") == (
        "const wanted_before = 3; function wanted(n) { return n ? wanted(n - 1) + wanted_before : 0; }"
    )


def test_a_method_is_called_on_a_fresh_object_or_put_into_the_class_of_the_tests() -> None:
    js = program("javascript", "class C { m(x) { return x; } }", "function f(x) {}")
    assert js == "class C { f(x) { return x; } } const f = (...a) => new C().f(...a);"
    cpp = program("cpp", "class C { public: int m(int x) const { return x; } };", "int f(int x) { return 0; }")
    assert cpp.endswith("int f(int x) { C made; return made.f(x); }")
    java = program("java", "public class Mine { private int m(int x) { return x; } }",
                   "class Solution { public int f(int x) { return 0; } }")  # fmt: skip
    assert java == "import java.util.*; public class Solution { public int f(int x) { return x; } }"


def test_types_that_mean_the_same_are_converted_where_a_compiler_would_mind() -> None:
    cpp = program("cpp", "double m(const std::vector<double>& x) { double s = 0; return s; }",
                  "float f(vector<float> x) { return 0; }")  # fmt: skip
    assert cpp == "using namespace std; float f(const std::vector<float> x) { float s = 0; return s; }"
    java = program("java", "int[] m(int[] xs, double k) { return xs; }",
                   "class Solution { public List<Integer> f(List<Integer> a, double b) { return a; } }")  # fmt: skip
    assert (
        "public List<Integer> f(List<Integer> a, double b) { return Arrays.stream(f_own(a.stream().mapToInt(x -> x)"
        ".toArray(), b)).boxed().collect(java.util.stream.Collectors.toList()); }" in java
    )
    rust = program("rust", "fn m(xs: &[i64], name: String) -> usize { xs.len() + name.len() }",
                   "fn f(a: Vec<i32>, b: &str) -> i32 { 0 }")  # fmt: skip
    assert rust.endswith(
        "fn f(a: Vec<i32>, b: &str) -> i32 { return (f_own(&a.into_iter().map(|x| (x as i64)).collect::<Vec<i64>>(), "
        "b.to_string()) as i32); }"
    )
