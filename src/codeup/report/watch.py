"""A live page for a running study, on this machine only: what is done, the loss and its end, samples so far.

    RUN/study.json                steps of the study in order, with their folders: the plan
    RUN/steps/*/artifact.json     a step is done
                metrics.jsonl, samples.jsonl, verdicts.jsonl     how far it is
    -> GET /state (JSON) -> the page asks again every two seconds

It only reads, and takes nothing from the run: the study may be stopped, continued or finished meanwhile. The server
listens on 127.0.0.1, answers two paths, and only where the Host header is a loopback name, so that no page of the web
can read it by a name that resolves here (DNS rebinding). Texts of models reach the page as text, never as markup. Not
covered: other machines, and anything that changes a run.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from codeup.errors import UserError

PAGE = Path(__file__).with_name("watch.html")
PLAN, DONE = "study.json", "artifact.json"
POINTS = 400
"""Losses that are sent: the curve of a stage is thinned evenly to so many."""
LONGEST = 1200
"""Characters of the newest answer that are shown."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
LOOPBACK = ("127.0.0.1", "localhost")


def state(run: Path) -> dict[str, Any]:
    """Where a study is, as plain JSON. Raises UserError where the folder holds no plan of a study."""
    try:
        plan = json.loads((run / PLAN).read_text(encoding="utf-8"))
        steps = [_step(run, step) for step in plan["steps"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            "is not the folder of a study that `codeup run` began", where=str(run), mend="give its run_dir"
        ) from None
    done = sum(step["state"] == "done" for step in steps)
    return {"name": plan["name"], "done": done, "steps": steps, "report": (run / "report.html").is_file()}


def _step(run: Path, step: Mapping[str, Any]) -> dict[str, Any]:
    folder = run / step["folder"]
    shown: dict[str, Any] = {"name": step["name"], "kind": step["kind"]}
    if (folder / DONE).is_file():
        return {**shown, "state": "done", "seconds": _seconds(folder)}
    if not folder.is_dir():
        return {**shown, "state": "waiting"}
    quiet = time.time() - max(path.stat().st_mtime for path in (folder, *folder.glob("*")))
    return {**shown, "state": "started", "quiet_s": round(quiet, 1), **_progress(folder, step)}


def _seconds(folder: Path) -> float | None:
    try:
        return float(json.loads((folder / DONE).read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _progress(folder: Path, step: Mapping[str, Any]) -> dict[str, Any]:
    """Losses, share and seconds left of a training; samples and verdicts so far of an evaluation."""
    rows = _rows(folder / "metrics.jsonl")
    losses, evaluated = _curve(rows, "loss"), _curve(rows, "eval_loss")
    found: dict[str, Any] = {}
    if losses:
        last = next(row for row in reversed(rows) if "loss" in row)
        share = min(1.0, last["epoch"] / step["epochs"]) if step.get("epochs") else None
        left = last["seconds"] * (1 - share) / share if share else None
        found = {
            "losses": losses[:: max(1, len(losses) // POINTS)] + losses[-1:],
            "loss": losses[-1][1],
            "share": share,
        }
        found |= {"left_s": left, "tokens": last["tokens"], "tokens_per_s": last["tokens_per_s"], "step": last["step"]}
        found["eval_losses"] = evaluated
    if (folder / "samples.jsonl").is_file():
        samples = [row for row in _rows(folder / "samples.jsonl") if "raw" in row]
        found |= {"samples": len(samples)}
        if samples:
            found["answer"] = {"task_id": str(samples[-1].get("task_id")), "text": str(samples[-1]["raw"])[:LONGEST]}
    if (folder / "verdicts.jsonl").is_file():
        verdicts = _rows(folder / "verdicts.jsonl")
        found |= {"verdicts": len(verdicts), "passed": sum(row.get("outcome") == "PASSED" for row in verdicts)}
    return found


def _curve(rows: Sequence[Mapping[str, Any]], key: str) -> list[list[float]]:
    """[step, value] of the rows that have a finite one; JSON knows no others."""
    return [
        [row["step"], row[key]] for row in rows if isinstance(row.get(key), int | float) and math.isfinite(row[key])
    ]


def _rows(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a file that is being written; one that is not finished is left for the next time."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def make_server(run: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server on 127.0.0.1, not started; port 0 takes a free one. Raises UserError where the port is taken or `run`
    is no study's folder."""
    state(run)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers.get("Host", "").rsplit(":", 1)[0]
            if host not in LOOPBACK:
                self._answer(403, "text/plain", b"this page is for this machine only\n")
            elif self.path == "/":
                self._answer(200, "text/html; charset=utf-8", PAGE.read_bytes())
            elif self.path == "/state":
                try:
                    self._answer(200, "application/json", json.dumps(state(run)).encode())
                except UserError as error:
                    self._answer(503, "text/plain; charset=utf-8", str(error).encode())
            else:
                self._answer(404, "text/plain", b"there are / and /state\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            headers: Sequence[tuple[str, str]] = (
                ("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store"),
                ("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff"),
            )  # fmt: skip
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: the library does not print."""

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        raise UserError(f"port {port} cannot be opened ({error})", mend="choose another --port") from None
