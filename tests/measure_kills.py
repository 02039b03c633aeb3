"""Measure whether a study that is killed again and again ends with the bytes of one that was not.

    python tests/measure_kills.py recipes/nano.yaml FOLDER [--kills 25] [--seed 7]

Runs the recipe once undisturbed into FOLDER/clean, then into FOLDER/killed, where each attempt gets SIGKILL (half of
them), SIGINT or SIGTERM after 8 to 60 seconds until there were `--kills`; the last one runs to its end. Prints every
file of the two runs whose bytes differ: results are compared, not what tells times, versions and places (`EXPECTED`).
One thread, so that both add in the same order. Not a test: it takes as long as some studies.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

EXPECTED = {
    "artifact.json", "funnel.json", "manifest.json", "timing.json", "verdicts.jsonl", "metrics.jsonl", "train.json",
    "adapter_config.json", "codeup_adapter.json", "study.json", "run.json", "report.html", "time.png",
    "table.csv", "table.json", "table.md", "table.txt", ".lock",
}  # fmt: skip
"""Names of files that hold seconds, dates or the paths of their run."""


def command(recipe: str, out: Path) -> list[str]:
    return [sys.executable, "-m", "codeup", "run", recipe, f"run_dir={out}"]


def attempts(recipe: str, out: Path, kills: int, draw: random.Random) -> int:
    """Run until done, ending the first `kills` attempts; returns how many were ended."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for number in range(kills + 1):
        process = subprocess.Popen(
            command(recipe, out), env=env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            code = process.wait(timeout=draw.uniform(8, 60) if number < kills else None)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM]))
            process.wait()
            continue
        if code != 0:
            raise SystemExit(f"attempt {number} ended with exit code {code}")
        return number
    raise AssertionError("the last attempt has no limit")


def files(folder: Path) -> dict[str, bytes]:
    """The results: every file of the steps but the report's, whose charts are drawn from times."""
    found = (path for path in folder.glob("steps/*/**/*") if path.is_file())
    kept = (p for p in found if p.name not in EXPECTED and "/steps/report-" not in p.as_posix())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    attempts(asked.recipe, asked.folder / "clean", 0, draw)
    ended = attempts(asked.recipe, asked.folder / "killed", asked.kills, draw)
    clean, killed = files(asked.folder / "clean"), files(asked.folder / "killed")
    differ = sorted(name for name in clean.keys() | killed.keys() if clean.get(name) != killed.get(name))
    print(f"ended {ended} times; {len(clean)} files compared, {len(differ)} differ")
    print("\n".join(differ))


if __name__ == "__main__":
    main()
