"""Is a prepared dataset still what its manifest says, and is what it says consistent?

    file       changed, gone, or not in the manifest                         size and sha256 of each, recomputed
    rows       read = kept + dropped, for each file and reason               lines of the two files, counted
    arrays     whole-number ids, a mark for each, offsets that rise to the end, lengths up to the cutoff
    split      no equal document on both sides; as many rows held out as whole groups of them make
    tokens     rows rendered again give the ids and marks that are stored    all held-out rows, a sample of the others

Every check names the file that differs. A forger who changes rows, tokens and every hash consistently is not found:
the manifest is not signed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codeup import artifacts, models
from codeup.data.files import read_rows
from codeup.data.store import read_conversations
from codeup.errors import UserError
from codeup.prepared.where import Prepared, held_out, load
from codeup.provenance.manifest import MANIFEST, belongs
from codeup.types import Conversation, Emit, Event, Tokens, ignore_event

if TYPE_CHECKING:
    from codeup.train.tokens import TokenStore

SAMPLE = 256
"""Training rows that are rendered again unless all are asked for."""
CHUNK = 256


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not what it should be, and how."""

    file: str
    what: str


@dataclass(slots=True)
class Found:
    """What was checked, what is wrong, and what could not be checked here."""

    name: str
    folder: Path
    problems: list[Problem] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)
    not_checked: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "ok": not self.problems,
            "checked": self.checked,
            "problems": [{"file": each.file, "what": each.what} for each in self.problems],
            "not_checked": self.not_checked,
        }


def verify(folder: Path, *, every_row: bool = False, emit: Emit = ignore_event) -> Found:
    """Check one dataset's folder (a step's or an export's). Damage becomes a problem, never an exception."""
    found = Found(folder.name, folder)
    try:
        prepared = load(folder)
    except UserError as error:
        found.problems.append(Problem(MANIFEST, error.what))
        return found
    found.name = prepared.name
    checks: list[Callable[[], Iterator[Problem]]] = [lambda: _files(prepared, found, emit)]
    if prepared.is_export:
        checks += [lambda: _exported_rows(prepared, found)]
    else:
        checks += [
            lambda: _marker(prepared),
            lambda: _inputs(prepared, found),
            lambda: _counts(prepared),
            lambda: _lines(prepared, found),
            lambda: _arrays(prepared, found),
            lambda: _split(prepared, found),
            lambda: _tokens(prepared, found, every_row, emit),
        ]
    for check in checks:
        try:
            found.problems.extend(check())
        except UserError as error:
            found.problems.append(Problem(_inside(error.where, folder), error.what))
        except OSError as error:
            found.problems.append(Problem(_inside(str(error.filename), folder), f"cannot be read ({error.strerror})"))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            found.problems.append(Problem(MANIFEST, f"does not fit the files ({type(error).__name__}: {error})"))
    found.problems = list(dict.fromkeys(found.problems))
    return found


def _inside(where: str, folder: Path) -> str:
    path = Path(where)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else where


# --- files -----------------------------------------------------------------------------------------------------------


def _files(prepared: Prepared, found: Found, emit: Emit) -> Iterator[Problem]:
    """Each listed file by size and hash; files that nobody listed."""
    listed = {each["path"]: each for each in prepared.manifest["files"]}
    total = sum(each["bytes"] for each in listed.values())
    done = 0
    for name, entry in listed.items():
        path = prepared.folder / name
        if not path.is_file():
            yield Problem(name, "is gone")
            continue
        size = path.stat().st_size
        if size != entry["bytes"]:
            yield Problem(name, f"has {size:,} bytes, should have {entry['bytes']:,}")
        elif artifacts.file_sha256(path) != entry["sha256"]:
            yield Problem(name, "has other content (sha256 differs)")
        done += size
        emit(Event("progress", prepared.name, done, total, "bytes hashed"))
    found.checked |= {"files": len(listed), "bytes": done}
    for path in sorted(prepared.folder.rglob("*")):
        name = path.relative_to(prepared.folder).as_posix()
        if path.is_file() and belongs(name) and name not in listed:
            yield Problem(name, "is not in the manifest")


