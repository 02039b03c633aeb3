"""Which files a path in a recipe means: a file, the data files of a folder, a glob, or a dataset of the Hub.

    rows.json                        the file, from data_root
    shards/                          all data files directly in that folder, by name
    shards/*.jsonl.zst               what matches, by name
    hub:OWNER/NAME                   the train split of that dataset (`hub:` may be left out where no such path exists)
    hub:OWNER/NAME@REVISION:main/*   the files of one revision that match a pattern

Files of the Hub go to its ordinary cache (HF_HOME); with HF_HUB_OFFLINE=1 only that cache is used. Where a dataset
holds several formats or configurations nothing is guessed: the error lists them. Does not read the files, see files.py.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from codeup.data.files import FORMATS, is_data_file
from codeup.errors import UserError

HUB_PREFIX = "hub:"
_HUB_ID = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(@(?P<revision>[^:\s]+))?(:(?P<pattern>\S+))?\Z")
_SHARD = re.compile(r"(?P<stem>.*)-(?P<index>\d{5})-of-(?P<count>\d{5})(?P<rest>\..*)\Z")
_NOT_TRAIN = frozenset(
    {"test", "tests", "testing", "valid", "val", "validation", "dev", "eval", "evaluation", "holdout"}
)
_NOT_ROWS = frozenset({"dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json", "config.json"})


@dataclass(frozen=True, slots=True)
class HubDataset:
    """`OWNER/NAME[@REVISION][:PATTERN]`; an empty pattern means the train split."""

    repo: str
    revision: str | None = None
    pattern: str = ""


def resolve(path_or_hub: str, data_root: Path | None = None, revision: str | None = None) -> list[Path]:
    """The local files behind a path or Hub id, in a fixed order. Raises `UserError` where there are none."""
    dataset = parse_hub(path_or_hub)
    if path_or_hub.startswith(HUB_PREFIX):
        if dataset is None:
            raise UserError(
                f"{path_or_hub!r} is no Hub dataset", mend="write hub:OWNER/NAME or hub:OWNER/NAME@REVISION"
            )
        return hub_files(dataset, revision)
    local = (data_root or Path()) / Path(path_or_hub).expanduser()
    if local.is_dir():
        return _folder_files(local)
    if local.exists():
        return [local]
    if any(mark in path_or_hub for mark in "*?["):
        return _glob_files(local)
    if dataset is not None and not is_data_file(dataset.repo) and not local.parent.is_dir():
        return hub_files(dataset, revision)
    raise _missing(local)


def parse_hub(text: str) -> HubDataset | None:
    """The Hub dataset that a text names, with or without `hub:`; None for anything else."""
    match = _HUB_ID.match(text.removeprefix(HUB_PREFIX))
    return HubDataset(match["repo"], match["revision"], match["pattern"] or "") if match else None


def _folder_files(folder: Path) -> list[Path]:
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except PermissionError as error:
        raise UserError("the folder cannot be listed", where=str(folder), mend="check its permissions") from error
    files = [path for path in inside if path.is_file() and is_data_file(path) and path.name not in _NOT_ROWS]
    if not files:
        found = ", ".join(path.name for path in inside[:8]) or "nothing"
        raise UserError(
            f"no data file in this folder; it holds: {found}",
            where=str(folder),
            mend=f"name a folder with {', '.join(FORMATS)} files directly in it, or a glob: {folder}/*/*.json",
        )
    return files


def _glob_files(pattern: Path) -> list[Path]:
    parts = pattern.parts
    fixed = next(index for index, part in enumerate(parts) if any(mark in part for mark in "*?["))
    start = Path(*parts[:fixed])
    files = sorted(path for path in start.glob(str(PurePosixPath(*parts[fixed:]))) if path.is_file())
    if not files:
        raise UserError("no file matches this pattern", where=str(pattern), mend=f"look at what is in {start}")
    return files


def _missing(path: Path) -> UserError:
    if path.is_symlink():
        raise UserError(
            "this link leads to nothing", where=str(path), mend=f"it points to {os.readlink(path)!r}; make it anew"
        )
    names = [inside.name for inside in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "check the path and data_root"
    return UserError("there is no such file or folder", where=str(path), mend=f"{hint} (a Hub dataset: hub:OWNER/NAME)")


# --- the Hub ---------------------------------------------------------------------------------------------------------


def hub_files(dataset: HubDataset, revision: str | None = None) -> list[Path]:
    """The dataset's files, downloaded to the Hub's cache unless they are there. One commit for all of them."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Silent(tqdm):
        """Progress bars are drawn by the command line alone."""

        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **{**settings, "disable": True})

    revision = revision or dataset.revision
    where = HUB_PREFIX + dataset.repo + (f"@{revision}" if revision else "")
    try:
        info = huggingface_hub.HfApi().dataset_info(dataset.repo, revision=revision)
    except Exception as error:  # the Hub client hands on the errors of whichever HTTP library it uses
        if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
            raise _hub_error(error, where) from error
        return _cached_files(dataset, revision, where, error)
    names = [entry.rfilename for entry in info.siblings or []]
    chosen = choose_files(names, dataset.pattern, where)

    def fetch(name: str) -> Path:
        return Path(
            huggingface_hub.hf_hub_download(
                dataset.repo, name, repo_type="dataset", revision=revision, tqdm_class=Silent
            )
        )

    # By the name of the revision, not the commit: only so does the cache remember where that name points to.
    try:
        files = [fetch(name) for name in chosen]
    except Exception as error:
        raise _hub_error(error, where) from error
    if not all(info.sha in path.parts for path in files):
        raise UserError("the dataset was changed while it was fetched", where=where, mend="run again")
    return files


