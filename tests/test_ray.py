"""Work on a Ray cluster gives the bytes that it gives here, whatever happens to its workers, and fails in plain words.

One cluster of two cores for all tests; the last one kills its head node.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from ray_workers import Square
from test_evaluate import DATA

from codeup import executors, study
from codeup import recipe as recipes
from codeup import run as engine
from codeup.benchmarks import humaneval
from codeup.decontaminate import look
from codeup.engines._replicas import Replica, Replicas
from codeup.errors import UserError, WorkFailed
from codeup.evaluate import elsewhere, whole
from codeup.evaluate.judge import judge_samples
from codeup.evaluate.samples import read_lines
from codeup.executors import Executor
from codeup.executors._messenger import explained
from codeup.sandbox.limits import Limits
from codeup.steps import _read
from codeup.types import Emit, Event, ignore_event

LEAK = (
    "Count the apples in seven baskets where each basket holds three more of them than the one that stands before it."
)
LIMITS = Limits(cpu_s=1, wall_s=4, memory_mb=512)
NODE = socket.gethostname()
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install -c constraints.txt '.[cluster]'"
)


@pytest.fixture(scope="module")
def head() -> Iterator[subprocess.Popen[bytes]]:
    """A head node with two cores on the loopback; `args[-1]` is its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2",
        "--object-store-memory=100000000", "--include-dashboard=false", "--disable-usage-stats",
        "--node-ip-address=127.0.0.1", f"--port={port}",
    ]  # fmt: skip
    env = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None and not listens(port):
        time.sleep(0.2)
    process.args = [*command, f"127.0.0.1:{port}"]
    yield process
    kill_tree(process.pid)
    process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def kill_tree(pid: int) -> None:
    for each in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
        each.kill()


@pytest.fixture(scope="module")
def address(head: subprocess.Popen[bytes]) -> str:
    return str(head.args[-1])  # type: ignore[index]


@pytest.fixture(scope="module", autouse=True)
def no_token() -> Iterator[None]:
    """A cluster of tests needs none."""
    before = dict(os.environ)
    os.environ["RAY_AUTH_MODE"] = "disabled"
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def cluster(address: str) -> Iterator[Executor]:
    with executors.opened(address, replicas=2) as opened:
        assert opened is not None
        yield opened


def square(cluster: Executor, **arguments: Any) -> Any:
    return cluster.crew("ray_workers:Square", arguments, count=2)


def squares(address: str, **arguments: Any) -> list[tuple[int, int]]:
    with executors.opened(address) as opened:
        assert opened is not None
        with opened.crew("ray_workers:Square", arguments, count=1) as crew:
            return list(crew.deal(range(4)))


def test_every_piece_comes_back_once_and_in_order_where_asked(cluster: Executor) -> None:
    assert (cluster.cpus, cluster.gpus, cluster.nodes) == (2, 0, 1)
    with square(cluster) as crew:
        assert sorted(crew.deal(range(20))) == [(n, n * n) for n in range(20)]
        assert list(crew.in_order(range(30))) == [n * n for n in range(30)]
        assert len({about["pid"] for about in crew.abouts}) == 2 and all(NODE in each["node"] for each in crew.abouts)
    assert list(executors.Here(Square()).in_order(range(4))) == [0, 1, 4, 9]


def test_pieces_are_read_only_as_far_as_workers_can_take_them(cluster: Executor) -> None:
    read = done = most = 0

    def pieces() -> Iterator[int]:
        nonlocal read, most
        for read in range(1, 13):
            most = max(most, read - done)
            yield read

    with square(cluster, seconds=0.02) as crew:
        for _ in crew.in_order(pieces()):
            done += 1
    assert done == 12 and most <= 3 * 2  # out, or early and waiting for one before them


def test_the_piece_of_a_lost_worker_is_given_to_another(cluster: Executor, tmp_path: Path) -> None:
    with square(cluster, seconds=0.02, fatal=3, once=str(tmp_path / "died")) as crew:
        assert sorted(crew.deal(range(12))) == [(n, n * n) for n in range(12)]
    assert (tmp_path / "died").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"fatal": 2}, WorkFailed, r"3 workers were lost at the same piece"),
        ({"bug": 2}, WorkFailed, NODE + r"[\s\S]*ZeroDivisionError: a bug"),
        ({"wrong": 2}, UserError, rf"node {NODE} .*, the piece: is wrong\s+to mend: mend it"),
    ],
)
def test_what_fails_says_what_and_on_which_node(address: str, arguments: Any, error: Any, told: str) -> None:
    with pytest.raises(error, match=told):
        squares(address, **arguments)


# ----------------------------------------------------------------------------------------------------------- judging

