"""Conversations out of files, with every row accounted for.

    funnel = Funnel()
    for item in load_source("alpaca", [Path("rows.json")], limit=1000, funnel=funnel):
        ...                                    # Conversation, or Drop with reason, source and row
    funnel.check()                             # rows in == kept + dropped, for every file
    funnel.to_dict()                           # what goes into the report

A later step that refuses a conversation (too long, a duplicate) says so with `funnel.drop(conversation, reason)`, which
moves the row from kept to dropped. Rows come one at a time; nothing is held but the counts, eight bytes per row while a
`limit` is drawn, and, for `shuffle`, the conversations themselves.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from codeup import plugins
from codeup.data import rows
from codeup.data.files import Row, read_rows, sha256_of
from codeup.data.mend import SHOWN, Mend, example
from codeup.data.resolve import resolve
from codeup.data.rows import Drop, Repaired
from codeup.data.suggest import suggest
from codeup.errors import UserError
from codeup.types import Conversation

COLUMN_PEEK_ROWS = 64
Spread = Callable[[str, Mapping[str, str], Iterable[Row]], Iterator[Conversation | Drop]]
"""Converts and mends the rows of a file elsewhere: (source, columns, rows) -> what became of each, in order."""
MOST_CHARACTERS = 4_000_000
"""A conversation of more is no training example: about a million tokens, and rules would take minutes over it."""
EXAMPLES = 5
"""Examples kept of each repair."""


@dataclass(slots=True)
class SourceCount:
    """The account of one file: `rows_in == kept + sum(dropped.values())`. `repaired` counts rows that were kept.

    `added` are the conversations beyond one that kept rows were divided into.
    """

    source: str
    path: str
    sha256: str
    rows_in: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    added: int = 0
    usable: int = 0
    """Rows that became conversations, those beyond a limit included."""
    entry: int = 0
    """Which source of a mix the file belongs to."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, most frequent reason first."""
        return {
            "source": self.source,
            "path": self.path,
            "sha256": self.sha256,
            "rows_in": self.rows_in,
            "kept": self.kept,
            "added": self.added,
            "usable": self.usable,
            "entry": self.entry,
            "dropped": _by_count(self.dropped),
            "repaired": _by_count(self.repaired),
        }


