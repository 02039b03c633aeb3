"""The page in a real browser: quiet, themed, filterable, narrow. Skips where Chromium or playwright is absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_fixture import PROMPT, make_study

from codeup.report import png
from codeup.report.build import build_report

PATIENCE_MS = 300_000  # a busy machine is not a failure
ATTACK = "</code></pre><img src=http://attack.invalid/x onerror='window.hacked=1'><script>window.hacked=1</script>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = make_study()
    study["failures"][0] |= {"raw": ATTACK, "code": ATTACK, "detail": ATTACK, "task_id": ATTACK}
    final = next(s for s in study["scores"] if s["model"] == "instruct-math-code")
    final["prompt0"] = f"\n{PROMPT}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "charts", lambda study: {})
        return build_report(study, tmp_path_factory.mktemp("report"))


class Visit:
    """An open page with what it asked for and complained about."""

    def __init__(self, browser: Any, report: Path, *, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
        self.page.set_default_timeout(PATIENCE_MS)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.blocked: dict[str, str] = {}
        self.page.on("requestfailed", lambda request: self.blocked.update({request.url: request.failure}))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(report.as_uri())

    def colours(self) -> dict[str, str]:
        return self.page.evaluate(
            """() => { const of = (s, p) => getComputedStyle(document.querySelector(s))[p];
            return {paper: of("body", "backgroundColor"), ink: of("body", "color"),
                    line: of("path.train", "stroke"), tick: of(".tick", "fill"), bar: of(".fill-PASSED", "fill")} }"""
        )


def test_the_page_asks_for_nothing_complains_of_nothing_and_runs_no_foreign_code(browser: Any, report: Path) -> None:
    visit = Visit(browser, report)
    assert visit.requests == [report.as_uri()]
    assert visit.complaints == []
    assert visit.page.evaluate("window.hacked === undefined && document.images.length === 0")
    visit.page.close()


def test_a_smuggled_script_or_image_would_be_stopped_by_the_policy(browser: Any, report: Path, tmp_path: Path) -> None:
    """The second wall: even markup that was not escaped neither runs nor loads."""
    leaky = tmp_path / "leaky.html"
    leaky.write_text(report.read_text().replace("</main>", f"{ATTACK}</main>"))
    visit = Visit(browser, leaky)
    assert visit.page.evaluate("document.images.length") == 1, "the attack is on the page"
    assert visit.page.evaluate("window.hacked") is None
    assert visit.blocked == {"http://attack.invalid/x": "csp"}, "refused by the policy, before any network"
    assert any("Content Security Policy" in line for line in visit.complaints)
    visit.page.close()


def test_a_prompt_that_begins_with_a_newline_is_shown_exactly(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    assert page.locator(".prompt pre").first.evaluate("block => block.textContent") == f"\n{PROMPT}"
    page.close()


def test_light_and_dark_differ_in_paper_ink_and_every_chart_colour(browser: Any, report: Path) -> None:
    light, dark = (Visit(browser, report, scheme=scheme) for scheme in ("light", "dark"))
    pairs = [(value, dark.colours()[name]) for name, value in light.colours().items()]
    assert len(pairs) == 5 and all(a != b for a, b in pairs)
    dark.page.emulate_media(media="print")
    assert dark.colours()["paper"] == "rgb(255, 255, 255)", "paper is white even for those who read in the dark"
    light.page.close()
    dark.page.close()


def test_filters_show_only_what_was_asked_for(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    visible = ".failure:not([hidden])"
    everything = page.locator(visible).count()
    assert everything == 30 and page.locator(".filters output").inner_text() == "30 of 30 shown"
    page.select_option("select[name=outcome]", "TIMEOUT")
    page.select_option("select[name=model]", "code")
    assert page.locator(visible).count() == 2 and page.locator(".filters output").inner_text() == "2 of 30 shown"
    assert (
        page.locator(visible).evaluate_all("all => all.map(e => e.dataset.outcome + e.dataset.model)")
        == ["TIMEOUTcode"] * 2
    )
    page.select_option("select[name=outcome]", "")
    page.select_option("select[name=model]", "")
    assert page.locator(visible).count() == everything
    page.close()


def test_pointing_at_a_chart_reads_out_the_losses(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    chart = page.locator("svg.chart").first
    chart.scroll_into_view_if_needed()
    chart.hover(position={"x": 150, "y": 60})
    assert page.locator(".readout").first.inner_text().startswith("step ")
    words = page.locator(".readout").first.inner_text()
    assert "train 0." in words and "eval 0." in words
    page.close()


def test_the_page_never_scrolls_sideways(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    for width in (1280, 768, 420, 320):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 problems, two models; every fourth is solved by one of them only, and one answer is an attack."""
    answers = [
        {
            "model": model, "benchmark": "humaneval", "form": "chat", "task_id": f"T/{t}", "index": 0,
            "outcome": "PASSED" if (t % 4 == 0) == (model == "base") else "FAILED", "detail": f"call {t} gave None",
            "prompt": f"Write number {t}.", "raw": f"Sure.\n```python\ndef f():\n    return {t}  # {model}\n```",
            "code": f"def f():\n    return {t}  # {model}\n", "language": "python",
        }
        for model in ("base", "instruct-math-code") for t in range(40)
    ]  # fmt: skip
    answers[-1] |= {"raw": ATTACK, "code": ATTACK, "detail": ATTACK, "task_id": "T/attack"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "charts", lambda study: {})
        return build_report(make_study(), tmp_path_factory.mktemp("explored"), answers)


