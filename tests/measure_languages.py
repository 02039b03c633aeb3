"""Measure judging in other languages against a runner that compiles and runs every program by itself.

    python tests/measure_languages.py humaneval-x FILE [--limit N] [--workers 2] [--rounds 4]

The naive runner does what MultiPL-E's evaluation does (evaluation/src/safe_subprocess): files in a temporary folder, the
compiler, the program, each a subprocess that is looked at every 0.1 s; the exit code decides. No sandbox, no caches.
Both judge the benchmark's own canonical solutions on the same number of workers, in turns of a part of them, so that what
else the machine does meets both alike. Prints the times, their ratio, processor seconds (which depend less on other work),
for C++ and Rust what the compiler alone takes of ours, and every problem on which the verdicts differ. Not a test: it takes
minutes.
"""

# ruff: noqa: E501  (commands are lines of their own)

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from codeup import plugins
from codeup.evaluate import whole
from codeup.evaluate.programs import judge_programs
from codeup.languages import _go_packages as go_packages
from codeup.languages import go as go_room
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool, ProgramJob
from codeup.types import Outcome, Problem, Program, Verdict


def steps(problem: Problem, text: str, folder: Path) -> list[list[str]]:
    """Write the program as the original runners do, and say which commands compile and run it."""
    language, tools = problem.language, whole.tools(problem.language)
    names = {"cpp": "main.cpp", "java": "Main.java", "javascript": "main.js", "typescript": "main.ts", "go": "main_test.go",
             "rust": "main.rs", "php": "main.php", "python": "main.py"}  # fmt: skip
    path = folder / names[language]
    if language == "go":
        code, own = go_room.split_imports(text)
        body, asked = go_room.split_imports(f"{problem.extra['setup']}\n{problem.tests}")
        lines = "".join(f'import {name} "{path}"\n' for name, path in go_room.used_imports(code, body, own, asked))
        path.write_text(f"package main\n{lines}{code}\n{body}")
        return [["go", "test", str(path)]]
    if language == "cpp":
        head = "".join(f"#include<{name}>\n" for name in ("stdlib.h", "algorithm", "math.h", "stdio.h", "vector", "string",
                       "climits", "cstring", "iostream"))  # fmt: skip
        path.write_text(f"{head}using namespace std;\n{text}\n{problem.tests}")
        libraries = ["-lcrypto", "-lssl"] if "openssl/" in text else []
        return [["g++", "-std=c++11", "-w", str(path), "-o", str(folder / "main"), *libraries], [str(folder / "main")]]
    path.write_text(f"{text}\n{problem.tests}")
    if language == "java":
        return [
            ["javac", "-encoding", "UTF8", "-d", str(folder), str(path)],
            ["java", "-ea", "-cp", str(folder), "Main"],
        ]
    if language == "rust":
        cache = tools.at["cache"]
        externs = [f"--extern={name}={cache}/lib{name}.rlib" for name in ("rand", "regex", "md5")]
        path.write_text(f"fn main(){{}}\n{text}\n{problem.tests}")
        out = str(folder / "main")
        return [["rustc", "--edition", "2021", "--test", "-L", cache, *externs, "-o", out, str(path)], [out]]
    if language == "typescript":
        compiler = f"{tools.at['cache']}/tsc.js"
        if not os.path.exists(compiler):
            compiler = str(Path.home() / ".cache/codeup/typescript/node_modules/typescript/bin/tsc")
        return [
            [
                "node",
                compiler,
                str(path),
                "--target",
                str(problem.extra.get("target", "es2022")),
                "--module",
                "commonjs",
            ],
            ["node", str(folder / "main.js")],
        ]
    return [[{"javascript": "node", "php": "php", "python": sys.executable}[language], str(path)]]