def _marker(prepared: Prepared) -> Iterator[Problem]:
    """The manifest itself, by the hash that the step's marker holds."""
    if not prepared.marker:
        yield Problem(artifacts.MARKER, "is gone")
        return
    sha256 = prepared.marker["summary"].get("manifest_sha256")
    if sha256 != artifacts.file_sha256(prepared.folder / MANIFEST):
        yield Problem(MANIFEST, f"has other content (sha256 differs from that in {artifacts.MARKER})")


def _inputs(prepared: Prepared, found: Found) -> Iterator[Problem]:
    """The files it was made from, where they still lie there."""
    listed = [file for source in prepared.manifest["sources"] for file in source["files"]]
    places = [each["path"] for each in prepared.funnel["sources"]]
    found.checked["inputs"] = 0
    for entry, place in zip(listed, places, strict=True):
        path = Path(place)
        if not path.is_file():
            found.not_checked.append(f"input {entry['name']}: not at {place} any more")
        elif artifacts.file_sha256(path) != entry["sha256"]:
            yield Problem(place, "this input has other content than when it was read (sha256 differs)")
        else:
            found.checked["inputs"] += 1


# --- rows ------------------------------------------------------------------------------------------------------------


def _counts(prepared: Prepared) -> Iterator[Problem]:
    """Sums of the accounts, and manifest and funnel against each other."""
    counts, funnel = prepared.manifest["counts"], prepared.funnel
    for key, value in counts.items():
        if funnel.get(key) != value:
            yield Problem("funnel.json", f"{key} is {funnel.get(key)}, in the manifest {value}")
    files = [file for source in prepared.manifest["sources"] for file in source["files"]]
    for each in [*files, *funnel["sources"]]:
        lost = each["rows_in"] - each["kept"] - sum(each["dropped"].values())
        if lost:
            yield Problem(
                MANIFEST if "name" in each else "funnel.json",
                f"{each.get('name') or each['path']}: {lost:,} of {each['rows_in']:,} rows are unaccounted for",
            )
    for key, part in (("rows_in", "rows_in"), ("rows_kept", "kept")):
        if sum(each[part] for each in files) != counts[key]:
            yield Problem(MANIFEST, f"{key} is {counts[key]:,}, its files have {sum(f[part] for f in files):,}")
    made = counts["rows_kept"] + counts.get("rows_added", 0)
    if made != counts["train_rows"] + counts["validation_rows"]:
        yield Problem(MANIFEST, f"{made:,} conversations are not train and validation rows together")


def _lines(prepared: Prepared, found: Found) -> Iterator[Problem]:
    """Lines of conversations.jsonl and dropped.jsonl against the counts, by file of origin and reason."""
    sources = prepared.funnel["sources"]
    kept, dropped, labels = Counter[str](), Counter[tuple[str, str]](), list[str]()
    for conversation in read_conversations(prepared.folder / "conversations.jsonl"):
        kept[conversation.source] += 1
    path = prepared.folder / "dropped.jsonl"
    for row in read_rows(path) if path.stat().st_size else ():
        if row.value is None:
            yield Problem("dropped.jsonl", f"line {row.number + 1} is not an object")
        else:
            dropped[row.value["source"], row.value["reason"]] += 1
    found.checked["rows"] = kept.total() + dropped.total()
    seen = Counter[str]()
    for each in sources:  # labels as data/load.py gives them: source:file, a second one source:file#2
        first = f"{each['source']}:{Path(each['path']).name}"
        seen[first] += 1
        labels.append(first if seen[first] == 1 else f"{first}#{seen[first]}")
    for label, each in zip(labels, sources, strict=True):
        made = each["kept"] + each.get("added", 0)
        if kept[label] != made:
            yield Problem("conversations.jsonl", f"has {kept[label]:,} rows of {label}, counted were {made:,}")
        for reason in sorted({*each["dropped"], *(why for source, why in dropped if source == label)}):
            counted, lines = each["dropped"].get(reason, 0), dropped[label, reason]
            if counted != lines:
                yield Problem("dropped.jsonl", f"has {lines:,} rows of {label} as {reason!r}, counted were {counted:,}")
    for label in sorted((kept.keys() | {source for source, _ in dropped}) - set(labels)):
        yield Problem("conversations.jsonl", f"has rows of {label}, which is not among the sources")


