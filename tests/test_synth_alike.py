"""Tasks that are like one that is kept: the published rule, without comparing all with all."""

from __future__ import annotations

import random

from codeup.synth.alike import Alike, common, similarity


def longest_common(a: list[int], b: list[int]) -> int:
    """The textbook table."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_the_common_subsequence_is_that_of_the_textbook() -> None:
    draw = random.Random(5)
    for _ in range(300):
        a, b = ([draw.randrange(6) for _ in range(draw.randrange(90))] for _ in range(2))
        assert common(a, b) == longest_common(a, b)


def test_signs_and_case_do_not_count_and_order_does() -> None:
    assert similarity("Double `x`, please!", "double x please") == 1.0
    assert similarity("a b c d", "d c b a") == 0.25
    assert similarity("", "a") == 0.0
    text = "Write a function that doubles every number in a list."
    assert similarity(text, "Write a function that doubles each number of a list.") == 0.8


def test_a_look_up_finds_what_comparing_with_all_finds() -> None:
    draw = random.Random(7)
    vocabulary = [f"word{n}" for n in range(400)]
    texts = [" ".join(draw.choices(vocabulary, k=draw.randint(5, 40))) for _ in range(300)]
    alike = Alike(0.7)
    for number, text in enumerate(texts):
        alike.add(str(number), text)
    found = missed = 0
    for text in texts:
        edited = text.split()
        for _ in range(draw.randint(0, len(edited) // 2)):
            edited[draw.randrange(len(edited))] = draw.choice(vocabulary)
        scores = [similarity(" ".join(edited), other) for other in texts]
        name, score = alike.like(" ".join(edited))
        if max(scores) >= 0.7:
            found += name != ""
            missed += name == ""
            assert not name or (score == max(scores) and scores[int(name)] == score)
        else:
            assert name == ""
    assert found > 100
    assert missed <= 2
