"""OpenAI's own client against a GGUF file in llama.cpp: the tests of tests/test_serve_openai.py, on the other engine.

Not among them: infilling.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import torch
from serve_for_tests import Running, served, tiny_model
from test_serve_openai import (
    adapter,
    test_a_format_that_cannot_be_kept_is_refused,
    test_a_greedy_answer_is_the_engines_own,
    test_a_seed_repeats_an_answer_and_no_seed_does_not,
    test_a_stop_string_cuts_text_stream_and_logprobs,
    test_a_stream_is_events_that_end_with_done,
    test_a_stream_says_what_the_whole_reply_says,
    test_an_adapter_is_chosen_by_its_name,
    test_any_json_object_is_an_object_unless_it_was_cut_off,
    test_completions_take_text_ids_and_lists_of_them,
    test_fields_that_ask_for_nothing_are_accepted_and_others_are_named,
    test_json_answers_follow_their_schema_and_plain_ones_do_not,
    test_logprobs_come_with_bytes_and_alternatives,
    test_text_parts_are_their_text_and_developer_is_system,
    test_the_end_of_a_prompt_may_be_the_answers_beginning,
    test_the_models_are_the_base_and_its_adapters,
    test_without_a_limit_an_answer_may_fill_the_context,
)

from codeup.engines.hf import Engine
from codeup.export.gguf_lora import write_adapter
from codeup.export.gguf_model import write_model
from codeup.serve import app, running

pytest.importorskip("xllamacpp")
__all__ = [
    "adapter",
    "test_a_format_that_cannot_be_kept_is_refused",
    "test_a_greedy_answer_is_the_engines_own",
    "test_a_seed_repeats_an_answer_and_no_seed_does_not",
    "test_a_stop_string_cuts_text_stream_and_logprobs",
    "test_a_stream_is_events_that_end_with_done",
    "test_a_stream_says_what_the_whole_reply_says",
    "test_an_adapter_is_chosen_by_its_name",
    "test_any_json_object_is_an_object_unless_it_was_cut_off",
    "test_completions_take_text_ids_and_lists_of_them",
    "test_fields_that_ask_for_nothing_are_accepted_and_others_are_named",
    "test_json_answers_follow_their_schema_and_plain_ones_do_not",
    "test_logprobs_come_with_bytes_and_alternatives",
    "test_text_parts_are_their_text_and_developer_is_system",
    "test_the_end_of_a_prompt_may_be_the_answers_beginning",
    "test_the_models_are_the_base_and_its_adapters",
    "test_without_a_limit_an_answer_may_fill_the_context",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"), context=512)


@pytest.fixture(scope="module")
def server(folder: Path, adapter: Path) -> Iterator[Running]:
    """The same model and adapter, in float32, as GGUF files; keys and values stay float16 in llama.cpp."""
    write_model(folder, folder / "tiny.gguf", quant="f32")
    write_adapter(adapter, folder, adapter / "tuned.gguf")
    limits = app.Limits(max_batch=4)
    load = running.gguf_loader(
        folder / "tiny.gguf", folder, "tiny", {"tuned": adapter / "tuned.gguf"}, template="alpaca", limits=limits
    )
    with served(folder, load=load, limits=limits) as serving:
        yield serving


@pytest.fixture(scope="module")
def client(server: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.base}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def alone(folder: Path) -> Engine:
    torch.set_num_threads(1)
    return Engine(folder)
