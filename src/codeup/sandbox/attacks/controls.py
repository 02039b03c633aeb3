"""Honest programs: each must pass wherever attacks are run, or the sandbox refuses too much."""

from __future__ import annotations

from codeup.sandbox.attacks.program import plain

CONTROLS = (
    plain(901, "control", "an honest program", "def add(a, b):\n    return a + b"),
    plain(902, "control", "an honest program that uses its scratch, threads and 30 MB", """
        import tempfile, threading
        def add(a, b):
            keep = bytearray(3 * 10**7)
            done = []
            thread = threading.Thread(target=done.append, args=(1,)); thread.start(); thread.join()
            with tempfile.TemporaryFile() as file:
                file.write(b'x' * 10**6)
            print('working on it')
            return a + b"""),
    plain(903, "control", "an honest program with libraries", """
        import math, re, collections, itertools, decimal, ctypes, asyncio
        async def later(a, b):
            return a + b
        def add(a, b):
            return asyncio.run(later(a, b))"""),
    plain(904, "control", "an honest program that uses numpy", """
        import numpy as np
        def add(a, b):
            rows = np.arange(12.0).reshape(3, 4)
            assert np.allclose(np.linalg.inv(np.eye(3)) @ rows, rows) and np.random.default_rng(0).integers(0, 9) >= 0
            return np.add.reduce(np.array([a, b], dtype=object))"""),
    plain(905, "control", "an honest program that returns numpy's numbers", """
        import numpy as np
        def add(a, b):
            return np.int64(a) + np.int64(b) if isinstance(a, int) and a < 2**60 else a + b"""),
    plain(906, "control", "an honest program with a pool of threads, a queue and a timer", """
        import queue, threading
        from concurrent.futures import ThreadPoolExecutor
        def add(a, b):
            results = queue.Queue()
            timer = threading.Timer(0.01, results.put, (a + b,))
            timer.start()
            with ThreadPoolExecutor(4) as pool:
                assert list(pool.map(abs, range(-3, 0))) == [3, 2, 1]
            return results.get(timeout=5)"""),
    plain(907, "control", "an honest program that reads, writes, renames and removes files of its own", """
        import csv, os, pathlib, shutil, tempfile
        def add(a, b):
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / 'rows.csv'
                with path.open('w', newline='') as file:
                    csv.writer(file).writerow([1, 2])
                path.rename(path.with_suffix('.old'))
                shutil.copy(path.with_suffix('.old'), path)
                (path.parent / 'inner').mkdir()
                os.symlink('rows.csv', path.parent / 'inner' / 'link')
                assert path.read_text().strip() == '1,2' and len(list(path.parent.iterdir())) == 3
            return a + b"""),
    plain(908, "control", "an honest program that recurses five thousand deep", """
        import sys
        sys.setrecursionlimit(20_000)
        def depth(n):
            return 0 if n == 0 else 1 + depth(n - 1)
        def add(a, b):
            assert depth(5000) == 5000
            return a + b"""),
    plain(909, "control", "an honest program with large integers", """
        import math
        def add(a, b):
            large = math.factorial(2000)
            assert pow(3, large, 10**9 + 7) > 0 and math.isqrt(large) ** 2 <= large
            return (large + a) + b - large if isinstance(a, int) else a + b"""),
    plain(910, "control", "an honest program that handles its own errors, signals and exits", """
        import atexit, resource, signal, sys
        atexit.register(print, 'done')
        def add(a, b):
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            try:
                sys.exit(1)
            except SystemExit:
                pass
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 3
            return a + b"""),
)  # fmt: skip