def naive(problem: Problem) -> bool:
    """One program, the simple way: whether the last command ended with 0."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code = 1
        commands = steps(problem, problem.prompt + problem.canonical_solution, folder)
        env = {
            key: value for key, value in os.environ.items() if not key.startswith("NODE_")
        }  # NODE_EXTRA_CA_CERTS: 80 ms
        env |= {"GO111MODULE": "off", "GOPATH": go_packages.GOPATH}
        for place, command in enumerate(commands):
            with subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, env=env
            ) as child:
                deadline = time.monotonic() + 60
                while (found := child.poll()) is None and time.monotonic() < deadline:
                    time.sleep(0.1)
                child.kill()
                said = (child.stderr.read() if child.stderr else b"").decode(errors="replace")
                code = -1 if found is None else found
            tolerated = problem.language == "typescript" and place == 0 and "error TS1" not in said
            if code and not tolerated:
                return False
        return code == 0 and not (problem.language == "javascript" and said)


def compiled(job: ProgramJob) -> None:
    """The compiler alone: our own command on our own text, outside of the sandbox, waited for without polling."""
    with tempfile.TemporaryDirectory() as name:
        for path, parts in job.files.items():
            text = "".join(
                text.replace("CODEUP_NAME", "codeup_x") if whose == "ours" else text for whose, text in parts
            )
            (Path(name) / path).write_text(text, errors="replace")
        env = {**job.steps[0]["env"], "HOME": name, "TMPDIR": name}
        subprocess.run(job.steps[0]["argv"], cwd=name, env=env, capture_output=True, check=False)


def compiling_s(problems: list[Problem], programs: list[Program], workers: int) -> float:
    """Seconds that the compiler needs for all programs on the same number of workers."""
    jobs = [whole.job(problem, program, Limits()) for problem, program in zip(problems, programs, strict=True)]
    start = time.monotonic()
    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(compiled, jobs))
    return time.monotonic() - start


def used_s(pool: Pool) -> float:
    """Processor seconds that a pool's processes and those that they waited for have used."""
    ticks, found = 0, [worker.process.pid for worker in pool.workers]
    for process in found:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
        found += map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())
    return ticks / os.sysconf("SC_CLK_TCK")


def children_s() -> float:
    """Processor seconds of this process's own children, those of them that ended."""
    times = os.times()
    return times.children_user + times.children_system


class Turns:
    """The same programs by both runners and, of compiled languages, by the compiler alone: seconds and verdicts."""

    def __init__(self) -> None:
        self.ours: dict[str, Verdict] = {}
        self.theirs: dict[str, bool] = {}
        self.ours_s = self.theirs_s = self.alone_s = self.used_s = self.theirs_used_s = self.alone_used_s = 0.0

    def take(self, pool: Pool, problems: dict[str, Problem], workers: int, *, alone: bool) -> None:
        """One turn."""
        own = [Program(each.task_id, 0, each.prompt + each.canonical_solution, "own") for each in problems.values()]
        start, before_s = time.monotonic(), used_s(pool)
        self.ours |= {v.task_id: v for v in judge_programs(pool, problems, own)}
        self.ours_s += time.monotonic() - start
        self.used_s += used_s(pool) - before_s
        start, before_s = time.monotonic(), children_s()
        with ThreadPoolExecutor(workers) as threads:
            self.theirs |= dict(zip(problems, threads.map(naive, problems.values()), strict=True))
        self.theirs_s += time.monotonic() - start
        self.theirs_used_s += children_s() - before_s
        if alone:
            before_s = children_s()
            self.alone_s += compiling_s(list(problems.values()), own, workers)
            self.alone_used_s += children_s() - before_s


def main() -> None:
    """Both runners on one file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("benchmark")
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    asked = parser.parse_args()
    data = plugins.load("benchmarks", asked.benchmark).load(asked.data)
    problems = {each.task_id: each for each in data.problems if each.canonical_solution}
    if asked.limit:
        problems = dict(list(problems.items())[: asked.limit])
    opened = whole.opened(list(problems.values()))
    language, turns = next(iter(problems.values())).language, Turns()
    tasks = list(problems)
    start = time.monotonic()
    with Pool(asked.workers, whole.limits_for(None), **opened) as pool:
        turns.ours_s, turns.used_s = time.monotonic() - start, used_s(pool)
        for turn in range(asked.rounds):
            part = {task: problems[task] for task in tasks[turn :: asked.rounds]}
            turns.take(pool, part, asked.workers, alone=language in ("cpp", "rust"))
    ours, theirs = turns.ours, turns.theirs
    differ = [task for task in problems if theirs[task] != (ours[task].outcome is Outcome.PASSED)]
    passed = sum(v.outcome is Outcome.PASSED for v in ours.values())
    print(f"{language}: {len(problems)} programs, {asked.workers} workers: CodeUp {turns.ours_s:.1f} s, naive {turns.theirs_s:.1f} s, "
          f"ratio {turns.theirs_s / turns.ours_s:.2f}; passed {passed}, naive {sum(theirs.values())}, differ {len(differ)}")  # fmt: skip
    print(f"  processor seconds: CodeUp {turns.used_s:.1f}, naive {turns.theirs_used_s:.1f}")
    if turns.alone_s:
        print(f"  the compiler alone: {turns.alone_s:.1f} s, {turns.alone_s / turns.ours_s:.0%} of CodeUp's time; "
              f"{turns.alone_used_s:.1f} of {turns.used_s:.1f} processor seconds, {turns.alone_used_s / turns.used_s:.0%}")  # fmt: skip
    for task in differ:
        print(
            f"  {task}: naive {'passes' if theirs[task] else 'fails'}, CodeUp {ours[task].outcome} {ours[task].detail[:120]}"
        )


if __name__ == "__main__":
    main()
