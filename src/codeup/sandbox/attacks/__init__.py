"""Numbered attacks on the sandbox and the judge, in four kinds, and honest programs that must pass.

Every attack is a program for one tiny problem, add(a, b), and answers rightly **only if the attack worked**. So one
rule holds for all of them: none may pass. Besides, none may change a file outside its scratch, or leave a process.

    escape    reach a file, the network, the environment, another process or more privilege
    forge     be judged right without computing the answer
    exhaust   use more time, memory, disk, processes or bandwidth than allowed
    linger    leave something behind that acts after the verdict

Numbers are given once and never reused. An attack on a thing that is refused in several ways proves only that one of
them holds; the self-test with layers switched off proves the others. Sources: human-eval#67, evalplus#306, MultiPL-E's
evil programs, the escapes that human-eval's reliability_guard warns of, and what Landlock's documentation says it does
not restrict.
"""

from __future__ import annotations

from codeup.sandbox.attacks.controls import CONTROLS
from codeup.sandbox.attacks.escape import ESCAPES
from codeup.sandbox.attacks.exhaust import EXHAUSTS
from codeup.sandbox.attacks.forge import FORGES
from codeup.sandbox.attacks.linger import LINGERS
from codeup.sandbox.attacks.program import ENTRY_POINT, REFERENCE, TESTS, Attack

__all__ = ["ATTACKS", "CONTROLS", "ENTRY_POINT", "REFERENCE", "TESTS", "Attack"]

ATTACKS: tuple[Attack, ...] = (*ESCAPES, *FORGES, *EXHAUSTS, *LINGERS)
