"""How soon /health answers while a model is loaded and while many streams run: `python tests/measure_health.py MODEL`.

    codeup serve MODEL in a process of its own ----- /health every 20 ms until it is ready, then
    codeup bench streams in another            ----- /health every 100 ms while it runs

Prints, for each of the two, how many probes there were, their median, 95th percentile and longest, and how many took
longer than 100 ms. A probe is one request on a connection that is kept; the probing process does nothing else.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

AIM_S = 0.1


def probe(line: http.client.HTTPConnection) -> tuple[int, float]:
    started = time.perf_counter()
    line.request("GET", "/health")
    reply = line.getresponse()
    reply.read()
    return reply.status, time.perf_counter() - started


def probes(port: int, pause_s: float, going: Callable[[int], bool]) -> list[float]:
    """Seconds of each probe while `going(status of the last one)`."""
    line, times, status = http.client.HTTPConnection("127.0.0.1", port, timeout=60), [], 0
    while going(status):
        status, took = probe(line)
        times.append(took)
        time.sleep(pause_s)
    line.close()
    return times


def told(name: str, times: list[float]) -> None:
    cuts = statistics.quantiles(times, n=20)
    late = sorted((round(took * 1000) for took in times if took > AIM_S), reverse=True)
    print(
        f"{name}: {len(times)} probes, median {cuts[9] * 1000:.1f} ms, 95 % {cuts[18] * 1000:.1f}, most "
        f"{max(times) * 1000:.1f}; {len(late)} over {AIM_S * 1000:.0f} ms {late[:12] or ''}"
    )


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        with socket.socket() as line:
            if line.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    sys.exit("the server ended")


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("model")
    words.add_argument("more", nargs="*", help="further arguments of codeup serve, after --")
    words.add_argument("--port", type=int, default=8765)
    words.add_argument("--streams", type=int, default=64)
    words.add_argument("--seconds", type=float, default=30)
    asked = words.parse_args()
    command = [sys.executable, "-m", "codeup"]
    server = subprocess.Popen(
        [*command, "serve", asked.model, "--port", str(asked.port), "--max-batch", str(asked.streams), *asked.more],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(asked.port, server)
        told("while loading", probes(asked.port, 0.02, lambda status: status != 200))
        load = subprocess.Popen(
            [*command, "bench", "streams", f"http://127.0.0.1:{asked.port}/v1", "--streams", str(asked.streams),
             "--seconds", str(asked.seconds), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        times = probes(asked.port, 0.1, lambda _: load.poll() is None)
        told(f"under {asked.streams} streams", times)
        assert load.stdout is not None
        seen = json.loads(load.stdout.read().splitlines()[-1])
        print({name: seen[name] for name in ("answers", "lost", "mixed", "tokens_per_s", "first_s", "whole_s")})
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
