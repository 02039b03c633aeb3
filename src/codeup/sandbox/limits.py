"""What one sample may use. CPU time is the main clock; the wall clock is a cap several times larger.

A loaded machine makes wall time long and leaves CPU time nearly the same, so a verdict does not depend on what else
runs (evalplus#5: one model, 0.40 on a laptop and 0.23 on a slower box, from wall limits alone).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

HAD_A_CORE = 0.9
"""The share of the time that passed for which a program must have computed, for its time limit to count at once."""

STARVED = 10
"""How many wall limits a program may take that computes and only lacks the processor."""

LEAST_SHARE, FAIR = 0.01, 0.25
"""What a program must have used of the time that passed, and of what a computation of ours gets now, to lack it."""

PROBE_CPU_S, PROBE_WALL_S = 0.02, 1.0


def starves(used_s: float, passed_s: float) -> bool:
    """Whether a program that computed `used_s` of `passed_s` seconds lacked the processor, and did not only wait.

    On an idle machine one that computes at all gets a processor, so a quarter of the time is asked for; where 20 other
    programs share it and a computation of ours gets 5 %, 1.25 %. One that is wrongly ended is judged again, alone.
    """
    return used_s >= LEAST_SHARE * passed_s and used_s >= FAIR * processor_to_be_had() * passed_s


def processor_to_be_had() -> float:
    """The share of a processor that this thread gets while it computes for PROBE_CPU_S: 1 on an idle machine."""
    start, before = time.monotonic(), time.thread_time()
    while True:
        passed, used = time.monotonic() - start, time.thread_time() - before
        if used >= PROBE_CPU_S or passed >= PROBE_WALL_S:
            return min(1.0, used / passed)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one sample, enforced by the kernel except `wall_s`, which the referee enforces from outside.

    cpu_s       seconds of CPU time, rounded up; at the limit SIGXCPU, one second later SIGKILL
    wall_s      seconds of wall time, for programs that sleep or wait
    memory_mb   address space of the process (RLIMIT_AS)
    scratch_mb  size of the private in-memory folder the program may write to; also the largest file
    threads     processes and threads together (processes are refused anyway)
    stack_mb    stack of the main thread
    files       open files
    answer_mb   one answer on the wire, so that the referee cannot be flooded
    """

    cpu_s: float = 10.0
    wall_s: float = 40.0
    memory_mb: int = 2048
    scratch_mb: int = 16
    threads: int = 64
    stack_mb: int = 64
    files: int = 64
    answer_mb: int = 16

    @staticmethod
    def of(timeout_s: float, memory_mb: int) -> Limits:
        """The limits of a recipe: CPU seconds and memory; a program that waits gets four times the CPU seconds."""
        return Limits(cpu_s=timeout_s, wall_s=4 * timeout_s, memory_mb=memory_mb)

    def __post_init__(self) -> None:
        for name in ("cpu_s", "wall_s", "memory_mb", "scratch_mb", "threads", "stack_mb", "files", "answer_mb"):
            if getattr(self, name) <= 0:
                raise ValueError(f"the limit {name} must be above 0, not {getattr(self, name)}")
