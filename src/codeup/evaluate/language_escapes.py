"""Programs in other languages that reach for what is outside, or for more than they were given; all others: language_attacks.py.

Each answers rightly only where the sandbox or a limit of a compiler failed, so that one that passes is a hole.
"""

# ruff: noqa: E501  (programs are lines of their own)

from __future__ import annotations


def doubled(line: str, times: int = 40) -> str:
    """Lines that each hold two of the one before: {n} is their number, {m} that of the one before."""
    return "".join(line.format(n=n, m=n - 1) for n in range(1, times))


def nested(opening: str, closing: str, times: int, core: str) -> str:
    return opening * times + core + closing * times


ESCAPES: dict[str, dict[str, str]] = {
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
