"""The model card: README.md with the front matter that the Hub reads (huggingface.co/docs/hub/model-cards).

    ---
    base_model: meta-llama/Meta-Llama-3-8B     license, datasets, language, tags, pipeline_tag, model-index
    ---
    # Llama-3-study-full      results with n and intervals · how they were judged · use · training · data · limits

Everything in it comes from `Facts`; sentences about what the data support come from the paired tests of the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from codeup import __version__, plugins
from codeup.export import results
from codeup.export.facts import Facts, Stage
from codeup.export.licences import NAMED, Licence, cell

ALPHA = 0.05
DEMONSTRATION = (
    "**A demonstration.** The base is a model of a few million parameters that CodeUp makes itself; it knows only the "
    "kind of programs that CodeUp generates, and is tested on held-out ones of the same kind. Its scores say that the "
    "method works. They say nothing about any other model or benchmark."
)


@dataclass(frozen=True, slots=True)
class Card:
    """What the card needs besides the facts: names, the licence, which folders and charts lie beside it."""

    name: str
    repo: str
    licence: Licence
    adapters: Sequence[str]
    charts: Sequence[str]
    left_out: Sequence[str]


def model_card(facts: Facts, card: Card) -> str:
    """README.md as text."""
    parts = (_head(facts, card), _results(facts, card), _use(facts, card), _training(facts, card), _data(facts))
    more = (_licence(card), _limits(facts), _again(facts))
    body = "\n".join(line for part in (*parts, *more) for line in part)
    return f"---\n{front_matter(facts, card).to_yaml()}\n---\n\n{body}\n"


def front_matter(facts: Facts, card: Card) -> ModelCardData:
    """The keys that the Hub filters and links by."""
    hub_base = facts.base if "/" in facts.base else None
    front: Any = dict(card.licence.front)
    return ModelCardData(
        base_model=hub_base,
        base_model_relation="finetune" if hub_base else None,
        datasets=hub_datasets(facts) or None,
        language=["en", "code"] if _english(facts) else ["code"],
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["code", "codeup", *dict.fromkeys("lora" if stage.adapter else "full" for stage in facts.stages), "sft"],
        model_name=card.name,
        eval_results=results.model_index(facts.scores) or None,
        **front,
    )


def hub_datasets(facts: Facts) -> list[str]:
    """Ids of the Hub's datasets that the stages were trained on: those fetched, and local files of a known set."""
    found = []
    for source, place in _sources(facts):
        known = plugins.load("sources", source).HUB_ID if source else None
        if place.startswith("hub:"):
            found.append(place.removeprefix("hub:").split(":")[0].split("@")[0])
        elif known and not place.startswith("nano:"):
            found.append(known.split(":")[0].split("@")[0])
    return list(dict.fromkeys(each for each in found if each.count("/") == 1))


def _sources(facts: Facts) -> Iterator[tuple[str, str]]:
    """(name of the source, where its rows lay) of all data."""
    for stage in facts.stages:
        for at, source in enumerate(stage.data["sources"]):
            paths = stage.data["paths"]
            place = paths[at] if at < len(paths) else source.get("path") or ""
            yield source.get("source", ""), place


def _english(facts: Facts) -> bool:
    """Whether every source is a published set in English or generated here; nothing measures the language of others."""
    return all(
        place.startswith("nano:") or (source and plugins.load("sources", source).HUB_ID)
        for source, place in _sources(facts)
    )


