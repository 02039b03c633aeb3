"""Ask EvalPlus 0.3.1 for its statuses of every program of evalplus_mutants and write tests/golden/evalplus-0.3.1.json.

    python tests/evalplus_golden.py --peer-python VENV/bin/python --data FOLDER [--runs 2]

Statuses only: nothing of a benchmark is written. Every run uses EvalPlus's own command line with two workers; a case
whose status differs between runs is listed as unstable. HEAD of EvalPlus is not on a package index; where it differs
from 0.3.1 (a recorded `find_zero`, four seconds instead of one) the same 0.3.1 is run with its `min_time_limit`
parameter at 4 and that one line added, and the result is kept under "head".
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from evalplus_mutants import FILES, Case, cases, own_tasks, read_tasks

GOLDEN = Path(__file__).parent / "golden" / "evalplus-0.3.1.json"
OVERRIDE = {"humaneval": "HUMANEVAL_OVERRIDE_PATH", "mbpp": "MBPP_OVERRIDE_PATH"}

APART = {"Mbpp/255"}
"""Its expected values take 3.5 GB in EvalPlus's main process. Every graded program is forked from there and inherits
them under a limit of 4 GB of address space, so that a program of another task may run out of memory (Mbpp/392 does)."""

HEAD_DRIVER = """
import inspect, sys
import evalplus.eval as module
from evalplus.evaluate import evaluate
text = inspect.getsource(module.unsafe_execute)
line = "assert abs(_poly(*inp, out)) <= atol\\n"
assert text.count(line) == 1
recorded = line + " " * 28 + "details[i] = True\\n" + " " * 28 + "progress.value += 1\\n"
exec(text.replace(line, recorded), module.__dict__)
evaluate(sys.argv[1], samples=sys.argv[2], parallel=2, i_just_wanna_run=True, min_time_limit=4.0)
"""

Statuses = dict[str, list[str]]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def differs_at_head(case: Case) -> bool:
    """Whether HEAD of EvalPlus may give another status: facts/evaluation.md, 0.1 (a) and (b)."""
    return case.mutation.clock or case.task_id == "HumanEval/32"


def ask(
    python: Path, benchmark: str, tasks: list[dict[str, Any]], wanted: list[Case], cache: Path, head: bool
) -> Statuses:
    """One whole run of EvalPlus over the cases; every task must have one."""
    dataset = "humaneval" if benchmark == "humaneval" else "mbpp"
    with tempfile.TemporaryDirectory() as folder:
        data = write_lines(Path(folder) / "data.jsonl", tasks)
        samples = write_lines(Path(folder) / "samples.jsonl", [case.sample for case in wanted])
        if head:
            command = [str(python), "-c", HEAD_DRIVER, dataset, str(samples)]
        else:
            command = [str(python.parent / "evalplus.evaluate"), "--dataset", dataset, "--samples", str(samples)]
            command += ["--parallel", "2", "--i-just-wanna-run"]
        environment = {**os.environ, OVERRIDE[dataset]: str(data), "XDG_CACHE_HOME": str(cache)}
        subprocess.run(command, check=True, env=environment, cwd=folder, stdin=subprocess.DEVNULL)
        rows = json.loads((Path(folder) / "samples_eval_results.json").read_text())["eval"]
    of_task = defaultdict(list)
    for case in wanted:
        of_task[case.task_id].append(case)
    found = {}
    for task_id, own in of_task.items():
        for case, row in zip(own, rows[task_id], strict=True):
            found[case.key] = [row["base_status"], row["plus_status"]]
    return found


def whole(python: Path, benchmark: str, tasks: list[dict[str, Any]], every: list[Case], cache: Path) -> Statuses:
    """Statuses of all cases; the tasks of APART are asked in a run of their own."""
    found: Statuses = {}
    for apart in (False, True):
        some = [task for task in tasks if (task["task_id"] in APART) == apart]
        if some:
            of_them = [case for case in every if (case.task_id in APART) == apart]
            found |= ask(python, benchmark, some, of_them, cache, head=False)
    return found


def unstable(runs: list[Statuses]) -> dict[str, list[list[str]]]:
    """The cases whose status differs between runs: a limit was near, and the machine was busier once."""
    return {key: [run[key] for run in runs] for key in runs[0] if any(run[key] != runs[0][key] for run in runs)}


def data_md5(data: Path, benchmark: str) -> str:
    """The md5 of the uncompressed data file, as EvalPlus prints it."""
    if benchmark == "own":
        return hashlib.md5("".join(json.dumps(task) + "\n" for task in own_tasks()).encode()).hexdigest()
    return hashlib.md5(gzip.decompress((data / FILES[benchmark]).read_bytes())).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=None, help="keeps EvalPlus's ground truth between calls")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--only", default="humaneval mbpp own")
    options = parser.parse_args()
    cache = options.cache or Path(tempfile.mkdtemp())
    golden: dict[str, Any] = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    golden["peer"] = "evalplus 0.3.1"
    probe = "import platform, numpy; print(platform.python_version(), numpy.__version__)"
    version = subprocess.run(
        [options.peer_python, "-c", probe], check=True, capture_output=True, text=True
    ).stdout.split()
    golden["python"], golden["numpy"] = version
    for benchmark in options.only.split():
        tasks = read_tasks(options.data, benchmark)
        every = list(cases(benchmark, tasks))
        runs = [whole(options.peer_python, benchmark, tasks, every, cache) for _ in range(options.runs)]
        later = [case for case in every if differs_at_head(case)]
        ids = {case.task_id for case in later}
        heads = [
            ask(options.peer_python, benchmark, [t for t in tasks if t["task_id"] in ids], later, cache, head=True)
            for _ in range(options.runs)
        ]
        golden[benchmark] = {
            "data_md5": data_md5(options.data, benchmark),
            "runs": options.runs,
            "unstable": {**unstable(heads), **unstable(runs)},
            "statuses": runs[0],
            "head": heads[0],
        }
        print(
            benchmark,
            len(runs[0]),
            "cases,",
            len(golden[benchmark]["unstable"]),
            "unstable,",
            len(heads[0]),
            "at HEAD",
            flush=True,
        )
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(dump(golden), encoding="utf-8")


def dump(golden: dict[str, Any]) -> str:
    """JSON with one case a line, so that a change can be read."""
    text = json.dumps(golden, indent=1)
    for status in ("pass", "fail", "timeout"):
        text = text.replace(f'[\n    "{status}",\n    ', f'["{status}", ')
    return text.replace('"\n   ]', '"]') + "\n"


if __name__ == "__main__":
    main()
