"""A tokenizer with a template: rendering, decoding, saving and loading. The rules are in the package's docstring."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from codeup.chat.plain import PlainEncoder
from codeup.chat.rendered import Rendered, join
from codeup.chat.templates import TEMPLATE_BY_NAME, TEMPLATES, Segment, check_turns
from codeup.errors import UserError
from codeup.types import Conversation, Message, Tokens

# Tokens that end a text or a turn in public tokenizers. Whatever the template, an answer is over when one appears.
END_TOKENS = ("<|end_of_text|>", "<|endoftext|>", "</s>", "<|eot_id|>", "<|eom_id|>", "<|im_end|>")
# Tokens nothing was trained on, best first. An existing one is used; a new one would not fit the model.
PAD_TOKENS = ("<|finetune_right_pad_id|>", "<|reserved_special_token_0|>", "<|pad|>", "<pad>", "[PAD]", "<unk>")
TEMPLATE_KEY = "codeup_template"  # in tokenizer_config.json
BATCH = 4096  # segments handed to the tokenizer at once, which bounds the memory of its answer


class Renderer:
    """One tokenizer with one template. The tokenizer given is left as it was; `tokenizer` is a configured copy.

    Raises UserError where the tokenizer lacks a special token of the template, or any token that can serve as padding.
    """

    def __init__(self, tokenizer: Any, template: str) -> None:
        if template not in TEMPLATE_BY_NAME:
            raise UserError(f"no template is named {template!r}", mend=f"use one of {', '.join(TEMPLATES)}")
        if not getattr(tokenizer, "is_fast", False):
            raise UserError("the tokenizer has no fast (Rust) form", mend="use a model that ships a tokenizer.json")
        self.template = template
        self._kind = TEMPLATE_BY_NAME[template]
        _require(tokenizer, template, self._kind.needs or ("eos_token",))
        self.end_token: str = self._kind.end or tokenizer.eos_token
        ids = _token_ids(tokenizer)
        ends = [self.end_token, tokenizer.eos_token, *END_TOKENS]
        self.end_ids: tuple[int, ...] = tuple(dict.fromkeys(ids[end] for end in ends if end in ids))
        self.bos_id = _bos_id(tokenizer, {*self.end_ids, *(ids[token] for token in self._kind.needs)})
        self.pad_id, pad_token = _pad(tokenizer, ids, taken={*self.end_ids, self.bos_id})
        bos = "" if self.bos_id is None else "{{- bos_token -}}\n"
        self.jinja: str = self._kind.jinja.replace("{{- bos_token -}}\n", bos)
        self.tokenizer = copy.deepcopy(tokenizer)
        self.tokenizer.eos_token = self.end_token
        self.tokenizer.pad_token = pad_token
        self.tokenizer.chat_template = self.jinja
        for how_it_was_loaded in ("is_local", "local_files_only"):  # transformers would save these with the model
            self.tokenizer.init_kwargs.pop(how_it_was_loaded, None)
        self._plain = PlainEncoder(tokenizer, [*self._kind.needs, *(end for end in ends if end in ids)])
        self._fixed: dict[str, list[int]] = {}

    def render(self, conversation: Conversation) -> Tokens:
        """The whole conversation; it must end with an answer. Raises UserError on turns out of order."""
        return self.render_many([conversation])[0]

    def render_many(self, conversations: Iterable[Conversation]) -> list[Tokens]:
        """As `render`, for many: plain segments go to the tokenizer in large batches, fixed ones are encoded once."""
        batch = self.render_batch(conversations)
        return [batch.document(index) for index in range(len(batch))]

    def render_batch(self, conversations: Iterable[Conversation]) -> Rendered:
        """As `render_many`, as arrays: no Python object per token but the tokenizer's own."""
        parts: list[Rendered] = []
        waiting: list[list[Segment]] = []
        count = 0
        for conversation in conversations:
            waiting.append(self._segments(conversation))
            count += len(waiting[-1])
            if count >= BATCH:
                parts.append(self._encode(waiting))
                waiting, count = [], 0
        return join([*parts, self._encode(waiting)] if waiting or not parts else parts)

    def prompt(self, messages: Sequence[Message], *, prefill: str = "") -> list[int]:
        """The ids a model is given. A last message from the assistant is the beginning of the answer, left open.

        `prefill` is such a beginning: the same as one more message from the assistant.
        """
        if prefill:
            messages = [*messages, Message("assistant", prefill)]
        check_turns(messages)
        return list(self._encode([self._kind.segments(messages, self.end_token, True)]).ids.tolist())

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer, up to its first end token and otherwise exact; nothing is stripped."""
        ends = set(self.end_ids)
        return self._plain.decode(list(takewhile(lambda token: token not in ends, ids)))

    def text_pieces(self, tokens: Tokens) -> list[tuple[str, bool]]:
        """Tokens as (text, trained), for people to read. Joined, the texts are the decoded whole.

        Mostly one piece per token; tokens that share one character (an emoji of four byte tokens) share a piece.
        """
        pieces: list[tuple[str, bool]] = []
        held: list[int] = []
        for place, (token, trained) in enumerate(zip(tokens.ids, tokens.trained, strict=True)):
            held.append(token)
            text = self._plain.decode(held)
            last = place + 1 == len(tokens.ids) or tokens.trained[place + 1] != trained
            if last or not text.endswith("\ufffd"):
                pieces.append((text, trained))
                held = []
        return pieces

    @cached_property
    def vocabulary(self) -> int:
        """Ids are below this number."""
        return 1 + max(self.tokenizer.get_vocab().values())

    @property
    def special_tokens(self) -> dict[str, int]:
        """The tokens that the template writes besides text, with their ids: BOS, turn markers, the answer's end."""
        bos = [] if self.bos_id is None else [self.tokenizer.bos_token]
        ids = _token_ids(self.tokenizer)
        return {token: ids[token] for token in dict.fromkeys((*bos, *self._kind.needs, self.end_token))}

    def save(self, folder: Path) -> None:
        """Make `folder` answer in this template wherever it is loaded.

        Writes the tokenizer files with the template's end token as eos, chat_template.jinja, and generation_config.json
        with all end ids; where a config.json or a generation_config.json is there already, only ids in it change.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(folder)
        _suit_older_loaders(folder / "tokenizer_config.json")
        _update_json(folder / "tokenizer_config.json", {TEMPLATE_KEY: self.template})
        special: dict[str, Any] = {"eos_token_id": list(self.end_ids), "pad_token_id": self.pad_id}
        if self.bos_id is not None:
            special["bos_token_id"] = self.bos_id
        _update_json(folder / "generation_config.json", special)
        if (folder / "config.json").exists():
            _update_json(folder / "config.json", special)

    def _segments(self, conversation: Conversation) -> list[Segment]:
        where = f"{conversation.source} row {conversation.row}" if conversation.row >= 0 else conversation.source
        check_turns(conversation.messages, where=where)
        if conversation.messages[-1].role != "assistant":
            raise UserError("the conversation does not end with an answer", where=where)
        return self._kind.segments(conversation.messages, self.end_token, False)

    def _encode(self, documents: Sequence[Sequence[Segment]]) -> Rendered:
        texts = [s for segments in documents for s in segments if not s.fixed]
        plain = iter(self._plain.encode([s.text for s in texts], [s.opens for s in texts]))
        ids: list[int] = []
        runs: list[int] = []  # flat pairs: not trained, trained
        offsets, run_offsets = [0], [0]
        for segments in documents:
            run, learning = 0, False
            if self.bos_id is not None:
                ids.append(self.bos_id)
                run = 1
            for segment in segments:
                part = self._fixed_ids(segment.text) if segment.fixed else next(plain)
                if segment.trained != learning and part:
                    runs.append(run)
                    run, learning = 0, segment.trained
                ids += part
                run += len(part)
            runs += [run] if learning else [run, 0]
            offsets.append(len(ids))
            run_offsets.append(len(runs) // 2)
        return Rendered(
            np.array(ids, np.int32), np.array(offsets, np.int64),
            np.array(runs, np.int32).reshape(-1, 2), np.array(run_offsets, np.int64),
        )  # fmt: skip

    def _fixed_ids(self, text: str) -> list[int]:
        if text not in self._fixed:
            self._fixed[text] = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=False)
        return self._fixed[text]


def load_renderer(
    model: str | Path, template: str | None = None, revision: str | None = None, *, tokenizer: Any = None
) -> Renderer:
    """The renderer of a model folder or Hub id. Without `template`, the one that `Renderer.save` left there.

    `tokenizer` is the model's, where it is in memory already: a large one takes a second to read.

    Raises UserError where there is no tokenizer, no recorded template, or a chat template that no longer says what the
    recorded name says. HF_HUB_OFFLINE is respected.
    """
    if tokenizer is None:
        tokenizer = _load_tokenizer(model, revision)
    if template is not None:
        return Renderer(tokenizer, template)
    name = tokenizer.init_kwargs.get(TEMPLATE_KEY)
    if name is None:
        raise UserError(
            "the model does not say which prompt template it was trained with",
            where=str(model),
            mend=f"name one with template: ({', '.join(TEMPLATES)})",
        )
    renderer = Renderer(tokenizer, name)
    if tokenizer.chat_template != renderer.jinja:
        raise UserError(
            f"chat_template.jinja is not the template {name!r} that tokenizer_config.json names",
            where=str(model),
            mend=f"name the template yourself, or save the model again with template {name}",
        )
    return renderer


def base_prompt_ids(tokenizer: Any, text: str) -> list[int]:
    """The ids of a raw completion prompt: one BOS if the tokenizer has one, then the text, all of it plain."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    bos_id = base_bos_id(tokenizer)
    return ids if bos_id is None else [bos_id, *ids]


