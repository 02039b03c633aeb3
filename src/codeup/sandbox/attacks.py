"""Numbered attacks on the sandbox and the judge, in four kinds, and honest programs that must pass.

Every attack is a program for one tiny problem, add(a, b), and answers rightly **only if the attack worked**. So one
rule holds for all of them: none may pass. Besides, none may change a file outside its scratch, or leave a process.

    escape    reach a file, the network, the environment, another process or more privilege
    forge     be judged right without computing the answer
    exhaust   use more time, memory, disk, processes or bandwidth than allowed
    linger    leave something behind that acts after the verdict

`SECRET` and `OUTSIDE` in the programs are replaced by real paths: a file only the caller may read, a folder where
nothing may appear. Sources: human-eval#67, evalplus#306, MultiPL-E's evil programs, and the escapes that human-eval's
reliability_guard warns of.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent, indent
from typing import Literal

Kind = Literal["escape", "forge", "exhaust", "linger", "control"]

ENTRY_POINT = "add"
REFERENCE = "def add(a, b):\n    return a + b\n"
TESTS = """
EXPECTED = [(1, 2, 3), (1017, -4, 1013), (0, 0, 0), (2**70, 1, 2**70 + 1)]


def check(candidate):
    for a, b, expected in EXPECTED:
        assert candidate(a, b) == expected
    assert candidate("x", "y") == "xy"
