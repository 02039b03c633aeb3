"""Attacks that leave something behind which acts after the verdict, or on the next program."""

from __future__ import annotations

from codeup.sandbox.attacks.program import SYSTEM_CALLS, if_worked, plain

LINGERS = (
    if_worked(54, "linger", "leave a daemon", """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while True: time.sleep(1)
            os._exit(0)"""),
    plain(55, "linger", "answer rightly once, from a thread that goes on writing", """
        import threading, time
        def write():
            while True:
                try: open(OUTSIDE + '/late', 'w').write('x')
                except OSError: time.sleep(0.01)
        threading.Thread(target=write, daemon=False).start()
        def add(a, b):
            return None"""),
    if_worked(56, "linger", "leave a file for the next sample", """
        import os, time
        if os.path.exists('note'):
            return True
        open('note', 'w').write('x')
        raise OSError"""),
    if_worked(57, "linger", "find the file that the previous sample left", "assert open('note').read()"),
    if_worked(58, "linger", "leave System V shared memory", """
        import ctypes
        assert ctypes.CDLL(None).shmget(12345, 4096, 0o1666) >= 0"""),
    plain(59, "linger", "close its channel and stay", """
        import os, time
        def add(a, b):
            os.closerange(0, 64)
            time.sleep(10**6)"""),
    if_worked(60, "linger", "register an exit hook that acts late", """
        import atexit
        atexit.register(lambda: open(OUTSIDE + '/hook', 'w').write('x'))
        raise OSError"""),
    plain(174, "linger", "a timer that goes off after the verdict", """
        import os, threading
        for seconds in (0.3, 1, 2):
            timer = threading.Timer(seconds, lambda: open(OUTSIDE + '/timer', 'w').write('x'))
            timer.daemon = True
            timer.start()
        def add(a, b):
            return None"""),
    if_worked(175, "linger", "the C library's daemon()", "assert libc.daemon(1, 1) == 0", SYSTEM_CALLS),
    if_worked(176, "linger", "a process of a new session that ignores the end of its terminal", """
        import signal
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        pid = os.forkpty()[0]
        if pid == 0:
            os._exit(0)
        assert pid > 0""", "import os\n"),
    if_worked(177, "linger", "a module planted on the import path", """
        import os, sys
        for folder in [*sys.path, os.path.dirname(os.__file__) + '/__pycache__']:
            if folder and os.path.abspath(folder) != os.getcwd():
                try:
                    with open(os.path.join(folder, 'codeup_planted.py'), 'w') as file:
                        file.write('x')
                    os.unlink(os.path.join(folder, 'codeup_planted.py'))
                    return True
                except OSError:
                    pass
        raise OSError"""),
    if_worked(178, "linger", "a file beside the packages it may import", """
        import numpy, os
        name = os.path.join(os.path.dirname(numpy.__file__), 'codeup_planted.py')
        open(name, 'w').write('x')
        os.unlink(name)"""),
    if_worked(179, "linger", "System V semaphores and messages, POSIX queues", """
        assert (reached(64, 190, 4711, 1, 0o1666) or reached(68, 186, 4711, 0o1666)
                or libc.mq_open(b'/codeup', 0o102, 0o666, None) >= 0)""",
        SYSTEM_CALLS),
    if_worked(180, "linger", "a key for the next program", """
        assert reached(248, 217, b'user', b'codeup-note', b'x', 1, -4)""", SYSTEM_CALLS),
    if_worked(181, "linger", "a file in the scratch of another worker", """
        import glob, os
        own = os.getcwd()
        for folder in {*glob.glob(own + '/../../*/scratch'), *glob.glob('/tmp/codeup-*/*/scratch'), own + '/..'}:
            if os.path.realpath(folder) != own:
                try:
                    open(folder + '/note', 'w').write('x')
                    os.unlink(folder + '/note')
                    return True
                except OSError:
                    pass
        raise OSError"""),
    plain(182, "linger", "links for whoever cleans up to follow", """
        import os
        os.mkdir('inner')
        for name in ('a', 'inner/b'):
            os.symlink(OUTSIDE, name)
        os.symlink(OUTSIDE + '/kept', 'c')
        def add(a, b):
            return None"""),
    plain(183, "linger", "folders too deep to remove by recursion", """
        import os
        for _ in range(3000):
            os.mkdir('d')
            os.chdir('d')
        def add(a, b):
            return None"""),
    plain(184, "linger", "folders that nobody may enter", """
        import os
        os.makedirs('a/b/c')
        for name in ('a/b/c', 'a/b', 'a', '.'):
            try:
                os.chmod(name, 0)
            except OSError:
                pass
        def add(a, b):
            return None"""),
    plain(185, "linger", "two thousand pipes and sockets with names, to be removed", """
        import os
        for number in range(2000):
            os.mkfifo(f'pipe{number}')
        def add(a, b):
            return None"""),
)  # fmt: skip
