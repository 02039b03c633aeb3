"""A server that is killed in the middle of an answer loses nothing that the page shows, and the answer can go on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from serve_for_tests import tiny_model
from test_page_browser import Visit, until

from codeup.serve import running

SLOWLY = """
import time
from codeup.cli.app import main
from codeup.engines._continuous import Scheduler
step = Scheduler.step
def slow(self):
    time.sleep(0.02)
    return step(self)
Scheduler.step = slow
main()
"""
"""`codeup` with a model that takes 20 ms for a token, so that there is a middle of an answer."""
MIDDLE = 40
"""Characters after which the server is killed."""


@contextmanager
def serving(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process of its own that answers requests."""
    command = [sys.executable, "-c", SLOWLY, "serve", str(folder), "--port", str(port)]
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        said = until_ready(server)
        assert said.endswith(b"ready; Ctrl-C ends\n"), said
        yield server
    finally:
        server.kill()
        server.wait()


def until_ready(server: subprocess.Popen[bytes]) -> bytes:
    """What it says until it is ready, or ends. Asking it again and again would take a core from it."""
    assert server.stderr is not None
    said = b""
    while not said.endswith(b"ready; Ctrl-C ends\n") and (line := server.stderr.readline()):
        said += line
    return said


def saved(page: Any) -> list[dict[str, Any]]:
    """The answers of the only conversation that the browser keeps."""
    found: list[dict[str, Any]] = page.evaluate(
        """async () => { const store = await import("/page/store.js"); const [one] = await store.all();
        return Object.values(one.nodes).filter((node) => node.role === "assistant").map((node) => node.answers[0]); }"""
    )
    return found


@pytest.mark.slow
def test_a_killed_server_loses_no_conversation_and_the_answer_goes_on(browser: Any, tmp_path: Path) -> None:
    free = running.bind("127.0.0.1", 0)
    port = free.getsockname()[1]
    free.close()
    folder = tiny_model(tmp_path)
    visit = Visit(browser, f"http://127.0.0.1:{port}")
    with serving(folder, port) as server:
        page = visit.open()
        page.click("#tune")
        page.fill("[name=max_tokens]", "400")
        page.fill("#text", "Write f.")
        page.keyboard.press("Enter")
        until(page, f"document.querySelector('.answer .text')?.textContent.length > {MIDDLE}")
        server.kill()
        page.wait_for_selector(".answer .failed")
        page.wait_for_selector("#notice:has-text('the server cannot be reached')")
        assert page.is_disabled("#send")
    (broken,) = saved(page)
    assert len(broken["text"]) > MIDDLE // 2 and broken["finish"] == ""
    with serving(folder, port):
        page.wait_for_selector("#send:enabled")
        assert page.is_hidden("#notice")
        page.reload()
        page.wait_for_selector("body[data-ready=yes]")
        page.click("#conversations .open")
        assert page.locator(".turn.user .body").inner_text() == "Write f."
        assert saved(page) == [broken]
        asked: list[Any] = []
        page.on("request", lambda request: asked.append(request) if "completions" in request.url else None)
        page.click("#tune")
        page.fill("[name=max_tokens]", "8")
        page.hover(".turn.assistant")
        page.click("text=Go on")
        until(page, "document.querySelector('.answer small') && document.querySelector('#stop').hidden")
        (whole,) = saved(page)
        assert whole["text"].startswith(broken["text"]) and len(whole["text"]) > len(broken["text"])
        assert (whole["finish"], whole["tokens"]) == ("length", 8)
        visit.say("And g.")
        told = [[message["content"] for message in request.post_data_json["messages"]] for request in asked]
        assert told == [["Write f.", broken["text"]], ["Write f.", whole["text"], "And g."]]
    visit.context.close()
