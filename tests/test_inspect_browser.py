"""The inspect page in a real browser: quiet, walked by keys, narrow, dark. Skips where Chromium is absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prepared_fixture import prepare

from codeup.prepared import page, where
from codeup.prepared.look import look_at

PATIENCE_MS = 300_000  # a busy machine is not a failure
ATTACK = "</code></pre><img src=http://attack.invalid/x onerror='window.hacked=1'><script>window.hacked=1</script>"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    look = look_at(where.load(prepare(folder / "data", folder / "run")))
    look["examples"][1]["pieces"] = [(ATTACK, True, False)]
    look["dropped"][0]["examples"][0]["text"] = ATTACK
    page.write([look, {**look, "title": "another"}], folder / "page.html", title=ATTACK)
    return folder / "page.html"


def visit(browser: Any, written: Path, **settings: Any) -> tuple[Any, list[str], list[str]]:
    """The open page, what it asked for, what it complained about."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, **settings)
    opened.set_default_timeout(PATIENCE_MS)
    requests: list[str] = []
    complaints: list[str] = []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(written.as_uri())
    return opened, requests, complaints


def test_the_page_asks_for_nothing_complains_of_nothing_and_runs_no_row(browser: Any, written: Path) -> None:
    opened, requests, complaints = visit(browser, written)
    assert requests == [written.as_uri()] and complaints == []
    assert opened.evaluate("window.hacked === undefined && document.images.length === 0")
    opened.close()


def test_a_smuggled_script_or_image_would_be_stopped_by_the_policy(browser: Any, written: Path, tmp_path: Path) -> None:
    leaky = tmp_path / "leaky.html"
    leaky.write_text(written.read_text().replace("</main>", f"{ATTACK}</main>", 1))
    opened, _, complaints = visit(browser, leaky)
    assert opened.evaluate("document.images.length") == 1, "the attack is on the page"
    assert opened.evaluate("window.hacked") is None and any("Content Security Policy" in line for line in complaints)
    opened.close()


def test_keys_and_buttons_walk_through_the_examples_of_the_dataset_on_the_screen(browser: Any, written: Path) -> None:
    opened, _, _ = visit(browser, written)
    first, second = (opened.locator(".browse").nth(place) for place in (0, 1))
    seen = lambda browse: browse.locator(".card:not([hidden])")  # noqa: E731
    assert seen(first).count() == 1 and first.locator("output").inner_text() == "1 of 31"
    first.scroll_into_view_if_needed()
    opened.keyboard.press("ArrowRight")
    assert first.locator("output").inner_text() == "2 of 31"
    assert seen(first).locator("pre code").inner_text() == ATTACK, "hostile text is shown as text"
    opened.keyboard.press("ArrowLeft")
    opened.keyboard.press("ArrowLeft")
    assert first.locator("output").inner_text() == "31 of 31" and second.locator("output").inner_text() == "1 of 31"
    opened.keyboard.press("t")
    assert "borders" in first.get_attribute("class") and "borders" not in second.get_attribute("class")
    second.locator("button[name=next]").click()
    assert second.locator("output").inner_text() == "2 of 31"
    first.locator("select").select_option("sharegpt:second.jsonl")
    assert first.locator("output").inner_text() == "1 of 10"
    opened.close()


def test_without_script_every_example_is_there(browser: Any, written: Path) -> None:
    opened, _, _ = visit(browser, written, java_script_enabled=False)
    assert opened.locator(".card:visible").count() == 62 and opened.locator(".walk:visible").count() == 0
    opened.close()


def test_light_and_dark_differ_and_paper_is_white(browser: Any, written: Path) -> None:
    def colours(opened: Any) -> list[str]:
        return opened.evaluate(
            """() => [["body", "backgroundColor"], [".rendered i.l", "backgroundColor"], [".ribbon.kept", "fill"],
            [".node.lost", "fill"], [".label", "fill"]]
            .map(([s, p]) => getComputedStyle(document.querySelector(s))[p])"""
        )

    light, dark = (visit(browser, written, color_scheme=scheme)[0] for scheme in ("light", "dark"))
    assert all(a != b for a, b in zip(colours(light), colours(dark), strict=True))
    dark.emulate_media(media="print")
    assert colours(dark)[0] == "rgb(255, 255, 255)"
    light.close()
    dark.close()


def test_the_page_never_scrolls_sideways_and_narrow_screens_get_a_bar_for_the_picture(
    browser: Any, written: Path
) -> None:
    opened, _, _ = visit(browser, written)
    for width in (1280, 768, 420, 320):
        opened.set_viewport_size({"width": width, "height": 900})
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        shown = [opened.locator(name).first.is_visible() for name in (".picture", ".only-narrow")]
        assert shown == [width > 720, width <= 720]
    opened.close()
