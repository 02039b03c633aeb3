"""`codeup export hub RUN`: a model of a run as a folder for the Hub, and the way there."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path

from codeup.cli.progress import display
from codeup.errors import UserError


def hub(
    run: Path,
    out: Path,
    *,
    model: str,
    repo: str,
    private: bool,
    push: bool,
    update: bool,
    dry_run: bool,
    max_shard_size: str,
    base_license: str | None,
    json: bool,
) -> None:
    """Write the folder, check it, and with `push` send it; prints what is in it and where it went."""
    from codeup import publishing

    if (push or private or update) and not repo:
        raise UserError("there is no repository to push to", where="--push", mend="give --repo OWNER/NAME")
    size = publishing.parse_size(max_shard_size)
    with display() as emit:
        made = publishing.export_hub(
            run,
            out,
            model=model,
            repo=repo,
            base_licence=base_license,
            max_shard_bytes=size,
            dry_run=dry_run,
            emit=emit,
        )
    for note in made.notes:
        print(f"note: {note}", file=sys.stderr)
    url = None
    if push and not dry_run:
        from codeup.export.push import push as send

        url = send(out, repo, private=private, update=update)
    if json:
        record = {
            "name": made.name, "repo": repo or None, "folder": None if dry_run else str(out), "files": dict(made.files),
            "licence": dict(made.licence), "checked": list(made.checked), "notes": list(made.notes), "pushed": url,
        }  # fmt: skip
        print(jsonlib.dumps(record))
        return
    for name, size in sorted(made.files.items()):
        print(f"{size:>15,}  {name}")
    licence = ", ".join(f"{key} {value}" for key, value in made.licence.items())
    print(f"{made.name}: {len(made.files)} files, {sum(made.files.values()):,} bytes; {licence}")
    print(f"checked: {', '.join(made.checked)}")
    if dry_run:
        print("dry run: nothing was written, nothing was sent")
    else:
        print(f"pushed: {url}" if url else f"folder: {out}")
