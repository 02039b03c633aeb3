"""The run engine: what is finished is skipped, what changed runs again, what was interrupted continues."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codeup import run as engine
from codeup.errors import UserError
from codeup.types import Event, Step

STEP_MODULE = '''
"""A step that appends to a log, and fails when its spec says so."""
from pydantic import BaseModel

CODE = ("types.py",)

class Spec(BaseModel):
    log: str
    fail: str = ""
    at: dict = {}

def run(spec, context):
    with open(spec.log, "a") as stream:
        stream.write(context.step + "\\n")
    (context.folder / "partial").write_text("x")
    if spec.at.get("fail"):
        raise KeyboardInterrupt
    return {"inputs": sorted(context.inputs)}
'''


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    package = tmp_path / "own_steps"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "touch.py").write_text(STEP_MODULE)
    sys.path.insert(0, str(tmp_path))
    yield tmp_path / "log"
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("own_steps")]:
        del sys.modules[name]


def chain(log: Path, **changes: dict[str, object]) -> list[Step]:
    """a -> b -> c, and d beside them; changes[name] goes into the spec of that step."""
    inputs = {"a": (), "b": ("a",), "c": ("b",), "d": ()}
    return [
        Step("own_steps.touch", name, {"log": str(log), **changes.get(name, {})}, tuple(before))
        for name, before in inputs.items()
    ]


def ran(log: Path) -> list[str]:
    lines = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def test_steps_run_in_order_and_a_second_run_does_nothing(log: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    done = engine.run(chain(log), tmp_path / "run")
    assert ran(log) == ["a", "b", "c", "d"]
    assert done["c"].summary == {"inputs": ["b"]}
    engine.run(chain(log), tmp_path / "run", emit=events.append)
    assert ran(log) == []
    assert [event.kind for event in events] == ["skip"] * 4


def test_a_changed_setting_reruns_the_step_and_what_builds_on_it_only(log: Path, tmp_path: Path) -> None:
    engine.run(chain(log), tmp_path / "run")
    ran(log)
    engine.run(chain(log, b={"fail": "other"}), tmp_path / "run")
    assert ran(log) == ["b", "c"]
    engine.run(chain(log), tmp_path / "run")
    assert ran(log) == [], "the first settings are still there, untouched"


def test_an_interrupted_step_continues_in_its_folder(log: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        engine.run(chain(log, b={"at": {"fail": True}}), tmp_path / "run")
    assert ran(log) == ["a", "b"]
    states = {item.step.name: item.state for item in engine.plan(chain(log), tmp_path / "run")}
    assert states == {"a": "done", "b": "started", "c": "new", "d": "new"}
    engine.run(chain(log), tmp_path / "run")
    assert ran(log) == ["b", "c", "d"]


def test_only_runs_a_step_and_what_it_needs(log: Path, tmp_path: Path) -> None:
    assert set(engine.run(chain(log), tmp_path / "run", only="b")) == {"a", "b"}
    assert ran(log) == ["a", "b"]


def test_force_reruns_a_step_with_its_dependents_and_keeps_the_old_folders(log: Path, tmp_path: Path) -> None:
    engine.run(chain(log), tmp_path / "run")
    ran(log)
    engine.run(chain(log), tmp_path / "run", force="b")
    assert ran(log) == ["b", "c"]
    assert len(list((tmp_path / "run" / "steps").glob("*.replaced-*"))) == 2


def test_an_unknown_step_is_named_with_the_known_ones(log: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no step 'x'[\s\S]*one of: a, b, c, d"):
        engine.run(chain(log), tmp_path / "run", only="x")


def test_two_runs_cannot_share_a_folder_at_once(log: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with engine._lock(tmp_path / "run"), pytest.raises(UserError, match="another codeup run"):
        engine.run(chain(log), tmp_path / "run")


def test_a_run_folder_that_cannot_be_made_is_a_clear_error(log: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create the folder"):
        engine.run(chain(log), tmp_path / "file" / "run")


# ------------------------------------------------------------------------------------------------ damage and ownership


def finished_folder(run_dir: Path, step: str) -> Path:
    return next(path for path in (run_dir / "steps").glob(f"{step}-*"))


def lose(folder: Path) -> None:
    (folder / "partial").unlink()


def shorten(folder: Path) -> None:
    (folder / "partial").write_bytes(b"")


def truncate_marker(folder: Path) -> None:
    marker = folder / "artifact.json"
    marker.write_text(marker.read_text()[:40])


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lose, "partial: 1 bytes when it was written, gone now"),
        (shorten, "partial: 1 bytes when it was written, 0 now"),
        (truncate_marker, "artifact.json: damaged marker"),
    ],
)
def test_a_damaged_step_is_named_before_anything_runs_and_force_mends_it(
    log: Path, tmp_path: Path, harm: Callable[[Path], None], told: str
) -> None:
    run_dir = tmp_path / "run"
    engine.run(chain(log), run_dir)
    ran(log)
    harm(finished_folder(run_dir, "b"))
    before = sorted(path for path in run_dir.rglob("*"))
    with pytest.raises(UserError) as caught:
        engine.run(chain(log), run_dir)
    assert "1 finished step is damaged" in str(caught.value)
    assert told in str(caught.value)
    assert "--force b" in str(caught.value)
    assert ran(log) == [], "nothing ran"
    assert sorted(path for path in run_dir.rglob("*")) == before, "nothing was changed"
    assert {item.step.name: item.state for item in engine.plan(chain(log), run_dir)}["b"] == "damaged"
    assert set(engine.run(chain(log), run_dir, only="a")) == {"a"}, "what does not need it still runs"
    engine.run(chain(log), run_dir, force="b")
    assert ran(log) == ["b", "c"]
    engine.run(chain(log), run_dir)
    assert ran(log) == []


def test_every_damaged_step_is_named_at_once(log: Path, tmp_path: Path) -> None:
    engine.run(chain(log), tmp_path / "run")
    lose(finished_folder(tmp_path / "run", "a"))
    lose(finished_folder(tmp_path / "run", "d"))
    with pytest.raises(UserError, match=r"2 finished steps are damaged:\n  a: [^\n]*\n  d: "):
        engine.run(chain(log), tmp_path / "run")


def test_a_run_folder_of_another_study_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    engine.claim(run_dir, name="one", recipe_file="one.yaml")
    engine.claim(run_dir, name="one", recipe_file="moved.yaml")
    before = (run_dir / engine.OWNER).read_bytes()
    with pytest.raises(UserError, match=r"run folder of the study 'one' \(moved.yaml\), and this recipe is 'two'"):
        engine.claim(run_dir, name="two", recipe_file="two.yaml")
    assert (run_dir / engine.OWNER).read_bytes() == before


def test_a_finished_run_without_that_file_is_known_by_its_record(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"name": "one", "recipe_file": "one.yaml"}')
    with pytest.raises(UserError, match="of the study 'one'"):
        engine.claim(tmp_path, name="two", recipe_file="two.yaml")


def test_looking_only_writes_nothing(tmp_path: Path) -> None:
    engine.claim(tmp_path / "run", name="one", recipe_file="one.yaml", look_only=True)
    assert not (tmp_path / "run").exists()
