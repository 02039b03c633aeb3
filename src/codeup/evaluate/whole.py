"""Programs of any language, judged with their tests in them: from a problem to a job for the sandbox.

    Problem(language="cpp", tests="int main() {...}") + Program -> languages/cpp.py wraps -> ProgramJob -> Verdict

A language whose tools are missing raises UserError: a score of 0 would say something about a model.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from codeup import plugins
from codeup.benchmarks import _imports
from codeup.errors import UserError
from codeup.evaluate import libraries
from codeup.sandbox import packages
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import ProgramJob, StdinJob
from codeup.types import Problem, Program

SCRATCH_MB, FILES, THREADS, WALL_S = 256, 256, 512, 60.0
"""What compilers need besides time and memory, which languages/_tools.py limits."""


def is_whole(problem: Problem) -> bool:
    """Whether the problem's tests are text of its own language, run in one process with the program."""
    return bool(problem.extra.get("whole"))


def reads_input(problem: Problem) -> bool:
    """Whether the problem's programs read standard input and print."""
    return "stdin" in problem.extra


def needs_tools(problem: Problem) -> bool:
    """Whether programs are run by tools that the sandbox must show: compilers, or the interpreter as a command."""
    return is_whole(problem) or reads_input(problem)


@functools.cache
def tools(language: str) -> Any:
    """The language's tools on this machine, prepared once per process. Raises UserError where they are missing."""
    return plugins.load("languages", language).toolchain()


def version(language: str) -> str:
    """The tools' version, for keys and reports; Python's own for Python."""
    return f"python {platform.python_version()}" if language == "python" else str(tools(language).version)


def installed() -> dict[str, str]:
    """Every language -> the version of its tools, or how to install them. Prepares nothing, so it is quick."""
    found = {}
    for name in plugins.names("languages"):
        module = plugins.load("languages", name)
        try:
            found[name] = module.probe() if hasattr(module, "probe") else version(name)
        except UserError as error:
            found[name] = f"missing; {str(error).split('to mend: ')[-1]}"
    return found


def limits_for(limits: Limits | None, problems: Sequence[Problem] = ()) -> Limits:
    """The limits of the sandbox itself; a program's own time and memory go with its job.

    A benchmark whose programs import large libraries asks for more seconds than the default (`extra["seconds"]`).
    """
    limits = limits or Limits()
    cpu_s = max([limits.cpu_s, *(float(problem.extra.get("seconds", 0)) for problem in problems)])
    wall_s = max(limits.wall_s, WALL_S, 2 * cpu_s if cpu_s > limits.cpu_s else 0)
    return replace(limits, cpu_s=cpu_s, wall_s=wall_s, scratch_mb=SCRATCH_MB, files=FILES, threads=THREADS)


def shown(problems: Sequence[Problem]) -> tuple[str, ...]:
    """The paths a sandbox must show for these problems' tools."""
    languages = dict.fromkeys(problem.language for problem in problems if needs_tools(problem))
    return tuple(dict.fromkeys(path for language in languages for path in tools(language).show))


def opened(problems: Sequence[Problem]) -> dict[str, Any]:
    """What a Pool for these problems is opened with: tools to show, packages to import, files of /proc made up.

    Raises UserError where a tool or a library is missing.
    """
    languages = dict.fromkeys(problem.language for problem in problems if needs_tools(problem))
    proc = {name: text for language in languages for name, text in tools(language).proc.items()}
    return {"show": shown(problems), "import_names": imports(problems), "proc": proc}


def imports(problems: Sequence[Problem]) -> tuple[str, ...]:
    """The packages that programs of these problems may import. Raises UserError where one that they need is missing.

    None where no program is in Python: a sandbox starts sooner, and forks sooner, that has not imported numpy.
    """
    if any(map(_asks, problems)):
        return tuple(dict.fromkeys(("numpy", *libraries.needed(problems))))
    return packages.ONLY if any(problem.language == "python" for problem in problems) else ()


def _asks(problem: Problem) -> bool:
    return bool(problem.extra.get("libraries"))


def versions(problems: Sequence[Problem]) -> dict[str, str]:
    """Language or library -> its version here, for keys and reports."""
    languages = {name: version(name) for name in sorted({problem.language for problem in problems})}
    return languages | libraries.versions(problems)


def rules(problem: Problem, compat: str) -> str:
    """What counts as a pass: "" for our own rule, else the original's. Raises UserError for a rule not known."""
    if compat in ("", "codeup", "evalplus"):  # evalplus is the default of the option, for benchmarks with suites
        return ""
    known = problem.extra.get("compat", {})
    if compat not in known:
        names = ", ".join(["codeup", *known])
        raise UserError(f"there are no rules {compat!r} for this benchmark", where="--compat", mend=f"one of: {names}")
    return str(known[compat])


def job(problem: Problem, program: Program, limits: Limits, compat: str = "") -> ProgramJob:
    """What the sandbox needs. Raises UserError where the language's tools are missing."""
    language = plugins.load("languages", problem.language)
    wrapped = language.wrap(
        program.code, problem.tests, tools=tools(problem.language), cpu_s=limits.cpu_s, memory_mb=limits.memory_mb,
        extra=problem.extra, compat=rules(problem, compat),
    )  # fmt: skip
    return ProgramJob(problem.task_id, program.index, wrapped.files, wrapped.steps, wrapped.compat, wrapped.warm)


def stdin_job(problem: Problem, program: Program, limits: Limits, compat: str = "") -> StdinJob:
    """The same for a program that reads standard input: its inputs, and what is expected of each for the judge."""
    comparison = rules(problem, compat) or str(problem.extra["comparison"])
    language = plugins.load("languages", problem.language)
    path, step = language.script(tools=tools(problem.language), cpu_s=limits.cpu_s, memory_mb=limits.memory_mb)
    tests = tuple((given, expected) for given, expected in problem.extra["stdin"])
    return StdinJob(problem.task_id, program.index, with_imports(problem, program.code), path, step, tests, comparison)


def with_imports(problem: Problem, code: str) -> str:
    """A program behind the imports that its benchmark's grader gives to all, if it gives any."""
    return _imports.with_imports(code, problem.extra["given"]) if problem.extra.get("given") else code
