"""The JSON of a request as typed items: strict types, limits, and no field that would be ignored.

    {"task_id": "HumanEval/0", "completion": "    return 1\n"}     continues the prompt
    {"task_id": "HumanEval/0", "solution": "def f(): ..."}         a whole program, as it is
    {"task_id": "HumanEval/0", "answer": "Here:\n```python\n..."}  what a chat model said; its code is taken out of it
    {"language": "python", "program": "print(7)", "cases": [{"stdin": "", "expected": "7"}]}      free: see free.py

In a batch each of them may have an `id`, which comes back with its verdict; otherwise the id is its place.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from codeup.serve.refusal import Refusal
from codeup.serve.requests import refusal_of

MAX_PROGRAM = 1 << 17
"""Characters of one program or answer; the longest a model writes in 32,768 tokens are about that."""
MAX_TESTS, MAX_CASES, MAX_NAME = 1 << 16, 1000, 256
MAX_CASE = 1 << 20

Id = Annotated[str, Field(max_length=MAX_NAME)] | int
Name = Annotated[str, Field(max_length=MAX_NAME)]
Code = Annotated[str, Field(max_length=MAX_PROGRAM)]
CaseText = Annotated[str, Field(max_length=MAX_CASE)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Item(_Strict):
    id: Id | None = None
    index: int = Field(0, ge=0, lt=2**31)


class ProblemItem(_Item):
    """An answer to a problem of a benchmark; without `benchmark` the server's only one is meant."""

    benchmark: Name | None = None
    task_id: Name
    completion: Code | None = None
    solution: Code | None = None
    answer: Code | None = None
    prefill: Code = ""


class Case(_Strict):
    stdin: CaseText = ""
    expected: CaseText


class Call(_Strict):
    arguments: list[Any]
    expected: Any


class FreeItem(_Item):
    """A program with the checks that decide about it."""

    language: Name
    program: Code
    task_id: Name = ""
    entry_point: Name | None = None
    tests: Annotated[str, Field(max_length=MAX_TESTS)] | None = None
    calls: Annotated[list[Call], Field(min_length=1, max_length=MAX_CASES)] | None = None
    cases: Annotated[list[Case], Field(min_length=1, max_length=MAX_CASES)] | None = None
    comparison: Literal["strict", "decimals", "lenient"] | None = None
    time_limit_s: float | None = Field(None, gt=0, allow_inf_nan=False)


Item = ProblemItem | FreeItem


class Batch(_Strict):
    """POST /v1/judge/batch; with `stream` one line per verdict as each is reached, else all in the order of items."""

    items: list[Any] = Field(min_length=1)
    stream: bool = True
    deadline_s: float | None = Field(None, gt=0, allow_inf_nan=False)


Kind = TypeVar("Kind", bound=_Strict)


def one(body: bytes) -> tuple[Item, float | None]:
    """The item of a single request, and its deadline. Raises Refusal (400) naming the first field that is wrong."""
    value = _object(body)
    deadline = _parsed(_Deadline, {"deadline_s": value.pop("deadline_s", None)}, "").deadline_s
    return _item(value, ""), deadline


def batch(body: bytes, most: int) -> tuple[Batch, list[Item]]:
    """A batch and its items, each with an id of its own. Raises Refusal (400)."""
    asked = _parsed(Batch, _object(body), "")
    if len(asked.items) > most:
        raise Refusal(400, f"items: {len(asked.items)} in one request, at most {most} here", param="items",
                      code="too_many")  # fmt: skip
    items = [_item(value, f"items[{place}]") for place, value in enumerate(asked.items)]
    seen: set[Any] = set()
    for place, item in enumerate(items):
        unnamed, item.id = item.id is None, place if item.id is None else item.id
        if item.id in seen and unnamed:
            raise refused(f"items[{place}]", "id", f"is needed: its place, {place}, is another item's id",
                          code="duplicate_id")  # fmt: skip
        if item.id in seen:
            raise Refusal(400, f"items[{place}].id: {str(item.id)[:80]!r} occurs twice", param=f"items[{place}].id",
                          code="duplicate_id")  # fmt: skip
        seen.add(item.id)
    return asked, items


class _Deadline(_Strict):
    deadline_s: float | None = Field(None, gt=0, allow_inf_nan=False)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise Refusal(400, "the body is not a JSON object", code="invalid_json")
    return value


def _item(value: Any, inside: str) -> Item:
    if not isinstance(value, dict):
        raise Refusal(400, f"{inside}: not a JSON object", param=inside, code="invalid_item")
    if "language" in value:
        return _parsed(FreeItem, value, inside)
    return _answered(_parsed(ProblemItem, value, inside), inside)


def _answered(item: ProblemItem, inside: str) -> ProblemItem:
    """The item, if it holds one answer."""
    given = [name for name in ("completion", "solution", "answer") if getattr(item, name) is not None]
    if len(given) != 1:
        said = " and ".join(given) or "none"
        raise refused(inside, given[1] if given else "answer",
                      f"one of completion, solution and answer is needed, and there is {said}")  # fmt: skip
    if item.prefill and item.answer is None:
        raise refused(inside, "prefill", "only an answer can have been begun")
    return item


def refused(inside: str, field: str, what: str, *, status: int = 400, code: str = "invalid_item") -> Refusal:
    """A refusal that names a field of an item: `items[3].task_id: there is no ...`."""
    param = f"{inside}.{field}".lstrip(".")
    return Refusal(status, f"{param}: {what}", param=param, code=code)


def _parsed(kind: type[Kind], value: dict[str, Any], inside: str) -> Kind:
    for name in value:
        if name not in kind.model_fields:
            raise Refusal(400, f"{inside + '.' if inside else ''}{name[:80]}: this server does not know such a field",
                          param=f"{inside}.{name}".lstrip(".")[:200], code="unsupported_field")  # fmt: skip
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise refusal_of(error, inside) from None
