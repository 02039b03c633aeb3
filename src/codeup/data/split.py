"""Which conversations are held out: whole groups, drawn by hash, so that no question stands on both sides.

A conversation belongs to the group its source named (`original_question` of a rewrite), otherwise to its own first
question: two rows that ask the same stay together. The two kinds share one name space, so GSM8K's question and
MetaMathQA's rewrites of it stay together as well. White space does not count.

    groups in the order of their hash    B(3 rows)  A(1)  D(2)  C(1) ...        wanted: 5 validation rows
    taken while they fit                 B    3     A  4  D  -  C  5            D would make 6 and is skipped
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codeup.data.white import squeezed
from codeup.errors import UserError
from codeup.types import Conversation

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Split:
    """Both sides, each in the order it came in."""

    train: list[Conversation]
    validation: list[Conversation]


def group_keys(conversations: Sequence[Conversation]) -> list[bytes]:
    """For each, 16 bytes that are equal for conversations that must stay on one side."""
    texts = squeezed([_asked(each).encode() for each in conversations])
    return [hashlib.blake2b(text, digest_size=KEY_BYTES).digest() for text in texts]


def group_key(conversation: Conversation) -> bytes:
    """The key of one."""
    return group_keys([conversation])[0]


def _asked(conversation: Conversation) -> str:
    """What its group is told by."""
    if conversation.group.strip():
        return conversation.group
    question = next(message for message in conversation.messages if message.role == "user")
    return f"{question.content}\n{question.input}"


def choose_validation(
    keys: Iterable[bytes], *, rows: int | None = None, fraction: float | None = None, seed: int = 0
) -> frozenset[bytes]:
    """The groups to hold out, given the key of every conversation (repeated as often as its group has rows).

    Give either `rows` or `fraction`. Never more rows than wanted, and as many as whole groups allow, taken in the order
    of hash(seed, group): the choice does not depend on the order of rows. Only where even the smallest group is larger
    than wanted is that one taken. Raises `UserError` if nothing would be left to train on.
    """
    sizes = Counter(keys)
    total = sizes.total()
    assert (rows is None) != (fraction is None), "give rows or fraction"
    wanted = rows if rows is not None else round(total * (fraction or 0.0))
    if wanted == 0:
        return frozenset()
    if wanted >= total:
        raise UserError(
            f"{wanted} of {total} rows for validation leave none to train on",
            where="validation_rows",
            mend=f"make it smaller than {total}, 0 for none, or give more rows",
        )
    salt = str(seed).encode()
    order = sorted(sizes, key=lambda key: hashlib.blake2b(key, digest_size=8, key=salt[:64]).digest())
    chosen: set[bytes] = set()
    held_out = 0
    for key in order:
        if held_out + sizes[key] <= wanted:
            chosen.add(key)
            held_out += sizes[key]
        if held_out == wanted:
            break
    if not chosen:
        chosen.add(min(order, key=lambda key: sizes[key]))
    if len(chosen) == len(sizes):
        raise UserError(
            "all rows belong to one group, so none can be held out", where="validation_rows", mend="make it 0: none"
        )
    return frozenset(chosen)


def split(
    conversations: Iterable[Conversation],
    *,
    validation_rows: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
) -> Split:
    """Divide conversations that are held in memory; for a stream, use `group_key` and `choose_validation`."""
    items = list(conversations)
    keys = group_keys(items)
    held_out = choose_validation(keys, rows=validation_rows, fraction=fraction, seed=seed)
    result = Split([], [])
    for item, key in zip(items, keys, strict=True):
        (result.validation if key in held_out else result.train).append(item)
    return result
