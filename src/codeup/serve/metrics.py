"""Counters and histograms of the server in Prometheus' text form (version 0.0.4).

    # TYPE codeup_requests_total counter
    codeup_requests_total{route="/v1/models",status="200"} 3

Labels hold routes and status codes only, never text of a request. Not covered: histograms per model.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

About = Mapping[str, tuple[Literal["counter", "gauge", "histogram"], str]]
"""Metric -> its kind, and what it says."""

HELP: About = {
    "codeup_requests_total": ("counter", "replies by route and status"),
    "codeup_requests_refused_total": ("counter", "requests refused because the queue was full"),
    "codeup_requests_cancelled_total": ("counter", "requests whose client left before the end"),
    "codeup_prompt_tokens_total": ("counter", "tokens of prompts that were accepted"),
    "codeup_generated_tokens_total": ("counter", "tokens that the engine made"),
    "codeup_requests_running": ("gauge", "answers in the batch"),
    "codeup_requests_waiting": ("gauge", "answers that wait for a place in the batch"),
    "codeup_model_ready": ("gauge", "1 when the model is loaded"),
    "process_resident_memory_bytes": ("gauge", "memory of this process"),
    "codeup_first_token_seconds": ("histogram", "from the request to its first token"),
    "codeup_request_seconds": ("histogram", "from the request to its last token"),
}


class Metrics:
    """All of it in the event loop's thread. `about` are the metrics of this server, by default of models."""

    def __init__(self, about: About = HELP) -> None:
        self._about = about
        self._counts: dict[str, float] = {}
        self._histograms: dict[str, list[float]] = {}

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        key = name + _labels(labels)
        self._counts[key] = self._counts.get(key, 0) + by

    def observe(self, name: str, seconds: float) -> None:
        """One more value of a histogram: bucket counts, then the sum, then how many."""
        values = self._histograms.setdefault(name, [0.0] * (len(SECONDS) + 3))
        values[bisect_left(SECONDS, seconds)] += 1
        values[-2] += seconds
        values[-1] += 1

    def text(self, gauges: Mapping[str, float]) -> str:
        """Everything, a metric that never happened as 0."""
        lines: list[str] = []
        for name, (kind, about) in self._about.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            if kind == "histogram":
                lines += self._buckets(name)
            elif kind == "gauge":
                lines.append(f"{name} {gauges.get(name, 0):.0f}")
            else:
                own = {key: value for key, value in self._counts.items() if key.split("{")[0] == name}
                lines += [f"{key} {value:.0f}" for key, value in sorted(own.items())] or [f"{name} 0"]
        return "\n".join(lines) + "\n"

    def _buckets(self, name: str) -> list[str]:
        values = self._histograms.get(name, [0.0] * (len(SECONDS) + 3))
        lines, total = [], 0.0
        for bound, value in zip((*map(str, SECONDS), "+Inf"), values, strict=False):
            total += value
            lines.append(f'{name}_bucket{{le="{bound}"}} {total:.0f}')
        return [*lines, f"{name}_sum {values[-2]:.6f}", f"{name}_count {values[-1]:.0f}"]


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"
