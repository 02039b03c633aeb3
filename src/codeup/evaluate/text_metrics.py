"""How alike two texts are: exact match, BLEU, CodeBLEU and the smoothed BLEU-4 of CodeXGLUE, each with an interval.

    pairs = [(answer, reference), ...]     ->     stats.Mean(value in [0, 1], low, high, n, ...)

CodeXGLUE prints the same numbers times a hundred. N-grams are counted by sacrebleu; what is CodeXGLUE's own (smoothing,
length penalty) is written out here from its evaluators' formulas. CodeBLEU is the package codebleu's.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from codeup import stats
from codeup.errors import UserError, installs
from codeup.repeats import student_t

Pairs = Sequence[tuple[str, str]]
ORDERS = 4
GROUPS = 20
DRAWS = 2_000
INSTALL = installs("text")
INSTALL_CODEBLEU = "pip install --no-deps codebleu==0.7.0 tree-sitter-java"
"""Without its dependencies: it asks for tree-sitter below 0.23 and computes the same with 0.26 (docs/evaluation.md)."""


def exact_match(pairs: Pairs) -> stats.Mean:
    """The share of answers whose tokens, divided by white space, are the reference's."""
    return stats.mean_over_problems([float(a.split() == b.split()) for a, b in pairs])


def bleu(pairs: Pairs) -> stats.Mean:
    """BLEU-4 of the corpus, tokens divided by white space, one added above and below in every order.

    CodeXGLUE's evaluator/bleu.py calls compute_bleu(max_order=4, smooth=True):
    exp(mean_n log((matches_n + 1) / (possible_n + 1))) * min(1, exp(1 - reference length / answers' length)).
    The interval is a bootstrap over problems of the whole corpus's score.
    """
    import numpy as np

    counted = np.array([_counts(a, b) for a, b in pairs], dtype=np.float64)
    rng = np.random.default_rng([0, len(counted)])
    draws = rng.multinomial(len(counted), [1 / len(counted)] * len(counted), size=DRAWS)
    low, high = np.percentile(_corpus_bleu(draws @ counted), [2.5, 97.5])
    value = float(_corpus_bleu(counted.sum(axis=0)))
    return stats.Mean(value, None, float(low), float(high), len(counted), "bootstrap-95")


def _corpus_bleu(sums: Any) -> Any:
    """BLEU of (..., 10) sums: matches and possible matches of four orders, the answers' length, the references'."""
    import numpy as np

    matches, possible, ours, theirs = sums[..., :4], sums[..., 4:8], sums[..., 8], sums[..., 9]
    precision = np.exp(np.log((matches + 1) / (possible + 1)).mean(axis=-1))
    with np.errstate(divide="ignore", over="ignore"):
        short = np.exp(np.minimum(0.0, 1 - theirs / np.maximum(ours, 1e-9)))
    return precision * short


def smoothed_bleu4(pairs: Pairs) -> stats.Mean:
    """CodeXGLUE's code-to-text score: `sentence_bleu4` of each pair, and their mean."""
    return stats.mean_over_problems([sentence_bleu4(a, b) for a, b in pairs])


def sentence_bleu4(answer: str, reference: str) -> float:
    """Smoothed sentence BLEU-4 (Lin and Och 2004) as in CodeXGLUE's code-to-text/evaluator.py.

    Lower case; tokens are runs of letters and digits and single signs. One is added above and below from the second
    order on; the penalty for length is min(0, 1 - (reference + 1) / (answer + 1)). An answer without tokens scores
    exp(-reference length), as there.

    >>> round(sentence_bleu4("returns the maximum", "Returns the maximum of a list ."), 4)
    0.3679
    """
    ours, theirs = (" ".join(words(text)) for text in (answer, reference))
    found = _counts(ours, theirs)
    matches, possible, our_length, their_length = found[:4], found[4:8], found[8], found[9]
    if possible[0] and not matches[0]:
        return 0.0
    logs = [math.log((matches[n] + (n > 0)) / (possible[n] + (n > 0))) for n in range(ORDERS) if possible[n] or n > 0]
    return math.exp(sum(logs) / ORDERS + min(0.0, 1 - (their_length + 1) / (our_length + 1)))


def words(text: str) -> list[str]:
    """The tokens that code-to-text compares.

    >>> words("Returns max_value, e.g. 3.5")
    ['returns', 'max', '_', 'value', ',', 'e', '.', 'g', '.', '3', '.', '5']
    """
    return re.findall(r"[^\W_]+|_|[^\w\s]", text.lower())


def codebleu(pairs: Pairs, language: str) -> stats.Mean:
    """CodeBLEU (Ren et al. 2020, arXiv 2009.10297), four quarters: n-grams, weighted n-grams, syntax, data flow.

    It is one number of a corpus, so the interval comes from GROUPS random groups of problems, Student's t of their
    values (random groups, Wolter 2007, chapter 2). Raises UserError where the package is missing.
    """
    if importlib.util.find_spec("codebleu") is None:
        raise UserError("CodeBLEU needs the package codebleu", mend=INSTALL_CODEBLEU)
    calc_codebleu = importlib.import_module("codebleu").calc_codebleu

    def score(some: Pairs) -> float:
        return float(calc_codebleu([[b] for _, b in some], [a for a, _ in some], language)["codebleu"])

    low, high = _grouped(pairs, score)
    return stats.Mean(score(pairs), None, low, high, len(pairs), "random-groups-95")


def _grouped(pairs: Pairs, score: Callable[[Pairs], float]) -> tuple[float, float]:
    """A 95 % interval of a corpus's score from the scores of random parts of it; [0, 1] for fewer than four pairs."""
    if len(pairs) < 4:
        return 0.0, 1.0
    shuffled = random.Random(0).sample(list(pairs), len(pairs))
    count = min(GROUPS, len(pairs) // 2)
    found = [score(shuffled[place::count]) for place in range(count)]
    mean = sum(found) / count
    spread = math.sqrt(sum((value - mean) ** 2 for value in found) / (count - 1) / count)
    half, whole = student_t(0.975, count - 1) * spread, score(pairs)
    return max(0.0, whole - half), min(1.0, whole + half)


def _counts(answer: str, reference: str) -> list[float]:
    """Matches and possible matches of one to four tokens, then both lengths, by sacrebleu."""
    found = _counter().sentence_score(answer, [reference])
    return [*map(float, found.counts), *map(float, found.totals), float(found.sys_len), float(found.ref_len)]


def _counter() -> Any:
    if importlib.util.find_spec("sacrebleu") is None:
        raise UserError("this benchmark's scores need the package sacrebleu", mend=INSTALL)
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize="none", smooth_method="none", effective_order=True)
