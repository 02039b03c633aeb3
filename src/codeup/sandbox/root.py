"""Which files a program may see, and a private root that holds only those.

Visible: the standard library, the system's shared libraries, the packages named by the caller (numpy), four device
files and an empty scratch folder. Hidden even where they lie below a visible folder: every site-packages and
dist-packages, and CodeUp itself, because a package folder can hold benchmark files with the answers in them.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

from codeup.sandbox import linux

SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
SCRATCH, PACKAGES = "/scratch", "/packages"


def readable() -> list[str]:
    """Folders and files that Python needs, as they are named on this machine."""
    base = sys.base_prefix
    own = [os.path.join(base, "lib"), os.path.join(base, sys.platlibdir), os.path.dirname(os.__file__)]
    return [path for path in dict.fromkeys([*own, *SYSTEM]) if os.path.exists(path)]


def hidden(paths: list[str], more: list[str]) -> list[str]:
    """Real paths below `paths` that must not be seen: package folders, CodeUp, and `more`."""
    found = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), *more]
    for path in paths:
        for name in ("site-packages", "dist-packages"):
            found += glob.glob(os.path.join(glob.escape(path), "python3*", name))
            found += glob.glob(os.path.join(glob.escape(path), name))
    roots = [os.path.realpath(path) for path in paths]
    real = {os.path.realpath(path) for path in found if os.path.exists(path)}
    return sorted(path for path in real if any(_below(path, root) for root in roots))


def without(paths: list[str], secret: list[str]) -> Iterator[str]:
    """The real paths that together cover `paths` except `secret`.

    without(["/usr/lib"], ["/usr/lib/python3/dist-packages"])
        -> /usr/lib/gcc, /usr/lib/ssl, ..., /usr/lib/python3/debpython
    """
    for path in dict.fromkeys(os.path.realpath(path) for path in paths):
        if path in secret:
            continue
        if any(_below(item, path) for item in secret) and os.path.isdir(path):
            yield from without([os.path.join(path, name) for name in os.listdir(path)], secret)
        else:
            yield path


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def link_packages(folder: str, packages: Mapping[str, str]) -> None:
    """A folder of links to single packages, so that their site-packages need not be on the import path."""
    os.makedirs(folder, exist_ok=True)
    for name, path in packages.items():
        if not os.path.lexists(os.path.join(folder, name)):
            os.symlink(path, os.path.join(folder, name))


class PrivateRoot:
    """A new root in memory, built at `base` inside this process's own mount namespace."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.shown: list[str] = []
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("tmpfs", base, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=4m,mode=755")

    def build(
        self, secret: list[str], packages: Mapping[str, str], show: Sequence[str] = (), *, proc: Mapping[str, str]
    ) -> None:
        """Show what may be seen, cover what may not, and make the rest read-only.

        There is no /proc but for the files in `proc`, made up for tools that do not start without: path below /proc ->
        text, or "-> path" for a link.
        """
        for path in (*readable(), *show):
            self.show(path)
        for path in secret:
            if os.path.isdir(self.base + path):
                flags = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
                linux.mount("tmpfs", self.base + path, "tmpfs", flags, "size=4k,mode=755")
        os.mkdir(self.base + PACKAGES)
        for name, path in packages.items():
            target = f"{self.base}{PACKAGES}/{name}"
            if os.path.isdir(path):
                os.mkdir(target)
            else:
                open(target, "wb").close()
            linux.bind_read_only(path, target)
        os.mkdir(self.base + "/dev")
        for path in DEVICES:
            self._bind_file(path, devices=True)
        os.mkdir(self.base + SCRATCH)
        for name, text in proc.items():
            path = f"{self.base}/proc/{name}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if text.startswith("-> "):
                os.symlink(text[3:], path)
            else:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
        if not os.path.lexists(self.base + "/tmp"):  # it exists where Python itself is installed below /tmp
            os.symlink("scratch", self.base + "/tmp")

    def enter(self) -> None:
        """Make it the root, read-only; nothing outside it can be named any more."""
        linux.pivot_into(self.base)
        flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
        linux.mount("none", "/", None, flags)

    def show(self, path: str) -> None:
        """Bind a path under its own name, copying the links on the way (/lib -> usr/lib)."""
        current, rest = "", [part for part in os.path.abspath(path).split("/") if part]
        while rest:
            here = f"{current}/{rest.pop(0)}"
            if os.path.islink(here):
                target = os.readlink(here)
                if not os.path.lexists(self.base + here):
                    os.symlink(target, self.base + here)
                full = os.path.normpath(os.path.join(current or "/", target))
                current, rest = "", [*[part for part in full.split("/") if part], *rest]
                continue
            current = here
            if rest and not os.path.exists(self.base + current):
                os.mkdir(self.base + current, 0o755)
        if not any(_below(current, item) for item in self.shown):
            self._bind(current)

    def _bind(self, path: str) -> None:
        if os.path.isdir(path):
            os.makedirs(self.base + path, exist_ok=True)
            linux.bind_read_only(path, self.base + path)
        else:
            self._bind_file(path)
        self.shown.append(path)

    def _bind_file(self, path: str, *, devices: bool = False) -> None:
        with open(self.base + path, "wb"):
            pass
        linux.bind_read_only(path, self.base + path, devices=devices)
