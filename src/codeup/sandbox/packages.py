"""Which third-party packages programs may import: found with all that they need, without importing any of them.

    located(["numpy"])     {"numpy": "/.../site-packages/numpy", "numpy.libs": ...}
    located(["pandas"])    pandas, numpy, dateutil, tzdata, ... and their metadata folders: what pip installed for it

A package's folder is shown by itself, so that its neighbours in site-packages (CodeUp, benchmark files) stay hidden.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Sequence

ONLY = ("numpy", "numpy.libs")
"""What every program may import, with the folder of its shared libraries."""


def located(names: Sequence[str] = ONLY) -> dict[str, str]:
    """Name in site-packages -> real path, of these packages and of what their distributions require.

    `names` are those of import statements. One that is not installed is left out: who needs it has said so before.
    """
    if not names:
        return {}
    found = importlib.util.find_spec(ONLY[0])
    if tuple(names) == ONLY:
        if found is None or not found.submodule_search_locations:
            return {}
        home = os.path.dirname(os.path.realpath(found.submodule_search_locations[0]))
        return {name: os.path.join(home, name) for name in names if os.path.isdir(os.path.join(home, name))}
    owners = importlib.metadata.packages_distributions()
    waiting = [owner for name in names for owner in owners.get(name, ())]
    seen: set[str] = set()
    entries: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name.lower() in seen:
            continue
        seen.add(name.lower())
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        entries |= _entries(distribution)
        waiting += _requires(distribution)
    return dict(sorted(entries.items()))


def _entries(distribution: importlib.metadata.Distribution) -> dict[str, str]:
    """What a distribution put into site-packages, by its first path part."""
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__", "/")}
    paths = {top: os.path.realpath(str(distribution.locate_file(top))) for top in tops if not top.endswith(".pth")}
    return {top: path for top, path in paths.items() if os.path.exists(path)}


def _requires(distribution: importlib.metadata.Distribution) -> list[str]:
    """The distributions that it asks for on this machine, without its extras."""
    from packaging.requirements import InvalidRequirement, Requirement

    names = []
    for text in distribution.requires or ():
        try:
            asked = Requirement(text)
        except InvalidRequirement:
            continue
        if asked.marker is None or asked.marker.evaluate({"extra": ""}):
            names.append(asked.name)
    return names