def opened(browser: Any, page: Path) -> Visit:
    visit = Visit(browser, page)
    visit.page.wait_for_selector(".explorer[data-ready=yes]")
    return visit


def listed(page: Any) -> list[str]:
    return page.locator(".explorer .task").all_text_contents()  # rows out of sight are not laid out


def test_the_explorer_begins_with_what_the_final_model_failed(browser: Any, explored: Path) -> None:
    visit = opened(browser, explored)
    wrong = [f"T/{t}" for t in range(40) if t % 4 == 0]
    assert listed(visit.page) == wrong
    assert visit.page.locator(".answer h3").inner_text() == "HumanEval · T/0"
    assert "return 0  # instruct-math-code" in visit.page.locator(".answer").inner_text()
    assert visit.requests == [explored.as_uri()] and visit.complaints == []
    assert not visit.page.locator("#failures").is_visible(), "the few examples without JavaScript are for paper"
    visit.page.close()


def test_the_page_opens_at_its_beginning(browser: Any, explored: Path) -> None:
    """Marking the first answer of the explorer, far down, scrolls its list and not the page."""
    visit = Visit(browser, explored)
    visit.page.wait_for_selector(".row[aria-selected=true]")
    assert visit.page.evaluate("[window.scrollY, document.documentElement.scrollHeight > 2 * window.innerHeight]") == [
        0,
        True,
    ]
    visit.page.close()


def test_search_finds_text_inside_answers_and_none_finds_none(browser: Any, explored: Path) -> None:
    page = opened(browser, explored).page
    page.select_option("select[name=outcome]", "")
    page.fill("input[name=text]", "RETURN 17 ")
    page.wait_for_function("document.querySelector('.explorer output').textContent.startsWith('1 of')")
    assert listed(page) == ["T/17"]
    page.fill("input[name=text]", "no such words")
    page.wait_for_function("document.querySelector('.explorer output').textContent.startsWith('0 of')")
    assert page.locator(".answer").inner_text() == "no answer fits"
    page.keyboard.press("Escape")
    page.wait_for_function("document.querySelector('.explorer output').textContent.startsWith('40 of')")
    page.close()


def test_two_models_side_by_side_show_the_problems_they_differ_on_and_the_changed_lines(
    browser: Any, explored: Path
) -> None:
    page = opened(browser, explored).page
    page.select_option("select[name=against]", label="base")
    page.wait_for_selector(".sides .gone")
    assert len(listed(page)) == 39, "the attack is a problem of its own, which base did not answer"
    assert page.locator(".sides .gone").first.inner_text().strip() == "return 0  # base"
    assert page.locator(".sides .new").first.inner_text().strip() == "return 0  # instruct-math-code"
    page.close()


def test_keys_move_through_the_answers(browser: Any, explored: Path) -> None:
    page = opened(browser, explored).page
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.wait_for_function("document.querySelector('.answer h3').textContent.endsWith('T/8')")
    page.keyboard.press("k")
    page.wait_for_function("document.querySelector('.answer h3').textContent.endsWith('T/4')")
    page.keyboard.press("/")
    page.keyboard.type("j")
    assert page.input_value("input[name=text]") == "j", "letters typed into the search are text"
    page.close()


def test_an_answer_that_is_markup_stays_text_and_the_page_stays_narrow(browser: Any, explored: Path) -> None:
    visit = opened(browser, explored)
    page = visit.page
    page.select_option("select[name=outcome]", "")
    page.fill("input[name=text]", "T/attack")
    page.wait_for_function("document.querySelector('.explorer output').textContent.startsWith('1 of')")
    page.wait_for_function("document.querySelector('.answer h3').textContent.includes('attack')")
    assert (
        ATTACK in page.locator(".answer pre").first.text_content() or ATTACK in page.locator(".answer").text_content()
    )
    assert page.evaluate("window.hacked === undefined && document.images.length === 0")
    for width in (1280, 768, 420, 320):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.complaints == []
    page.close()
