"""What the variants of a study share, as a small tree: part of what `codeup check` prints.

    what the variants share, for each of the seeds 1, 2, 3
    base
    ├─ code                 = code
    ├─ instruct             for instruct-code, full
    │  ├─ code              = instruct-code
    │  └─ math              for full
    │     └─ code           = full
    └─ math                 for math-code
       └─ code              = math-code
    7 trainings for each seed, 21 in all; 8 and 24 if nothing were shared

A line is one training, starting from the model on the line above it; = names the variant it completes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from codeup import recipe as recipes
from codeup.study import Shared, chain_name, shared_work

WIDTH = 22


def as_json(recipe: recipes.Recipe) -> dict[str, Any]:
    """Variants with their chains, the seeds, and each training (of one seed) with the variants that use it."""
    return {
        "variants": {name: list(chain) for name, chain in recipe.chains().items()},
        "seeds": recipe.seeds,
        "trainings": [
            {"step": f"train-{chain_name(each.chain)}", "stages": list(each.chain), "variants": list(each.variants)}
            for each in shared_work(recipe)
        ],
    }


def lines(recipe: recipes.Recipe) -> Iterator[str]:
    """The tree as text; nothing where the recipe trains nothing."""
    work, chains = shared_work(recipe), recipe.chains()
    if not work:
        return
    seeds = recipe.seeds or []
    yield "what the variants share" + (f", for each of the seeds {', '.join(map(str, seeds))}" if seeds else "")
    yield "base"
    finished = {chain: name for name, chain in chains.items()}
    for each in work:
        ends = finished.get(each.chain)
        others = [name for name in each.variants if name != ends]
        notes = ([f"= {ends}"] if ends else []) + ([f"for {', '.join(others)}"] if others else [])
        yield f"{_branch(each, work):<{WIDTH}} {', '.join(notes)}"
    yield _count(len(work), sum(map(len, chains.values())), len(seeds))


def _branch(each: Shared, work: Sequence[Shared]) -> str:
    """The stage's name behind the lines that lead to it: │ where a later sibling of an earlier stage follows."""
    drawn = ""
    for depth in range(1, len(each.chain) + 1):
        at = each.chain[:depth]
        siblings = [other.chain for other in work if len(other.chain) == depth and other.chain[:-1] == at[:-1]]
        last = at == siblings[-1]
        if depth < len(each.chain):
            drawn += "   " if last else "│  "
        else:
            drawn += "└─ " if last else "├─ "
    return drawn + each.chain[-1]


def _count(shared: int, alone: int, seeds: int) -> str:
    of_each = f" for each seed, {shared * seeds} in all" if seeds else ""
    unshared = f"{alone} and {alone * seeds}" if seeds else str(alone)
    saved = f"; {unshared} if nothing were shared" if alone > shared else ""
    return f"{shared} training{'s' if shared > 1 else ''}{of_each}{saved}"