def _head(facts: Facts, card: Card) -> Iterator[str]:
    chain = " → ".join(stage.name for stage in facts.stages)
    yield f"# {card.name}\n"
    built_with = NAMED.get(card.licence.agreement, ("", "Llama" if card.licence.agreement else ""))[1]
    if built_with:
        yield f"**Built with {built_with}.**\n"
    yield (
        f"`{facts.base}`, tuned to follow instructions about code in {_count(len(facts.stages), 'stage')} ({chain}) by "
        f"CodeUp {__version__}. It answers in the prompt template `{facts.template}`, saved with its tokenizer."
    )
    if facts.demonstration:
        yield f"\n{DEMONSTRATION}"
    yield ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _results(facts: Facts, card: Card) -> Iterator[str]:
    yield "## Results\n"
    if not facts.scores:
        yield "Not evaluated.\n"
        return
    yield "pass@1 and others by running the generated programs; intervals are 95 % over problems.\n"
    yield "| benchmark | form | metric | score | n | base | paired difference | p |\n|---|---|---|---|---:|---|---|---|"
    for score in facts.scores:
        pair = next((c for c in facts.comparisons if c["benchmark"] == score["benchmark"]), None)
        difference = f"{pair['difference']:+.3f} [{pair['low']:+.3f}, {pair['high']:+.3f}]" if pair else "–"
        name, base = results.title(score["benchmark"]), _base_score(facts, score)
        value = f"**{score['value']:.3f}** [{score['low']:.3f}, {score['high']:.3f}]"
        p = f"{pair['p_value']:.2g}" if pair else "–"
        yield f"| {name} | {score['form']} | {score['metric']} | {value} | {score['n']} | {base} | {difference} | {p} |"
    yield ""
    for pair in facts.comparisons:
        yield f"- {_sentence(pair)}"
    if facts.comparisons:
        yield "\nPaired on the same problems: exact McNemar test, not corrected for several benchmarks.\n"
    yield "How they were judged:\n"
    for score in facts.scores:
        sandbox = str(score.get("sandbox", "unknown")).split(" (")[0]
        yield f"- {results.title(score['benchmark'])}: {results.judged(score)}; sandbox: {sandbox}"
    for sentence in card.left_out:
        yield f"- {sentence}"
    yield ""
    for name in card.charts:
        if name == "scores.png":
            yield "![Scores with 95 % intervals](charts/scores.png)\n"


def _base_score(facts: Facts, score: Mapping[str, Any]) -> str:
    """The base in its better prompt form, as the comparisons take it."""
    same = [s for s in facts.base_scores if (s["benchmark"], s["metric"]) == (score["benchmark"], score["metric"])]
    best = max(same, key=lambda s: float(s["value"]), default=None)
    return "–" if best is None else f"{best['value']:.3f} ({best['form']})"


def _sentence(pair: Mapping[str, Any]) -> str:
    name = results.title(pair["benchmark"])
    figures = f"{pair['difference']:+.3f}, p = {pair['p_value']:.2g}"
    if pair["p_value"] >= ALPHA or pair["low"] <= 0 <= pair["high"]:
        return f"{name}: the data do not show a difference from the base ({figures})."
    better = "better" if pair["difference"] > 0 else "worse"
    return f"{name}: the data support that it is {better} than the base ({figures})."


def _use(facts: Facts, card: Card) -> Iterator[str]:
    where = card.repo or card.name
    yield f"""## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

name = "{where}"
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForCausalLM.from_pretrained(name, dtype="auto")
messages = [{{"role": "user", "content": "Write a function `double(n)` that returns n times 2."}}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**prompt, max_new_tokens=256)
print(tokenizer.decode(answer[0][prompt["input_ids"].shape[1]:], skip_special_tokens=True))
```
"""
    if "adapter" in card.adapters:
        merged = "all stages together " if len(facts.stages) > 1 else ""
        yield (
            f"`adapter/` is {merged}as one LoRA adapter for `{facts.base}` (PEFT: "
            f'`PeftModel.from_pretrained(base, "{where}", subfolder="adapter")`); the weights here have it merged.'
        )
    stages = [name for name in card.adapters if name.startswith("adapters/")]
    if stages:
        yield (
            f"{', '.join(f'`{name}/`' for name in stages)}: the adapter of each stage as it was trained, on the merged "
            "model of the stage before."
        )
    yield ""


def _training(facts: Facts, card: Card) -> Iterator[str]:
    yield "## Training\n"
    after = f" at revision `{facts.revision}`" if facts.revision else ""
    held = "" if facts.quantization == "none" else f", held in {facts.quantization} while training"
    yield f"Base `{facts.base}`{after}{held}; each stage starts from the merged model of the one before."
    yield f"Seed {facts.seed}.\n"
    head = ["stage", "data", "rows", "tokens", "epochs", "steps", "peak rate", "adapter", "train loss", "held-out loss"]
    yield "| " + " | ".join(head) + " |\n|" + "---|" * len(head)
    for stage in facts.stages:
        yield "| " + " | ".join(cell(text) for text in _stage(stage)) + " |"
    yield ""
    first = facts.stages[0].settings
    same = ("schedule", "warmup_ratio", "batch_tokens", "pack_length", "weight_decay", "max_grad_norm")
    told = ", ".join(f"{key} {first[key]}" for key in same if key in first)
    yield f"Of the first stage: {told}; all settings are in `recipe.yaml`. Documents are packed and isolated."
    spent = sum(float(stage.summary.get("training_seconds") or 0) for stage in facts.stages)
    device = str(facts.stages[-1].summary.get("device", "unknown"))
    dtypes = ", ".join(dict.fromkeys(str(stage.summary.get("dtype", facts.dtype)) for stage in facts.stages))
    yield f"Trained for {spent / 3600:.2f} hours in all on {_device(facts, device)} in {dtypes}.\n"
    for name in card.charts:
        if name != "scores.png":
            yield f"![{Path(name).stem.replace('-', ' ')}](charts/{name})\n"