ANSWERS = {
    "passes": "def f{n}(x):\n    return x + {n}\n",
    "fails": "def f{n}(x):\n    return 0\n",
    "loops": "def f{n}(x):\n    while True: pass\n",
    "exits": "import os\nos._exit(0)\n",
    "is empty": "",
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four kinds of answers to four problems, in turn, and one that loops."""
    path = tmp_path_factory.mktemp("samples") / "s.jsonl"
    kinds = ["passes", "fails", "exits", "passes", "is empty"]
    rows = [
        {"task_id": f"T/{n}", "solution": ANSWERS[kinds[(n + index) % 5]].format(n=n)}
        for n in range(4)
        for index in range(15)
    ]
    rows.append({"task_id": "T/0", "solution": ANSWERS["loops"].format(n=0)})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Verdicts without what is measured: seconds, and those in the detail of what ran out of time."""
    rows = read_lines(folder / "verdicts.jsonl")
    return [{**row, "seconds": 0, "detail": "" if row["outcome"] == "TIMEOUT" else row["detail"]} for row in rows]


def test_verdicts_are_those_of_this_machine_although_a_worker_is_killed(
    cluster: Executor, head: subprocess.Popen[bytes], samples: Path, tmp_path: Path
) -> None:
    judge_samples(samples, humaneval, DATA, tmp_path / "here", workers=2, limits=LIMITS)
    heard: list[Event] = []
    killed: list[int] = []

    def listen(event: Event) -> None:
        heard.append(event)
        if len(heard) == 15:
            killed.append(kill_a_worker(head.pid))

    judge_samples(samples, humaneval, DATA, tmp_path / "there", workers=2, limits=LIMITS, executor=cluster, emit=listen)
    assert killed and not psutil.pid_exists(killed[0])
    assert [event.done for event in heard] == list(range(1, 62))  # each verdict once
    assert (tmp_path / "there/scores.json").read_bytes() == (tmp_path / "here/scores.json").read_bytes()
    assert rows_of(tmp_path / "there") == rows_of(tmp_path / "here")


def kill_a_worker(pid: int) -> int:
    """Kill one of the processes that stand for workers now."""
    for each in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # one of an earlier crew, just gone
            if "ray::Place" in " ".join(each.cmdline()):
                each.kill()
                each.wait(10)
                return each.pid
    raise AssertionError("no worker stands")


def test_a_node_below_the_floor_is_refused_by_its_name(address: str) -> None:
    arguments = {
        "limits": LIMITS,
        "allow_unsafe": False,
        "kinds": [],
        "expected": elsewhere._needs(whole.opened([]), []),
    }
    with executors.opened(address) as opened:
        assert opened is not None
        with pytest.raises(UserError, match=rf"node {NODE} .*cannot isolate"):
            opened.crew("ray_workers:weak_sandbox", arguments, count=1).__enter__()


# -------------------------------------------------------------------------------------------------- a study, generation

STUDY = """
name: r
seed: 3
model: {base: nano-base}
evaluate:
  benchmarks: [{name: nano, limit: 4, samples: 3, temperature: 0.8, max_new_tokens: 40, batch_size: 2, timeout_s: 2}]
  base_forms: [base]
"""


@pytest.mark.slow
def test_a_study_answers_and_scores_as_here_although_a_replica_is_killed(
    cluster: Executor, head: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    killed: list[int] = []

    def listen(event: Event) -> None:
        if event.unit == "answers" and not killed:
            killed.append(kill_a_worker(head.pid))

    steps = study.compile_recipe(recipes.parse(STUDY))
    name = "judge-base-nano-base"
    here = engine.run(steps, tmp_path / "here", only=name)
    there = engine.run(steps, tmp_path / "there", only=name, executor=cluster, emit=listen)
    assert killed and not psutil.pid_exists(killed[0])
    for step, file in [("generate-base-nano-base", "samples.jsonl"), (name, "scores.json")]:
        assert (Path(there[step].folder) / file).read_bytes() == (Path(here[step].folder) / file).read_bytes()
    assert there[name].fingerprint == here[name].fingerprint  # and so one goes on where the other stopped


def test_a_node_that_does_not_see_the_model_or_sees_another_says_so(address: str, tmp_path: Path) -> None:
    arguments = {"folder": str(tmp_path / "nowhere"), "content": "0" * 64, "device": "cpu"}
    with executors.opened(address) as opened:
        assert opened is not None
        with pytest.raises(UserError, match=rf"node {NODE} .*nowhere: does not see this model folder"):
            opened.crew("codeup.engines._replicas:Replica", arguments, count=1).__enter__()
    with pytest.raises(UserError, match="holds another model than on the driver's machine"):
        Replica(str(tmp_path), "0" * 64, "cpu")


def test_replicas_that_compute_differently_are_refused() -> None:
    about = {"node": "a", "description": "torch 2", "computes": "AVX2"}
    crew = SimpleNamespace(abouts=[about, {**about, "node": "b", "computes": "AVX512"}])
    with pytest.raises(UserError, match=r"do not compute alike \(a: torch 2, AVX2; b: torch 2, AVX512\)"):
        Replicas(Path(), crew)


def test_a_node_with_other_tools_is_refused() -> None:
    expected = {**elsewhere._needs(whole.opened([]), []), "versions": {"cpp": "g++ 1.0"}}
    with pytest.raises(UserError, match=r"its tools are .* and .*g\+\+ 1.0.* are asked for"):
        elsewhere.Sandbox(LIMITS, False, [], expected)


# -------------------------------------------------------------------------------------------------------------- data


def test_prepared_data_is_the_same_although_workers_are_killed(
    cluster: Executor, head: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One while rows are read, one while benchmark problems are looked for, one while rows are tokenised."""
    monkeypatch.setattr(_read, "CHUNK", 8)
    monkeypatch.setattr(look, "SHARD", 8)
    words = "some words of an answer that is not like the others at all, number"
    turns = [(f"Question {n}?", f"{n} {words} " * (n % 40)) for n in range(120)]  # some empty, some too long
    turns += [
        *turns[:9],
        ("Leaked?", LEAK),
        ("Mail?", "Write to bob.smith@acme-tools.io for more."),
        ("Hi", "x" * 3000),
    ]
    rows = [{"instruction": asked, "input": "", "output": told} for asked, told in turns]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "more.json").write_text(json.dumps(rows[20:50]))
    (tmp_path / "bench.jsonl").write_text(json.dumps({"task_id": "B/0", "prompt": LEAK, "test": ""}))
    recipe = recipes.parse(
        "{name: d, model: {base: nano-base}, data: {d: {sources: [{source: alpaca, path: rows.json}, "
        "{source: alpaca, path: more.json, rows: 20}], cutoff: 512, dedup: near, "
        "filters: {personal: mask, length: {max_characters: 2900}}, "
        "decontaminate: [{name: bench, path: bench.jsonl, columns: {prompt: prompt}}], "
        f"validation_rows: 10}}}}, data_root: '{tmp_path}'}}"
    )
    killed: dict[str, int] = {}

    def listen(event: Event) -> None:
        part = f"{event.unit} of {bool(event.total)}" if event.unit in ("rows", "rows read") else ""
        if part and part not in killed:
            killed[part] = kill_a_worker(head.pid)

    steps = study.compile_recipe(recipe)
    here = Path(engine.run(steps, tmp_path / "here", only="data-d")["data-d"].folder)
    there = Path(engine.run(steps, tmp_path / "there", only="data-d", executor=cluster, emit=listen)["data-d"].folder)
    assert set(killed) == {"rows read of False", "rows read of True", "rows of True"}
    assert not any(map(psutil.pid_exists, killed.values()))
    files = sorted(path.relative_to(here) for path in here.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(there) for path in there.rglob("*") if path.is_file())
    other = [str(f) for f in files if (here / f).read_bytes() != (there / f).read_bytes()]
    assert other == ["artifact.json"]  # which holds when it was made
    funnel = json.loads((there / "funnel.json").read_text())
    reasons = {"exact duplicate", "too long", "contamination", "beyond limit", "filter: length", "empty answer"}
    assert reasons <= funnel["dropped"].keys() and funnel["repaired"] == {"addresses masked": 1}


# ------------------------------------------------------------------------------------------------------------ errors


def test_an_address_where_nothing_answers_is_one_message() -> None:
    with pytest.raises(UserError, match=r"nothing answers at 127.0.0.1:9"):
        squares("127.0.0.1:9")


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(UserError, match=r"not installed here\s+to mend: pip install .*\[cluster\]"),
        executors.opened("ray"),
    ):
        pass


def test_other_versions_on_the_cluster_are_the_users_to_mend() -> None:
    from ray._private.utils import check_version_info

    with pytest.raises(RuntimeError) as raised:
        check_version_info({"ray_version": "2.1.0", "python_version": "3.9.1"}, "node 10.0.0.1")
    kind, what, _, mend = explained(raised.value, "10.0.0.1:6379")
    assert kind == "user" and "Ray: 2.1.0 Python: 3.9.1" in what and "versions of Ray and Python" in mend


def test_a_lost_head_node_ends_the_work_and_what_was_reached_is_continued_here(
    head: subprocess.Popen[bytes], address: str, samples: Path, tmp_path: Path
) -> None:
    heard: list[Event] = []

    def listen(event: Event) -> None:
        heard.append(event)
        if len(heard) == 10:
            threading.Thread(target=kill_tree, args=(head.pid,)).start()

    def judge(executor: Executor | None, emit: Emit = ignore_event) -> dict[str, Any]:
        out = tmp_path / "v"
        return judge_samples(samples, humaneval, DATA, out, workers=1, limits=LIMITS, executor=executor, emit=emit)

    with executors.opened(address) as opened, pytest.raises(WorkFailed, match=r"lost the Ray cluster.*executor=local"):
        judge(opened, listen)
    reached = len(read_lines(tmp_path / "v/verdicts.jsonl"))
    assert 10 <= reached < 61
    summary = judge(None)
    assert (summary["reused"], summary["judged"]) == (reached, 61 - reached)