def base_bos_id(tokenizer: Any) -> int | None:
    """The id that opens a raw completion prompt, or None where the tokenizer has no BOS."""
    return _bos_id(tokenizer, {tokenizer.eos_token_id})


def _load_tokenizer(model: str | Path, revision: str | None) -> Any:
    from transformers import AutoTokenizer

    folder = Path(model)
    looks_local = isinstance(model, Path) or str(model).startswith((".", "/", "~")) or str(model).count("/") > 1
    if looks_local and not folder.is_dir():
        raise UserError("no such model folder", where=str(model))
    if folder.is_dir() and not (folder / "tokenizer_config.json").exists() and not (folder / "tokenizer.json").exists():
        raise UserError("the folder has no tokenizer.json", where=str(model), mend="name a folder that holds a model")
    try:
        return AutoTokenizer.from_pretrained(str(model), revision=revision or "main")
    except (OSError, ValueError, KeyError, TypeError) as error:
        where_to_look = "check its files" if folder.is_dir() else "check the name, your access and the network"
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"its tokenizer cannot be loaded: {reason}", where=str(model), mend=where_to_look) from error


def _token_ids(tokenizer: Any) -> dict[str, int]:
    """Every token that is matched as a whole (special and added), by its text."""
    return {token.content: number for number, token in tokenizer.added_tokens_decoder.items()}