class Funnel:
    """The accounts of all files of a dataset, found by the `source` label that their conversations carry."""

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        """With what `state` gave, the accounts go on from there when their files are added again."""
        self.counts: dict[str, SourceCount] = {}
        self._saved = {label: SourceCount(**count) for label, count in (saved or {}).items()}

    def state(self) -> dict[str, Any]:
        """All accounts as plain values."""
        return {label: asdict(count) for label, count in self.counts.items()}

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> Funnel:
        """All accounts as `state` gave them, nothing to be added."""
        funnel = cls(saved)
        funnel.counts = funnel._saved
        return funnel

    def add(self, source: str, path: Path, entry: int = 0) -> str:
        """Open the account of a file; its label is unique: `alpaca:rows.json`, a second one `alpaca:rows.json#2`."""
        first = f"{source}:{path.name}"
        numbered = (f"{first}#{number}" for number in itertools.count(2))
        label = next(name for name in itertools.chain([first], numbered) if name not in self.counts)
        self.counts[label] = SourceCount(source, str(path), sha256_of(path), entry=entry)
        before = self._saved.get(label)
        if before is not None and before.sha256 == self.counts[label].sha256:
            self.counts[label] = before
        return label

    def enter(self, item: Conversation | Drop) -> None:
        """Count a row that came out of a file."""
        count = self.counts[item.source]
        count.rows_in += 1
        if isinstance(item, Drop):
            count.dropped[item.reason] = count.dropped.get(item.reason, 0) + 1
            if item.reason.startswith(SHOWN) and count.dropped[item.reason] <= EXAMPLES:
                shown = {"source": item.source, "row": item.row, "before": item.detail, "after": ""}
                count.examples.setdefault(item.reason, []).append(shown)
        else:
            count.kept += 1

    def drop(self, conversation: Conversation, reason: str) -> None:
        """A conversation that was kept so far is not used after all."""
        count = self.counts[conversation.source]
        assert count.kept > 0, f"{conversation.source} has no kept row left to drop"
        count.kept -= 1
        count.dropped[reason] = count.dropped.get(reason, 0) + 1

    def repair(self, conversation: Conversation, reason: str) -> None:
        """A conversation was mended and is kept; of a `Repaired` one an example is kept too."""
        count = self.counts[conversation.source]
        count.repaired[reason] = count.repaired.get(reason, 0) + 1
        if isinstance(conversation, Repaired) and count.repaired[reason] <= EXAMPLES:
            shown = {"source": conversation.source, "row": conversation.row, **example(conversation)}
            count.examples.setdefault(reason, []).append(shown)

    def split(self, conversation: Conversation, parts: int) -> None:
        """One row became several conversations; it is counted as one row that is kept, and the others as added."""
        self.counts[conversation.source].added += parts - 1

    @property
    def rows_in(self) -> int:
        return sum(count.rows_in for count in self.counts.values())

    @property
    def rows_kept(self) -> int:
        return sum(count.kept for count in self.counts.values())

    def check(self) -> None:
        """Our own promise: no row is lost without a reason."""
        for label, count in self.counts.items():
            lost = count.rows_in - count.kept - sum(count.dropped.values())
            assert lost == 0, f"{label}: {lost} of {count.rows_in} rows are unaccounted for"

    def to_dict(self) -> dict[str, Any]:
        """`sources` (one per file) and the totals."""
        self.check()
        return {
            "sources": [count.to_dict() for count in self.counts.values()],
            "rows_in": self.rows_in,
            "rows_kept": self.rows_kept,
            "dropped": _total(count.dropped for count in self.counts.values()),
            "repaired": _total(count.repaired for count in self.counts.values()),
            "rows_added": sum(count.added for count in self.counts.values()),
            "repair_examples": self._examples(),
        }

    def _examples(self) -> dict[str, list[dict[str, Any]]]:
        """The first of each repair and of each drop by a rule, over all files."""
        found: dict[str, list[dict[str, Any]]] = {}
        for count in self.counts.values():
            for reason, examples in count.examples.items():
                found[reason] = [*found.get(reason, []), *examples][:EXAMPLES]
        return found


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One source of a mix, as a recipe names it. An empty `path` means the dataset's own place on the Hub."""

    source: str
    path: str = ""
    rows: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    revision: str | None = None


def load_mix(
    specs: Sequence[SourceSpec],
    *,
    funnel: Funnel,
    data_root: Path | None = None,
    seed: int = 0,
    shuffle: bool = False,
    mend: Mend | None = None,
    spread: Spread | None = None,
) -> Iterator[Conversation | Drop]:
    """Several sources, one after another; with `shuffle`, conversations come last, in an order drawn from the seed."""
    files = [source_files(spec, data_root) for spec in specs]  # every missing file is found before the first is read
    kept: list[Conversation] = []
    for entry, (spec, paths) in enumerate(zip(specs, files, strict=True)):
        read = load_source(
            spec.source, paths, columns=spec.columns, limit=spec.rows, seed=seed, funnel=funnel, mend=mend, entry=entry,
            spread=spread,
        )  # fmt: skip
        for item in read:
            if shuffle and isinstance(item, Conversation):
                kept.append(item)
            else:
                yield item
    for index in np.random.default_rng(seed).permutation(len(kept)):
        yield kept[index]


def source_files(spec: SourceSpec, data_root: Path | None = None) -> list[Path]:
    """The files of a source: of its path, or of the dataset's place on the Hub."""
    if spec.path:
        return resolve(spec.path, data_root, spec.revision)
    hub_id = _source(spec.source).HUB_ID
    if hub_id is None:
        raise UserError(f"source {spec.source!r} is a shape, not a dataset", mend="give it a path:")
    return resolve(f"hub:{hub_id}", None, spec.revision)


