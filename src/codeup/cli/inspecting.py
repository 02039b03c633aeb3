"""`codeup data inspect`: a look at training data, in the terminal and as a page."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeup.cli.progress import display
from codeup.errors import UserError
from codeup.report import numbers
from codeup.report.view import visible_controls

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

BAR, LABEL = 20, 32
MOST_LINES = 10
SPARKS = " ▁▂▃▄▅▆▇█"
MOST_TOKENS = 400


def inspect(
    place: Path,
    *,
    dataset: str,
    source: str,
    model: str,
    template: str,
    cutoff: int | None,
    seed: int,
    html: Path | None,
    json: bool,
) -> None:
    """Look at a file, a folder, a prepared dataset or a run; print it, and write the page where asked."""
    if html is not None and html.is_dir():
        raise UserError("is a folder", where=str(html), mend="name the page: --html data.html")
    with display() as emit:
        looks = _looks(place, dataset, source, model, template, cutoff, seed, emit)
    if html is not None:
        from codeup import artifacts
        from codeup.prepared import page

        artifacts.make_folder(html.parent)
        page.write(looks, html, title=place.resolve().name)
    if json:
        plain = [{key: value for key, value in look.items() if key != "examples"} for look in looks]
        print(jsonlib.dumps({"datasets": plain, "html": None if html is None else str(html)}))
        return
    show(looks)
    if html is not None:
        print(f"page: {html}")


def _looks(
    place: Path, dataset: str, source: str, model: str, template: str, cutoff: int | None, seed: int, emit: Any
) -> list[dict[str, Any]]:
    from codeup.data.resolve import resolve
    from codeup.prepared import where
    from codeup.prepared.look import EXAMPLES, look_at
    from codeup.prepared.look_files import look_at_files

    options: dict[str, Any] = {"model": model, "template": template, "cutoff": cutoff, "seed": seed, "emit": emit}
    if place.is_file() or not (place.is_dir() and where.is_dataset(place)):
        paths = resolve(str(place))
        return [look_at_files(paths, title=place.resolve().name, source=source, **options)]
    folders = where.find(place, dataset)
    looks = []
    for prepared in map(where.load, folders):
        few = max(8, EXAMPLES // len(folders))
        if prepared.is_export:
            paths = [prepared.folder / each["path"] for each in prepared.manifest["files"] if "rows" in each]
            title, manifest = prepared.name, prepared.manifest
            looks.append(look_at_files(paths, title=title, source=source, manifest=manifest, examples=few, **options))
        else:
            looks.append(look_at(prepared, seed=seed, examples=few, emit=emit))
    return looks


# --- the terminal ----------------------------------------------------------------------------------------------------


def show(looks: Sequence[Mapping[str, Any]]) -> None:
    """Print every look. Plain text where stdout is a file or NO_COLOR is set."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=False)
    for look in looks:
        _head(console, look)
        for title, lines in _parts(look):
            console.print()
            console.print(_styled(title, "bold"))
            for line in lines:
                console.print(line)
        if look["examples"]:
            console.print()
            console.print(_example(look["examples"][0]))
        console.print()