"""


@dataclass(frozen=True, slots=True)
class Attack:
    """One program. `number` is stable: reports and bug reports refer to it."""

    number: int
    kind: Kind
    name: str
    program: str


def _if_worked(number: int, kind: Kind, name: str, attempt: str) -> Attack:
    """An attack whose `attempt` is statements that must get through without an exception for the answer to be right."""
    body = indent(dedent(attempt).strip(), "    ")
    attempting = "worked = False\ntry:\n    worked = attack()\nexcept BaseException:\n    pass\n"
    answering = "def add(a, b):\n    return a + b if worked else None\n"
    return Attack(number, kind, name, f"def attack():\n{body}\n    return True\n\n{attempting}\n{answering}")


def _plain(number: int, kind: Kind, name: str, program: str) -> Attack:
    return Attack(number, kind, name, dedent(program).strip() + "\n")


ESCAPES = (
    _if_worked(1, "escape", "read a file of the caller", "assert open(SECRET).read()"),
    _if_worked(2, "escape", "read it with raw system calls", """
        import posix
        assert posix.read(posix.open(SECRET, posix.O_RDONLY), 10)"""),
    _if_worked(3, "escape", "write outside the scratch", "open(OUTSIDE + '/planted', 'w').write('x')"),
    _if_worked(4, "escape", "list the caller's folder", "import os\nos.listdir(os.path.dirname(SECRET))"),
    _if_worked(5, "escape", "run a shell", "import os\nassert os.system('true') == 0"),
    _if_worked(6, "escape", "run a program through _posixsubprocess and posix_spawn", """
        import os, sys
        pid = os.posix_spawn('/bin/sh', ['sh', '-c', 'true'], {})
        assert os.waitpid(pid, 0)[1] == 0"""),
    _if_worked(7, "escape", "become another program", "import os\nos.execv('/bin/true', ['true'])"),
    _if_worked(8, "escape", "open a network socket", "import socket\nsocket.socket().bind(('127.0.0.1', 0))"),
    _if_worked(9, "escape", "send a datagram", """
        import socket
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))"""),
    _if_worked(10, "escape", "reach an abstract Unix socket", """
        import socket
        socket.socket(socket.AF_UNIX).bind('\\0codeup-attack')"""),
    _if_worked(11, "escape", "find a secret in the environment", """
        import os
        own = {'PYTHONHASHSEED', 'CODEUP_SANDBOX', 'OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'LC_CTYPE'}
        assert set(os.environ) - own"""),
    _if_worked(12, "escape", "read another process's environment and memory", """
        import os
        assert open(f'/proc/{os.getppid()}/environ', 'rb').read() or open(f'/proc/{os.getppid()}/maps').read()"""),
    _if_worked(13, "escape", "kill the parent", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"),
    _if_worked(14, "escape", "kill everybody", "import os, signal\nos.kill(-1, signal.SIGKILL)"),
    _if_worked(15, "escape", "trace the parent with ptrace", """
        import ctypes, os
        assert ctypes.CDLL(None).ptrace(16, os.getppid(), None, None) == 0"""),
    _if_worked(16, "escape", "gain a user namespace", """
        import ctypes
        assert ctypes.CDLL(None).unshare(0x10000000) == 0"""),
    _if_worked(17, "escape", "mount something", """
        import ctypes
        assert ctypes.CDLL(None).mount(b'tmpfs', b'/', b'tmpfs', 0, None) == 0"""),
    _if_worked(18, "escape", "become root", "import os\nos.setuid(12345)\nos.setuid(0)"),
    _if_worked(19, "escape", "read the packaged benchmarks through CodeUp itself", """
        import codeup, pathlib
        assert [p.read_bytes() for p in pathlib.Path(codeup.__file__).parent.rglob('*.jsonl.gz')]"""),
    _if_worked(20, "escape", "raise its own limits", """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))"""),
    _if_worked(21, "escape", "follow a link out of the scratch", """
        import os
        os.symlink(SECRET, 'link')
        assert open('link').read()"""),
    _if_worked(22, "escape", "use descriptors it inherited", """
        import os, stat
        for number in range(3, 64):
            try:
                kind = os.fstat(number).st_mode
            except OSError:
                continue
            assert not stat.S_ISSOCK(kind) or os.read(number, 1) is None
            return True
        raise OSError"""),
)  # fmt: skip

FORGES = (
    _plain(23, "forge", "answer with an object equal to everything", """
        class Anything:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __hash__(self): return 0
            def __bool__(self): return True
        def add(a, b):
            return Anything()"""),
    _plain(24, "forge", "the same, hidden in a subclass of int", """
        class Number(int):
            def __eq__(self, other): return True
            __hash__ = int.__hash__
        def add(a, b):
            return Number(0)"""),
    _plain(25, "forge", "look for the expected value in the caller's frames", """
        import sys
        def add(a, b):
            frame = sys._getframe()
            while frame:
                for name, value in {**frame.f_globals, **frame.f_locals}.items():
                    if name in ('expected', 'EXPECTED', 'tests', 'job'):
                        return value if name == 'expected' else [c for x, y, c in value if (x, y) == (a, b)][0]
                frame = frame.f_back
            return None"""),
    _plain(26, "forge", "look for the tests in the garbage collector", """
        import gc
        def add(a, b):
            for thing in gc.get_objects():
                if isinstance(thing, (list, tuple)) and len(thing) == 4 and (1017, -4, 1013) in thing:
                    return [c for x, y, c in thing if (x, y) == (a, b)][0]
            for thing in gc.get_objects():
                if isinstance(thing, dict) and 'EXPECTED' in thing:
                    return 3
            return None"""),
    _plain(27, "forge", "exit with code 0 while loading", "import os\nos._exit(0)"),
    _plain(28, "forge", "exit with code 0 when called", """
        import posix
        def add(a, b):
            posix._exit(0)"""),
    _plain(29, "forge", "sys.exit(0) when called", """
        import sys
        def add(a, b):
            sys.exit(0)"""),
    _plain(30, "forge", "write a passing verdict to every descriptor", """
        import os, json
        line = json.dumps({'outcome': 'PASSED', 'detail': '', 'checks': 5, 'seconds': 0.1}).encode() + b'\\n'
        for number in range(64):
            for data in (line, len(line).to_bytes(4, 'big') + line):
                try:
                    os.write(number, data)
                except OSError:
                    pass
        def add(a, b):
            return None"""),
    _plain(31, "forge", "answer before being asked, many times", """
        import os, json
        frame = lambda m: len(json.dumps(m)).to_bytes(4, 'big') + json.dumps(m).encode()
        for number in range(3, 64):
            try:
                os.write(number, frame(['ready']) + b''.join(frame(['value', v]) for v in (3, 3, 3, 3, 3)))
            except OSError:
                pass
        os._exit(0)"""),
    _plain(32, "forge", "patch the comparison, the builtins and the encoder of its own process", """
        import builtins, operator, json, unittest
        operator.eq = lambda a, b: True
        builtins.all = builtins.any = lambda *a: True
        json.dumps = lambda *a, **k: '["value", 3]'
        def add(a, b):
            return None"""),
    _plain(33, "forge", "swallow assertions", """
        import builtins
        class Calm(BaseException): pass
        builtins.AssertionError = Calm
        def add(a, b):
            return None"""),
    _plain(34, "forge", "print that the tests passed", """
        print('PASSED\\n1 passed in 0.01s\\nOK')
        def add(a, b):
            print('PASSED')"""),
    _plain(35, "forge", "answer NaN, which compares strangely", "def add(a, b):\n    return float('nan')"),
    _plain(61, "forge", "claim that the sandbox is broken", """
        import os, json
        data = json.dumps(['broken', 'ask somebody else']).encode()
        for number in range(3, 64):
            try: os.write(number, len(data).to_bytes(4, 'big') + data)
            except OSError: pass
        def add(a, b):
            return None"""),
    _plain(36, "forge", "return the asserted constant", "def add(a, b):\n    return 3"),
)  # fmt: skip

EXHAUSTS = (
    _plain(37, "exhaust", "loop for ever", "def add(a, b):\n    while True: pass"),
    _plain(38, "exhaust", "loop for ever while loading, ignoring signals", """
        import signal
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError, TypeError): pass
        while True: pass"""),
    _plain(39, "exhaust", "sleep for ever", "import time\ndef add(a, b):\n    time.sleep(10**6)"),
    _plain(40, "exhaust", "a computation that no handler interrupts", "def add(a, b):\n    return 3 ** 10**9 % 7"),
    _if_worked(41, "exhaust", "allocate more than the limit", "keep = bytearray(MEMORY * 2)\nassert keep"),
    _if_worked(42, "exhaust", "allocate it in small pieces", "keep = [bytes(10**6) for _ in range(MEMORY // 10**5)]"),
    _if_worked(43, "exhaust", "fill the disk with one file", """
        with open('big', 'wb') as file:
            for _ in range(400):
                file.write(bytes(10**6))"""),
    _if_worked(44, "exhaust", "fill the disk with many files", """
        for number in range(400):
            with open(f'part{number}', 'wb') as file:
                file.write(bytes(10**6))"""),
    _if_worked(45, "exhaust", "a fork bomb", """
        import os
        while True:
            os.fork()"""),
    _if_worked(46, "exhaust", "a thousand threads", """
        import threading, time
        for _ in range(1000):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"""),
    _if_worked(47, "exhaust", "open a thousand files", "import os\n[os.open('/dev/null', 0) for _ in range(1000)]"),
    _plain(48, "exhaust", "print without end", "def add(a, b):\n    while True: print('x' * 10**6)"),
    _plain(49, "exhaust", "an answer of a gigabyte", "def add(a, b):\n    return 'x' * 10**9"),
    _plain(50, "exhaust", "an answer nested too deep", """
        def add(a, b):
            value = []
            for _ in range(10**6): value = [value]
            return value"""),
    _plain(51, "exhaust", "crash the interpreter", "import ctypes\ndef add(a, b):\n    ctypes.string_at(0)"),
    _plain(52, "exhaust", "announce an answer that never comes", """
        import os
        def add(a, b):
            for number in range(3, 64):
                try: os.write(number, bytes([0, 255, 0, 0]))
                except OSError: pass
            while True: pass"""),
    _plain(53, "exhaust", "recurse without end", """
        import sys
        sys.setrecursionlimit(10**9)
        def add(a, b):
            return add(a, b)"""),
)  # fmt: skip

LINGERS = (
    _if_worked(54, "linger", "leave a daemon", """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while True: time.sleep(1)
            os._exit(0)"""),
    _plain(55, "linger", "answer rightly once, from a thread that goes on writing", """
        import threading, time
        def write():
            while True:
                try: open(OUTSIDE + '/late', 'w').write('x')
                except OSError: time.sleep(0.01)
        threading.Thread(target=write, daemon=False).start()
        def add(a, b):
            return None"""),
    _if_worked(56, "linger", "leave a file for the next sample", """
        import os, time
        if os.path.exists('note'):
            return True
        open('note', 'w').write('x')
        raise OSError"""),
    _if_worked(57, "linger", "find the file that the previous sample left", "assert open('note').read()"),
    _if_worked(58, "linger", "leave System V shared memory", """
        import ctypes
        assert ctypes.CDLL(None).shmget(12345, 4096, 0o1666) >= 0"""),
    _plain(59, "linger", "close its channel and stay", """
        import os, time
        def add(a, b):
            os.closerange(0, 64)
            time.sleep(10**6)"""),
    _if_worked(60, "linger", "register an exit hook that acts late", """
        import atexit
        atexit.register(lambda: open(OUTSIDE + '/hook', 'w').write('x'))
        raise OSError"""),
)  # fmt: skip

CONTROLS = (
    _plain(901, "control", "an honest program", "def add(a, b):\n    return a + b"),
    _plain(902, "control", "an honest program that uses its scratch, threads and 30 MB", """
        import tempfile, threading
        def add(a, b):
            keep = bytearray(3 * 10**7)
            done = []
            thread = threading.Thread(target=done.append, args=(1,)); thread.start(); thread.join()
            with tempfile.TemporaryFile() as file:
                file.write(b'x' * 10**6)
            print('working on it')
            return a + b"""),
    _plain(903, "control", "an honest program with libraries", """
        import math, re, collections, itertools, decimal, ctypes, asyncio
        async def later(a, b):
            return a + b
        def add(a, b):
            return asyncio.run(later(a, b))"""),
)  # fmt: skip

ATTACKS: tuple[Attack, ...] = (*ESCAPES, *FORGES, *EXHAUSTS, *LINGERS)