def load_source(
    name: str,
    paths: Sequence[Path],
    *,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    funnel: Funnel | None = None,
    mend: Mend | None = None,
    entry: int = 0,
    spread: Spread | None = None,
) -> Iterator[Conversation | Drop]:
    """Every row of the files, as a conversation or as a drop; `funnel` counts along, `mend` applies rules and filters.

    `columns` maps a name the source knows to the name in the file. With `limit`, that many of the usable rows are kept,
    drawn evenly over all files by the hash of (seed, file, row), in file order; the others are dropped as "beyond
    limit". A larger limit keeps a superset. The files are then read twice. Rows that the funnel has counted already
    (in a run that was interrupted) are passed over. With `spread`, rows are converted and mended by it. Raises
    `UserError` for a column that the file does not have, for damaged files, and for files in which not one row is
    usable.
    """
    module = _source(name)
    mapping = _checked_mapping(name, module, columns or {})
    funnel = Funnel() if funnel is None else funnel
    labels = [funnel.add(name, path, entry) for path in paths]
    draws = (
        None
        if limit is None
        else _draw(name, module, mapping, list(zip(labels, paths, strict=True)), limit, seed, mend, spread)
    )
    usable = sum(funnel.counts[label].usable for label in labels)
    for label, path in zip(labels, paths, strict=True):
        count = funnel.counts[label]
        for item in _convert_file(name, module, mapping, label, path, mend, spread, skip=count.rows_in):
            result: Conversation | Drop = item
            if isinstance(item, Conversation):
                usable += 1
                count.usable += 1
                if draws is not None and not draws[usable - 1]:
                    result = Drop(rows.BEYOND_LIMIT, source=label, row=item.row)
                elif isinstance(item, Repaired):
                    result = rows.plain(item, source=label, row=item.row)
                    for repair in item.repairs:
                        funnel.repair(item, repair)
            funnel.enter(result)
            yield result
    if not usable:
        raise _nothing_usable(name, [funnel.counts[label] for label in labels])


def _draw(
    name: str,
    module: ModuleType,
    mapping: Mapping[str, str],
    files: Sequence[tuple[str, Path]],
    limit: int,
    seed: int,
    mend: Mend | None,
    spread: Spread | None,
) -> np.ndarray | None:
    """For each usable row, in order, whether it is among the `limit` with the smallest hashes; None for all."""
    hashes: list[int] = []
    for label, path in files:
        for item in _convert_file(name, module, mapping, label, path, mend, spread):
            if isinstance(item, Conversation):
                hashes.append(_hash(f"{seed}:{label}:{item.row}"))
    if len(hashes) <= limit:
        return None
    chosen = np.zeros(len(hashes), dtype=bool)
    chosen[np.argsort(np.array(hashes, dtype=np.uint64), kind="stable")[:limit]] = True
    return chosen


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _convert_file(
    name: str,
    module: ModuleType,
    mapping: Mapping[str, str],
    label: str,
    path: Path,
    mend: Mend | None = None,
    spread: Spread | None = None,
    *,
    skip: int = 0,
) -> Iterator[Conversation | Drop]:
    """The rows of one file after the first `skip`, converted; both kinds of item carry `label` and row."""
    stream = module.read(path, mapping) if "read" in vars(module) else read_rows(path)
    peeked = list(itertools.islice(stream, COLUMN_PEEK_ROWS))
    _check_columns(module, mapping, [row.value for row in peeked if row.value is not None], path)
    wanted = itertools.islice(itertools.chain(peeked, stream), skip, None)
    if spread is None:
        for row in wanted:
            yield _labelled(_mended(name, module, mapping, row, mend), label, row.number)
    else:
        for item in spread(name, mapping, wanted):
            yield _labelled(item, label, item.row)


def convert_rows(
    name: str, mapping: Mapping[str, str], some: Iterable[Row], mend: Mend | None
) -> list[Conversation | Drop]:  # fmt: skip
    """Rows of a file of source `name`, converted and mended, with their numbers: what a `Spread` does with them."""
    module = _source(name)
    return [_labelled(_mended(name, module, mapping, row, mend), "", row.number) for row in some]