def _exported_rows(prepared: Prepared, found: Found) -> Iterator[Problem]:
    """Rows of each exported file."""
    found.checked["rows"] = 0
    for entry in prepared.manifest["files"]:
        if "rows" in entry:
            rows = sum(1 for _ in read_rows(prepared.folder / entry["path"]))
            found.checked["rows"] += rows
            if rows != entry["rows"]:
                yield Problem(entry["path"], f"has {rows:,} rows, should have {entry['rows']:,}")


# --- tokens ----------------------------------------------------------------------------------------------------------


def _arrays(prepared: Prepared, found: Found) -> Iterator[Problem]:
    """Types, shapes, borders and counts of the token arrays."""
    from codeup.train.tokens import open_tokens

    found.checked["documents"] = 0
    for side in ("train", "validation"):
        store = open_tokens(prepared.folder / side)
        yield from _borders(store, side, prepared)
        found.checked["documents"] += len(store)


def _borders(store: TokenStore, side: str, prepared: Prepared) -> Iterator[Problem]:
    """One side's arrays; its marks only where the borders are in order."""
    counts, cutoff = prepared.manifest["counts"], prepared.manifest["settings"]["cutoff"]
    ids, name, lengths = f"{side}/ids.npy", f"{side}/offsets.npy", store.lengths
    if store.ids.ndim != 1 or store.ids.dtype.kind not in "iu":
        yield Problem(ids, f"is {store.ids.dtype} {store.ids.shape}, not one row of whole numbers")
    rows, repeated = counts[f"{side}_rows"], side == "train" and "mix" in prepared.funnel
    if len(store) < rows or (len(store) > rows and not repeated):
        yield Problem(name, f"{len(store):,} documents, should be {rows:,}")
    if store.offsets[0] != 0 or (lengths <= 0).any():
        at = int(np.flatnonzero(lengths <= 0)[0]) if (lengths <= 0).any() else 0
        yield Problem(name, f"does not rise from 0 (document {at})")
        return
    if lengths.max(initial=0) > cutoff:
        longest = int(lengths.argmax())
        yield Problem(name, f"document {longest} has {int(lengths[longest]):,} tokens, more than {cutoff:,}")
    marks = f"{side}/runs.npy"
    if (store.runs < 0).any():
        yield Problem(marks, "holds runs of fewer than 0 tokens")
        return
    wrong = next((place for place in range(len(store)) if len(store[place][1]) != lengths[place]), None)
    if wrong is not None:
        yield Problem(marks, f"document {wrong} has not one mark for each token")
    for key, total in ((side, len(store.ids)), (f"{side}_trained", store.trained_tokens)):
        if key in counts["tokens"] and counts["tokens"][key] != total:
            yield Problem(
                ids if key == side else marks, f"{key}: {total:,} tokens, should be {counts['tokens'][key]:,}"
            )


def _split(prepared: Prepared, found: Found) -> Iterator[Problem]:
    """Documents by the hash of their ids: equal ones on both sides, repeats of a mix that repeat nothing.

    That the held-out groups are those in validation is for `_tokens`.
    """
    from codeup.train.tokens import open_tokens

    def digest(ids: Any) -> bytes:
        return hashlib.blake2b(np.ascontiguousarray(ids, np.int64).data, digest_size=16).digest()

    train, validation = (open_tokens(prepared.folder / side) for side in ("train", "validation"))
    wanted = {digest(validation[place][0]): place for place in range(len(validation))}
    keys_of_train = [digest(train[place][0]) for place in range(len(train))]
    both = [(wanted[key], place) for place, key in enumerate(keys_of_train) if key in wanted]
    rows = prepared.manifest["counts"]["train_rows"]
    once = set(keys_of_train[:rows])
    strange = next((place for place, key in enumerate(keys_of_train[rows:], rows) if key not in once), None)
    if strange is not None:
        yield Problem("train/ids.npy", f"document {strange} repeats none of the {rows:,} before it")
    if both and prepared.manifest["settings"].get("dedup") != "none":
        held, place = both[0]
        yield Problem(
            "validation/ids.npy", f"{len(both)} documents are in train too (document {held} is {place} there)"
        )
    member, keys = held_out(prepared)
    groups = {key for key, held in zip(keys, member, strict=True) if held}
    leaked = sum(not held and key in groups for key, held in zip(keys, member, strict=True))
    if leaked or int(member.sum()) != prepared.manifest["counts"]["validation_rows"]:
        rows = prepared.manifest["counts"]["validation_rows"]
        yield Problem("conversations.jsonl", f"its groups hold out {int(member.sum()):,} rows, counted were {rows:,}")
    found.checked["groups_held_out"] = len(groups)


