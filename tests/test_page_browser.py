"""The page in a real browser: talking, stopping, branching, two models, running code, and hostile text."""

# ruff: noqa: E501  (scripts and hostile texts stay in one piece each)

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_for_tests import served, tiny_model

from codeup.errors import UserError
from codeup.sandbox.pool import Pool
from codeup.serve import pages
from codeup.serve.programs import Programs

PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        Pool(1).close()
    except UserError as error:
        pytest.skip(str(error))
    programs, folder = Programs(), tiny_model(tmp_path_factory.mktemp("page") / "model")
    with served(folder, more_routes=pages.Page(programs, None).routes()) as running:
        yield running.base
    programs.close()


def events(*texts: str, finish: str = "stop") -> str:
    """A streamed answer as the server sends it."""
    parts: list[Any] = [{"choices": [{"delta": {"content": text}, "finish_reason": None}]} for text in texts]
    parts += [
        {"choices": [{"delta": {}, "finish_reason": finish}]},
        {"choices": [], "usage": {"completion_tokens": len(texts)}},
    ]
    return "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"


def until(page: Any, holds: str) -> bool:
    """Wait until an expression holds. Playwright's own wait evaluates text in the page, which its policy forbids."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(f"() => Boolean({holds})"):
        assert time.monotonic() < end, f"{holds} did not come about"
        page.wait_for_timeout(30)
    return True


class Visit:
    """An open page in a browser profile of its own. `answers` scripts what the models say."""

    def __init__(
        self, browser: Any, address: str, *, models: tuple[str, ...] = (), width: int = 1280, scheme: str = "light"
    ) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 860}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.elsewhere: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "request",
            lambda request: (
                None if request.url.startswith((address, "blob:", "data:")) else self.elsewhere.append(request.url)
            ),
        )
        self.address = address
        if models:
            listed = {"object": "list", "data": [{"id": name} for name in models]}
            self.page.route("**/v1/models", lambda route: route.fulfill(json=listed))

    def answers(self, say: Callable[[dict[str, Any]], str]) -> None:
        def reply(route: Any) -> None:
            body = json.loads(route.request.post_data)
            self.asked.append(body)
            route.fulfill(body=say(body), content_type="text/event-stream")

        self.page.route("**/v1/chat/completions", reply)

    def open(self) -> Any:
        self.page.goto(self.address)
        self.page.wait_for_selector("body[data-ready=yes]")
        return self.page

    def say(self, text: str) -> None:
        turns = self.page.locator(".turn.assistant").count()
        self.page.fill("#text", text)
        self.page.keyboard.press("Enter")
        until(
            self.page,
            f"document.querySelectorAll('.turn.assistant').length > {turns} && document.querySelector('#stop').hidden",
        )


def test_a_real_model_streams_and_the_conversation_is_still_there_after_a_reload(browser: Any, address: str) -> None:
    visit = Visit(browser, address)
    page = visit.open()
    page.click("#tune")
    page.fill("[name=max_tokens]", "24")
    visit.say("Write f.")
    assert "24 tokens" in page.locator(".answer .name").inner_text()
    said = page.locator(".answer .text").inner_text()
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    page.click("#conversations .open")
    assert page.locator(".turn.user .body").inner_text() == "Write f."
    assert page.locator(".answer .text").inner_text() == said
    assert visit.elsewhere == [] and visit.complaints == []
    visit.context.close()


def test_stopping_ends_the_answer_and_keeps_what_was_said(browser: Any, address: str) -> None:
    visit = Visit(browser, address)
    page = visit.open()
    page.evaluate(
        """() => { const real = window.fetch; window.fetch = (where, how) => !String(where).includes("completions") ? real(where, how) :
        Promise.resolve(new Response(new ReadableStream({ start(out) {
            const send = (text) => out.enqueue(new TextEncoder().encode("data: " + JSON.stringify({choices: [{delta: {content: text}, finish_reason: null}]}) + "\\n\\n"));
            send("one "); let n = 0; const t = setInterval(() => send("more " + n++ + " "), 30);
            how.signal.addEventListener("abort", () => { clearInterval(t); out.error(new DOMException("", "AbortError")); }); } }))) }"""
    )
    page.fill("#text", "go on")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.answer .text')?.textContent.includes('more 3')")
    page.click("#stop")
    page.wait_for_selector("#stop[hidden]", state="attached")
    assert "stopped" in page.locator(".answer small").inner_text()
    assert page.locator(".answer .text").inner_text().startswith("one more 0")
    visit.context.close()


def test_asking_again_and_editing_make_branches_that_can_be_turned_to(browser: Any, address: str) -> None:
    visit = Visit(browser, address, models=("a",))
    counter = iter(range(100))
    visit.answers(lambda body: events(f"answer {next(counter)} to {body['messages'][-1]['content']}"))
    page = visit.open()
    visit.say("first")
    page.hover(".turn.assistant")
    page.click("text=Again")
    until(page, "document.querySelector('.answer .text')?.textContent.includes('answer 1')")
    page.wait_for_selector(".turn.assistant >> text=2/2")
    page.click(".turn.assistant [title='Earlier version']")
    assert page.locator(".answer .text").inner_text() == "answer 0 to first"
    page.hover(".turn.user")
    page.click(".turn.user >> text=Edit")
    page.fill(".turn.user textarea >> nth=0", "second")
    page.click(".turn.user >> text=Ask")
    until(page, "document.querySelector('.answer .text')?.textContent.includes('answer 2 to second')")
    assert [message["content"] for message in visit.asked[-1]["messages"]] == ["second"], (
        "the branch has its own history"
    )
    page.click(".turn.user [title='Earlier version']")
    assert "to first" in page.locator(".answer .text").inner_text()
    visit.say("and then")
    assert [m["role"] for m in visit.asked[-1]["messages"]] == ["user", "assistant", "user"]
    visit.context.close()


def test_two_models_side_by_side_each_with_its_own_history_and_their_difference(browser: Any, address: str) -> None:
    visit = Visit(browser, address, models=("base", "tuned"))
    visit.answers(lambda body: events("same line\n\n", f"only {body['model']}"))
    page = visit.open()
    assert page.locator(".empty p").inner_text().startswith("Two models side by side")
    page.select_option("#beside", "tuned")
    visit.say("go")
    assert page.locator(".answer .name b").all_inner_texts() == ["base", "tuned"]
    page.hover(".pair")
    page.click("text=Difference")
    assert page.locator(".compared .gone").all_inner_texts() == ["− only base"]
    assert page.locator(".compared .new").all_inner_texts() == ["+ only tuned"]
    visit.say("on")
    by_model = {body["model"]: body["messages"][1]["content"] for body in visit.asked[-2:]}
    assert by_model == {"base": "same line\n\nonly base", "tuned": "same line\n\nonly tuned"}
    visit.context.close()


def test_settings_are_sent_as_they_are_and_remembered(browser: Any, address: str) -> None:
    visit = Visit(browser, address, models=("a",))
    visit.answers(lambda body: events("ok"))
    page = visit.open()
    page.click("#tune")
    for name, value in {
        "system": "Be brief.",
        "temperature": "0.7",
        "top_p": "0.9",
        "max_tokens": "33",
        "seed": "5",
        "stop": "END|###",
    }.items():
        page.fill(f"[name={name}]", value)
    page.check("[name=instruction]")
    page.fill("#input", "1, 2")
    visit.say("Add.")
    asked = visit.asked[-1]
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Add.", "input": "1, 2"},
    ]
    assert (asked["temperature"], asked["top_p"], asked["max_tokens"], asked["seed"], asked["stop"]) == (
        0.7,
        0.9,
        33,
        5,
        ["END", "###"],
    )
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    assert page.input_value("[name=system]") == "Be brief." and page.is_checked("[name=instruction]")
    visit.context.close()


def test_code_runs_only_on_a_click_with_data_files_in_and_pictures_out(
    browser: Any, address: str, tmp_path: Path
) -> None:
    visit = Visit(browser, address, models=("a",))
    code = "import numpy, PIL.Image\nprint(open('d.csv').read())\nPIL.Image.fromarray(numpy.zeros((4, 4), 'uint8')).save('p.png')"
    visit.answers(lambda body: events(f"Run this:\n\n```python\n{code}\n```\n"))
    page = visit.open()
    assert page.locator(".empty p").inner_text() == "Programs run only when you say so."
    (tmp_path / "d.csv").write_text("1,2,3")
    page.set_input_files("#attach", str(tmp_path / "d.csv"))
    page.wait_for_selector("#files li")
    visit.say("go")
    assert page.locator(".ran").count() == 0, "never by itself"
    page.click(".code button:has-text('Run')")
    page.wait_for_selector(".ran img")
    assert page.locator(".ran .out").inner_text() == "1,2,3\n"
    assert until(page, "document.querySelector('.ran img')?.naturalWidth === 4")
    assert "no network" in page.locator(".ran .how").first.inner_text()
    assert visit.elsewhere == [] and visit.complaints == []
    visit.context.close()


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not here")
def test_programs_of_other_languages_have_a_button_where_their_tools_are(browser: Any, address: str) -> None:
    visit = Visit(browser, address, models=("a",))
    right = '#include <cstdio>\nint main() { std::puts("in capitals"); }'
    programs = (("cpp", right), ("c++", "int main( {"), ("cpp", "int main() {}"), ("cobol", "STOP RUN."))
    blocks = [f"```{name}\n{code}\n```\n" for name, code in programs]
    visit.answers(lambda body: events("\n".join([*blocks, "```constructor\nx\n```\n"])))
    page = visit.open()
    visit.say("go")
    assert page.locator(".code button:has-text('Run')").count() == 3
    page.locator(".code").nth(0).locator("button:has-text('Run')").click()
    page.wait_for_selector(".code:nth-of-type(1) .ran .out")
    assert page.locator(".code").nth(0).locator(".ran .out").inner_text() == "in capitals\n"
    page.locator(".code").nth(1).locator("button:has-text('Run')").click()
    until(page, "document.querySelectorAll('.ran .err').length === 1")
    assert "it did not compile" in page.locator(".code").nth(1).locator(".ran .how").first.inner_text()
    page.locator(".code").nth(2).locator("button:has-text('Run')").click()
    until(page, "document.querySelectorAll('.ran .how')[2]?.textContent.includes('printed nothing')")
    assert page.locator(".ran .how", has_text="printed nothing").count() == 1
    visit.context.close()


XSS = [
    "<script>window.hacked=1</script>", "<img src=x onerror=window.hacked=1>", "<svg onload=window.hacked=1>",
    "<svg><script>window.hacked=1</script></svg>", "[a](javascript:window.hacked=1)", "[a](JaVaScRiPt:window.hacked=1)",
    "[a](data:text/html,<script>window.hacked=1</script>)", "[a](vbscript:x)", "![x](https://evil.example/leak.png)",
    "![x](javascript:window.hacked=1)", "<https://evil.example>", "<a href='javascript:window.hacked=1'>x</a>",
    "<iframe srcdoc='<script>parent.hacked=1</script>'></iframe>", "<math><mi xlink:href='javascript:hacked=1'>x</mi></math>",
    "<details open ontoggle=window.hacked=1>", "<style>@import 'https://evil.example/x.css';</style>", "<link rel=stylesheet href=https://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>", "<base href=https://evil.example/>", "<form action=https://evil.example><button>x",
    "```\"onmouseover=window.hacked=1 x=\"\ncode\n```", "```<img src=x onerror=window.hacked=1>\ncode\n```",
    "```python\n<img src=x onerror=window.hacked=1>\n```", "```html\n<script>window.hacked=1</script>", "`<img src=x onerror=window.hacked=1>`",
    "<noscript><p title=\"</noscript><img src=x onerror=window.hacked=1>\">", "<b><form><math><mtext></form><form><mglyph><style></math><img src onerror=window.hacked=1>",
    "| a |\n|---|\n| <img src=x onerror=window.hacked=1> |", "# <img src=x onerror=window.hacked=1>", "&#60;img src=x onerror=window.hacked=1&#62;",
    "[x]: javascript:window.hacked=1\n[x]", "<object data=javascript:window.hacked=1>", "<embed src=javascript:window.hacked=1>",
    "\x1b]8;;javascript:window.hacked=1\x07x", "{{constructor.constructor('window.hacked=1')()}}", "<input autofocus onfocus=window.hacked=1>",
]  # fmt: skip


def test_text_of_models_stays_text(browser: Any, address: str) -> None:
    """Through streaming, the finished answer, a reload, the list of conversations and the difference of two answers."""
    visit = Visit(browser, address, models=("a", "<img src=x onerror=window.hacked=1>"))
    corpus = iter(XSS)
    current = ["x"]
    visit.answers(lambda body: events(*re.findall(r"(?s).{1,7}", current[0])))
    page = visit.open()
    for text in corpus:
        current[0] = text
        page.click("#new")
        visit.say(text)
        assert (
            page.locator("#talk").evaluate(
                "talk => [...talk.querySelectorAll('img, script, svg, iframe, style, link, meta, base, form, object, embed, math, input, details')].length"
            )
            == 0
        ), text
        assert page.locator("#talk").evaluate(
            "talk => [...talk.querySelectorAll('*')].every(e => [...e.attributes].every(a => !a.name.startsWith('on') && !/^(javascript|data|vbscript):/i.test(a.value.trim())))"
        ), text
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    assert page.locator("#conversations .open").count() == len(XSS)
    for place in range(3):
        page.click(f"#conversations .open >> nth={place}")
    assert page.evaluate("window.hacked") is None
    assert visit.elsewhere == []
    assert visit.complaints == [], "nothing even tried"
    visit.context.close()


def test_hostile_names_of_files_and_hostile_output_of_programs_stay_text(browser: Any, address: str) -> None:
    visit = Visit(browser, address, models=("a",))
    visit.answers(lambda body: events("```python\nprint(1)\n```"))
    evil = "<img src=x onerror=window.hacked=1>.png"
    told = {
        "ended": evil,
        "seconds": 0.1,
        "out": evil,
        "err": evil,
        "notes": [evil],
        "files": [{"name": evil, "base64": "PHN2Zy8+"}, {"name": "a.svg", "base64": "PHN2Zy8+"}],
    }
    visit.page.route("**/page/run", lambda route: route.fulfill(json=told))
    page = visit.open()
    visit.say("go")
    page.click(".code button:has-text('Run')")
    page.wait_for_selector(".ran a")
    assert page.locator(".ran img").count() == 1, "the picture itself; an SVG is only a download"
    assert page.evaluate("window.hacked") is None and visit.elsewhere == []
    visit.context.close()


def test_an_import_takes_plain_values_only(browser: Any, address: str, tmp_path: Path) -> None:
    node = {
        "id": "n",
        "parent": None,
        "role": "user",
        "text": "<img src=x onerror=window.hacked=1>",
        "input": {"evil": 1},
    }
    loop = {"id": "l", "parent": "l", "role": "user", "text": "x"}
    chats = [
        {"title": "kept", "leaf": "n", "nodes": {"n": node, "l": loop}},
        {"title": "loop", "leaf": "l", "nodes": {"l": loop}},
        None,
        5,
        {"nodes": 1},
    ]
    (tmp_path / "chats.json").write_text(json.dumps({"conversations": chats}))
    visit = Visit(browser, address)
    page = visit.open()
    page.set_input_files("#import", str(tmp_path / "chats.json"))
    page.wait_for_selector("#notice:has-text('1 conversations imported')")
    page.click("#conversations .open")
    assert page.locator(".turn.user .body").inner_text() == node["text"]
    (tmp_path / "bad.json").write_text("[")
    page.set_input_files("#import", str(tmp_path / "bad.json"))
    page.wait_for_selector("#notice:has-text('not a file of conversations')")
    visit.context.close()


SAID = 'data: {"choices": [{"delta": {"content": "said"}}]}\n\n'
BROKEN = [
    (f"{SAID}data: {{half\n\n", "said", "no answer"), (f"{SAID}data: 7\n\n", "said", "no answer"),
    ("data: null\n\n", "", "no answer"), (SAID, "said", "the connection broke"), ("", "", "the connection broke"),
    (f"{SAID}data: {{", "said", "the connection broke"), (f"{SAID}data: [DONE]", "said", "the connection broke"),
    ('data: {"choices": 5}\n\n', "", "the connection broke"), ('data: {"choices": []}\n\n', "", "the connection broke"),
    (f'{SAID}data: {{"error": {{"message": "out of memory"}}}}\n\n', "said", "out of memory"),
    (f'{SAID}data: {{"error": "late"}}\n\n', "said", "the server failed"), ("<html>a proxy</html>", "", "the connection broke"),
]  # fmt: skip


def test_a_stream_that_is_broken_or_no_stream_is_told_and_what_came_is_kept(browser: Any, address: str) -> None:
    visit = Visit(browser, address, models=("a",))
    current = [""]
    visit.answers(lambda body: current[0])
    page = visit.open()
    for stream, said, why in BROKEN:
        current[0] = stream
        page.click("#new")
        visit.say("go")
        assert why in page.locator(".answer .failed").inner_text(), stream
        assert page.locator(".answer .text").inner_text().strip() == said, stream
        page.wait_for_selector("#send:enabled")
    current[0] = f": waiting\n\nevent: x\nid: 1\nretry: 5\n\n{SAID}{events('!')}"
    page.click("#new")
    visit.say("go")
    assert page.locator(".answer .failed").count() == 0 and page.locator(".answer .text").inner_text() == "said!"
    visit.context.close()


def test_an_error_of_the_server_is_shown_and_the_question_is_kept(browser: Any, address: str) -> None:
    visit = Visit(browser, address)
    page = visit.open()
    page.click("#tune")
    page.fill("[name=max_tokens]", "100000")
    visit.say("hello")
    assert "in a context of 512" in page.locator(".failed").inner_text()
    assert page.locator(".turn.user .body").inner_text() == "hello"
    visit.context.close()


def test_every_control_has_a_name_and_narrow_and_dark_work(browser: Any, address: str) -> None:
    visit = Visit(browser, address, models=("a", "b"), width=360, scheme="dark")
    visit.answers(lambda body: events("text\n\n```python\n" + "x = 1  # " + "long " * 60 + "\n```"))
    page = visit.open()
    visit.say("go")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, textarea')].filter(e => !e.closest('label') && !e.ariaLabel
        && !e.title && !e.textContent.trim() && !e.labels?.length).map(e => e.outerHTML)"""
    )
    assert nameless == []
    page.click("#tune")
    assert (
        page.evaluate(
            "Math.max(...[...document.querySelectorAll('#settings *')].map(e => e.getBoundingClientRect().right))"
        )
        <= 360
    )
    page.click("#tune")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(16, 18, 20)"
    page.click("#menu")
    assert page.get_attribute("#menu", "aria-expanded") == "true"
    page.keyboard.press("Escape")
    visit.context.close()


def test_a_browser_logs_in_by_the_form(browser: Any, tmp_path: Path) -> None:
    token, page_of = "a-long-secret-for-tests", pages.Page(Programs(), "a-long-secret-for-tests")
    with served(tiny_model(tmp_path / "model"), token=token, more_routes=page_of.routes()) as running:
        visit = Visit(browser, running.base)
        page = visit.page
        page.goto(running.base)
        for given in ("wrong", token):
            page.fill("[name=token]", given)
            page.keyboard.press("Enter")
            page.wait_for_selector("[role=alert]" if given == "wrong" else "body[data-ready=yes]")
        assert page.url == f"{running.base}/", "the token is not left in the address"
        assert [one for one in visit.complaints if "401" not in one] == [] and visit.elsewhere == []
        visit.context.close()
    page_of.programs.close()
