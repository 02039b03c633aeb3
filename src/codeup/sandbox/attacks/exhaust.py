"""Attacks that use more time, memory, disk, processes or bandwidth than allowed, of the machine or of the judge."""

from __future__ import annotations

from codeup.sandbox.attacks.program import CHANNELS, SYSTEM_CALLS, if_worked, plain

EXHAUSTS = (
    plain(37, "exhaust", "loop for ever", "def add(a, b):\n    while True: pass"),
    plain(38, "exhaust", "loop for ever while loading, ignoring signals", """
        import signal
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError, TypeError): pass
        while True: pass"""),
    plain(39, "exhaust", "sleep for ever", "import time\ndef add(a, b):\n    time.sleep(10**6)"),
    plain(40, "exhaust", "a computation that no handler interrupts", "def add(a, b):\n    return 3 ** 10**9 % 7"),
    if_worked(41, "exhaust", "allocate more than the limit", "keep = bytearray(MEMORY * 2)\nassert keep"),
    if_worked(42, "exhaust", "allocate it in small pieces", "keep = [bytes(10**6) for _ in range(MEMORY // 10**5)]"),
    if_worked(43, "exhaust", "fill the disk with one file", """
        with open('big', 'wb') as file:
            for _ in range(400):
                file.write(bytes(10**6))"""),
    if_worked(44, "exhaust", "fill the disk with many files", """
        for number in range(400):
            with open(f'part{number}', 'wb') as file:
                file.write(bytes(10**6))"""),
    if_worked(45, "exhaust", "a fork bomb", """
        import os
        while True:
            os.fork()"""),
    if_worked(46, "exhaust", "a thousand threads", """
        import threading, time
        for _ in range(1000):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"""),
    if_worked(47, "exhaust", "open a thousand files", "import os\n[os.open('/dev/null', 0) for _ in range(1000)]"),
    plain(48, "exhaust", "print without end", "def add(a, b):\n    while True: print('x' * 10**6)"),
    plain(49, "exhaust", "an answer of a gigabyte", "def add(a, b):\n    return 'x' * 10**9"),
    plain(50, "exhaust", "an answer nested too deep", """
        def add(a, b):
            value = []
            for _ in range(10**6): value = [value]
            return value"""),
    plain(51, "exhaust", "crash the interpreter", "import ctypes\ndef add(a, b):\n    ctypes.string_at(0)"),
    plain(52, "exhaust", "announce an answer that never comes", """
        import os
        def add(a, b):
            for number in range(3, 64):
                try: os.write(number, bytes([0, 255, 0, 0]))
                except OSError: pass
            while True: pass"""),
    plain(53, "exhaust", "recurse without end", """
        import sys
        sys.setrecursionlimit(10**9)
        def add(a, b):
            return add(a, b)"""),
    # --- the judge's decoder
    plain(146, "exhaust", "colliding hashes in the judge's set", """
        prime = (1 << 61) - 1
        items = b','.join(b'{"int":"%x"}' % (prime * n) for n in range(1, 400_000))
        def add(a, b):
            say_raw(b'["value",{"set":[' + items + b']}]')""", CHANNELS),
    plain(147, "exhaust", "colliding hashes in the judge's dict", """
        prime = (1 << 61) - 1
        items = b','.join(b'[{"int":"%x"},0]' % (prime * n) for n in range(1, 400_000))
        def add(a, b):
            say_raw(b'["value",{"dict":[' + items + b']}]')""", CHANNELS),
    plain(148, "exhaust", "five million empty lists", """
        body = b'["value",[[]' + b',[]' * 5_000_000 + b']]'
        def add(a, b):
            say_raw(body)""", CHANNELS),
    plain(149, "exhaust", "half a million empty sets, dicts and tuples", """
        body = b'["value",[[]' + b',{"set":[]},{"dict":[]},{"tuple":[]}' * 160_000 + b']]'
        def add(a, b):
            say_raw(body)""", CHANNELS),
    plain(150, "exhaust", "brackets without end", """
        def add(a, b):
            say_raw(b'[' * 15_000_000)""", CHANNELS),
    plain(151, "exhaust", "an integer of fifteen million decimal digits", """
        def add(a, b):
            say_raw(b'["value",' + b'9' * 15_000_000 + b']')""", CHANNELS),
    plain(152, "exhaust", "an integer of sixty million bits", "def add(a, b):\n    return (1 << 60_000_000) - 1"),
    plain(153, "exhaust", "a float of fifteen million digits", """
        def add(a, b):
            say_raw(b'["value",0.' + b'1' * 15_000_000 + b'e999999999]')""", CHANNELS),
    plain(154, "exhaust", "fifteen million characters of four bytes", """
        def add(a, b):
            say_raw(b'["value","' + '\\U0001F600'.encode() * 3_800_000 + b'"]')""", CHANNELS),
    plain(155, "exhaust", "an answer sent one byte at a time, slowly", """
        import time
        def add(a, b):
            for number in channels():
                os.write(number, (1 << 20).to_bytes(4, 'big'))
            while True:
                for number in channels():
                    os.write(number, b'1')
                time.sleep(1)""", CHANNELS),
    plain(156, "exhaust", "frames without end from eight threads", """
        import threading
        def flood():
            while True:
                say(['value', 'x' * 10_000])
        for _ in range(8):
            threading.Thread(target=flood, daemon=True).start()
        def add(a, b):
            flood()""", CHANNELS),
    plain(157, "exhaust", "an error message of a hundred megabytes", """
        def add(a, b):
            raise type('E' * 10**6, (Exception,), {})('m' * 10**8)"""),
    plain(158, "exhaust", "a value that contains itself", """
        def add(a, b):
            value = []
            value.append(value)
            return {'value': value}"""),
    plain(159, "exhaust", "a list that grows while it is sent", """
        class Growing(dict):
            def items(self):
                n = 0
                while True:
                    n += 1
                    yield n, n
        import collections
        collections.Counter.items = Growing.items
        def add(a, b):
            return collections.Counter()"""),
    # --- time
    plain(160, "exhaust", "cancel every timer, block every signal, raise the CPU limit, loop", """
        import resource, signal
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        signal.alarm(0)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
        while True: pass"""),
    plain(161, "exhaust", "catch whatever ends a loop, and go on", """
        def add(a, b):
            while True:
                try:
                    while True: pass
                except BaseException:
                    pass"""),
    plain(162, "exhaust", "a regular expression that backtracks for ever", """
        import re
        def add(a, b):
            return re.match('(a+)+$', 'a' * 64 + 'b')"""),
    plain(163, "exhaust", "stop itself", "import os, signal\ndef add(a, b):\n    os.kill(os.getpid(), signal.SIGSTOP)"),
    plain(164, "exhaust", "wait for its own thread for ever", """
        import threading
        lock = threading.Lock()
        lock.acquire()
        def add(a, b):
            lock.acquire()"""),
    plain(165, "exhaust", "source text that the compiler cannot bear", """
        def add(a, b):
            return eval('(' * 10**5 + '1' + ')' * 10**5) or eval('1' + '+1' * 10**6)"""),
    # --- memory outside its address space, disk, processes
    if_worked(166, "exhaust", "memory that is no part of its address space", """
        handles = [os.memfd_create('hoard') for _ in range(MEMORY // 10**7)]
        for handle in handles:
            for _ in range(12):
                os.write(handle, bytes(10**6))""", SYSTEM_CALLS),
    if_worked(167, "exhaust", "fill the disk with files that have no name", """
        import os
        kept = []
        for number in range(40):
            kept.append(open('part', 'wb', buffering=0))
            os.unlink('part')
            for _ in range(12):
                assert kept[-1].write(bytes(10**6)) == 10**6
        import time
        time.sleep(0.2)"""),
    if_worked(168, "exhaust", "fill the disk with folders and links", """
        import os
        for number in range(20_000):
            os.symlink('x' * 200, f'link{number}')"""),
    if_worked(169, "exhaust", "a file larger than allowed, with a hole in it", """
        import os
        os.truncate(os.open('big', os.O_CREAT | os.O_RDWR), 1 << 40)"""),
    if_worked(170, "exhaust", "reserve the disk without writing", """
        import os
        for number in range(40):
            os.posix_fallocate(os.open(f'part{number}', os.O_CREAT | os.O_RDWR), 0, 12 * 10**6)
        import time
        time.sleep(0.2)"""),
    if_worked(171, "exhaust", "raise the limits of files, processes and file size", """
        import resource
        for name in ('RLIMIT_NOFILE', 'RLIMIT_FSIZE', 'RLIMIT_CPU', 'RLIMIT_STACK', 'RLIMIT_CORE'):
            try:
                which = getattr(resource, name)
                resource.setrlimit(which, (resource.getrlimit(which)[1] + 1,) * 2)
                return True
            except (ValueError, OSError):
                pass
        raise OSError"""),
    if_worked(172, "exhaust", "huge anonymous memory by mmap, shared and reserved", """
        import mmap
        keep = [mmap.mmap(-1, MEMORY // 2, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) for _ in range(4)]
        assert keep"""),
    if_worked(173, "exhaust", "two hundred sockets, two by two", """
        import socket
        keep = [socket.socketpair() for _ in range(100)]"""),
    plain(186, "exhaust", "a fraction whose terms take hours to reduce", """
        def add(a, b):
            first, second = (os.urandom(3_000_000).hex().encode() for _ in 'ab')
            say_raw(b'["value",{"Fraction":["' + first + b'","' + second + b'"]}]')""",
        CHANNELS),
    plain(187, "exhaust", "a decimal, an array and a text type with sizes of their own", """
        bodies = iter([b'{"Decimal":"1e999999999999999"}', b'{"numpy":["<f8",[1000000000000,0],""]}',
                       b'{"numpy":["|O",[1],"0000000000000000"]}', b'{"numpy":["<U1000",null,""]}'])
        def add(a, b):
            for body in bodies:
                say_raw(b'["value",' + body + b']')""", CHANNELS),
)  # fmt: skip
