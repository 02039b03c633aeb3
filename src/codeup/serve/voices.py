"""The models a server answers as: the base and each of its adapters, and how each of them is asked.

    --adapter math=adapters/math     ->  model "nano-base" (no adapter), model "math" (the same weights, adapter on)

A conversation becomes token ids in the one renderer of training and evaluation where the model says which template it
was trained with; a model of someone else's with a chat template of its own is asked through that (jinja in
transformers' immutable sandbox, control tokens in messages made harmless). A base model without any is asked in the
Alpaca form. Not covered: loading weights (engines/), and models that are not named at the start.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from codeup.chat import base_prompt_ids, load_renderer
from codeup.chat.infilling import Infill, find_infill, infill_ids
from codeup.errors import UserError
from codeup.types import Message


class Prompter(Protocol):
    """What turns messages into the ids an answer begins after."""

    end_ids: tuple[int, ...]

    def prompt(self, messages: Sequence[Message]) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class Voice:
    """A name that requests may ask for. `adapter` is "" for the base."""

    name: str
    adapter: str
    prompter: Prompter
    tokenizer: Any
    infill: Infill | None = None

    def chat_ids(self, messages: Sequence[Message]) -> list[int]:
        """The prompt of a conversation. Raises UserError on turns out of order."""
        return list(self.prompter.prompt(messages))

    def text_ids(self, text: str) -> list[int]:
        """The prompt of a raw completion: one BOS if the tokenizer has one, then plain text."""
        return base_prompt_ids(self.tokenizer, text)

    def infill_ids(self, before: str, after: str) -> list[int]:
        """The prompt for what stands between two texts: prefix, suffix, then the middle is written."""
        assert self.infill is not None
        return infill_ids(self.tokenizer, self.infill, before, after)

    @property
    def infill_end_ids(self) -> frozenset[int]:
        return self.text_end_ids | (self.infill.ends if self.infill else frozenset())

    @property
    def text_end_ids(self) -> frozenset[int]:
        """A raw completion ends at the end of the text; a tuned model may also end its turn."""
        eos = self.tokenizer.eos_token_id
        return frozenset([*self.prompter.end_ids, *([] if eos is None else [eos])])


class JinjaPrompter:
    """A model's own chat template."""

    def __init__(self, tokenizer: Any, end_ids: Sequence[int]) -> None:
        self._tokenizer, self.end_ids = tokenizer, tuple(end_ids)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        from jinja2 import TemplateError

        plain = [
            {"role": m.role, "content": "\n\n".join(part for part in (m.content, m.input) if part)} for m in messages
        ]
        open_answer = messages[-1].role == "assistant"
        try:
            ids: list[int] = self._tokenizer.apply_chat_template(
                plain, add_generation_prompt=not open_answer, continue_final_message=open_answer, return_dict=False,
                sanitize_control_tokens=True,
            )  # fmt: skip
        except (TemplateError, ValueError, TypeError) as error:
            raise UserError(f"the model's chat template refuses these messages: {error}") from None
        return ids


def load_voices(
    name: str, folder: Path, adapters: Mapping[str, Path], *, template: str | None, engine_tokenizer: Any,
    end_ids: Sequence[int],
) -> dict[str, Voice]:  # fmt: skip
    """The base under `name` and every adapter under its own. Raises UserError for names that collide.

    end_ids: those of the model's generation_config, for a template that is not ours.
    """
    if name in adapters:
        raise UserError(
            f"an adapter has the name of the model, {name!r}", mend="give it another: --adapter NAME=FOLDER"
        )
    tokenizer = copy.deepcopy(engine_tokenizer)  # decoding in the engine's thread must not meet encoding here
    prompter = load_prompter(folder, template, tokenizer, end_ids)
    infill = find_infill(tokenizer)
    voices = {name: Voice(name, "", prompter, tokenizer, infill)}
    for adapter in adapters:
        voices[adapter] = Voice(adapter, adapter, prompter, tokenizer, infill)
    return voices


def load_prompter(folder: Path, template: str | None, tokenizer: Any, end_ids: Sequence[int] = ()) -> Prompter:
    """How a model is asked: `template` if it is named, else what the model says, else Alpaca's form."""
    from codeup.chat.renderer import TEMPLATE_KEY

    if template is not None or TEMPLATE_KEY in tokenizer.init_kwargs:
        return load_renderer(folder, template, tokenizer=tokenizer)
    if tokenizer.chat_template:
        eos = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        return JinjaPrompter(tokenizer, dict.fromkeys([*end_ids, *eos]))  # type: ignore[arg-type]
    return load_renderer(folder, "alpaca", tokenizer=tokenizer)


def end_ids(folder: Path) -> list[int]:
    """The end tokens that a model's generation_config.json names; none without one."""
    file = folder / "generation_config.json"
    try:
        ends = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise UserError(f"damaged file ({error})", where=str(file)) from None
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


def default_name(model: str) -> str:
    """What a model is called where nobody named it: a Hub id as it is, a folder by its last part that says something.

    >>> default_name("nano-base"), default_name("runs/nano/"), default_name("Qwen/Qwen2.5-Coder-0.5B")
    ('nano-base', 'nano', 'Qwen/Qwen2.5-Coder-0.5B')
    """
    path = Path(model).expanduser()
    if not path.exists():
        return model
    path = path.resolve()
    return path.parent.name if path.name == "model" else path.name
