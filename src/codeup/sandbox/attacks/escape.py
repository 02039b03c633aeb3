"""Attacks that reach for a file, the network, another process, the kernel or more privilege."""

from __future__ import annotations

from codeup.sandbox.attacks.program import SYSTEM_CALLS, if_worked

ESCAPES = (
    if_worked(1, "escape", "read a file of the caller", "assert open(SECRET).read()"),
    if_worked(2, "escape", "read it with raw system calls", """
        import posix
        assert posix.read(posix.open(SECRET, posix.O_RDONLY), 10)"""),
    if_worked(3, "escape", "write outside the scratch", "open(OUTSIDE + '/planted', 'w').write('x')"),
    if_worked(4, "escape", "list the caller's folder", "import os\nos.listdir(os.path.dirname(SECRET))"),
    if_worked(5, "escape", "run a shell", "import os\nassert os.system('true') == 0"),
    if_worked(6, "escape", "run a program through _posixsubprocess and posix_spawn", """
        import os, sys
        pid = os.posix_spawn('/bin/sh', ['sh', '-c', 'true'], {})
        assert os.waitpid(pid, 0)[1] == 0"""),
    if_worked(7, "escape", "become another program", "import os\nos.execv('/bin/true', ['true'])"),
    if_worked(8, "escape", "open a network socket", "import socket\nsocket.socket().bind(('127.0.0.1', 0))"),
    if_worked(9, "escape", "send a datagram", """
        import socket
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))"""),
    if_worked(10, "escape", "reach an abstract Unix socket", """
        import socket
        socket.socket(socket.AF_UNIX).bind('\\0codeup-attack')"""),
    if_worked(11, "escape", "find a secret in the environment", """
        import os
        own = {'PYTHONHASHSEED', 'CODEUP_SANDBOX', 'OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'LC_CTYPE'}
        assert set(os.environ) - own"""),
    if_worked(12, "escape", "read another process's environment and memory", """
        import os
        assert open(f'/proc/{os.getppid()}/environ', 'rb').read() or open(f'/proc/{os.getppid()}/maps').read()"""),
    if_worked(13, "escape", "kill the parent", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"),
    if_worked(14, "escape", "kill everybody", "import os, signal\nos.kill(-1, signal.SIGKILL)"),
    if_worked(15, "escape", "trace the parent with ptrace", """
        import ctypes, os
        assert ctypes.CDLL(None).ptrace(16, os.getppid(), None, None) == 0"""),
    if_worked(16, "escape", "gain a user namespace", """
        import ctypes
        assert ctypes.CDLL(None).unshare(0x10000000) == 0"""),
    if_worked(17, "escape", "mount something", """
        import ctypes
        assert ctypes.CDLL(None).mount(b'tmpfs', b'/', b'tmpfs', 0, None) == 0"""),
    if_worked(18, "escape", "become another user", "import os\nos.setuid(12345)"),
    if_worked(19, "escape", "read the packaged benchmarks through CodeUp itself", """
        import codeup, pathlib
        assert [p.read_bytes() for p in pathlib.Path(codeup.__file__).parent.rglob('*.jsonl.gz')]"""),
    if_worked(20, "escape", "raise its own limits", """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))"""),
    if_worked(21, "escape", "follow a link out of the scratch", """
        import os
        os.symlink(SECRET, 'link')
        assert open('link').read()"""),
    if_worked(22, "escape", "use descriptors it inherited", """
        import os, stat
        for number in range(3, 64):
            try:
                kind = os.fstat(number).st_mode
            except OSError:
                continue
            assert not stat.S_ISSOCK(kind) or os.read(number, 1) is None
            return True
        raise OSError"""),
    # --- /proc, other processes
    if_worked(62, "escape", "read another process through /proc", """
        import os
        others = [name for name in os.listdir('/proc') if name.isdigit() and int(name) != os.getpid()]
        assert any(open(f'/proc/{name}/cmdline', 'rb').read() for name in others)"""),
    if_worked(63, "escape", "leave the root through /proc/self and /proc/1", """
        for way in ('/proc/self/root', '/proc/1/root', '/proc/self/cwd/../../../../../..', '/proc/thread-self/root'):
            try:
                return bool(open(way + SECRET).read())
            except OSError:
                pass
        raise OSError"""),
    if_worked(64, "escape", "open the parent's memory, maps and descriptors", """
        import os
        parent = f'/proc/{os.getppid()}'
        for name in ('mem', 'maps', 'environ', 'auxv', 'fd/0'):
            try:
                open(f'{parent}/{name}', 'rb').close()
                return True
            except OSError:
                pass
        raise OSError"""),
    if_worked(65, "escape", "rewrite its own memory through /proc/self/mem", """
        import ctypes
        target = ctypes.create_string_buffer(b'before')
        with open('/proc/self/mem', 'r+b', buffering=0) as file:
            file.seek(ctypes.addressof(target))
            file.write(b'behind')
        assert target.value == b'behind'"""),
    if_worked(66, "escape", "read the parent's memory with process_vm_readv", """
        import ctypes, os, sys
        libc = ctypes.CDLL(None, use_errno=True)
        class Part(ctypes.Structure):
            _fields_ = [('base', ctypes.c_void_p), ('size', ctypes.c_size_t)]
        mine = ctypes.create_string_buffer(16)
        here, there = Part(ctypes.addressof(mine), 16), Part(id(sys), 16)
        assert libc.process_vm_readv(os.getppid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0) == 16"""),
    if_worked(67, "escape", "take a descriptor out of the parent with pidfd_getfd", """
        import os
        assert reached(434, 434, os.getppid(), 0)""", SYSTEM_CALLS),
    if_worked(68, "escape", "compare itself with the parent by kcmp", """
        import os
        assert reached(312, 272, os.getpid(), os.getppid(), 1, 0, 0)""", SYSTEM_CALLS),
    if_worked(69, "escape", "change the limits of the parent", """
        import os, resource
        soft, hard = resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)
        resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (soft - 1, hard))"""),
    if_worked(70, "escape", "tie the parent to one processor, and slow it", """
        import os
        try:
            os.sched_setaffinity(os.getppid(), os.sched_getaffinity(0))
        except OSError:
            os.setpriority(os.PRIO_PROCESS, os.getppid(), os.getpriority(os.PRIO_PROCESS, os.getppid()))"""),
    if_worked(71, "escape", "slow every process of the user", """
        import os
        os.setpriority(os.PRIO_USER, 0, os.getpriority(os.PRIO_USER, 0))"""),
    if_worked(72, "escape", "have the kernel signal the parent on its behalf", """
        import fcntl, os
        read, write = os.pipe()
        fcntl.fcntl(read, fcntl.F_SETOWN, os.getppid())"""),
    if_worked(73, "escape", "signal a process group and a thread of the parent", """
        import os
        for attempt in (lambda: os.killpg(os.getpgid(os.getppid()), 0), lambda: os.kill(os.getppid(), 0),
                        lambda: os.kill(0, 0)):
            try:
                attempt()
                return True
            except OSError:
                pass
        raise OSError"""),
    # --- new processes, by every door
    if_worked(74, "escape", "delete os and posix, import them anew, run a shell", """
        import sys
        for name in ('os', 'posix', 'subprocess', '_posixsubprocess'):
            sys.modules.pop(name, None)
        import os
        assert os.system('true') == 0"""),
    if_worked(75, "escape", "reload what was patched, and use subprocess", """
        import builtins, importlib, os, posix, subprocess, sys
        for module in (os, subprocess, sys, builtins):
            importlib.reload(module)
        assert subprocess.run(['/bin/sh', '-c', 'true']).returncode == 0"""),
    if_worked(76, "escape", "start a process by _posixsubprocess.fork_exec and multiprocessing", """
        import multiprocessing, os
        process = multiprocessing.get_context('fork').Process(target=os.getpid)
        process.start()
        process.join()
        assert process.exitcode == 0"""),
    if_worked(77, "escape", "clone by system call", """
        pid = libc.syscall({'x86_64': 56, 'aarch64': 220}[os.uname().machine], 17, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        assert pid > 0""", SYSTEM_CALLS),
    if_worked(78, "escape", "clone3 by system call", """
        arguments = (ctypes.c_uint64 * 8)(0, 0, 0, 0, 17)
        pid = libc.syscall(435, ctypes.byref(arguments), 64)
        if pid == 0:
            os._exit(0)
        assert pid > 0""", SYSTEM_CALLS),
    if_worked(79, "escape", "run a program from memory: memfd_create and execveat", """
        import os
        handle = os.memfd_create('program', 0)
        os.write(handle, b'#!/bin/sh\\nexit 0\\n')
        pid = os.fork()
        if pid == 0:
            os.execve(handle, ['program'], {})
        assert os.waitpid(pid, 0)[1] == 0"""),
    if_worked(80, "escape", "a set-user-id file in the scratch", """
        import os
        with open('tool', 'w') as file:
            file.write('#!/bin/sh\\nexit 0\\n')
        os.chmod('tool', 0o6755)
        assert os.stat('tool').st_mode & 0o4000
        assert os.spawnv(os.P_WAIT, './tool', ['tool']) == 0"""),
    # --- sockets
    if_worked(81, "escape", "a socket of any other family", """
        import socket
        for family in (10, 16, 17, 40, 38, 31, 29, 1, 44):  # inet6 netlink packet vsock alg bluetooth can unix xdp
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
                try:
                    socket.socket(family, kind).close()
                    return True
                except OSError:
                    pass
        raise OSError"""),
    if_worked(82, "escape", "send the caller a datagram", """
        import socket
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'hello', MAILBOX)"""),
    if_worked(83, "escape", "send it from one half of a socket pair, which needs no socket()", """
        import socket
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.sendto(b'hello', MAILBOX)"""),
    if_worked(84, "escape", "more descriptors than one channel", """
        import os, stat
        kinds = []
        for number in range(3, 256):
            try:
                kinds.append(os.fstat(number).st_mode)
            except OSError:
                pass
        assert len(kinds) > 1 or not all(map(stat.S_ISSOCK, kinds))"""),
    # --- the kernel's larger doors
    if_worked(85, "escape", "io_uring", """
        assert reached(425, 425, 4, bytes(120))""", SYSTEM_CALLS),
    if_worked(86, "escape", "bpf", """
        assert reached(321, 280, 0, bytes(128), 128)""", SYSTEM_CALLS),
    if_worked(87, "escape", "kernel keyrings", """
        assert reached(250, 219, 0, -3, 1) or reached(248, 217, b'user', b'codeup', b'x', 1, -3)""", SYSTEM_CALLS),
    if_worked(88, "escape", "userfaultfd", "assert reached(323, 282, 1)", SYSTEM_CALLS),
    if_worked(89, "escape", "perf_event_open", """
        import struct
        assert reached(298, 241, struct.pack('IIQ', 1, 112, 0) + bytes(24) + struct.pack('Q', 0x63) + bytes(64),
                       0, -1, -1, 0)""", SYSTEM_CALLS),
    if_worked(90, "escape", "load a kernel, or a module of it", """
        assert (reached(246, 104, 0, 0, 0, 0) or reached(313, 273, -1, b'', 0) or reached(320, 294, -1, -1, 0, b'', 0)
                or reached(175, 105, b'', 0, b'') or reached(176, 106, b'codeup', 0))""", SYSTEM_CALLS),
    if_worked(91, "escape", "the new mount calls", """
        assert reached(430, 430, b'tmpfs', 0) or reached(428, 428, -100, b'/', 1)""", SYSTEM_CALLS),
    if_worked(92, "escape", "a namespace within the namespace, by clone", """
        pid = libc.syscall({'x86_64': 56, 'aarch64': 220}[os.uname().machine], 0x10000000 | 17, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        assert pid > 0""", SYSTEM_CALLS),
    if_worked(93, "escape", "join the namespaces of process 1", """
        handle = os.open('/proc/1/ns/mnt', os.O_RDONLY)
        assert libc.setns(handle, 0) == 0""", SYSTEM_CALLS),
    if_worked(94, "escape", "break out of a root by chroot", """
        import os
        held = os.open('.', os.O_RDONLY)
        os.mkdir('cell')
        os.chroot('cell')
        os.fchdir(held)
        for _ in range(64):
            os.chdir('..')
        os.chroot('.')"""),
    if_worked(95, "escape", "switch off address randomisation by personality", """
        assert libc.personality(0x0040000) >= 0""", SYSTEM_CALLS),
    if_worked(96, "escape", "system calls by their x32 numbers", """
        assert os.uname().machine == 'x86_64'
        assert libc.syscall(0x40000000 + 41, 2, 1, 0) >= 0 or ctypes.get_errno() not in (1, 38)""", SYSTEM_CALLS),
    if_worked(97, "escape", "system calls of a 32-bit program, by machine code", """
        import mmap
        assert os.uname().machine == 'x86_64'
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')  # mov eax, 20 (getpid); int 0x80; ret
        call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
        assert call() == os.getpid()""", SYSTEM_CALLS),
    if_worked(98, "escape", "open a file by its handle instead of its name", """
        handle = bytearray((128).to_bytes(4, 'little') + bytes(200))
        buffer = (ctypes.c_char * len(handle)).from_buffer(handle)
        assert reached(303, 264, -100, b'/', buffer, bytes(8), 0)""", SYSTEM_CALLS),
    if_worked(99, "escape", "the kernel's log", "assert libc.klogctl(10, None, 0) > 0", SYSTEM_CALLS),
    if_worked(100, "escape", "rename the machine, or set its clock", """
        import socket, time
        try:
            socket.sethostname(socket.gethostname())
        except OSError:
            time.clock_settime(time.CLOCK_REALTIME, time.time())"""),
    if_worked(101, "escape", "take capabilities back", """
        import struct
        assert libc.capset(struct.pack('II', 0x20080522, 0), struct.pack('6I', *[1 << 21, 1 << 21, 0] * 2)) == 0""",
        SYSTEM_CALLS),
    if_worked(102, "escape", "type into the terminal", """
        import fcntl, os
        fcntl.ioctl(os.open('/dev/tty', os.O_RDWR), 0x5412, b' ')"""),
    # --- files
    if_worked(103, "escape", "a hard link to a file of the caller", """
        import os
        os.link(SECRET, 'mine')
        assert open('mine').read()"""),
    if_worked(104, "escape", "a symbolic link to a folder of the caller, written through", """
        import os
        os.symlink(OUTSIDE, 'door')
        open('door/planted-too', 'w').write('x')"""),
    if_worked(105, "escape", "change the mode, times, owner or attributes of a file of the caller", """
        import os
        kept = OUTSIDE + '/kept'
        before = os.stat(kept), os.stat(OUTSIDE)
        for change in (lambda: os.chmod(kept, 0o600), lambda: os.utime(kept, (1, 1)), lambda: os.chmod(OUTSIDE, 0o700),
                       lambda: os.setxattr(kept, 'user.codeup', b'x'), lambda: os.utime(OUTSIDE, (1, 1)),
                       lambda: os.lchown(kept, os.getuid(), os.getgid())):
            try:
                change()
            except OSError:
                pass
        assert (os.stat(kept), os.stat(OUTSIDE)) != before or 'user.codeup' in os.listxattr(kept)"""),
    if_worked(106, "escape", "empty, rename or remove a file of the caller", """
        import os
        kept = OUTSIDE + '/kept'
        for change in (lambda: os.truncate(kept, 0), lambda: os.open(kept, os.O_RDONLY | os.O_TRUNC),
                       lambda: os.open(SECRET, os.O_RDONLY | os.O_TRUNC), lambda: os.rename(kept, kept + '2'),
                       lambda: os.unlink(kept), lambda: os.mkdir(OUTSIDE + '/new'),
                       lambda: os.mkfifo(OUTSIDE + '/pipe')):
            try:
                change()
                return True
            except OSError:
                pass
        raise OSError"""),
    if_worked(107, "escape", "empty or change the interpreter's own files", """
        import os
        try:
            handle = os.open(os.__file__, os.O_RDWR)
        except OSError:
            os.setxattr(os.__file__, 'user.codeup', b'x')
            os.removexattr(os.__file__, 'user.codeup')"""),
    if_worked(108, "escape", "watch what happens in the caller's folder", """
        handle = libc.inotify_init()
        assert handle >= 0 and libc.inotify_add_watch(handle, OUTSIDE.encode(), 0xFFF) >= 0""", SYSTEM_CALLS),
    if_worked(109, "escape", "shared memory in /dev/shm", """
        import os
        with open('/dev/shm/codeup-attack', 'w') as file:
            file.write('x')
        os.unlink('/dev/shm/codeup-attack')"""),
    if_worked(110, "escape", "write to control groups and kernel settings", """
        import glob
        names = ['/sys/fs/cgroup/cgroup.procs', *glob.glob('/sys/fs/cgroup/*/tasks'), '/proc/sys/kernel/core_pattern',
                 '/proc/self/oom_score_adj']
        for name in names:
            try:
                open(name, 'r+').close()
                return True
            except OSError:
                pass
        raise OSError"""),
    if_worked(111, "escape", "make a device, or open one", """
        import os
        try:
            os.mknod('disk', 0o60600, os.makedev(8, 0))
        except OSError:
            for name in ('mem', 'kmsg', 'sda', 'vda', 'kvm', 'fuse', 'net/tun', 'ptmx', 'full'):
                try:
                    return os.open('/dev/' + name, os.O_RDWR) >= 0
                except OSError:
                    pass
            raise"""),
    if_worked(112, "escape", "find HF_TOKEN or a key in the caller's home", """
        import os
        if any('TOKEN' in name or 'KEY' in name for name in os.environ):
            return True
        for name in ('.cache/huggingface/token', '.netrc', '.bashrc', '.profile', '.gitconfig', '.ssh/known_hosts'):
            try:
                return bool(open(os.path.join(HOME, name)).read())
            except OSError:
                pass
        raise OSError"""),
    if_worked(113, "escape", "open a benchmark with its answers by its path", """
        assert open(BENCHMARK, 'rb').read()"""),
    if_worked(114, "escape", "read the tests from the modules' line cache and the caller's source", """
        import linecache, sys
        wanted = 'EXPEC' + 'TED = ['
        for lines in linecache.cache.values():
            if isinstance(lines, tuple) and wanted in ''.join(lines[2]):
                return True
        for name, module in list(sys.modules.items()):
            if name.startswith('codeup') and wanted in open(module.__file__).read():
                return True
        raise OSError"""),
    if_worked(115, "escape", "a path too long, too deep, and full of dots", """
        import os
        assert open(os.getcwd() + '/..' * 60 + SECRET).read()"""),
)  # fmt: skip
