"""The processes of a stage: followed while they work, named when one is lost, gone when the study is."""

from __future__ import annotations

import io
import json
import queue
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from codeup.errors import CodeUpError, UserError, WorkFailed
from codeup.steps import _crew
from codeup.types import Context, Emit, Event, ignore_event

WORK = """
import os, signal, sys, time
from typing import Any
from pydantic import BaseModel
from codeup.errors import UserError, WorkFailed
from codeup.types import Event

class LostContact(WorkFailed):
    pass

class Spec(BaseModel):
    acts: dict[str, str]
    at: dict[str, Any]

def work(spec, context):
    rank = os.environ["RANK"]
    print("a library's own words")
    context.emit(Event("note", context.step, text=f"{rank} of {os.environ['WORLD_SIZE']}"))
    exec(spec.acts.get(rank, ""))
    return {"rank": rank}
"""
WAIT = "time.sleep(60)"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A step kind of our own, `crewtest.work`, that workers find too."""
    folder = tmp_path / "package"
    (folder / "crewtest").mkdir(parents=True)
    (folder / "crewtest" / "__init__.py").write_text("")
    (folder / "crewtest" / "work.py").write_text(WORK)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(_crew.__file__).parents[2]}")
    return folder


def order(folder: Path, **acts: str) -> dict[str, Any]:
    """What the ranks 0 and 1 do: _0="..", _1=".."."""
    spec = {"acts": {rank.removeprefix("_"): act for rank, act in acts.items()}, "at": {}}
    folder.mkdir()
    return {
        "kind": "crewtest.work",
        "spec": spec,
        "context": {"folder": str(folder), "step": "train-a", "inputs": {}},
    }


def launch(folder: Path, emit: Emit = ignore_event, **acts: str) -> dict[str, Any]:
    return _crew._launch(order(folder, **acts), Context(folder, "train-a", {}, emit), 2)


def test_the_summary_is_that_of_the_first_and_all_are_heard(tmp_path: Path, package: Path) -> None:
    heard: list[Event] = []
    assert launch(tmp_path / "step", heard.append) == {"rank": "0"}
    assert sorted(event.text for event in heard) == ["0 of 2", "1 of 2"]
    assert list((tmp_path / "step").iterdir()) == [], "what they printed is not kept when all went well"


@pytest.mark.parametrize(
    ("acts", "kind", "words"),
    [
        (
            {"_0": WAIT, "_1": "os.kill(os.getpid(), signal.SIGKILL)"},
            WorkFailed,
            r"process 1 of 2 was killed \(SIGKILL: often because memory ran out\)\. The same command goes on from the "
            r"last checkpoint; the end of .*processes/1\.log:\n    a library's own words",
        ),
        (
            {"_0": "raise UserError('no room', where='x', mend='make some')"},
            UserError,
            "^x: no room\n  to mend: make some",
        ),
        ({"_0": "raise LostContact('lost')", "_1": "raise WorkFailed('out of memory')"}, WorkFailed, "^out of memory$"),
        (
            {"_0": "raise LostContact('lost')", "_1": "1 / 0"},
            WorkFailed,
            "(?s)process 1 of 2 ended with exit code 1.*Zero",
        ),
    ],
)
def test_the_error_is_that_of_the_process_that_failed_by_itself(
    acts: dict[str, Any], kind: type[CodeUpError], words: str, tmp_path: Path, package: Path
) -> None:
    with pytest.raises(kind, match=words):
        launch(tmp_path / "step", **acts)
    assert not psutil.Process().children(), "the others were stopped"


def test_an_interruption_lets_the_first_finish_what_it_must(tmp_path: Path, package: Path) -> None:
    save = "try: time.sleep(60)\nexcept KeyboardInterrupt: (context.folder / 'saved').touch(); raise"

    def interrupted(event: Event) -> None:
        if event.text == "0 of 2":
            time.sleep(0.5)  # it is told before it sleeps
            raise KeyboardInterrupt

    step = tmp_path / "step"
    with pytest.raises(KeyboardInterrupt):
        launch(step, interrupted, _0=save, _1=WAIT)
    assert (step / "saved").exists()
    assert not psutil.Process().children()


STUDY = """
import json, sys
from pathlib import Path
from codeup.steps import _crew
from codeup.types import Context
step = Path(sys.argv[1])
_crew._launch(json.loads(sys.argv[2]), Context(step, "a", {}, lambda event: print(event.text, flush=True)), 2)
"""


def test_workers_end_when_the_study_is_killed(tmp_path: Path, package: Path) -> None:
    step = tmp_path / "step"
    given = json.dumps(order(step, _0=WAIT, _1=WAIT))
    study = subprocess.Popen([sys.executable, "-c", STUDY, str(step), given], stdout=subprocess.PIPE)
    assert study.stdout is not None
    assert sorted(study.stdout.readline() for _ in range(2)) == [b"0 of 2\n", b"1 of 2\n"]
    workers = psutil.Process(study.pid).children()
    assert len(workers) == 2
    study.kill()
    study.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_half_a_line_of_a_killed_worker_ends_what_it_says() -> None:
    lines: queue.Queue[Any] = queue.Queue()
    _crew._read(1, io.BytesIO(b'{"event": 1}\n{"event": {"ki'), lines)
    assert [lines.get_nowait() for _ in range(lines.qsize())] == [(1, {"event": 1}), (1, None)]
