"""The report: nothing escapes, every score is whole, no claim without its test, and gaps do not break it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_fixture import PROMPT, make_small_study, make_study

from codeup.report import build, png, sections, svg, view
from codeup.report.build import build_report, digest, render

POISON = "</script></style></pre><script>hacked()</script><img src=x onerror=hacked()>\"'`=&lt;{{7*7}}"
VOID = {"meta", "br", "wbr", "img", "link", "input"}


class Page(HTMLParser):
    """What a browser would see: tags, attributes, and the text of all but style and script."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.inside: list[str] = []
        self.raw: dict[str, str] = {}
        self.blocks: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.inside.append(tag)
        if tag == "pre":
            self.blocks.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag, f"</{tag}> closes something else: {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self.inside and self.inside[-1] in ("style", "script"):
            self.raw[self.inside[-1]] = self.raw.get(self.inside[-1], "") + data
            return
        self.words.append(data)
        if "pre" in self.inside:
            self.blocks[-1] += data

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def poisoned(value: Any) -> Any:
    """The same study with every text of a model, a file or a recipe replaced by an attack."""
    if isinstance(value, dict):
        return {key: poisoned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return value + POISON if isinstance(value, str) else value


@pytest.fixture(scope="module")
def study() -> dict[str, Any]:
    return make_study()


@pytest.fixture(scope="module")
def html(study: dict[str, Any]) -> str:
    return render(study)


@pytest.fixture
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at the page only: drawing PNG files takes seconds."""
    monkeypatch.setattr(png, "charts", lambda study: {})


def test_text_from_models_and_data_never_becomes_markup(html: str) -> None:
    evil = poisoned(make_study())
    evil["versions"] = {POISON: POISON}
    evil["data"][0]["summary"]["dropped"] = {POISON: 6967}
    evil["scores"][0]["extractions"] = {POISON: 3}
    evil["machine"] = {POISON: POISON}
    page, clean = Page(render(evil)), Page(html)
    assert page.tags.count("script") == 1 and page.tags.count("style") == 1 and "img" not in page.tags
    assert set(page.tags) == set(clean.tags)
    assert {name for _, name, _ in page.attributes} == {name for _, name, _ in clean.attributes}
    assert page.raw == clean.raw
    assert "{{7*7}}" in page.text and "hacked()" in page.text


def test_the_page_is_well_nested(html: str) -> None:
    assert Page(html).inside == []


@pytest.mark.parametrize("place", ["study", "scores", "provenance"])
def test_every_score_is_printed_with_its_interval_and_n(study: dict[str, Any], html: str, place: str) -> None:
    part = html[html.index(f'<section id="{place}">') :]
    text = Page(part[: part.index("</section>") + 10]).text
    text = re.sub(r"(\d)\s*[▲▼≈]?\s+\[", r"\1 [", text)
    for score in study["scores"]:
        assert view.score_text(score) in text


def test_a_score_reads_as_the_design_asks(study: dict[str, Any]) -> None:
    last = next(s for s in study["scores"] if (s["model"], s["benchmark"]) == ("instruct-math-code", "humaneval"))
    assert view.score_text(last) == "0.482 [0.41, 0.56], n=164"


def test_every_score_names_dataset_hash_engine_and_sandbox(study: dict[str, Any], html: str) -> None:
    part = html[html.index('<section id="provenance">') :]
    text = Page(part[: part.index("</section>") + 10]).text
    for score in study["scores"]:
        for word in (score["data_version"], score["data_sha256"][:16], score["engine"], score["sandbox"]):
            assert word in text
    assert text.count("namespaces + seccomp") == len(study["scores"])


@pytest.mark.parametrize("key", ["value", "low", "high", "n"])
def test_a_score_without_its_interval_or_n_is_refused(key: str) -> None:
    study = make_small_study()
    del study["scores"][0][key]
    with pytest.raises(KeyError, match=key):
        render(study)


def test_nothing_on_the_page_loads_or_links_anywhere(html: str) -> None:
    page = Page(html)
    assert {name for _, name, _ in page.attributes} & {"src", "href", "xlink:href", "action", "srcset", "data"} == set()
    assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert "url(" not in page.raw["style"] and "@import" not in page.raw["style"]
    assert not re.search(r"fetch|XMLHttp|import\(|innerHTML|eval", page.raw["script"])


def test_the_security_policy_allows_exactly_the_inline_style_and_script(html: str) -> None:
    page = Page(html)
    policy = next(v for _, n, v in page.attributes if n == "content" and "default-src" in v)
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    assert digest(page.raw["style"]) in policy and digest(page.raw["script"]) in policy
    assert not any(name == "style" or name.startswith("on") for _, name, _ in page.attributes)


def test_the_prompt_of_problem_0_is_there_as_exact_text_and_as_tokens() -> None:
    study = make_small_study()
    exact = "\n  def f(x):\n\treturn <x> & 1\n\n"
    study["scores"][1] |= {
        "prompt0": exact,
        "prompt0_tokens": ["\n", "  def", " f", "(x"],
        "prompt0_ids": [10, 11, 12, 13],
    }
    html = render(study)
    part = Page(html[html.index('<section id="prompt">') : html.index('<section id="failures">')])
    assert exact in part.blocks
    assert PROMPT.split("completes this:\n\n")[1].split("\n\n###")[0] + "\n" in part.blocks
    assert '<i title="10">↵\n</i><wbr><i title="11">··def</i><wbr><i title="12">·f</i><wbr><i title="13">(x</i>' in html


def test_control_characters_are_shown_and_not_passed_on() -> None:
    assert view.visible_controls("a\x1b[31m\r\x00b\n\t") == "a␛[31m␍␀b\n\t"


def test_charts_are_written_as_png_for_every_part_and_the_study_as_json(study: dict[str, Any], tmp_path: Path) -> None:
    build_report(study, tmp_path)
    names = {p.name for p in (tmp_path / "charts").iterdir()}
    stages = {"loss-instruct.png", "loss-math.png", "loss-code.png", "loss-all-stages.png"}
    assert names == stages | {"scores.png", "outcomes.png", "time.png"}
    for path in (tmp_path / "charts").iterdir():
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 5_000
    assert json.loads((tmp_path / "report.json").read_text()) == study


def test_a_stage_name_cannot_choose_a_file_or_a_formula() -> None:
    study = {
        "stages": [
            {"name": name, "metrics": [{"step": 1, "loss": 2.0}]} for name in ("../../x", "..\\..\\x", "$\\frac$", "")
        ]
    }
    names = list(png.charts(study))
    assert names == ["loss-x.png", "loss-x-2.png", "loss-frac.png", "loss-unnamed.png", "loss-all-stages.png"]


def test_stages_of_the_same_name_are_told_apart_by_their_model() -> None:
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    names = [("instruct", "instruct"), ("code", "code"), ("code", "instruct-code")]
    study = {"stages": [{"name": name, "model": model, "metrics": rows} for name, model in names]}
    assert list(png.charts(study)) == [
        "loss-instruct.png",
        "loss-code.png",
        "loss-instruct-code.png",
        "loss-all-stages.png",
    ]
    assert [name for _, name in sections.all_stages_series(study)[1]] == ["instruct", "code", "instruct-code"]


def test_both_train_and_eval_loss_are_drawn_for_each_stage(html: str) -> None:
    part = html[html.index('<section id="training">') : html.index('<section id="data">')]
    assert part.count('class="line train"') == 6 and part.count('class="line eval"') == 6
    assert part.count('class="line train raw"') == 3
    assert part.count("dot eval") == 2 * 3 * 12


def test_the_same_study_gives_the_same_bytes(tmp_path: Path) -> None:
    study = {key: value for key, value in make_small_study().items() if key not in ("scores", "comparisons", "steps")}
    study["stages"] = study["stages"][:1]
    first, second = tmp_path / "a", tmp_path / "b"
    build_report(study, first)
    build_report(study, second)
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert len(files) == 3
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)


@pytest.mark.usefixtures("no_charts")
def test_a_loss_that_became_nan_is_counted_and_kept_as_text(tmp_path: Path) -> None:
    study = make_small_study()
    study["stages"][0]["metrics"][3]["loss"] = math.nan
    page = build_report(study, tmp_path).read_text()
    assert "1 losses are not numbers" in page
    stored = json.loads((tmp_path / "report.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert stored["stages"][0]["metrics"][3]["loss"] == "nan"


@pytest.mark.usefixtures("no_charts")
def test_a_failed_report_leaves_the_old_one_whole(tmp_path: Path) -> None:
    path = build_report(make_small_study(), tmp_path)
    before = path.read_bytes()
    broken = make_small_study()
    del broken["scores"][1]["low"]
    with pytest.raises(KeyError):
        build_report(broken, tmp_path)
    assert path.read_bytes() == before
    assert not list(tmp_path.rglob("*.tmp"))


def only(*keys: str) -> Callable[[], dict[str, Any]]:
    return lambda: {key: value for key, value in make_study().items() if key in keys}


@pytest.mark.parametrize(
    ("make", "title"),
    [
        (dict, "No stage was trained; nothing was evaluated"),
        (only("name", "stages", "models"), "3 stages trained; nothing was evaluated"),
        (only("scores"), "humaneval pass@1 0.262"),
        (only("scores", "models", "labels"), "HumanEval pass@1 0.482"),
        (only("scores", "models", "labels", "comparisons"), "HumanEval pass@1 rises from 0.262 to 0.482"),
        (only("data", "steps"), "No stage was trained; nothing was evaluated"),
        (only("failures"), "No stage was trained; nothing was evaluated"),
    ],
)
def test_a_study_with_missing_parts_is_reported_without_them(
    make: Callable[[], dict[str, Any]], title: str, tmp_path: Path
) -> None:
    study = make()
    page = Page(build_report(study, tmp_path).read_text())
    assert title in page.text
    shown = {value for _, name, value in page.attributes if name == "id"}
    assert ("training" in shown) == ("stages" in study) and ("data" in shown) == ("data" in study)
    assert ("study" in shown) == ("scores" in study) and ("time" in shown) == ("steps" in study)


def test_parts_that_are_present_but_empty_are_left_out_too() -> None:
    study = make_study() | {
        key: [] for key in ("models", "scores", "comparisons", "stages", "data", "steps", "failures")
    }
    shown = {value for _, name, value in Page(render(study)).attributes if name == "id"}
    assert shown == {"provenance"}


def test_ten_thousand_failures_stay_under_five_megabytes_and_say_what_is_left_out() -> None:
    study = make_small_study()
    example = study["failures"][0]
    study["failures"] = [
        example | {"raw": f"<&\"'{i}" * 4000, "code": "<" * 9000, "model": f"model-{i % 900}", "task_id": f"T/{i}"}
        for i in range(10_000)
    ]
    html = render(study)
    shown = html.count('<details class="failure"')
    assert len(html.encode()) < 5_000_000
    assert 20 < shown < 10_000 and f"{shown} examples ({10_000 - shown:,} more are in report.json)" in html
    assert "3,000 more characters in report.json" in html


def test_long_curves_are_thinned_and_keep_their_spikes() -> None:
    rows: list[dict[str, Any]] = [{"step": i, "loss": 1.0} for i in range(50_000)]
    rows[31_234]["loss"] = 9.0
    study = {"stages": [{"name": "s", "metrics": rows}]}
    chart = str(sections.stages(study, view.names(study))[0]["chart"])
    assert len(chart) < 40_000
    assert 'data-y1="9.48"' in chart and " 53.57" in chart, "the spike is on the scale and drawn near its top"


def test_books_that_do_not_balance_are_called_out() -> None:
    study = make_study()
    assert "unaccounted" not in render(study)
    study["data"][1]["summary"]["rows_kept"] -= 7
    assert "does not balance: 7 rows unaccounted for" in render(study)
    study = make_study()
    study["data"][1]["summary"]["train_rows"] -= 5
    assert "does not balance: 5 rows unaccounted for" in render(study)


def test_failures_are_counted_by_outcome_and_shown_with_prompt_answer_code_and_verdict(html: str) -> None:
    part = Page(html[html.index('<section id="failures">') : html.index('<section id="provenance">')])
    assert "3,982 answers did not pass: FAILED 2,909, TIMEOUT 199, MEMORY 33, CRASHED 433" in part.text
    assert "IndexError: list index out of range" in part.text
    assert PROMPT in part.blocks and "def has_close_elements(numbers, threshold):\n    return True\n" in part.blocks
    assert "I cannot help with <that>." in part.blocks and "No code was found in the answer." in part.text


def test_versions_recipe_seed_and_machine_are_on_the_page(study: dict[str, Any], html: str) -> None:
    page = Page(html)
    assert study["recipe_yaml"] in page.blocks
    for word in ("transformers", "5.23.0", "NVIDIA H100 80GB", "codeup run recipes/example.yaml", "seed"):
        assert word in page.text


@pytest.mark.usefixtures("no_charts")
def test_lone_surrogates_in_an_answer_do_not_stop_the_report(tmp_path: Path) -> None:
    study = make_small_study()
    study["failures"][0]["raw"] = "half a \ud83d pair"
    assert b"half a \\ud83d pair" in build_report(study, tmp_path).read_bytes()


def test_no_file_of_the_room_prints_or_reads_the_environment() -> None:
    for path in build.HERE.glob("*.py"):
        assert not re.search(r"\bprint\(|os\.environ|sys\.argv|\bexit\(", path.read_text()), path.name


def test_a_score_says_how_it_was_asked_and_what_other_extractions_would_give(study: dict[str, Any]) -> None:
    score = {
        **study["scores"][0], "form": "chat",
        "extractions": {"last-block": 9, "no-code": 2}, "prompt_style": "evalplus",
        "extraction_mode": "codeup-2024", "other_extractions": {"codeup": 3, "evalplus": 0},
    }  # fmt: skip
    asked = {**study, "scores": [score]}
    row = view.provenance(asked, view.names(asked))[0]["rows"][0]
    assert row["form"] == "chat, evalplus"
    assert row["extraction"] == (
        "codeup-2024: last-block 9, no-code 2; 3 failed samples would pass under codeup; "
        "0 failed samples would pass under evalplus"
    )


def test_of_many_trainings_those_of_the_final_model_are_shown_and_the_others_folded_away() -> None:
    study = make_study()
    one = study["stages"]
    study["stages"] = [{**stage, "model": f"{stage['model']}@{seed}"} for seed in (1, 2, 3) for stage in one]
    study["models"] = [{"name": f"full@{seed}", "stages": ["instruct", "math", "code"]} for seed in (1, 2, 3)]
    called = view.names(study)
    assert called.final == "full@3"
    main = [stage["model"] for stage in sections.main_line(study, called)]
    assert main == ["instruct@3", "instruct-math@3", "instruct-math-code@3"]
    assert [stage["main"] for stage in sections.stages(study, called)] == [False] * 6 + [True] * 3
    study["stages"] = one
    assert sections.main_line(study, called) == one, "few trainings are all shown"


def test_names_of_stages_that_begin_close_together_stand_on_lines_of_their_own() -> None:
    line = svg.Series("loss", "train", [(0.0, 1.0), (100.0, 2.0)])
    starts = [(0.0, "instruct"), (6.0, "math"), (13.0, "code"), (60.0, "more")]
    drawn = svg.line_plot([line], title="Loss", x_label="steps", dividers=starts)
    assert re.findall(r'y="(-?\d+)">(instruct|math|code|more)<', drawn) == [
        ("-4", "instruct"), ("11", "math"), ("26", "code"), ("-4", "more"),
    ]  # fmt: skip