def _cached_files(dataset: HubDataset, revision: str | None, where: str, reason: Exception) -> list[Path]:
    """The files that an earlier run has left in the cache, when the Hub cannot be asked."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                dataset.repo, repo_type="dataset", revision=revision, local_files_only=True
            )
        )
    except (LocalEntryNotFoundError, OSError, ValueError):
        raise _hub_error(reason, where) from reason
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return [folder / name for name in choose_files(names, dataset.pattern, where)]


def choose_files(names: Iterable[str], pattern: str, where: str) -> list[str]:
    """The rows of the train split among a dataset's files, by name.

    >>> choose_files(["README.md", "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"], "", "x")
    ['data/train-00000-of-00001.parquet']
    """
    files = sorted(name for name in names if is_data_file(name) and PurePosixPath(name).name not in _NOT_ROWS)
    matching = [name for name in files if fnmatch.fnmatchcase(name, pattern)] if pattern else files
    train = _train_files(matching)
    if not train:
        found = ", ".join(files[:8]) or "none"
        what = f"that match {pattern!r}" if pattern else "of a train split"
        raise UserError(
            f"no data files {what}; data files there: {found}", where=where, mend=f"name them: {where}:PATTERN"
        )
    _refuse_choice(train, where, "formats", lambda name: "".join(PurePosixPath(name).suffixes[-2:]).split(".")[1])
    _refuse_choice(train, where, "folders", lambda name: str(PurePosixPath(name).parent))
    _refuse_missing_shards(train, where)
    return train


def _train_files(names: list[str]) -> list[str]:
    """Files named after a train split if there are any, otherwise those not named after another split."""
    words = {name: frozenset(re.split(r"[^a-z]+", name.lower())) for name in names}
    named = [name for name in names if words[name] & {"train", "training"}]
    return named or [name for name in names if not words[name] & _NOT_TRAIN]


def _refuse_choice(names: list[str], where: str, what: str, kind: Callable[[str], str]) -> None:
    counts = Counter(kind(name) for name in names)
    if len(counts) > 1:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
        example = sorted(names)[0]
        raise UserError(
            f"the dataset holds several {what}, perhaps of the same rows: {listed}",
            where=where,
            mend=f"choose with a pattern, for example {where}:{example}",
        )


def _refuse_missing_shards(names: list[str], where: str) -> None:
    """`train-00000-of-00003` promises three files; a cache that was filled halfway must not pass for the dataset."""
    for name in names:
        match = _SHARD.match(name)
        if match is None:
            continue
        promised = int(match["count"])
        there = sum(1 for other in names if other.startswith(match["stem"] + "-") and f"-of-{match['count']}" in other)
        if there != promised:
            raise UserError(
                f"{there} of {promised} parts of {match['stem']} are there",
                where=where,
                mend="run once with network access, without HF_HUB_OFFLINE, to fetch the rest",
            )


def _hub_error(error: Exception, where: str) -> UserError:
    """What a failed request means to the person who asked."""
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return UserError(
            "access must be granted first", where=where, mend="accept its terms on the Hub; `hf auth login`"
        )
    if isinstance(error, RepositoryNotFoundError):
        mend = "check the spelling; for a private dataset run `hf auth login`"
        return UserError("no such dataset on the Hub (or it is private)", where=where, mend=mend)
    if isinstance(error, RevisionNotFoundError):
        return UserError("no such revision of this dataset", where=where, mend="a branch, tag or commit of the dataset")
    if isinstance(error, OfflineModeIsEnabled):
        mend = "unset HF_HUB_OFFLINE to fetch it, or give the path of a local copy"
        return UserError("not in the Hub's cache, and HF_HUB_OFFLINE is set", where=where, mend=mend)
    first = str(error).strip().splitlines()
    text = f"the Hub could not be reached ({type(error).__name__}: {first[0] if first else ''})"
    return UserError(text, where=where, mend="check the network, or give the path of a local copy of the file")