def _device(facts: Facts, device: str) -> str:
    if device.startswith("cuda"):
        return str(facts.machine.get("gpu", device))
    cores = facts.machine.get("cores")
    return f"a CPU ({cores} cores)" if cores else device


def _stage(stage: Stage) -> Sequence[str]:
    settings, summary, lora = stage.settings, stage.summary, stage.settings["lora"]
    targets = lora["targets"] if isinstance(lora["targets"], str) else ", ".join(lora["targets"])
    adapter = (
        f"r {lora['r']}, alpha {lora['alpha']:g}, dropout {lora['dropout']:g}, {targets}" if stage.adapter else "full"
    )
    loss = [summary.get("train_loss"), summary.get("eval_loss")]
    return (
        f"{stage.name} ({settings['kind']})",
        stage.data["name"],
        f"{stage.data['summary'].get('train_rows', 0):,}",
        f"{summary.get('tokens', 0):,}",
        str(summary.get("epochs", settings["epochs"])),
        f"{summary.get('steps', 0):,}",
        f"{settings['learning_rate']:g}",
        adapter,
        *("–" if value is None else f"{value:.4f}" for value in loss),
    )


def _data(facts: Facts) -> Iterator[str]:
    yield "## Data\n"
    yield "| data | source | rows read | kept | benchmark problems looked for |\n|---|---|---:|---:|---|"
    for data in {stage.data["name"]: stage.data for stage in facts.stages}.values():
        searched = "yes" if data["decontaminated"] else "**no**"
        summary = data["summary"]
        for at, row in enumerate(summary.get("sources", [])):
            counts = (row.get("rows_in", 0), row.get("kept", 0))
            place = data["paths"][at] if at < len(data["paths"]) and data["paths"][at][:5] == "nano:" else ""
            name = f"{row['source']}: `{cell(Path(str(row.get('path', ''))).name)}`"
            name = f"`{place}`, generated by CodeUp in the shape of {row['source']}" if place else name
            yield f"| {data['name']} | {name} | {counts[0]:,} | {counts[1]:,} | {searched} |"
        if dropped := ", ".join(f"{why} {n:,}" for why, n in summary.get("dropped", {}).items()):
            yield f"| {data['name']} | dropped | | | {cell(dropped)} |"
    yield "\nRows are mended or dropped for named reasons; a part of each set is held out for the held-out loss.\n"


def _licence(card: Card) -> Iterator[str]:
    yield "## Licence\n"
    yield f"**{card.licence.licence}**: {card.licence.reason}. The claims about each part are in `LICENCES.md`.\n"
    made = {label: part["made_with"] for label, part in card.licence.parts.items() if part["made_with"]}
    if made:
        told = "; ".join(f"{label} by {model}" for label, model in made.items())
        yield f"Models wrote answers in the data; their makers' terms may restrict what is trained on them: {told}.\n"


def _limits(facts: Facts) -> Iterator[str]:
    yield "## Limits\n"
    if facts.demonstration:
        yield "- It demonstrates a method and is of no other use."
    elif not all(stage.data["decontaminated"] for stage in facts.stages):
        yield "- Benchmark problems were not looked for in all of the data: its scores are upper bounds."
    told = f"the study trained {len(facts.seeds)} seeds, this is one of them" if facts.seeds else "one seed was trained"
    yield f"- Intervals cover the choice of problems, not the luck of training: {told}."
    yield "- A program that passes a benchmark's tests can still be wrong or unsafe. Run what it writes in a sandbox."
    yield "- Tested on Python functions; other languages and longer programs were not measured.\n"


def _again(facts: Facts) -> Iterator[str]:
    yield "## Made again\n"
    yield "```bash\ncodeup run recipe.yaml data_root=FOLDER_OF_THE_FILES\n```\n"
    yield f"`recipe.yaml` is the resolved recipe of run `{facts.run}`; this is its model `{facts.model}`, finished"
    yield f"{facts.finished}."
    yield "`hashes.json` has the sha256 of every file here."
    if facts.versions:
        yield "Versions: " + ", ".join(f"{name} {version}" for name, version in facts.versions.items()) + "."
