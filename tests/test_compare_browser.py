"""The page of a comparison in a real browser: quiet, by keyboard, filtered. Skips where Chromium is absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_compare_all import ATTACK, judge
from test_report_browser import Visit

from codeup.evaluate.compare_all import compare_all
from codeup.report.comparison import write_comparison


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    found = compare_all(str(judge(folder / "a", "FPPFP")), str(judge(folder / "b", "PFPFF")))
    found["comparisons"][0]["changed"][0]["b"]["answer"] = ATTACK
    return write_comparison(found, folder / "page.html")


def test_the_page_asks_for_nothing_and_runs_no_foreign_code(browser: Any, page: Path) -> None:
    visit = Visit(browser, page)
    assert visit.requests == [page.as_uri()] and visit.complaints == []
    assert visit.page.evaluate("window.hacked === undefined && document.images.length === 0")
    visit.page.close()


def test_keys_walk_the_changed_problems_and_open_one(browser: Any, page: Path) -> None:
    visit = Visit(browser, page).page
    for key in ("j", "j", "j", "j", "k", "Enter"):  # three problems: the fourth j stays, k goes back to the second
        visit.keyboard.press(key)
    assert visit.locator("details[open] summary b").all_inner_texts() == ["T/4"]
    visit.keyboard.press("/")
    visit.keyboard.type("t/0")
    assert visit.locator(".filters output").inner_text() == "1 of 3 shown"
    visit.keyboard.press("Escape")
    visit.keyboard.press("j")
    assert visit.evaluate("document.activeElement.querySelector('b').innerText") == "T/0"
    visit.close()


def test_lost_and_gained_are_told_apart(browser: Any, page: Path) -> None:
    visit = Visit(browser, page).page
    visit.select_option("select[name=change]", "lost")
    assert visit.locator(".change:not([hidden]) summary b").all_inner_texts() == ["T/1", "T/4"]
    visit.select_option("select[name=change]", "gained")
    assert visit.locator(".change:not([hidden]) summary b").all_inner_texts() == ["T/0"]
    visit.close()


def test_the_page_is_dark_where_wanted_and_never_scrolls_sideways(browser: Any, page: Path) -> None:
    light, dark = (Visit(browser, page, scheme=scheme).page for scheme in ("light", "dark"))
    paper = "getComputedStyle(document.body).backgroundColor"
    assert light.evaluate(paper) != dark.evaluate(paper)
    for width in (1280, 420, 320):
        light.set_viewport_size({"width": width, "height": 900})
        assert light.evaluate("document.documentElement.scrollWidth") <= width
    light.close()
    dark.close()
