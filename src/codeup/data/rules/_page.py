"""A chat page's HTML as Markdown, for answers that were saved with the page around them.

    <div class="markdown prose"><p>Use <code>x</code>:</p><pre><div><span>python</span><button>Copy code</button></div>
    <code class="hljs language-python">x = 1 &lt; 2\\n</code></pre></div>

    ->   Use `x`:\\n\\n```python\\nx = 1 < 2\\n```

Knows the tags that chat pages of 2022 and 2023 wrote: paragraphs, headings, lists, code, tables, emphasis, links and
quotes. Everything else (div, span, button, svg) is a frame around text and goes; a button's label goes with it.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from codeup.data.fences import pieces

_DROPPED = frozenset({"button", "svg", "script", "style"})
_BLOCKS = frozenset({"p", "ul", "ol", "table", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6"})
_AROUND = {"strong": "**", "b": "**", "em": "*", "i": "*", "del": "~~"}
_LANGUAGE = re.compile(r"(?:^|\s)(?:language|lang)-([\w+#.-]+)")


def to_markdown(page: str) -> str:
    """The text that the page showed."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return _spaced("".join(reader.parts))


def _spaced(text: str) -> str:
    """At most one empty line between blocks; code stays as it is."""
    parts, after_code = [], True
    for piece in pieces(text):
        prose = re.sub(r"\n{3,}", "\n\n", piece.text)
        parts.append(piece.text if piece.fenced else re.sub(r"\A\n+", "\n", prose) if after_code else prose)
        after_code = piece.fenced
    return "".join(parts).strip("\n")


class _Reader(HTMLParser):
    """Writes Markdown as it reads; `parts` joined is the result."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0
        self._lists: list[int | None] = []
        self._code: list[str] | None = None
        self._language = ""
        self._link = ""
        self._cells: list[str] | None = None
        self._header_written = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opening tags."""
        if tag in _DROPPED:
            self._silent += 1
        elif tag == "pre":
            self._code, self._language = [], ""
        elif self._code is not None:
            self._start_in_pre(tag, dict(attrs))
        elif tag == "code":
            self.parts.append("`")
        elif tag in _AROUND:
            self.parts.append(_AROUND[tag])
        elif tag == "a":
            self._link = dict(attrs).get("href") or ""
            self.parts.append("[" if self._link else "")
        elif tag in ("ul", "ol"):
            self.parts.append("\n\n" if not self._lists else "\n")
            self._lists.append(int(dict(attrs).get("start") or 1) if tag == "ol" else None)
        elif tag == "li":
            self._item()
        elif tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.parts.append(f"\n\n{'#' * int(tag[1])} ")
        elif tag == "blockquote":
            self.parts.append("\n\n> ")
        elif tag == "p" and not self._ends_with(("- ", ". ", "> ")):
            self.parts.append("\n\n")
        elif tag in ("br", "hr"):
            self.parts.append("\n" if tag == "br" else "\n\n---\n\n")
        elif tag == "table":
            self._header_written = False
            self.parts.append("\n\n")
        elif tag == "tr":
            self._cells = []
        elif tag in ("td", "th") and self._cells is not None:
            self._cells.append("")

    def handle_endtag(self, tag: str) -> None:
        """Closing tags; those that close nothing are ignored."""
        if tag in _DROPPED:
            self._silent = max(0, self._silent - 1)
        elif tag == "pre" and self._code is not None:
            self._fence("".join(self._code))
            self._code = None
        elif self._code is not None:
            return
        elif tag == "code":
            self.parts.append("`")
        elif tag in _AROUND:
            self.parts.append(_AROUND[tag])
        elif tag == "a" and self._link:
            self.parts.append(f"]({self._link})")
            self._link = ""
        elif tag in ("ul", "ol") and self._lists:
            self._lists.pop()
            self.parts.append("\n\n" if not self._lists else "")
        elif tag == "tr" and self._cells is not None:
            self._row(self._cells)
            self._cells = None
        elif tag in _BLOCKS:
            self.parts.append("\n\n" if not self._lists else "")

    def handle_data(self, data: str) -> None:
        """Text; inside `pre` only what stands in `code`."""
        if self._silent:
            return
        if self._code is not None:
            self._code.append(data if self._in_code else "")
            self._language = self._language or ("" if self._in_code else data.strip())
        elif self._cells is not None and self._cells:
            self._cells[-1] += data
        else:
            self.parts.append(re.sub(r"\s*\n\s*", "\n", data) if data.strip() or "\n" not in data else "")

    _in_code = False

    def _start_in_pre(self, tag: str, attrs: dict[str, str | None]) -> None:
        if tag == "code":
            self._in_code = True
            match = _LANGUAGE.search(attrs.get("class") or "")
            self._language = match[1] if match else self._language

    def _fence(self, code: str) -> None:
        self._in_code = False
        mark = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`{3,}", code)), default=2))
        end = "" if code.endswith("\n") or not code else "\n"
        self.parts.append(f"\n\n{mark}{self._language.split()[0] if self._language else ''}\n{code}{end}{mark}\n\n")

    def _item(self) -> None:
        number = self._lists[-1] if self._lists else None
        indent = "   " * (len(self._lists) - 1)
        if self._lists and number is not None:
            self._lists[-1] = number + 1
        begin = "" if self._ends_with(("\n",)) else "\n"
        self.parts.append(f"{begin}{indent}{f'{number}. ' if number is not None else '- '}")

    def _row(self, cells: list[str]) -> None:
        self.parts.append(f"| {' | '.join(cell.strip() for cell in cells)} |\n")
        if not self._header_written:
            self.parts.append(f"|{' --- |' * len(cells)}\n")
            self._header_written = True

    def _ends_with(self, ends: tuple[str, ...]) -> bool:
        written = next((part for part in reversed(self.parts) if part), "\n")
        return written.endswith(ends)