def _require(tokenizer: Any, template: str, needs: Sequence[str]) -> None:
    if needs == ("eos_token",):
        if tokenizer.eos_token is None:
            raise UserError(f"template {template!r} needs an end-of-text token and the tokenizer names none")
        return
    missing = [token for token in needs if token not in _token_ids(tokenizer)]
    if missing:
        raise UserError(
            f"the tokenizer has no {', '.join(missing)}, which template {template!r} writes",
            mend="use template: alpaca, which is plain text, or a base model whose tokenizer has them",
        )


def _bos_id(tokenizer: Any, taken: set[int]) -> int | None:
    """The id that opens a document, or None.

    A tokenizer may call its end or a turn marker by that name (GPT-2's <|endoftext|>, SmolLM2's <|im_start|>); that is
    no BOS.
    """
    bos_id: int | None = tokenizer.bos_token_id
    return None if bos_id in taken or tokenizer.bos_token == "<|im_start|>" else bos_id


def _pad(tokenizer: Any, ids: Mapping[str, int], *, taken: set[int | None]) -> tuple[int, str]:
    """An existing token to pad with.

    Never an end token: training that hides padding would then unlearn stopping.
    """
    spare = [token for word in ("pad", "reserved", "unused") for token in ids if word in token.lower()]
    for token in (tokenizer.pad_token, *PAD_TOKENS, *spare):
        if token in ids and ids[token] not in taken:
            return ids[token], token
    raise UserError(
        "the tokenizer has no token to pad with that is not also an end token",
        mend="choose a base model whose tokenizer has a pad or a reserved token",
    )


def _suit_older_loaders(path: Path) -> None:
    """Two names as transformers 4 and servers built on it know them; 5 reads both. Tried with 4.57.6.

    There, the class TokenizersBackend does not exist, and extra_special_tokens is a mapping where 5 writes a list.
    """
    config = json.loads(path.read_text(encoding="utf-8"))
    if config["tokenizer_class"] == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    path.write_text(json.dumps(config), encoding="utf-8")  # laid out by _update_json


def _update_json(path: Path, values: Mapping[str, Any]) -> None:
    current = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    text = json.dumps({**current, **values}, indent=2, ensure_ascii=False, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")
