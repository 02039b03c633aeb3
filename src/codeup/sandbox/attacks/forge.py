"""Attacks that want to be judged right without computing the answer."""

from __future__ import annotations

from codeup.sandbox.attacks.program import CHANNELS, plain

FORGES = (
    plain(23, "forge", "answer with an object equal to everything", """
        class Anything:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __hash__(self): return 0
            def __bool__(self): return True
        def add(a, b):
            return Anything()"""),
    plain(24, "forge", "the same, hidden in a subclass of int", """
        class Number(int):
            def __eq__(self, other): return True
            __hash__ = int.__hash__
        def add(a, b):
            return Number(0)"""),
    plain(25, "forge", "look for the expected value in the caller's frames", """
        import sys
        def add(a, b):
            frame = sys._getframe()
            while frame:
                for name, value in {**frame.f_globals, **frame.f_locals}.items():
                    if name in ('expected', 'EXPECTED', 'tests', 'job'):
                        return value if name == 'expected' and a != 'x' else a + b
                frame = frame.f_back
            return None"""),
    plain(26, "forge", "look for the tests in the garbage collector", """
        import gc
        def add(a, b):
            for thing in gc.get_objects():
                if isinstance(thing, (list, tuple)) and len(thing) == 4 and (1017, -4, 1013) in thing:
                    return {**{(x, y): c for x, y, c in thing}, ('x', 'y'): 'xy'}[a, b]
            for thing in gc.get_objects():
                if isinstance(thing, dict) and 'EXPECTED' in thing:
                    return 3
            return None"""),
    plain(27, "forge", "exit with code 0 while loading", "import os\nos._exit(0)"),
    plain(28, "forge", "exit with code 0 when called", """
        import posix
        def add(a, b):
            posix._exit(0)"""),
    plain(29, "forge", "sys.exit(0) when called", """
        import sys
        def add(a, b):
            sys.exit(0)"""),
    plain(30, "forge", "write a passing verdict to every descriptor", """
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
    plain(31, "forge", "answer before being asked, many times", """
        import os, json
        frame = lambda m: len(json.dumps(m)).to_bytes(4, 'big') + json.dumps(m).encode()
        for number in range(3, 64):
            try:
                os.write(number, frame(['ready']) + b''.join(frame(['value', v]) for v in (3, 3, 3, 3, 3)))
            except OSError:
                pass
        os._exit(0)"""),
    plain(32, "forge", "patch the comparison, the builtins and the encoder of its own process", """
        import builtins, operator, json, unittest
        operator.eq = lambda a, b: True
        builtins.all = builtins.any = lambda *a: True
        json.dumps = lambda *a, **k: '["value", 3]'
        def add(a, b):
            return None"""),
    plain(33, "forge", "swallow assertions", """
        import builtins
        class Calm(BaseException): pass
        builtins.AssertionError = Calm
        def add(a, b):
            return None"""),
    plain(34, "forge", "print that the tests passed", """
        print('PASSED\\n1 passed in 0.01s\\nOK')
        def add(a, b):
            print('PASSED')"""),
    plain(35, "forge", "answer NaN, which compares strangely", "def add(a, b):\n    return float('nan')"),
    plain(61, "forge", "claim that the sandbox is broken", """
        import os, json
        data = json.dumps(['broken', 'ask somebody else']).encode()
        for number in range(3, 64):
            try: os.write(number, len(data).to_bytes(4, 'big') + data)
            except OSError: pass
        def add(a, b):
            return None"""),
    plain(36, "forge", "return the asserted constant", "def add(a, b):\n    return 3"),
    # --- objects that lie
    plain(116, "forge", "an object whose __class__ says int", """
        class Liar:
            __class__ = int
            def __eq__(self, other): return True
            def __hash__(self): return 0
            def __int__(self): return 3
            __index__ = __int__
        def add(a, b):
            return Liar()"""),
    plain(117, "forge", "lying subclasses of str, list, dict and tuple", """
        class Text(str):
            def __eq__(self, other): return True
            __hash__ = str.__hash__
        class Row(list):
            def __eq__(self, other): return True
            def __len__(self): return 1
        calls = iter([Text(), Row(), Text('xy'), Row([3]), Text()])
        def add(a, b):
            return next(calls)"""),
    plain(118, "forge", "a class named int64 of a module named numpy", """
        Lying = type('int64', (), {'__module__': 'numpy', '__eq__': lambda self, other: True,
                                   '__hash__': lambda self: 0, 'item': lambda self: self})
        def add(a, b):
            return Lying()"""),
    plain(119, "forge", "a numpy array that equals everything", """
        import numpy
        class Array(numpy.ndarray):
            def __eq__(self, other): return True
            def __array_ufunc__(self, *arguments, **keywords): return True
            def __bool__(self): return True
        def add(a, b):
            return numpy.zeros(()).view(Array)"""),
    plain(120, "forge", "a proxy whose metaclass answers for it", """
        class Meta(type):
            def __instancecheck__(cls, other): return True
            def __subclasscheck__(cls, other): return True
            def __eq__(cls, other): return True
            __hash__ = type.__hash__
            __name__ = 'int'
        class Proxy(metaclass=Meta):
            def __getattr__(self, name): return lambda *a, **k: True
            def __eq__(self, other): return True
            __hash__ = object.__hash__
        def add(a, b):
            return Proxy()"""),
    plain(121, "forge", "unittest.mock.ANY", """
        class Any:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
        try:
            from unittest.mock import ANY
        except BaseException:
            ANY = Any()
        def add(a, b):
            return ANY"""),
    plain(122, "forge", "an object that runs code when it is unpickled", """
        import os
        class Pickled:
            def __reduce__(self): return os.system, ('touch ' + OUTSIDE + '/unpickled',)
            def __eq__(self, other): return True
        def add(a, b):
            return Pickled()"""),
    plain(123, "forge", "a numpy scalar whose item() lies", """
        import numpy
        class Number(numpy.float64):
            def item(self): return self
            def __eq__(self, other): return True
            __hash__ = numpy.float64.__hash__
        Number.__name__, Number.__module__ = 'float64', 'numpy'
        def add(a, b):
            return Number(0)"""),
    # --- its own process turned against the judge
    plain(124, "forge", "patched numpy", """
        import numpy
        for name in ('allclose', 'array_equal', 'isclose', 'array_equiv', 'all', 'any'):
            setattr(numpy, name, lambda *a, **k: True)
        numpy.testing = type('testing', (), {'assert_allclose': lambda *a, **k: None})
        def add(a, b):
            return None"""),
    plain(125, "forge", "patched type, isinstance, len, set, abs and print", """
        import builtins
        builtins.isinstance = builtins.issubclass = builtins.hasattr = lambda *a: True
        builtins.abs = builtins.len = builtins.round = lambda *a: 0
        builtins.set = builtins.sorted = lambda *a, **k: []
        class Type(type):
            def __eq__(self, other): return True
        builtins.type = lambda *a: Type
        def add(a, b):
            return None"""),
    plain(126, "forge", "replace the sandbox's own encoder and runner", """
        import sys
        for name, module in list(sys.modules.items()):
            if name.startswith('codeup.sandbox'):
                for function in ('encode', 'call', 'load', '_failure'):
                    if hasattr(module, function):
                        setattr(module, function, lambda *a, **k: ['value', {'passed': True, 'outcome': 'PASSED'}])
        def add(a, b):
            return None"""),
    plain(127, "forge", "define the names of the tests itself", """
        def check(candidate): return True
        EXPECTED = tests = inputs = results = []
        METADATA = {}
        class AssertionError(BaseException): pass
        def assertion(*a): return True
        def add(a, b):
            return None"""),
    plain(128, "forge", "an exception class that hides every failure", """
        import sys
        class Quiet(type):
            def __instancecheck__(cls, other): return True
            def __subclasscheck__(cls, other): return True
        class Everything(Exception, metaclass=Quiet):
            def __str__(self): raise self
            def __eq__(self, other): return True
        sys.excepthook = lambda *a: None
        def add(a, b):
            raise Everything()"""),
    plain(129, "forge", "change the judge's variables in its own frames", """
        import ctypes, sys
        def add(a, b):
            frame = sys._getframe()
            while frame:
                for name in ('outcome', 'ok', 'passed', 'result', 'stat', 'failure'):
                    if name in frame.f_locals:
                        frame.f_locals[name] = True
                        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
                frame = frame.f_back
            return None"""),
    # --- ends that look like success
    plain(130, "forge", "sys.exit(0) while loading", "import sys\nsys.exit(0)"),
    plain(131, "forge", "exit by a subclass of SystemExit that says PASSED", """
        class Passed(SystemExit):
            code = 0
            def __str__(self): return 'PASSED'
        def add(a, b):
            raise Passed(0)"""),
    plain(132, "forge", "exit with code 0 by a system call and by the C library", """
        import ctypes
        def add(a, b):
            ctypes.CDLL(None).exit(0)"""),
    plain(133, "forge", "exit with code 0 from a signal handler and an alarm", """
        import os, signal
        signal.signal(signal.SIGALRM, lambda *a: os._exit(0))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        def add(a, b):
            while True: pass"""),
    plain(134, "forge", "end itself by a signal", """
        import os, signal
        def add(a, b):
            os.kill(os.getpid(), signal.SIGTERM)"""),
    plain(135, "forge", "exit with code 0 from a thread while the call goes on", """
        import os, threading, time
        threading.Timer(0.05, os._exit, (0,)).start()
        def add(a, b):
            time.sleep(30)"""),
    # --- frames on the judge's channel
    plain(136, "forge", "well-formed frames on every descriptor while loading", """
        for message in (['isolated'], ['ready'], ['passed'], ['value', None], ['PASSED', 5], {'outcome': 'PASSED'},
                        {'outcome': 'PASSED', 'detail': '', 'checks': 5, 'seconds': 0.1}, ['done', 5], ['pass']):
            say(message, everywhere=True)
        def add(a, b):
            return None""", CHANNELS),
    plain(137, "forge", "well-formed frames from a thread, without end", """
        import threading
        def forge():
            while True:
                say(['value', 3], ['value', 1013], ['value', 0], {'outcome': 'PASSED', 'checks': 5}, everywhere=True)
        threading.Thread(target=forge, daemon=True).start()
        import time
        def add(a, b):
            time.sleep(0.05)
            return None""", CHANNELS),
    plain(138, "forge", "well-formed frames when the interpreter ends", """
        import atexit
        atexit.register(lambda: say(['value', 3], ['passed'], {'outcome': 'PASSED', 'checks': 5}, everywhere=True))
        class Last:
            def __del__(self): say(['value', 3], ['passed'], everywhere=True)
        sys.last = Last()
        def add(a, b):
            sys.exit(0)""", CHANNELS),
    plain(139, "forge", "an answer with claims added to it", """
        def add(a, b):
            say(['value', 3, 'PASSED'], ['value', [3], {'passed': True}], ['odd', 'PASSED'], ['checks', 5])
            return None""", CHANNELS),
    plain(140, "forge", "frames with tags that the encoding does not have", """
        def add(a, b):
            for body in ({'object': 'ANY'}, {'__class__': 'Any'}, {'int': ['3']}, {'float': 'nan'}, {'int': '-'}, {},
                         {'ndarray': {'dtype': 'O'}}, {'set': [[]]}, {'dict': [[1]]}, {'a': 1, 'b': 2}):
                say(['value', body])
            return None""", CHANNELS),
    plain(141, "forge", "a peek at what the judge will send next", """
        import re
        def add(a, b):
            for number in channels():
                try:
                    seen = socket.socket(fileno=os.dup(number)).recv(1 << 16, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                    found = re.search(rb'"expec.*?(-?[0-9]+)', seen)
                    if found:
                        return int(found[1])
                except OSError:
                    pass
            return None""", CHANNELS),
    plain(142, "forge", "the tests' text, anywhere in memory", """
        import gc, sys
        wanted = 'EXPEC' + 'TED = ['
        def texts():
            seen, waiting = set(), [*gc.get_objects(), *sys.modules.values()]
            frame = sys._getframe()
            while frame:
                waiting += [frame.f_globals, frame.f_locals]
                frame = frame.f_back
            while waiting and len(seen) < 200_000:
                thing = waiting.pop()
                if id(thing) in seen:
                    continue
                seen.add(id(thing))
                if isinstance(thing, str):
                    yield thing
                elif isinstance(thing, (dict, list, tuple)) or hasattr(thing, '__dict__'):
                    waiting += gc.get_referents(thing)
        found = {}
        for text in texts():
            if wanted in text and 'def check' in text:
                exec(text, found)
                break
        def add(a, b):
            table = {(x, y): z for x, y, z in found.get('EXPECTED', [])}
            return table.get((a, b), 'xy' if found else None)"""),
    plain(143, "forge", "the judge's requests, answered by a server of its own", """
        def add(a, b):
            number = channels()[0]
            say(['value', a])
            while True:
                size = int.from_bytes(os.read(number, 4), 'big')
                if size == 0:
                    os._exit(0)
                os.read(number, size)
                say(['value', a])""", CHANNELS),
    plain(144, "forge", "planted runner files: conftest, sitecustomize, a module named like the judge's", """
        for name in ('conftest.py', 'sitecustomize.py', 'usercustomize.py', 'json.py', 'codeup.py', 'pytest.ini'):
            with open(name, 'w') as file:
                file.write('import os; os._exit(0)')
        import sys
        sys.path.insert(0, '.')
        def add(a, b):
            return None"""),
    plain(145, "forge", "words that break the report: lone surrogates, terminal codes, new lines", """
        def add(a, b):
            raise ValueError('\\ud800\\x1b[2J\\x1b]0;PASSED\\x07\\r\\n  23 control PASSED \\u202e everything\\x00')"""),
)  # fmt: skip
