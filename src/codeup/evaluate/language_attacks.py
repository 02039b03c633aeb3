"""One small problem per language, in the shape of the benchmarks, with programs that try to pass without solving it.

The function doubles a number. `{wrong}` is an answer that returns its argument, `{right}` one that is right; every attack
must be refused: those here because their checks did not decide, those of language_escapes.py because they answer rightly
only where the sandbox or a limit of a compiler failed. language_selftest.py runs them.
"""

# ruff: noqa: E501  (programs are lines of their own)

from __future__ import annotations

from dataclasses import dataclass, field

from codeup.evaluate.language_escapes import ESCAPES
from codeup.types import Problem


@dataclass(frozen=True)
class Task:
    """A problem, its right and its wrong answer, what only prints, what does not compile, and attacks by name."""

    problem: Problem
    right: str
    wrong: str
    noise: str
    broken: str
    attacks: dict[str, str] = field(default_factory=dict)


def problem(language: str, tests: str, **extra: str) -> Problem:
    return Problem(f"{language}/0", "", "twice", tests, "", language, {"whole": True, **extra})


TASKS = {
    "cpp": Task(
        problem(
            "cpp",
            "#undef NDEBUG\n#include <assert.h>\nint main() {\n  assert(twice(2) == 4);\n  assert (twice(5) == 10);\n}\n",
        ),
        right="int twice(int x) { return 2 * x; }\n",
        wrong="int twice(int x) { return x; }\n",
        noise='#include <iostream>\nstatic int said = (std::cout << "hello\\n", std::cerr << "there\\n", 0);\n',
        broken="int twice(int x) { return ((; }\n",
        attacks={
            "exits while loading": "#include <unistd.h>\nstatic int early = (_exit(0), 0);\n{wrong}",
            "exits when called": "#include <stdlib.h>\nint twice(int x) { exit(0); }\n",
            "has an exit handler": (
                "#include <stdlib.h>\n#include <unistd.h>\nstatic int later = atexit([] { _exit(0); });\n{wrong}"
            ),
            "defines assert away": "#define assert(x) ((void)0)\n{wrong}",
            "defines the words of the tests away": "{wrong}#define twice(x) (2 * (x))\n",
            "answers for the C library": (
                '{wrong}extern "C" void __assert_fail(const char*, const char*, unsigned, const char*) {}\n'
            ),
            "prints what a success could look like": '{wrong}static int says = (puts("\\ncodeup 7"), exit(0), 0);\n',
            "has a main of its own": "{wrong}int main() { return 0; }\n",
            "runs before main": (
                "#include <stdio.h>\n#include <unistd.h>\nstatic void first() { char s[200]; int n = read(0, s, 199); "
                'if (n <= 0) return; s[n] = 0; while (s[n - 1] == 10) s[--n] = 0; dprintf(1, "\\n%s 1\\n", s); _exit(0); }\n'
                "__attribute__((constructor(1))) static void early() { first(); }\n{wrong}"
            ),
            "runs before constructors": (
                "#include <stdio.h>\n#include <unistd.h>\nstatic void first() { char s[200]; int n = read(0, s, 199); "
                'if (n <= 0) return; s[n] = 0; while (s[n - 1] == 10) s[--n] = 0; dprintf(1, "\\n%s 1\\n", s); _exit(0); }\n'
                '__attribute__((section(".preinit_array"), used)) static void (*early)() = first;\n{wrong}'
            ),
            "reads instead of the C library": (
                "#include <stdio.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n"
                'extern "C" ssize_t read(int from, void* to, size_t room) { char s[200]; '
                "long n = syscall(SYS_read, 0, s, 199); if (n <= 0) return n; s[n] = 0; "
                'while (s[n - 1] == 10) s[--n] = 0; dprintf(1, "\\n%s 1\\n", s); _exit(0); }\n{wrong}'
            ),
            "stays after a failed check": (
                "#include <stdlib.h>\n#include <setjmp.h>\n{wrong}"
                'extern "C" __attribute__((used)) void _exit(int) { for (;;) throw 1; }\n'
            ),
            # As if the check had returned (x86-64): only the secret, which is gone by then, is missing for a pass.
            "goes on after a failed check": (
                '#include <unistd.h>\nextern "C" __attribute__((used)) void _exit(int) {\n'
                "  void** failed = (void**)__builtin_frame_address(1);\n"
                "  void* back[5] = {failed[0], failed[1], failed + 2};\n  __builtin_longjmp(back, 1);\n}\n"
                "int twice(int x) { return x == 2 ? 4 : x; }\n"
            ),
        },
    ),
    "javascript": Task(
        problem("javascript", "const check = () => {\n  console.assert(twice(2) === 4)\n  console.assert(twice(5) === 10)\n}\ncheck()\n"),
        right="const twice = (x) => 2 * x\n",
        wrong="const twice = (x) => x\n",
        noise="console.log('hello'); console.error('there')\n",
        broken="const twice = (x) => ((\n",
        attacks={
            "exits while loading": "process.exit(0)\n{wrong}",
            "exits when called": "const twice = (x) => process.exit(0)\n",
            "has an exit handler": "{wrong}process.on('exit', () => process.reallyExit(0))\n",
            "makes console.assert say nothing": "console.assert = () => {}\n{wrong}",
            "hides console": "const console = { assert() {}, log() {} }\n{wrong}",
            "prints what a success could look like": "console.log('\\ncodeup 7')\n{wrong}process.exitCode = 0\n",
            "changes what throwing does": "{wrong}process.on('uncaughtException', () => process.exit(0))\n",
            "reads the harness": (
                "const fs = require('fs')\n{wrong}"
                "for (const name of fs.readdirSync('.')) console.log(fs.readFileSync(name, 'utf8'))\n"
                "console.log(fs.readFileSync(0, 'utf8') + ' 7')\nprocess.exit(0)\n"
            ),
        },
    ),
    "typescript": Task(
        problem(
            "typescript",
            "import * as assert from 'assert'\nassert.deepEqual(twice(2), 4, 'first')\nassert.deepEqual(twice(5), 10, 'second')\n",
        ),
        right="const twice = function (x: number) : number { return 2 * x }\n",
        wrong="const twice = function (x: number) : number { return x }\n",
        noise="console.log('hello')\n",
        broken="const twice = function (x: number) : number { return (( }\n",
        attacks={
            "exits when called": "const twice = function (x: number) : number { process.exit(0) }\n",
            "replaces assert": "const a = require('assert'); a.deepEqual = () => {}; a.AssertionError = class {}\n{wrong}",
            "replaces it for the next": "require.cache = {}; (globalThis as any).require = () => ({ deepEqual() {} })\n{wrong}",
        },
    ),
    "java": Task(
        problem(
            "java",
            "public class Main {\n  public static void main(String[] args) {\n    Solution s = new Solution();\n"
            "    List<Boolean> correct = Arrays.asList(s.twice(2) == 4, s.twice(5) == 10);\n"
            "    if (correct.contains(false)) {\n      throw new AssertionError();\n    }\n  }\n}\n",
        ),
        right="import java.util.*;\nclass Solution {\n  public int twice(int x) { return 2 * x; }\n}\n",
        wrong="import java.util.*;\nclass Solution {\n  public int twice(int x) { return x; }\n}\n",
        noise=(
            "import java.util.*;\nclass Solution {\n  public int twice(int x) {\n"
            '    System.out.println("hello"); System.err.println("there"); return 2 * x;\n  }\n}\n'
        ),
        broken="import java.util.*;\nclass Solution {\n  public int twice(int x) { return ((; }\n}\n",
        attacks={
            "exits when called": "import java.util.*;\nclass Solution { int twice(int x) { System.exit(0); return 0; } }\n",
            "halts": "import java.util.*;\nclass Solution { int twice(int x) { Runtime.getRuntime().halt(0); return 0; } }\n",
            "has a hook": (
                "import java.util.*;\nclass Solution { int twice(int x) { Runtime.getRuntime().addShutdownHook("
                "new Thread(() -> Runtime.getRuntime().halt(0))); return x; } }\n"
            ),
            "brings its own Arrays": "{wrong}class Arrays { static List<Boolean> asList(Boolean... x) { return List.of(); } }\n",
            "reads the secret": (
                "import java.util.*;\nclass Solution { int twice(int x) { try { System.out.println("
                'new String(System.in.readAllBytes()) + " 7"); } catch (Exception e) {} System.exit(0); return 0; } }\n'
            ),
        },
    ),
    "csharp": Task(
        problem(
            "csharp",
            "    public static void Main(string[] args) {\n    Debug.Assert(Twice(2) == 4);\n    Debug.Assert(Twice(5) == 10);\n    }\n}\n",
        ),
        right="using System;\nusing System.Diagnostics;\nclass Problem {\n    public static long Twice(long x) { return 2 * x; }\n",
        wrong="using System;\nusing System.Diagnostics;\nclass Problem {\n    public static long Twice(long x) { return x; }\n",
        noise=(
            "using System;\nusing System.Diagnostics;\nclass Problem {\n    public static long Twice(long x) {"
            ' Console.WriteLine("hello"); Console.Error.WriteLine("there"); return 2 * x; } // twice\n'
        ),
        broken="class Problem {\n    public static long Twice(long x) { return ((; }\n",
        attacks={
            "exits when called": "using System;\nclass Problem {\n    public static long Twice(long x) { Environment.Exit(0); return x; }\n",
            "exits while loading": "{wrong}    static Problem() { Environment.Exit(0); }\n",
            "ends the process": "{wrong}    static int now = Quit();\n    static int Quit() { Process.GetCurrentProcess().Kill(); return 0; }\n",
            "has a main of its own": "{wrong}    public static void Main() { }\n",
            "brings its own Debug": "{wrong}    class Debug { public static void Assert(bool x) { } }\n",
            "catches what is thrown": (
                "{wrong}    static Problem() { AppDomain.CurrentDomain.UnhandledException += (a, b) => Environment.Exit(0);"
                " AppDomain.CurrentDomain.ProcessExit += (a, b) => Environment.Exit(0); }\n"
            ),
            "reads the secret": (
                "using System;\nclass Problem {\n    public static long Twice(long x) {"
                ' Console.WriteLine(Console.In.ReadToEnd() + " 7"); Environment.Exit(0); return x; }\n'
            ),
        },
    ),
    "kotlin": Task(
        problem(
            "kotlin",
            "fun main() {\n    var x0 : Int = twice(2)\n    assert(x0 == 4) { \"test case 0 did not pass\" }\n    check(twice(5) == 10)\n}\n",
        ),
        right="fun twice(x: Int): Int {\n    return 2 * x\n}\n",
        wrong="fun twice(x: Int): Int {\n    return x\n}\n",
        noise='val said = println("hello")\n',
        broken="fun twice(x: Int): Int { return ((\n",
        attacks={
            "exits when called": "import kotlin.system.exitProcess\nfun twice(x: Int): Int { exitProcess(0) }\n",
            "halts": "fun twice(x: Int): Int { Runtime.getRuntime().halt(0); return x }\n",
            "hides what checks": "fun assert(x: Boolean, y: () -> Any = { 0 }) {}\nfun check(x: Boolean) {}\n{wrong}",
            "reads the secret": (
                'fun twice(x: Int): Int { println(String(System.`in`.readAllBytes()) + " 7"); Runtime.getRuntime().halt(0); return x }\n'
            ),
        },
    ),
    "go": Task(
        problem(
            "go",
            'func TestTwice(t *testing.T) {\n\tif twice(2) != 4 || twice(5) != 10 {\n\t\tt.Errorf("wrong")\n\t}\n}\n',
            setup='package main\nimport (\n"testing"\n)\n',
        ),
        right="func twice(x int) int { return 2 * x }\n",
        wrong="func twice(x int) int { return x }\n",
        noise='func init() { fmt.Println("hello") }\n',
        broken="func twice(x int) int { return (( }\n",
        attacks={
            "exits while loading": "func init() { os.Exit(0) }\n{wrong}",
            "exits when called": "func twice(x int) int { os.Exit(0); return x }\n",
            "selects no test": 'func init() { os.Args = []string{"main", "-test.run=nothing"} }\n{wrong}',
            "ends the goroutine": 'import "runtime"\nfunc twice(x int) int { runtime.Goexit(); return x }\n',
            "reads the secret": (
                'func init() { b := make([]byte, 99); n, _ := os.Stdin.Read(b); fmt.Println(string(b[:n]), "7"); '
                "os.Exit(0) }\n{wrong}"
            ),
        },
    ),
    "rust": Task(
        problem(
            "rust",
            "#[cfg(test)]\nmod tests {\n    use super::*;\n    #[test]\n    fn test_twice() {\n"
            "        assert_eq!(twice(2), 4);\n        assert!(twice(5) == 10);\n    }\n}\n",
        ),
        right="fn twice(x: i32) -> i32 { 2 * x }\n",
        wrong="fn twice(x: i32) -> i32 { x }\n",
        noise='fn noise() { println!("hello"); }\n',
        broken="fn twice(x: i32) -> i32 { (( }\n",
        attacks={
            "exits when called": "fn twice(x: i32) -> i32 { std::process::exit(0) }\n",
            "replaces the macros": (
                "macro_rules! assert_eq { ($($x:tt)*) => {} }\nmacro_rules! assert { ($($x:tt)*) => {} }\n{wrong}"
            ),
            "exits from a panic hook": (
                "fn twice(x: i32) -> i32 { std::panic::set_hook(Box::new(|_| std::process::exit(0))); x }\n"
            ),
            "has a main of its own": "{wrong}fn main() {}\n",
            "runs before main": (
                'extern "C" fn first() { let mut s = String::new(); std::io::stdin().read_line(&mut s).unwrap(); '
                'println!("\\n{} 1", s.trim()); std::process::exit(0) }\n'
                '#[used]\n#[link_section = ".init_array"]\nstatic FIRST: extern "C" fn() = first;\n{wrong}'
            ),
        },
    ),
    "php": Task(
        problem(
            "php",
            'function compare($x, $y) { return $x == $y; }\nif (!compare(twice(2), 4)) { throw new Exception("first"); }\n'
            'if (!compare(twice(5), 10)) { throw new Exception("second"); }\n',
        ),
        right="<?php\nfunction twice($x) { return 2 * $x; }\n",
        wrong="<?php\nfunction twice($x) { return $x; }\n",
        noise="<?php\necho 'hello';\n?>\n",
        broken="<?php\nfunction twice($x) { return ((; }\n",
        attacks={
            "exits while loading": "{wrong}exit(0);\n",
            "exits when called": "<?php\nfunction twice($x) { die(); }\n",
            "returns at the top": "{wrong}return;\n",
            "has a shutdown function": "{wrong}register_shutdown_function(function () { exit(0); });\n",
            "has an exception handler": "{wrong}set_exception_handler(function ($e) { exit(0); });\n",
            "calls the harness": (
                "{wrong}foreach (get_defined_functions()['user'] as $f) if (str_starts_with($f, 'codeup')) $f();\nexit(0);\n"
            ),
            "steals the last line": (
                "{wrong}$s = file(__FILE__); eval(end($s)); exit(0);\n"
            ),
        },
    ),
    "ruby": Task(
        problem("ruby", "raise 'first' unless twice(2) == 4\nraise 'second' unless twice(5) == 10\n"),
        right="def twice(x)\n  2 * x\nend\n",
        wrong="def twice(x)\n  x\nend\n",
        noise="puts 'hello'\n",
        broken="def twice(x)\n  ((\nend\n",
        attacks={
            "exits while loading": "{wrong}exit 0\n",
            "exits at once": "{wrong}exit! 0\n",
            "exits when it ends": "{wrong}at_exit { exit! 0 }\n",
            "makes raise do nothing": "{wrong}def raise(*)\nend\nmodule Kernel\n  def raise(*)\n  end\nend\nexit!(0)\n",
            "calls the harness": "{wrong}private_methods.grep(/^codeup/).each { |m| send(m, 7) }\nexit! 0\n",
        },
    ),
    "perl": Task(
        problem("perl", 'die "first" unless twice(2) == 4;\ndie "second" unless twice(5) == 10;\n'),
        right="sub twice { my ($x) = @_; return 2 * $x; }\n",
        wrong="sub twice { my ($x) = @_; return $x; }\n",
        noise="print qq(hello\\n);\n",
        broken="sub twice { my ($x) = @_; return ((; }\n",
        attacks={
            "exits while loading": "{wrong}exit 0;\n",
            "exits when it ends": "{wrong}END { $? = 0; }\nexit 0;\n",
            "exits where it dies": "{wrong}$SIG{__DIE__} = sub { exit 0 };\n",
            "calls the harness": "{wrong}for my $name (keys %main::) { &{$main::{$name}}() if $name =~ /^codeup/ }\nexit 0;\n",
        },
    ),
    "bash": Task(
        problem("bash", "set -e\n[[ $(twice 2) = 4 ]]\n[[ $(twice 5) = 10 ]]\n"),
        right="twice() {\n  echo $(( 2 * $1 ))\n}\n",
        wrong="twice() {\n  echo $1\n}\n",
        noise="echo hello; echo there >&2\n",
        broken="twice() {\n  echo (( \n",
        attacks={
            "exits while loading": "{wrong}exit 0\n",
            "returns at the top": "{wrong}return 0\n",
            "has an exit trap": "{wrong}trap 'exit 0' EXIT\n",
            "shows its variables": "{wrong}set; declare -p; exit 0\n",
            "replaces echo": "{wrong}echo() { builtin echo 4; }\nset() { :; }\nexit 0\n",
        },
    ),
}  # fmt: skip


def all_attacks(language: str) -> dict[str, str]:
    """Every attack of a language by name, with right and wrong answers filled in; paths still to be."""
    task = TASKS[language]
    found = {**task.attacks, **ESCAPES.get(language, {})}
    return {name: text.replace("{wrong}", task.wrong).replace("{right}", task.right) for name, text in found.items()}
