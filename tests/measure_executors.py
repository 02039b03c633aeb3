"""Data, generation and judging by one and by two workers of a Ray that is started here: seconds and efficiency.

    OMP_NUM_THREADS=1 python tests/measure_executors.py new_codealpaca.json

Seconds are from the first piece given to a standing worker to the last result; how long Ray and the workers take to
stand is told apart. Efficiency is seconds of one over twice the seconds of two. Results of both are compared. Data: the
rows of the file, six times over, a number in each; one line for each crew: read and signed, looked at for the packaged
problems, tokenised. Generation: three answers to each packaged problem. Judging: their
canonical solutions, five times each, also by the sandboxes of this process, with their start.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codeup import executors, models, study
from codeup import recipe as recipes
from codeup import run as engine
from codeup.benchmarks import nano
from codeup.engines._replicas import replicated
from codeup.evaluate.generate import generate_samples
from codeup.evaluate.judge import judge_samples
from codeup.executors.ray import RayExecutor
from codeup.sandbox.limits import Limits


class Timed:
    """An executor whose crews note who works, when they stand, and when their last result came."""

    def __init__(self, inner: RayExecutor) -> None:
        self.inner = inner
        self.crews: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @contextmanager
    def crew(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        asked = time.monotonic()
        with self.inner.crew(*args, **kwargs) as crew:
            stood = time.monotonic()
            self.crews.append({"make": args[0], "standing_s": stood - asked, "stood": stood, "last": stood})
            for name in ("deal", "in_order"):
                setattr(crew, name, self._noting(getattr(crew, name)))
            yield crew

    def _noting(self, deal: Callable[[Iterable[Any]], Iterator[Any]]) -> Callable[[Iterable[Any]], Iterator[Any]]:
        def noted(pieces: Iterable[Any]) -> Iterator[Any]:
            for result in deal(pieces):
                self.crews[-1]["last"] = time.monotonic()
                yield result

        return noted


def data(executor: Timed, workers: int, folder: Path, file: Path) -> bytes:
    """The token ids of the rows of a file, after everything else that workers do with them."""
    rows = json.loads(file.read_text()) * 6
    numbered = [{**row, "instruction": f"{row['instruction']} ({number})"} for number, row in enumerate(rows)]
    (folder / "rows.json").write_text(json.dumps(numbered))
    asked = ({"task_id": each.task_id, "prompt": each.prompt, "test": ""} for each in nano.load(None).problems)
    (folder / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    recipe = recipes.parse(
        "{name: d, model: {base: nano-base}, data: {d: {sources: [{source: alpaca, path: rows.json}], dedup: near, "
        "near_threshold: 1, filters: {personal: mask, secrets: mask}, "
        "decontaminate: [{name: nano, path: bench.jsonl, columns: {prompt: prompt}}]}}, "
        f"evaluate: {{benchmarks: [{{name: nano}}], workers: {workers}}}, data_root: '{folder}'}}"
    )
    done = engine.run(study.compile_recipe(recipe), folder / "run", only="data-d", executor=executor)
    return b"".join(path.read_bytes() for path in sorted((Path(done["data-d"].folder) / "train").iterdir()))


def generation(executor: Timed, workers: int, folder: Path, file: Path) -> bytes:
    """Answers to the packaged problems, three of each."""
    executor.inner.replicas = workers
    out = folder / "samples.jsonl"
    with replicated(executor, Path(models.locate("nano-base")), device="cpu") as replicas:
        generate_samples(
            replicas,
            None,
            nano,
            nano.load(None),
            form="base",
            out=out,
            n_samples=3,
            temperature=0.8,
            max_new_tokens=128,
        )
    return out.read_bytes()


def judging(executor: Timed | None, workers: int, folder: Path, file: Path) -> bytes:
    """Scores of the canonical solutions, five times each."""
    problems = nano.load(None)
    solutions = [
        {"task_id": each.task_id, "solution": each.prompt + each.canonical_solution} for each in problems.problems
    ]
    (folder / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in solutions * 5))
    limits = Limits(cpu_s=3, wall_s=12, memory_mb=512)
    judge_samples(folder / "s.jsonl", nano, problems, folder / "v", workers=workers, limits=limits, executor=executor)
    return (folder / "v/scores.json").read_bytes()


def here(executor: Timed, workers: int, folder: Path, file: Path) -> bytes:
    """The same judging without Ray."""
    began = time.monotonic()
    scores = judging(None, workers, folder, file)
    executor.crews.append({"make": "here", "standing_s": 0.0, "stood": began, "last": time.monotonic()})
    return scores


def main(file: Path, names: Sequence[str]) -> None:
    """Print a table row for each crew of each kind of work, or of those named."""
    with executors.opened("ray") as opened:
        assert isinstance(opened, RayExecutor)
        began = time.monotonic()
        print(f"Ray of {opened.cpus} cores stood after {time.monotonic() - began:.1f} s", flush=True)
        chosen = [each for each in (judging, here, data, generation) if not names or each.__name__ in names]
        for work in chosen:
            crews, results = [], []
            for workers in (1, 2):
                timed = Timed(opened)
                with tempfile.TemporaryDirectory() as folder:
                    results.append(work(timed, workers, Path(folder), file))
                crews.append(timed.crews)
            for one, two in zip(*crews, strict=True):
                seconds = [each["last"] - each["stood"] for each in (one, two)]
                print(
                    f"| {work.__name__}, {one['make']} | {seconds[0]:.1f} | {seconds[1]:.1f} | "
                    f"{seconds[0] / 2 / seconds[1]:.0%} | {one['standing_s']:.1f}, {two['standing_s']:.1f} | "
                    f"{'same' if results[0] == results[1] else 'DIFFERENT'} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
