"""The dataset card: README.md with the front matter that the Hub reads (huggingface.co/docs/hub/datasets-cards).

    ---
    license: cc-by-nc-4.0
    size_categories: [1K<n<10K]
    task_categories: [text-generation]
    ...
    # code: 6,389 conversations
    read 6,552 -> exact duplicate 161, too long 2 -> kept 6,389 ...

Everything in it comes from the manifest and the step's account. A licence that the Hub has no identifier for is written
as `other` with its words. Languages are not claimed: nothing here measures them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codeup.data.licences import UNSTATED, level

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LARGEST = "1M<n<10M"


def card(manifest: Mapping[str, Any], summary: Mapping[str, Any], *, files: Mapping[str, str]) -> str:
    """README.md as text. `files` are the data files by split, {"train": "train.parquet"}; none for a step's folder."""
    parts = [
        _front_matter(manifest, files),
        _title(manifest, summary, files),
        _funnel(manifest),
        _licences(manifest),
        _contamination(manifest, summary),
        _limits(manifest, summary),
        _replay(manifest),
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def size_category(rows: int) -> str:
    """The Hub's name for a number of rows.

    >>> size_category(999), size_category(1000), size_category(250_000)
    ('n<1K', '1K<n<10K', '100K<n<1M')
    """
    return next((name for limit, name in SIZES if rows < limit), LARGEST)


def _front_matter(manifest: Mapping[str, Any], files: Mapping[str, str]) -> Iterator[str]:
    licence = manifest["licence"]["licence"]
    yield "---"
    if licence == UNSTATED:
        yield "license: unknown"
    elif level(licence) == 7:
        yield f"license: other\nlicense_name: {json.dumps(licence)}"
    else:
        yield f"license: {licence}"
    yield f"size_categories: [{json.dumps(size_category(manifest['counts']['rows_kept']))}]"
    yield "task_categories: [text-generation]"
    yield f"pretty_name: {json.dumps(manifest['name'])}"
    yield "tags: [instruction-tuning, codeup]"
    yield "configs:"
    yield "- config_name: default\n  data_files:"
    for split, file in (files or {"train": "conversations.jsonl"}).items():
        yield f"  - split: {split}\n    path: {json.dumps(file)}"
    yield "---\n"


def _title(manifest: Mapping[str, Any], summary: Mapping[str, Any], files: Mapping[str, str]) -> Iterator[str]:
    counts = manifest["counts"]
    yield f"# {manifest['name']}: {counts['train_rows'] + counts['validation_rows']:,} conversations\n"
    yield (
        f"Rows for supervised fine-tuning, prepared by CodeUp {manifest['made_by']['codeup']} from "
        f"{_sources_in_words(manifest['sources'])}: {counts['train_rows']:,} to train on, "
        f"{counts['validation_rows']:,} held out, whole groups at a time."
    )
    if not files:
        yield (
            "\n`conversations.jsonl` holds every kept row; `train/` and `validation/` its tokens for the template "
            f"`{manifest['template']}` of `{manifest['base']['name']}`; `dropped.jsonl` every other row with its "
            f"reason. Tokens to train on: {summary['tokens']['train']:,}, "
            f"learned from {summary['tokens']['train_trained']:,} of them."
        )
    yield ""


def _sources_in_words(sources: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{each['label']} ({each['rows_in']:,} rows)" for each in sources)


def _funnel(manifest: Mapping[str, Any]) -> Iterator[str]:
    counts = manifest["counts"]
    yield "## From rows to conversations\n"
    yield "Rows read = rows kept + rows dropped, each for a named reason.\n"
    yield "| source | file | read | dropped | kept |\n|---|---|---:|---|---:|"
    for source in manifest["sources"]:
        for file in source["files"]:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in file["dropped"].items()) or "–"
            name = f"`{_cell(file['name'])}`"
            yield f"| {_cell(source['source'])} | {name} | {file['rows_in']:,} | {_cell(reasons)} | {file['kept']:,} |"
    total = sum(counts["dropped"].values())
    yield f"| **all** | | **{counts['rows_in']:,}** | **{total:,}** | **{counts['rows_kept']:,}** |\n"
    if counts["rows_added"]:
        yield f"Long rows that were divided between their turns made {counts['rows_added']:,} conversations more.\n"
    if counts["repaired"]:
        mended = ", ".join(f"{rule} {count:,}" for rule, count in counts["repaired"].items())
        yield f"Mended and kept: {mended}.\n"


def _licences(manifest: Mapping[str, Any]) -> Iterator[str]:
    licence = manifest["licence"]
    yield "## Licence\n"
    yield f"**{licence['licence']}** ({licence['level']}): {licence['reason']}.\n"
    yield "| source | licence | claims | answers made with |\n|---|---|---|---|"
    for source in manifest["sources"]:
        terms = source["licence"]
        claims = "; ".join(_claim(each) for each in terms["claims"]) or "none"
        mark = " (claims disagree)" if terms["conflict"] else ""
        yield (
            f"| {_cell(source['label'])} | {_cell(terms['licence'])}{mark} | {_cell(claims)} | "
            f"{_cell(terms['made_with']) or '–'} |"
        )
    yield "\nOf several claims the most restrictive is taken. A claim is what somebody wrote, not a legal opinion."
    if licence["made_with"]:
        yield (
            "\nSome answers were written by models of another company, whose terms may restrict what may be trained on "
            "them: " + "; ".join(f"{name} by {model}" for name, model in licence["made_with"].items()) + "."
        )
    yield ""


def _claim(claim: Mapping[str, Any]) -> str:
    return f"{claim['licence']} by {claim['by']}" + (f" (read {claim['read']})" if claim["read"] else "")


def _contamination(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[str]:
    yield "## Benchmark problems in the rows\n"
    found = summary.get("contamination")
    if not found:
        yield "Not looked for. A score on any public benchmark needs that check beside it.\n"
        return
    done = "dropped" if manifest["settings"].get("contaminated") == "drop" else "reported and kept"
    yield (
        f"{found['rows_contaminated']:,} rows hold a benchmark problem ({done}), {found['rows_suspected']:,} more have "
        "weaker evidence and were kept. Evidence per hit is in `contamination.jsonl`.\n"
    )
    yield "| benchmark | problems | found | suspected | rows |\n|---|---:|---:|---:|---:|"
    for each in found["by_benchmark"]:
        yield (
            f"| {_cell(each['benchmark'])} | {each['items']:,} | {each['items_contaminated']:,} | "
            f"{each['items_suspected']:,} | {each['rows']:,} |"
        )
    yield "\n| source | rows before | contaminated | rows after | contaminated |\n|---|---:|---:|---:|---:|"
    for each in found["by_source"]:
        before, after = each["before"], each["after"]
        yield (
            f"| {_cell(each['source'])} | {before['rows']:,} | {before['contaminated']:,} | {after['rows']:,} | "
            f"{after['contaminated']:,} |"
        )
    yield ""


def _limits(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[str]:
    yield "## Limits\n"
    yield "- Answers were not checked for being right."
    method = summary.get("dedup", {}).get("method", "none")
    kept = {
        "none": "Rows that repeat others were not looked for.",
        "exact": "Only equal rows were taken out; rows that say the same in other words may repeat.",
        "near": f"Rows that share {summary.get('dedup', {}).get('threshold')} of their 5-word runs with a kept row are "
        "out; translations and renamed code are not found so.",
    }
    yield f"- {kept[method]}"
    if summary.get("contamination"):
        yield "- The search for benchmark problems misses some rewordings; `residue.jsonl` names the nearest rows left."
    yield f"- Rows of more than {manifest['settings'].get('cutoff', 0):,} tokens are out or shortened (see above).\n"


def _replay(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield "## Made again\n"
    yield f"```bash\n{manifest['replay']}\n```\n"
    yield "The same files, settings and versions give the same bytes; `manifest.json` has the sha256 of each file:\n"
    yield "| input | bytes | sha256 |\n|---|---:|---|"
    inputs = [file for source in manifest["sources"] for file in source["files"]] + list(manifest["against"])
    for file in inputs:
        yield f"| `{_cell(file['name'])}` | {file['bytes']:,} | `{file['sha256']}` |"
    yield "\nVersions: " + ", ".join(f"{name} {version}" for name, version in _shown_versions(manifest)) + "."


def _shown_versions(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, version in manifest["made_by"].items():
        yield name, version[:12] if name == "code" else version


def _cell(text: str) -> str:
    """Text that cannot break out of a table cell."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
