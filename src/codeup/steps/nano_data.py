"""Write the nano training sets, in the shapes of the three public datasets."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from codeup.types import Context

CODE = ("nano",)


class Spec(BaseModel):
    """How many rows of each set, and the seed they are drawn from."""

    model_config = ConfigDict(extra="forbid")

    seed: int
    rows: dict[str, int]


def run(spec: Spec, context: Context) -> dict[str, Any]:
    """Write instruct.json, math.json and code.jsonl as far as rows are asked for."""
    from codeup.nano import datasets

    datasets.write_datasets(context.folder, seed=spec.seed, rows=spec.rows)
    return {"rows": spec.rows}