def _tokens(prepared: Prepared, found: Found, every_row: bool, emit: Emit) -> Iterator[Problem]:
    """Conversations rendered again, against the stored ids and marks: all held-out rows, and of the others a sample."""
    from codeup.train.tokens import open_tokens

    renderer = _renderer(prepared, found)
    if renderer is None:
        return
    member, _ = held_out(prepared)
    stores = {side: open_tokens(prepared.folder / side) for side in ("train", "validation")}
    wanted = _chosen(member, every_row, prepared.manifest["seed"])
    found.checked["rows_rendered"] = 0
    for chunk in _chunks(prepared, member, wanted):
        rendered = renderer.render_many([conversation for _, _, conversation in chunk])
        for (side, place, conversation), tokens in zip(chunk, rendered, strict=True):
            store = stores[side]
            row = f"{conversation.source} row {conversation.row}"
            if place >= len(store):
                yield Problem(f"{side}/ids.npy", f"has no document for {row}")
                continue
            ids, trained = store[place]
            if ids.tolist() != list(tokens.ids):
                yield Problem(f"{side}/ids.npy", f"document {place} is not {row} rendered again")
            elif trained.tolist() != list(tokens.trained):
                yield Problem(f"{side}/runs.npy", f"document {place} ({row}) marks other tokens to learn")
            elif not _reads_as(renderer, tokens, conversation):
                yield Problem(f"{side}/ids.npy", f"document {place} does not read as {row} when decoded")
            found.checked["rows_rendered"] += 1
        emit(Event("progress", prepared.name, found.checked["rows_rendered"], int(wanted.sum()), "rows rendered"))


def _chosen(member: np.ndarray, every_row: bool, seed: int) -> np.ndarray:
    """(rows,) True for the rows to render: those held out, and SAMPLE of the others drawn from the seed."""
    wanted = member.copy()
    others = np.flatnonzero(~member)
    drawn = others if every_row or len(others) <= SAMPLE else np.random.default_rng(seed).choice(others, SAMPLE, False)
    wanted[drawn] = True
    return wanted


def _chunks(
    prepared: Prepared, member: np.ndarray, wanted: np.ndarray
) -> Iterator[list[tuple[str, int, Conversation]]]:
    """Wanted rows as (side, document there, conversation), some at a time."""
    places = {"train": 0, "validation": 0}
    chunk: list[tuple[str, int, Conversation]] = []
    for line, conversation in enumerate(read_conversations(prepared.folder / "conversations.jsonl")):
        side = "validation" if member[line] else "train"
        if wanted[line]:
            chunk.append((side, places[side], conversation))
        places[side] += 1
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _renderer(prepared: Prepared, found: Found) -> Any:
    """The renderer that the dataset was made with, or None where that tokenizer is not here."""
    from codeup.chat import load_renderer

    at = prepared.marker.get("spec", {}).get("at", {})
    base, revision = at.get("base") or prepared.manifest["base"]["name"], at.get("revision")
    if not models.is_local(base):
        found.not_checked.append(f"tokens: the tokenizer of {base} is not on this machine")
    elif models.identity(base, revision) != prepared.manifest["base"]["identity"]:
        found.not_checked.append(f"tokens: {base} is not the model that they were made for any more")
    else:
        return load_renderer(models.locate(base, revision), prepared.manifest["template"])
    return None


def _reads_as(renderer: Any, tokens: Tokens, conversation: Conversation) -> bool:
    """Whether the decoded tokens hold every turn in order; True for text that this tokenizer cannot give back."""
    text, at = "".join(piece for piece, _ in renderer.text_pieces(tokens)), 0
    for turn in conversation.messages:
        for part in (turn.content, turn.input):
            place = text.find(part, at)
            if place < 0:
                ids = renderer.tokenizer.encode(part, add_special_tokens=False)
                return bool(renderer.tokenizer.decode(ids) != part)
            at = place + len(part)
    return True
