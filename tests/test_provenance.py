"""The manifest names what went in and came out, the licence that follows, and how to make the same bytes again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml
from prepared_fixture import FIRST, prepare, read

from codeup import recipe as recipes
from codeup import run as engine
from codeup import study
from codeup.data.licences import UNSTATED, Claim, Terms, account, decide, level, normal, roll_up
from codeup.provenance import manifest
from codeup.provenance.card import size_category
from codeup.provenance.manifest import replay_recipe, terms_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    return prepare(folder / "data", folder / "run", licence=", licence: CC BY 4.0")


# --- licences --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "wins", "says"),
    [
        ([("mit", "card"), ("cc-by-nc-4.0", "repo")], "cc-by-nc-4.0", "claims disagree"),
        ([("CC BY-NC 4.0", "repo"), ("cc-by-nc-4.0", "card")], "cc-by-nc-4.0", "by "),
        ([("mit", "card"), ("ask the author", "mail")], "ask the author", "stricter wins"),
        ([], UNSTATED, "nobody"),
    ],
)
def test_of_several_claims_the_most_restrictive_wins(claims: list[tuple[str, str]], wins: str, says: str) -> None:
    for order in (claims, claims[::-1]):
        licence, reason = decide(Claim(name, by) for name, by in order)
        assert licence == wins
        assert says in reason and ("disagree" in reason) == (len({normal(name) for name, _ in claims}) > 1)


def test_a_mix_has_its_strictest_sources_licence_and_no_licence_is_stricter_than_any() -> None:
    code = account(Terms((Claim("cc-by-nc-4.0", "repo"), Claim("cc-by-4.0", "card")), "a model"), None)
    maths = account(Terms((Claim("mit", "card"),)), None)
    mixed = roll_up({"code": code, "maths": maths})
    assert (mixed["licence"], mixed["conflicts"], mixed["made_with"]) == ("cc-by-nc-4.0", ["code"], {"code": "a model"})
    assert "code" in mixed["reason"] and "maths" not in mixed["reason"]
    assert roll_up({"maths": maths})["licence"] == "mit"
    silent = roll_up({"code": code, "mine": account(Terms(), None)})
    assert (silent["licence"], silent["unstated"]) == (UNSTATED, ["mine"])
    assert account(Terms(), "Apache 2.0")["licence"] == "apache-2.0"


def test_levels_rise_from_public_domain_to_nothing_stated() -> None:
    rising = [
        "cc0-1.0",
        "mit",
        "cc-by-sa-4.0",
        "c-uda",
        "cc-by-nc-4.0",
        "cc-by-nc-sa-4.0",
        "cc-by-nd-4.0",
        "?",
        UNSTATED,
    ]
    assert [level(each) for each in rising] == list(range(9))


def test_a_dataset_of_the_hub_read_by_shape_has_the_claims_of_its_own_source() -> None:
    hub = {"id": "sahil2801/CodeAlpaca-20k", "revision": None, "commit": "c"}
    known = terms_of("alpaca", "hub:sahil2801/CodeAlpaca-20k", hub)
    assert [each.licence for each in known.claims] == ["cc-by-nc-4.0", "cc-by-4.0"]
    assert terms_of("alpaca", "hub:some/other", {**hub, "id": "some/other"}).claims == ()
    assert [each.licence for each in terms_of("metamathqa", "nano:math", None).claims] == ["apache-2.0"]


# --- manifest --------------------------------------------------------------------------------------------------------


def test_the_manifest_has_size_and_hash_of_every_input_and_output(made: Path) -> None:
    manifest = read(made / "manifest.json")
    first = manifest["sources"][0]["files"][0]
    data = (made.parents[2] / "data" / "first.jsonl").read_bytes()
    assert (first["bytes"], first["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert (first["rows_in"], first["kept"], first["dropped"]) == (len(FIRST), 21, {"exact duplicate": 1})
    listed = {each["path"]: each["sha256"] for each in manifest["files"]}
    inside = {path.relative_to(made).as_posix(): path for path in made.rglob("*") if path.is_file()}
    assert set(listed) == set(inside) - {"manifest.json", "artifact.json"}
    assert all(hashlib.sha256(inside[name].read_bytes()).hexdigest() == sha for name, sha in listed.items())
    marker = read(made / "artifact.json")
    assert marker["summary"]["manifest_sha256"] == hashlib.sha256((made / "manifest.json").read_bytes()).hexdigest()


def test_the_manifest_says_which_licence_and_why(made: Path) -> None:
    manifest = read(made / "manifest.json")
    assert manifest["licence"]["licence"] == "cc-by-nc-4.0"
    assert manifest["licence"]["conflicts"] == ["code_alpaca first.jsonl"]
    assert "OpenAI" in manifest["licence"]["made_with"]["code_alpaca first.jsonl"]
    assert manifest["sources"][1]["licence"]["claims"] == [{"licence": "cc-by-4.0", "by": "the recipe", "read": ""}]


def test_the_manifest_names_no_folder_of_this_machine(made: Path) -> None:
    for name in ("manifest.json", "README.md", "recipe.yaml"):
        assert str(made.parents[2]) not in (made / name).read_text()
    assert str(made.parents[2]) in (made / "artifact.json").read_text(), "the marker does, so the search can find it"


def test_the_replay_recipe_makes_the_same_bytes(made: Path, tmp_path: Path) -> None:
    recipe = recipes.load(str(made / "recipe.yaml"), [f"data_root={made.parents[2] / 'data'}"])
    steps = study.compile_recipe(recipe)
    again = Path(engine.run(steps, tmp_path / "other", only="data-small")["data-small"].folder)
    names = [each["path"] for each in read(made / "manifest.json")["files"]]
    assert len(names) >= 10
    assert [
        name for name in [*names, "manifest.json"] if (again / name).read_bytes() != (made / name).read_bytes()
    ] == []


def test_an_absolute_path_is_cut_to_its_name_in_the_replay_recipe() -> None:
    settings = {
        "dataset": "d", "seed": 1, "template": "alpaca", "base": "sha256:0", "decontaminate": [], "cutoff": 9,
        "sources": [{"source": "alpaca", "rows": None, "columns": {}, "revision": None, "data": []}],
        "at": {"base": "/home/me/model", "revision": None, "paths": ["/home/me/rows.json"], "against": []},
    }  # fmt: skip
    recipe = replay_recipe(settings)
    assert recipe["data"] == {"d": {"sources": [{"source": "alpaca", "path": "rows.json"}], "cutoff": 9}}
    assert recipe["model"]["base"] == "model"


# --- card ------------------------------------------------------------------------------------------------------------


def test_the_card_has_front_matter_of_the_hub_the_funnel_and_the_licences(made: Path) -> None:
    text = (made / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    card = yaml.safe_load(front)
    assert card["license"] == "cc-by-nc-4.0" and card["size_categories"] == ["n<1K"]
    assert card["task_categories"] == ["text-generation"]
    assert card["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "conversations.jsonl"}]}
    ]
    assert "| code_alpaca | `first.jsonl` | 22 | exact duplicate 1 | 21 |" in body
    assert "| **all** | | **33** | **2** | **31** |" in body
    assert "claims disagree" in body and "OpenAI" in body and "Not looked for" in body
    assert read(made / "manifest.json")["replay"] in body


def test_the_hub_library_reads_the_card(made: Path) -> None:
    from huggingface_hub import DatasetCard

    data = DatasetCard.load(made / "README.md").data.to_dict()
    assert data["license"] == "cc-by-nc-4.0" and data["tags"] == ["instruction-tuning", "codeup"]


def test_the_card_tells_what_was_found_of_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = prepare(tmp_path / "d", tmp_path / "r", settings=", decontaminate: [{name: bench, path: bench.jsonl}]")
    text, manifest = (folder / "README.md").read_text(), read(folder / "manifest.json")
    assert "| bench | 1 | 0 | 0 | 0 |" in text and "Not looked for" not in text
    assert manifest["against"][0]["name"] == "bench.jsonl" and len(manifest["against"][0]["sha256"]) == 64
    assert "run.jsonl" not in {each["path"] for each in manifest["files"]}


def test_size_categories_at_their_borders() -> None:
    assert [size_category(rows) for rows in (999, 1000, 9999, 10_000)] == ["n<1K", "1K<n<10K", "1K<n<10K", "10K<n<100K"]


def test_a_source_that_is_named_three_times_has_three_labels(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("{}\n")
    count = {"path": str(file), "source": "alpaca", "rows_in": 1, "kept": 1, "added": 0, "dropped": {}, "repaired": {}}
    given = {"sources": [{"source": "alpaca", "data": "nano:code"}] * 3, "at": {"paths": ["nano:code"] * 3}}
    labels = [each["label"] for each in manifest._sources(given, [{**count, "sha256": "0" * 64}] * 3)]
    assert labels == ["alpaca nano:code", "alpaca nano:code (again)", "alpaca nano:code (again) (again)"]


def test_hidden_and_working_files_are_no_part_of_a_dataset() -> None:
    names = ["train/ids.bin", "README.md", ".rows", "all/.part/x.bin", "run.jsonl", "manifest.json", "artifact.json"]
    assert [name for name in names if manifest.belongs(name)] == ["train/ids.bin", "README.md"]
