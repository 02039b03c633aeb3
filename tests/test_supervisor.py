"""A supervisor that stays for many programs: what one leaves behind, the next does not find."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codeup.evaluate import whole
from codeup.languages._tools import alone_step, run_step
from codeup.sandbox import program_judge, wire
from codeup.sandbox.handle import Zygote
from codeup.sandbox.pool import SOURCE, Job, Pool, ProgramJob, RunJob

SHELL = os.path.realpath("/bin/sh")
LOOK = "ls -lan --time-style=+ /scratch; echo *; pwd"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1, whole.limits_for(None), show=("/usr/bin",)) as opened:
        yield opened


def ran(pool: Pool, script: str, *, processes: bool = False) -> dict[str, Any]:
    """What the shell says that runs a script in the sandbox of a worker."""
    step = alone_step([SHELL, "-c", script], cpu_s=5, memory_mb=256, processes=processes)
    return pool.run(RunJob({"given": "x"}, {}, (step,), {"files": 9, "bytes": 1000}))


def test_every_program_finds_a_scratch_with_its_own_files_only_whatever_the_one_before_did_to_it(pool: Pool) -> None:
    before = ran(pool, LOOK, processes=True)["steps"][0]
    spoilt = ran(pool, "mkdir -p a/b; echo left > a/b/c; ln -s a d; exec 9>kept; chmod 500 a /scratch", processes=True)
    after = ran(pool, LOOK, processes=True)["steps"][0]
    assert spoilt["steps"][0]["status"] == 0 and spoilt["made"] == {"a/b/c": "bGVmdAo=", "kept": ""}
    assert "drwxrwxrwx" in before["out"] and before["out"].endswith("\ngiven\n/scratch\n"), before["out"]
    assert (after["out"], after["err"]) == (before["out"], before["err"])


def test_what_a_program_wrote_into_the_attributes_of_its_scratch_is_gone(pool: Pool) -> None:
    """A file system in memory keeps attributes of its root; the root of the next program's is another."""
    python = "import os\nprint([os.listxattr('/scratch'), os.stat('/scratch').st_mtime_ns])"
    note = "try: os.setxattr('/scratch', 'user.note', b'x')\nexcept OSError: pass\nos.utime('/scratch', (7, 7))\n"
    found = []
    for text in (f"import os\n{note}{python}", python):
        step = alone_step([os.path.realpath("/usr/bin/python3"), "-S", "-c", text], cpu_s=5, memory_mb=512)
        done = pool.run(RunJob({}, {}, (step,), {"files": 0, "bytes": 0}))["steps"][0]
        if done["status"] != 0:
            pytest.skip(done["err"])
        found.append(eval(done["out"]))
    assert found[0][1] == 7 * 10**9
    assert found[1][0] == [] and found[1][1] != 7 * 10**9, found


def below(process: int) -> list[str]:
    """The names of all descendants of a process."""
    found = []
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        found += [Path(f"/proc/{child}/comm").read_text().strip(), *below(int(child))]
    return found


def test_no_process_of_a_program_is_there_for_the_next(pool: Pool) -> None:
    ran(pool, "exit 0")
    idle = below(pool.workers[0].process.pid)
    ran(pool, "(trap '' HUP TERM; sleep 60) & (setsid sleep 61 &)", processes=True)
    assert "sleep" not in idle and below(pool.workers[0].process.pid) == idle


def test_a_supervisor_stays_until_a_function_is_to_be_called(pool: Pool) -> None:
    """What is begun meanwhile would else wait behind it for ever, or be taken for its order."""
    request = {"files": {}, "steps": [alone_step([SHELL, "-c", "exit 3"], cpu_s=5, memory_mb=256)], "secret": ""}
    zygote = Zygote({**pool.workers[0].config, "folder": pool.home}, SOURCE)
    try:
        for turn in range(2):
            first = zygote.supervisor()
            codes = [program_judge.supervised(zygote, request, 4)["steps"][0]["status"] >> 8 for _ in range(2)]
            assert codes == [3, 3] and zygote.supervisor() is first, turn
            assert wire.receive(zygote.begin()) == ["isolated"]
            zygote.end(gone=False)
    finally:
        zygote.stop()


def test_functions_and_whole_programs_take_turns_on_one_worker(pool: Pool) -> None:
    step = run_step([SHELL, "-c", "read s; echo $s 3"], cpu_s=5, memory_mb=256)
    shell = ProgramJob("whole", 0, {}, (step,))
    call = Job("call", 0, "def twice(x):\n    return 2 * x\n", "twice", "def check(f):\n    assert f(2) == 4\n", "")
    outcomes = [pool.judge_on(0, job)["outcome"] for job in (shell, call, shell, shell, call, call, shell)]
    assert outcomes == ["PASSED"] * 7