def _styled(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(visible_controls(text), style=style)


def _head(console: Console, look: Mapping[str, Any]) -> None:
    from rich.rule import Rule

    console.print(Rule(_styled(look["title"], "bold blue"), align="left"))
    console.print(_styled(look["about"], "dim"))
    for note in look["notes"]:
        console.print(_styled(note, "yellow"))


def _parts(look: Mapping[str, Any]) -> list[tuple[str, list[RenderableType]]]:
    """Titles with their lines."""
    funnel, lengths = look["funnel"], look["lengths"]
    kept = funnel["rows_kept"] + funnel["rows_added"]
    parts = [("rows", _rows(funnel))]
    if lengths:
        low, middle, high = lengths["quartiles"]
        text = (
            f"  {sparks([count for _, _, count in lengths['bins']])}  0 to {lengths['bins'][-1][1]:,} {look['unit']}; "
        )
        about = f"quartiles {low:,} {middle:,} {high:,}, longest {lengths['longest']:,}"
        parts.append(("length", [_styled(text + about)]))
    parts.append(("languages of code", [_bar(name, count, kept, "blue") for name, count in look["languages"][:8]]))
    parts.append(("repeated rows", _repeated(look["duplicates"])))
    parts.append(("benchmark problems", _problems(look["contamination"])))
    licence = look["licence"]
    parts.append(("licence", [_styled(f"  {licence['licence']} ({licence['level']}): {licence['reason']}")]))
    return parts


def sparks(counts: Sequence[int]) -> str:
    """A histogram in one line; only an empty bar is a space.

    >>> sparks([0, 1, 100, 50])
    ' ▁█▄'
    """
    top = max(counts, default=0) or 1
    return "".join(SPARKS[max(1, count * 8 // top) if count else 0] for count in counts)


def _bar(name: str, count: int, total: int, colour: str) -> Text:
    """Name, bar, count and share: 78 columns."""
    from rich.text import Text

    filled = round(BAR * count / total) if total else 0
    shown = visible_controls(name)
    label = Text(f"  {shown if len(shown) <= LABEL else shown[: LABEL - 1] + '…':<{LABEL + 2}}")
    room = " " * (BAR + 1 - max(1, filled))
    share = f"{count:>10,}  {numbers.percent(count, total):>7}"
    return Text.assemble(label, Text("█" * filled or "▏", style=colour), room, share)


def _rows(funnel: Mapping[str, Any]) -> list[RenderableType]:
    total = funnel["rows_in"]
    lines: list[RenderableType] = [_bar(each["label"], each["rows_in"], total, "white") for each in funnel["sources"]]
    lines = [*lines[:MOST_LINES], *([_styled(f"  … {len(lines) - MOST_LINES} more files")] if len(lines) > 10 else [])]
    lines += [_bar(f"dropped: {reason}", rows, total, "yellow") for reason, rows in funnel["dropped"].items()]
    lines.append(_bar("kept", funnel["rows_kept"], total, "green"))
    if funnel["train"] is not None:
        tokens = funnel["tokens"]
        text = f"  {funnel['train']:,} to train on, {funnel['validation']:,} held out"
        lines.append(_styled(f"{text}; {tokens['train']:,} tokens, {tokens['train_trained']:,} learned from", "dim"))
    return lines


def _repeated(found: Mapping[str, Any]) -> list[RenderableType]:
    if not found:
        return [_styled("  not looked for", "dim")]
    counts = ", ".join(f"{rows:,} {reason}" for reason, rows in found["duplicates"].items()) or "none"
    lines: list[RenderableType] = [_styled(f"  {counts} ({found['method']})")]
    for each in found["examples"][:2]:
        pair = [f"{each[side]['source']} row {each[side]['row']}" for side in ("dropped", "kept")]
        lines.append(_styled(f"  {pair[0]} is like {pair[1]} ({each['similarity']:.3f})", "dim"))
        lines.append(_styled(f"    {_one_line(each['dropped']['text'])}", "dim"))
    return lines


def _problems(found: Mapping[str, Any]) -> list[RenderableType]:
    if not found:
        return [_styled("  not looked for", "dim")]
    lines: list[RenderableType] = [
        _styled(f"  {found['rows_contaminated']:,} rows hold one, {found['rows_suspected']:,} more are suspected")
    ]
    for hit in found["hits"][:3]:
        about = f"  {hit['task_id']} in {hit['source']} row {hit['row']}: {hit['method']}, {hit['evidence']}"
        lines.append(_styled(_one_line(about), "dim"))
    return lines


def _one_line(text: str, most: int = 110) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _example(example: Mapping[str, Any]) -> RenderableType:
    """One conversation: learned tokens on colour, special tokens inverted."""
    from rich.panel import Panel
    from rich.text import Text

    body = Text()
    if "pieces" in example:
        for text, learned, special in example["pieces"][:MOST_TOKENS]:
            style = "bold magenta" if special else "black on bright_cyan" if learned else "dim"
            body.append(visible_controls(text), style=style)
        if len(example["pieces"]) > MOST_TOKENS:
            body.append(" …", style="dim")
        told = f"{example['tokens']:,} tokens, {example['learned']:,} learned from (coloured)"
    else:
        for role, text in example["turns"]:
            body.append(f"{role}\n", style="bold").append(visible_controls(text) + "\n")
        told = "no tokenizer here"
    title = _styled(f"{example['source']} row {example['row']} {example['side']}".rstrip(), "bold")
    return Panel(body, title=title, subtitle=_styled(told, "dim"), title_align="left", subtitle_align="left")
