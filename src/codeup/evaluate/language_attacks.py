"""One small problem per language, in the shape of the benchmarks, with programs that try to pass without solving it.

The function doubles a number. `{wrong}` is an answer that returns its argument, `{right}` one that is right; every attack
must be refused, the first kind because its checks did not decide, the second (SANDBOX) because it answers rightly only
where the sandbox or a limit of a compiler failed. language_selftest.py runs them.
"""

# ruff: noqa: E501  (programs are lines of their own)

from __future__ import annotations

from dataclasses import dataclass, field

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


def doubled(line: str, times: int = 40) -> str:
    """Lines that each hold two of the one before: {n} is their number, {m} that of the one before."""
    return "".join(line.format(n=n, m=n - 1) for n in range(1, times))


def nested(opening: str, closing: str, times: int, core: str) -> str:
    return opening * times + core + closing * times


SANDBOX: dict[str, dict[str, str]] = {
    "cpp": {
        "starts a process": "#include <unistd.h>\nint twice(int x) { int p = fork(); if (p == 0) _exit(0); return p > 0 ? 2 * x : x; }\n",
        "becomes another program": '#include <unistd.h>\nint twice(int x) { execl("/usr/bin/true", "true", (char*)0); return x; }\n',
        "reads a file outside": '#include <fstream>\nint twice(int x) { std::ifstream f("@SECRET@"); std::string s; f >> s; return s.empty() ? x : 2 * x; }\n',
        "writes a file outside": '#include <fstream>\nint twice(int x) { std::ofstream f("@OUTSIDE@/new"); f << "x"; f.close(); return f.good() ? 2 * x : x; }\n',
        "opens a socket": "#include <sys/socket.h>\nint twice(int x) { return socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 2 * x : x; }\n",
        "takes memory": "#include <vector>\nint twice(int x) { std::vector<char> v(6ul << 30, 1); return 2 * x; }\n",
        "shares memory": (
            "#include <sys/mman.h>\n#include <string.h>\nint twice(int x) { void* p = mmap(0, 6ul << 30, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);"
            " if (p == MAP_FAILED) return x; memset(p, 1, 6ul << 30); return 2 * x; }\n"
        ),
        "computes for ever": "int twice(int x) { volatile int y = 0; for (;;) ++y; }\n",
        "waits for ever": "#include <unistd.h>\nint twice(int x) { for (;;) sleep(1000); }\n",
        "prints for ever": "#include <stdio.h>\nint twice(int x) { for (;;) puts(\"much\"); }\n",
        "includes a file outside": '#include "@SECRET@"\n{right}',
        "includes a device": '#include "/dev/zero"\n{right}',
        "recurses in templates": "template <int N> struct A { static const long v = A<N + 1>::v + A<N + 2>::v; };\nlong w = A<0>::v;\n{right}",
        "branches in templates": (
            "template <int N, class T> struct A { typedef typename A<N - 1, T*>::t a; typedef typename A<N - 1, T&>::t t; };\n"
            "template <class T> struct A<0, T> { typedef int t; };\n"
            "template <int N, class... T> struct B : B<N - 1, T..., T...> {};\nB<40, int> b;\n{right}"
        ),
        "doubles a macro": (
            "#define A0 +1\n" + "".join(f"#define A{n} A{n - 1} A{n - 1}\n" for n in range(1, 41)) + "long w = 0 A40;\n{right}"
        ),
        "has a huge array": "char big[1ul << 46] = {1};\n{right}",
    },
    "javascript": {
        "starts a process": "const twice = (x) => require('child_process').spawnSync(process.execPath, ['-e', '0']).status === 0 ? 2 * x : x\n",
        "reads a file outside": "const twice = (x) => { try { require('fs').readFileSync('@SECRET@'); return 2 * x } catch { return x } }\n",
        "writes a file outside": "const twice = (x) => { try { require('fs').writeFileSync('@OUTSIDE@/new', 'x'); return 2 * x } catch { return x } }\n",
        "opens a socket": (
            "const dgram = require('dgram'); let twice = (x) => { try { const s = dgram.createSocket('udp4'); s.bind(0); s.address(); return 2 * x } "
            "catch { return x } }\n"
        ),
        "takes memory": "const twice = (x) => { const a = []; for (let i = 0; i < 3000; i++) a.push(new Array(1e6).fill(i)); return 2 * x }\n",
        "computes for ever": "const twice = (x) => { for (;;) ; }\n",
        "prints for ever": "const twice = (x) => { for (;;) console.log('much'); }\n",
        "fills the scratch": (
            "const twice = (x) => { try { for (let i = 0; i < 600; i++) require('fs').appendFileSync('big', Buffer.alloc(1 << 20)); return 2 * x } "
            "catch { return x } }\n"
        ),
    },
    "typescript": {
        "starts a process": "const twice = function (x: number) : number { return require('child_process').spawnSync(process.execPath, ['-e', '0']).status === 0 ? 2 * x : x }\n",
        "reads a file outside": "const twice = function (x: number) : number { try { require('fs').readFileSync('@SECRET@'); return 2 * x } catch { return x } }\n",
        "nests deeper than the compiler's stack": f"{{right}}const a = {nested('(1 + ', ')', 60000, '1')}\n",
        "computes for ever": "const twice = function (x: number) : number { for (;;) ; }\n",
    },
    "java": {
        "starts a process": (
            "class Solution { int twice(int x) { try { return new ProcessBuilder(System.getProperty(\"java.home\") + \"/bin/java\", \"-version\")"
            ".start().waitFor() == 0 ? 2 * x : x; } catch (Exception e) { return x; } } }\n"
        ),
        "reads a file outside": (
            "class Solution { int twice(int x) { try { java.nio.file.Files.readString(java.nio.file.Path.of(\"@SECRET@\")); return 2 * x; }"
            " catch (Exception e) { return x; } } }\n"
        ),
        "opens a socket": "class Solution { int twice(int x) { try { new java.net.ServerSocket(0); return 2 * x; } catch (Exception e) { return x; } } }\n",
        "takes memory": "class Solution { int twice(int x) { var all = new java.util.ArrayList<int[]>(); for (int i = 0; i < 3000; i++) all.add(new int[1 << 20]); return 2 * x; } }\n",
        "computes for ever": "class Solution { int twice(int x) { for (long i = 0; ; i++) if (i < 0) return 2 * x; } }\n",
        "doubles a constant": (
            "{right}class A {\nstatic final String A0 = \"0123456789\";\n"
            + doubled("static final String A{n} = A{m} + A{m};\n")
            + "}\nclass B { String b = A.A39; }\n"
        ),
        "nests deeper than the compiler's stack": f"{{right}}class A {{ int a = {nested('(1 + ', ')', 60000, '1')}; }}\n",
        "asks for an annotation processor": (
            "{wrong}@javax.annotation.processing.SupportedAnnotationTypes(\"*\")\n"
            "class A extends javax.annotation.processing.AbstractProcessor {\n"
            "static { System.exit(0); }\npublic boolean process(Set<? extends javax.lang.model.element.TypeElement> a, "
            "javax.annotation.processing.RoundEnvironment b) { System.exit(0); return true; } }\n"
        ),
        "has the names of the harness": (
            "{wrong}class CodeupCompiler { public static void main(String[] a) { System.exit(0); } }\n"
            "class CodeupHarness { public static void main(String[] a) { System.exit(0); } }\n"
        ),
    },
    "csharp": {
        "starts a process": "using System.Diagnostics;\nclass Problem {\n    public static long Twice(long x) { try { Process.Start(\"/usr/bin/mono\"); return 2 * x; } catch (System.Exception) { return x; } }\n",
        "reads a file outside": "using System.Diagnostics;\nclass Problem {\n    public static long Twice(long x) { try { System.IO.File.ReadAllText(\"@SECRET@\"); return 2 * x; } catch (System.Exception) { return x; } }\n",
        "opens a socket": "using System.Diagnostics;\nclass Problem {\n    public static long Twice(long x) { try { new System.Net.Sockets.UdpClient(0); return 2 * x; } catch (System.Exception) { return x; } }\n",
        "computes for ever": "using System.Diagnostics;\nclass Problem {\n    public static long Twice(long x) { for (;;) x++; }\n",
        "doubles a constant": "{right}    const string A0 = \"0123456789\";\n" + doubled("    const string A{n} = A{m} + A{m};\n"),
    },
    "kotlin": {
        "starts a process": "fun twice(x: Int): Int = try { ProcessBuilder(\"/scratch/x\").start(); 2 * x } catch (e: Throwable) { x }\n",
        "reads a file outside": "fun twice(x: Int): Int = try { java.io.File(\"@SECRET@\").readText(); 2 * x } catch (e: Throwable) { x }\n",
        "opens a socket": "fun twice(x: Int): Int = try { java.net.ServerSocket(0); 2 * x } catch (e: Throwable) { x }\n",
        "computes for ever": "fun twice(x: Int): Int { var i = x; while (true) { i++ } }\n",
        "takes memory": "fun twice(x: Int): Int { val all = ArrayList<IntArray>(); for (i in 0..3000) all.add(IntArray(1 shl 20)); return 2 * x }\n",
        "doubles a constant": "{right}const val A0 = \"0123456789\"\n" + doubled("const val A{n} = A{m} + A{m}\n"),
        "nests deeper than the compiler's stack": f"{{right}}val a = {nested('(1 + ', ')', 20000, '1')}\n",
        "names the compiler's own classes": (
            "import org.jetbrains.kotlin.cli.jvm.K2JVMCompiler\n{right}val a = K2JVMCompiler()\n"
        ),
        "has the names of the harness": (
            "{wrong}object CodeupCompiler { @JvmStatic fun main(a: Array<String>) { System.exit(0) } }\n"
            "object CodeupHarness { @JvmStatic fun main(a: Array<String>) { System.exit(0) } }\n"
        ),
    },
    "go": {
        "starts a process": (
            "func twice(x int) int { if _, err := os.StartProcess(\"/scratch/main\", []string{\"main\"}, &os.ProcAttr{}); err == nil { return 2 * x }; return x }\n"
        ),
        "reads a file outside": "func twice(x int) int { if _, err := os.ReadFile(\"@SECRET@\"); err == nil { return 2 * x }; return x }\n",
        "opens a socket": "import \"net\"\nfunc twice(x int) int { if _, err := net.Listen(\"tcp\", \":0\"); err == nil { return 2 * x }; return x }\n",
        "has a huge array": "var big [1 << 40]byte\nfunc init() { big[7] = 1 }\n{right}",
        "computes for ever": "func twice(x int) int { for { x++ } }\n",
    },
    "rust": {
        "starts a process": "fn twice(x: i32) -> i32 { if std::process::Command::new(\"/scratch/main\").status().is_ok() { 2 * x } else { x } }\n",
        "reads a file outside": "fn twice(x: i32) -> i32 { if std::fs::read(\"@SECRET@\").is_ok() { 2 * x } else { x } }\n",
        "reads it while compiling": "const S: &str = include_str!(\"@SECRET@\");\n{right}",
        "opens a socket": "fn twice(x: i32) -> i32 { if std::net::UdpSocket::bind(\"127.0.0.1:0\").is_ok() { 2 * x } else { x } }\n",
        "recurses in a macro": "macro_rules! a { ($($x:tt)*) => { a!($($x)* $($x)* b) } }\nfn f() { a!(b) }\n{right}",
        "computes while compiling": "const N: u64 = { let mut i = 0u64; while i < u64::MAX { i += 1; } i };\n{right}fn g() -> u64 { N }\n",
        "computes for ever": "fn twice(x: i32) -> i32 { loop { std::hint::black_box(x); } }\n",
    },
    "php": {
        "starts a process": "<?php\nfunction twice($x) { return @proc_open([PHP_BINARY, '-v'], [], $p) ? 2 * $x : $x; }\n",
        "reads a file outside": "<?php\nfunction twice($x) { return @file_get_contents('@SECRET@') ? 2 * $x : $x; }\n",
        "opens a socket": "<?php\nfunction twice($x) { return @stream_socket_server('tcp://127.0.0.1:0') ? 2 * $x : $x; }\n",
        "takes memory": "<?php\nini_set('memory_limit', -1);\nfunction twice($x) { $s = str_repeat('x', 6 << 30); return 2 * $x; }\n",
        "computes for ever": "<?php\nfunction twice($x) { for (;;) ; }\n",
    },
    "ruby": {
        "starts a process": "def twice(x)\n  fork { exit! }\n  2 * x\nrescue SystemCallError, NotImplementedError\n  x\nend\n",
        "reads a file outside": "def twice(x)\n  File.read('@SECRET@')\n  2 * x\nrescue SystemCallError\n  x\nend\n",
        "opens a socket": "require 'socket'\ndef twice(x)\n  UDPSocket.new\n  2 * x\nrescue SystemCallError\n  x\nend\n",
    },
    "perl": {
        "starts a process": "sub twice { my ($x) = @_; my $p = fork; exit 0 if defined $p && !$p; return $p ? 2 * $x : $x; }\n",
        "reads a file outside": "sub twice { my ($x) = @_; return open(my $f, '<', '@SECRET@') ? 2 * $x : $x; }\n",
        "opens a socket": "use Socket;\nsub twice { my ($x) = @_; return socket(my $s, PF_INET, SOCK_STREAM, 0) ? 2 * $x : $x; }\n",
    },
    "bash": {
        "reads a file outside": "twice() { if cat '@SECRET@' >/dev/null 2>&1; then echo $((2 * $1)); else echo $1; fi; }\n",
        "opens a socket": "twice() { if (exec 9<>/dev/udp/127.0.0.1/9) 2>/dev/null; then echo $((2 * $1)); else echo $1; fi; }\n",
        "is a fork bomb": "bomb() { bomb | bomb & }\ntwice() { bomb; sleep 60; echo $((2 * $1)); }\n",
    },
}  # fmt: skip
"""Programs that answer rightly only if the sandbox or a limit failed: @SECRET@ and @OUTSIDE@ are paths of the bait."""


def all_attacks(language: str) -> dict[str, str]:
    """Every attack of a language by name, with right and wrong answers filled in; paths still to be."""
    task = TASKS[language]
    found = {**task.attacks, **SANDBOX.get(language, {})}
    return {name: text.replace("{wrong}", task.wrong).replace("{right}", task.right) for name, text in found.items()}
