"""What the page keeps: two tabs with one conversation, export and import, a store that is full; by keyboard and touch."""

# ruff: noqa: E501  (scripts stay in one piece each)

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_for_tests import served, tiny_model
from test_page_browser import Visit, events, until

from codeup.serve import pages
from codeup.serve.programs import Programs


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    programs, folder = Programs(), tiny_model(tmp_path_factory.mktemp("kept") / "model")
    with served(folder, more_routes=pages.Page(programs, None).routes()) as running:
        yield running.base
    programs.close()


def repeats(body: dict[str, Any]) -> str:
    return events(f"You said {body['messages'][-1]['content']}")


def exported(page: Any, file: Path) -> list[dict[str, Any]]:
    with page.expect_download() as coming:
        page.click("#export")
    coming.value.save_as(file)
    found: list[dict[str, Any]] = json.loads(file.read_text())["conversations"]
    return found


def questions(conversation: dict[str, Any]) -> set[str]:
    return {node["text"] for node in conversation["nodes"].values() if node["role"] == "user"}


def test_two_tabs_with_one_conversation_lose_nothing_of_each_other(browser: Any, address: str, tmp_path: Path) -> None:
    first = Visit(browser, address, models=("m",))
    first.answers(repeats)
    first.open()
    first.say("begun")
    second = Visit(browser, address, models=("m",))
    second.context.close()
    second.context, second.page = first.context, first.context.new_page()
    listed = {"object": "list", "data": [{"id": "m"}]}
    second.page.route("**/v1/models", lambda route: route.fulfill(json=listed))
    second.answers(repeats)
    second.open()
    second.page.click("#conversations .open")
    first.say("from the first tab")
    second.say("from the second tab")
    second.page.click("#new")
    second.say("another")
    for visit in (first, second):
        kept = {one["title"]: questions(one) for one in exported(visit.page, tmp_path / "all.json")}
        assert kept == {"begun": {"begun", "from the first tab", "from the second tab"}, "another": {"another"}}
    first.page.reload()
    first.page.wait_for_selector("body[data-ready=yes]")
    first.page.locator("#conversations .open", has_text="begun").click()
    assert first.page.locator(".turn.user header", has_text="/2").count() == 1, "they are branches of each other"
    assert first.complaints == []
    first.context.close()


def test_what_is_exported_comes_in_again_with_its_branches_settings_files_and_times(
    browser: Any, address: str, tmp_path: Path
) -> None:
    visit = Visit(browser, address, models=("m",))
    visit.answers(repeats)
    page = visit.open()
    page.click("#tune")
    page.fill("[name=system]", "Be brief.")
    page.set_input_files("#attach", {"name": "a.csv", "mimeType": "text/csv", "buffer": b"1,2\n"})
    until(page, "document.querySelectorAll('#files li').length === 1")
    visit.say("one")
    page.click(".turn.assistant button:has-text('Again')")
    until(page, "document.body.innerText.includes('2/2') && document.querySelector('#stop').hidden")
    before = exported(page, tmp_path / "all.json")[0]
    page.on("dialog", lambda asked: asked.accept())
    page.click("#conversations .drop")
    until(page, "document.querySelectorAll('#conversations .open').length === 0")
    for times in (1, 2):
        page.set_input_files("#import", tmp_path / "all.json")
        until(page, f"document.querySelectorAll('#conversations .open').length === {times}")
    page.fill("[name=system]", "")
    page.locator("#conversations .open").first.click()
    assert page.input_value("[name=system]") == "Be brief."
    assert page.locator("#files li").inner_text().startswith("a.csv")
    for after in exported(page, tmp_path / "again.json"):
        assert {name: after[name] for name in ("title", "created", "updated", "leaf", "files")} == {
            name: before[name] for name in ("title", "created", "updated", "leaf", "files")
        }
        assert after["settings"]["system"] == "Be brief." and after["nodes"].keys() == before["nodes"].keys()
        assert after["id"] != before["id"]
    assert visit.complaints == []
    visit.context.close()


def test_a_store_that_takes_nothing_is_told_of_and_an_export_holds_the_conversation(
    browser: Any, address: str, tmp_path: Path
) -> None:
    visit = Visit(browser, address, models=("m",))
    visit.answers(repeats)
    visit.context.add_init_script(
        "const put = IDBObjectStore.prototype.put; IDBObjectStore.prototype.put = function (...all) { const asked = put.apply(this, all); this.transaction.abort(); return asked; };"
        "Storage.prototype.setItem = () => { throw new DOMException('it is full', 'QuotaExceededError'); };"
    )
    page = visit.open()
    visit.say("precious")
    until(page, "document.querySelector('#notice').innerText.includes('not saved')")
    assert "in this tab only" in page.inner_text("#notice")
    assert [questions(one) for one in exported(page, tmp_path / "all.json")] == [{"precious"}]
    page.click("#tune")
    page.fill("[name=seed]", "7")
    assert page.inner_text("#notice") == "settings are not kept: it is full"
    assert visit.complaints == []
    visit.context.close()


def test_what_the_browser_has_no_room_for_is_told_of_and_kept_again_once_there_is_room(
    browser: Any, address: str, tmp_path: Path
) -> None:
    visit = Visit(browser, address, models=("m",))
    visit.answers(repeats)
    page = visit.open()
    tools = visit.context.new_cdp_session(page)
    tools.send("Storage.overrideQuotaForOrigin", {"origin": address, "quotaSize": 1})
    visit.say("precious " + "x" * 200_000)
    until(page, "document.querySelector('#notice').innerText.includes('not saved')")
    assert page.inner_text("#notice").startswith("not saved (this browser has no room left)")
    assert len(exported(page, tmp_path / "all.json")) == 1
    tools.send("Storage.overrideQuotaForOrigin", {"origin": address})
    visit.say("again")
    until(page, "document.querySelector('#stop').hidden")
    page.reload()
    until(page, "document.querySelectorAll('#conversations .open').length === 1")
    (kept,) = exported(page, tmp_path / "again.json")
    assert {asked[:9] for asked in questions(kept)} == {"precious ", "again"}
    assert visit.complaints == []
    visit.context.close()


def test_files_are_reached_by_keyboard_and_the_menu_is_left_by_a_tap_beside_it(browser: Any, address: str) -> None:
    visit = Visit(browser, address, models=("m",), width=360)
    page = visit.open()
    for name in ("attach", "import"):
        page.click("#menu") if name == "import" else None
        page.focus(f"#{name}")
        assert page.evaluate("() => document.activeElement.id") == name
    assert page.get_attribute("#menu", "aria-expanded") == "true"
    page.mouse.click(355, 400)
    assert page.get_attribute("#menu", "aria-expanded") == "false"
    assert "menu" not in (page.get_attribute("body", "class") or "")
    visit.context.close()