def _mended(
    name: str, module: ModuleType, mapping: Mapping[str, str], row: Row, mend: Mend | None
) -> Conversation | Drop:  # fmt: skip
    item = _convert_row(name, module, mapping, row)
    return mend(name, item) if mend is not None and isinstance(item, Conversation) else item


def _labelled(item: Conversation | Drop, label: str, number: int) -> Conversation | Drop:
    if type(item) is Conversation:
        return rows.plain(item, source=label, row=number)
    return replace(item, source=label, row=number)  # a Pair stays one, a Repaired with what was mended


def _convert_row(name: str, module: ModuleType, mapping: Mapping[str, str], row: Row) -> Conversation | Drop:
    if row.value is None:
        return Drop(row.error)
    item = module.convert(row.value, columns=mapping)
    if isinstance(item, Drop):
        return item
    if not isinstance(item, Conversation):
        raise UserError(f"source {name!r} made {type(item).__name__} of row {row.number}, not Conversation or Drop")
    problem = rows.shape_problem(item.messages)
    if problem is not None:
        raise UserError(f"source {name!r} made a conversation of row {row.number} that is wrong: {problem}")
    size = sum([len(turn.content) + len(turn.input) for turn in item.messages])
    if size > MOST_CHARACTERS:
        return Drop(rows.TOO_LARGE, f"{size} characters")
    return item if rows.is_valid_unicode(item) else Drop(rows.BAD_UNICODE)


# --- columns ---------------------------------------------------------------------------------------------------------


def _source(name: str) -> ModuleType:
    module = plugins.load("sources", name)
    missing = {"HUB_ID", "TERMS", "COLUMNS", "FIXTURE", "convert"} - vars(module).keys()
    if missing:
        raise UserError(f"source {name!r} lacks {', '.join(sorted(missing))}", mend="see codeup/data/sources/alpaca.py")
    return module


def _checked_mapping(name: str, module: ModuleType, columns: Mapping[str, str]) -> dict[str, str]:
    """The mapping, after a look at the names on its left."""
    for wanted in columns:
        if wanted not in module.COLUMNS:
            raise UserError(
                f"source {name!r} has no column {wanted!r}{_suggestion(wanted, module.COLUMNS)}",
                mend=f"columns: maps one of {', '.join(module.COLUMNS)} to the name in your file",
            )
    return dict(columns)


def _check_columns(
    module: ModuleType, mapping: Mapping[str, str], first: Sequence[Mapping[str, Any]], path: Path
) -> None:
    """A column that the user named or the source needs, and that none of the first rows has, is a mistake."""
    found = list(dict.fromkeys(column for row in first for column in row))
    needed = {
        wanted: mapping.get(wanted, wanted)
        for wanted, use in module.COLUMNS.items()
        if use == rows.REQUIRED or (wanted in mapping and use != rows.IN_EACH_TURN)
    }
    missing = {wanted: column for wanted, column in needed.items() if column not in found}
    if first and missing:
        wanted, column = next(iter(missing.items()))
        ways = suggest(module.__name__.rpartition(".")[2], missing, mapping, found)
        perhaps = f"perhaps {ways}" if ways else f"say which column holds it: columns: {{{wanted}: NAME_IN_YOUR_FILE}}"
        raise UserError(
            f"no column {column!r}{_suggestion(column, found)}; the columns are: {', '.join(map(repr, found))}",
            where=str(path),
            mend=f"{perhaps}, or use another source",
        )


def _suggestion(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _nothing_usable(name: str, counts: Sequence[SourceCount]) -> UserError:
    """Files without one usable row are a mistake, not an empty dataset."""
    rows_in = sum(count.rows_in for count in counts)
    reasons = ", ".join(f"{reason} ({n})" for reason, n in _total(count.dropped for count in counts).items())
    what = f"none of {rows_in} rows can be used as {name!r}: {reasons}" if rows_in else "there are no rows in it"
    where = ", ".join(count.path for count in counts)
    return UserError(what, where=where, mend="use another source, or map the columns")


def _total(parts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for reason, count in part.items():
            total[reason] = total.get(reason, 0) + count
    return _by_count(total)


def _by_count(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
