"""`codeup data verify`, `export` and `inspect`: prepared datasets after the fact."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path

from codeup.cli.progress import display
from codeup.prepared.verify import Found


def verify(place: Path, *, dataset: str, every_row: bool, json: bool) -> bool:
    """Check every dataset at a place, print what differs, and say whether nothing does."""
    from codeup.prepared import where
    from codeup.prepared.verify import verify as check

    with display() as emit:
        found = [check(folder, every_row=every_row, emit=emit) for folder in where.find(place, dataset)]
    if json:
        print(jsonlib.dumps({"ok": not any(each.problems for each in found), "datasets": [e.to_dict() for e in found]}))
    else:
        print("\n".join(line for each in found for line in _verified(each)))
    return not any(each.problems for each in found)


def _verified(found: Found) -> list[str]:
    checked = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in found.checked.items())
    state = f"{len(found.problems)} differ" if found.problems else "as its manifest says"
    lines = [f"{found.name}: {state}  ({checked or found.folder})"]
    width = max((len(each.file) for each in found.problems), default=0)
    lines += [f"  {each.file:<{width}}  {each.what}" for each in found.problems]
    return lines + [f"  not checked: {each}" for each in found.not_checked]


def export(place: Path, out: Path, *, format: str, dataset: str, force: bool, json: bool) -> None:
    """Write prepared rows for other tools and say what was written."""
    from codeup.prepared.export import export as write

    with display() as emit:
        done = write(place, out, format=format, dataset=dataset, force=force, emit=emit)
    if json:
        print(jsonlib.dumps(done))
        return
    for name, each in done["datasets"].items():
        rows = ", ".join(f"{each['files'][split]} {count:,} rows" for split, count in each["rows"].items())
        print(f"{name}: {rows}")
    print(f"{out}: with README.md, manifest.json, dataset_info.json; to check it: codeup data verify {out}")
