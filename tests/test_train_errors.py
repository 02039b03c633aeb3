"""What goes wrong before and while training: one message that says what, where and how to mend; nothing is lost.

Wrong input goes through the command line, in this process, on copies of the nano base. Memory really runs out, in a
process of its own with a limit of address space.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from train_models import random_documents, save_tiny_llama, tiny_llama
from typer.testing import CliRunner

from codeup import nano
from codeup import recipe as recipes
from codeup.artifacts import weights_sha256
from codeup.cli.app import app
from codeup.errors import UserError, WorkFailed
from codeup.train import loop, lora, shortage
from codeup.train.attention import segments_of, use_segment_attention
from codeup.train.batch import Batch
from codeup.train.loss import loss_sum
from codeup.train.sft import train_sft
from codeup.train.tokens import open_tokens, write_tokens
from codeup.types import Tokens

DRIVER = Path(__file__).with_name("train_memory_driver.py")


class Case:
    """A recipe that trains one stage on 12 rows, its base (a copy), and a run folder that holds earlier work."""

    def __init__(self, folder: Path) -> None:
        self.base, self.rows, self.run = folder / "base", folder / "rows.json", folder / "run"
        shutil.copytree(nano.base_folder(), self.base)
        self.rows.write_text(json.dumps([{"instruction": f"Double {n}.", "output": f"{2 * n}"} for n in range(12)]))
        self.run.mkdir()
        (self.run / "kept").write_text("earlier work")
        self.settings: list[str] = []
        self.recipe = folder / "recipe.yaml"
        self.recipe.write_text(
            f"name: small\nrun_dir: {self.run}\nmodel: {{base: {self.base}}}\n"
            f"data: {{d: {{sources: [{{source: alpaca, path: {self.rows}}}], cutoff: 128, validation_rows: 2}}}}\n"
            "stages: [{name: s, data: d, epochs: 1, pack_length: 128, batch_tokens: 512, micro_batch_tokens: 512,\n"
            "          evals_per_epoch: 1, lora: {r: 2, alpha: 4}}]\n"
        )

    def config(self, **changes: Any) -> None:
        path = self.base / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def weights(self, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
        path = self.base / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    def invoke(self, *argv: str) -> Any:
        return CliRunner().invoke(app, [*argv] if argv else ["train", str(self.recipe), "--stage", "s", *self.settings])


def missing_rows(case: Case) -> None:
    case.rows.unlink()


def no_base(case: Case) -> None:
    shutil.rmtree(case.base)


def no_tokenizer(case: Case) -> None:
    for path in case.base.glob("tokenizer*"):
        path.unlink()


def no_weights(case: Case) -> None:
    (case.base / "model.safetensors").unlink()


def cut_weights(case: Case) -> None:
    path = case.base / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def a_layer_missing(case: Case) -> None:
    case.weights(lambda tensors: tensors.pop("model.layers.3.mlp.up_proj.weight"))


def weights_of_another_shape(case: Case) -> None:
    case.config(intermediate_size=500)


def unknown_architecture(case: Case) -> None:
    case.config(model_type="llama9", architectures=["Llama9ForCausalLM"])


def encoder_and_decoder(case: Case) -> None:
    case.config(model_type="t5", architectures=["T5ForConditionalGeneration"])


def no_attention_of_others(case: Case) -> None:
    case.config(model_type="bloom", architectures=["BloomForCausalLM"], n_head=6)


def cut_config(case: Case) -> None:
    path = case.base / "config.json"
    path.write_text(path.read_text()[:-30])


def tokens_of_another_vocabulary(case: Case) -> None:
    """The tokenizer has 2,048 tokens, the embedding 61."""
    save_tiny_llama(case.base)


def unknown_target(case: Case) -> None:
    case.settings = ["stages.s.lora.targets=[q_proj,query]"]


def run_folder_below_a_file(case: Case) -> None:
    case.settings = [f"run_dir={case.rows}/run"]


def short_batch(case: Case) -> None:
    case.settings = ["stages.s.batch_tokens=100"]


def short_packs(case: Case) -> None:
    case.settings = ["stages.s.pack_length=64"]


def nothing_to_evaluate(case: Case) -> None:
    case.settings = ["data.d.validation_rows=0"]


def one_name_twice(case: Case) -> None:
    case.recipe.write_text(case.recipe.read_text().replace("stages: [", "stages: [{name: s, data: d},"))


SUPPORTED = "use a decoder such as Llama, Mistral, Qwen2 or Qwen3"
TOGETHER = "config.json and weights must belong together"
WRONG: list[tuple[Callable[[Case], None], str, str]] = [
    (missing_rows, "rows.json", "data_root"),
    (no_base, "base", "Hub id"),
    (no_tokenizer, "base: the folder has no tokenizer.json", "name a folder that holds a model"),
    (no_weights, "base: weights missing: no .safetensors file", "download the model again"),
    (cut_weights, "base/model.safetensors: damaged weight file", "fetch or make it again"),
    (a_layer_missing, "base: model.layers.3.mlp.up_proj.weight: in the weight files missing", TOGETHER),
    (weights_of_another_shape, "down_proj.weight and 17 more: in the weight files missing, or of another", TOGETHER),
    (unknown_architecture, "base: cannot be loaded as a causal language model (The checkpoint", SUPPORTED),
    (encoder_and_decoder, "base: cannot be loaded as a causal language model (Unrecognized", SUPPORTED),
    (no_attention_of_others, "base: cannot be loaded as a causal language model (BloomForCausalLM does not", SUPPORTED),
    (cut_config, "config.json: damaged file", "fetch the model again"),
    (tokens_of_another_vocabulary, "are not in the model's vocabulary of 61; the first is", "own tokenizer"),
    (
        unknown_target,
        "lora.targets: the model has no linear layer called 'query'",
        "choose from: all-linear, q_proj, k_proj",
    ),
    (run_folder_below_a_file, "rows.json/run: cannot create the folder (Not a directory)", "choose another run_dir"),
    (short_batch, "stages[0].batch_tokens: 100 is smaller than the 128 of one pack", "nothing was run"),
    (short_packs, "stages[0].pack_length: 64 is smaller than the 128 tokens that a row of d may have", "cutoff"),
    (nothing_to_evaluate, "stages[0].evals_per_epoch: 1, but d holds no row out", "validation_rows"),
    (one_name_twice, "stages[1].name: another stage is also called 's'", "nothing was run"),
]


@pytest.mark.parametrize(("spoil", "message", "mend"), WRONG, ids=[spoil.__name__ for spoil, _, _ in WRONG])
def test_one_clear_error_and_nothing_lost(
    tmp_path: Path, spoil: Callable[[Case], None], message: str, mend: str
) -> None:
    case = Case(tmp_path)
    spoil(case)
    done = case.invoke()
    assert done.exit_code == 2, (done.output, done.exception)
    assert message in done.stderr and mend in done.stderr
    assert done.stderr.count("error:") == 1 and "Traceback" not in done.output and done.stdout == ""
    assert (case.run / "kept").read_text() == "earlier work"
    assert not list(case.run.glob("steps/train-*/adapter"))


def test_the_recipe_that_is_spoilt_above_trains_as_it_was(tmp_path: Path) -> None:
    case = Case(tmp_path)
    done = case.invoke()
    assert done.exit_code == 0, (done.output, done.exception)
    assert list(case.run.glob("steps/train-s-*/adapter/adapter_model.safetensors"))


def test_every_size_that_does_not_fit_is_named_with_its_line() -> None:
    text = (
        "name: x\nmodel: {base: nano-base}\n"
        "data: {d: {sources: [{source: alpaca}], validation_rows: 0}}\n"
        "stages:\n"
        "  - {name: a, data: d, pack_length: 1024, evals_per_epoch: 0}\n"
        "  - {name: b, data: d, batch_tokens: 4095}\n"
        "  - {name: c, data: d, evals_per_epoch: 2}\n"
    )
    with pytest.raises(UserError) as caught:
        recipes.parse(text, name="x.yaml")
    said = [line for line in str(caught.value).splitlines() if line.startswith("x.yaml:")]
    assert [line.split(": ")[:2] for line in said] == [
        ["x.yaml:5", "stages[0].pack_length"],
        ["x.yaml:6", "stages[1].batch_tokens"],
        ["x.yaml:7", "stages[2].evals_per_epoch"],
    ]


# --- adapters that do not fit ------------------------------------------------------------------------------------


def test_an_unknown_layer_is_found_before_the_weights_are_read(tmp_path: Path) -> None:
    """As with a base from the Hub, which no check of the recipe has seen."""
    write_tokens(tmp_path / "tokens", [Tokens((1, 2, 3), (False, True, True))], vocabulary=64)
    (tmp_path / "base").mkdir()
    shutil.copy(nano.base_folder() / "config.json", tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"no linear layer called 'query'.*\n.*q_proj, k_proj"):
        train_sft(
            model=tmp_path / "base", tokens=tmp_path / "tokens", validation=None, out=tmp_path / "out",
            lora={"targets": ["query"]},
        )  # fmt: skip


def test_an_adapter_of_another_shape_is_refused_by_merge(tmp_path: Path) -> None:
    case = Case(tmp_path)
    adapter = lora.attach(tiny_llama(hidden_size=48, num_hidden_layers=1), r=2, alpha=4, targets=["q_proj"])
    lora.save_adapter(adapter, tmp_path / "adapter", facts={})
    out = tmp_path / "merged"
    done = case.invoke("merge", "--model", str(case.base), "--adapter", str(tmp_path / "adapter"), "--out", str(out))
    assert done.exit_code == 2, (done.output, done.exception)
    assert (
        "model.layers.0.self_attn.q_proj.weight is (192, 192) in the model and (48, 48) in the adapter" in done.stderr
    )
    assert not out.exists()


# --- folders that cannot be written to ---------------------------------------------------------------------------


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Root may write everywhere, so become nobody for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that everybody may read and nobody may write to, in no closed folder itself."""
    folder = Path(tempfile.mkdtemp())
    inside = folder / "closed"
    inside.mkdir()
    folder.chmod(0o755)
    yield inside
    inside.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_run_folder_without_permission_is_found_before_work_begins(closed: Path) -> None:
    case = Case(closed)
    case.settings = [f"run_dir={closed / 'new'}"]
    closed.chmod(0o555)
    with as_somebody_else():
        done = case.invoke()
    assert done.exit_code == 2, (done.output, done.exception)
    assert f"{closed / 'new'}: cannot create the folder (Permission denied)" in done.stderr
    assert "choose another run_dir" in done.stderr and "Traceback" not in done.output


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_weights_that_may_not_be_read_are_named(closed: Path) -> None:
    case = Case(closed)
    (case.base / "model.safetensors").chmod(0)
    with as_somebody_else():
        done = case.invoke()
        with pytest.raises(UserError, match=r"safetensors: cannot be read \(Permission denied\)"):
            weights_sha256(case.base)
    assert done.exit_code == 2, (done.output, done.exception)
    assert "base/model.safetensors: cannot be read (Permission denied)" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_step_folder_of_somebody_else_is_found_before_the_model_is_loaded(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokens(closed / "tokens", random_documents(4))
    (save_tiny_llama(closed / "model") / "model.safetensors").chmod(0o644)
    monkeypatch.setattr("codeup.train.base.load_base", None)
    (closed / "out").mkdir(mode=0o555)
    with as_somebody_else(), pytest.raises(UserError, match=r"out: cannot be written to \(Permission denied\)"):
        train_sft(
            model=closed / "model", tokens=closed / "tokens", validation=None, out=closed / "out",
            lora={"r": 2, "alpha": 4}, tokens_per_batch=64, pack_length=64,
        )  # fmt: skip


# --- memory ------------------------------------------------------------------------------------------------------


def long_documents(count: int) -> list[Tokens]:
    random = np.random.default_rng(0)
    marks = (False, *(True,) * 249)
    return [Tokens(tuple(random.integers(0, 2048, 250).tolist()), marks) for _ in range(count)]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space hold on Linux")
def test_memory_that_runs_out_is_told_in_numbers(tmp_path: Path) -> None:
    """8,192 tokens at once on the nano base, with 100 MiB to spare: about six times too little."""
    write_tokens(tmp_path / "few", long_documents(1))
    write_tokens(tmp_path / "tokens", long_documents(33))
    argv = [sys.executable, str(DRIVER), str(nano.base_folder()), str(tmp_path / "tokens"), str(tmp_path), "100"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("out of memory while training (") and "llocat" in lines[0]
    assert lines[1].startswith("It needs about 1.2 GiB (activations 418 MiB, logits 140 MiB,")
    assert "micro_batch_tokens: 4096 (now 8192; the result stays the same)" in lines[2]
    assert "activation_checkpointing: true" in lines[3]
    assert "all of these" in lines[4] and len(lines) == 5, "4 bits save nothing on so small a base"
    sizes = [float(line.split()[0]) * (1024 if line.split()[1] == "GiB" else 1) for line in lines[2:]]
    assert all(size < 1.2 * 1024 for size in sizes) and sizes[2] == min(sizes)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=["python", "cuda", "cpu", "windows", "mmap"],
)
def test_every_way_to_say_that_memory_ran_out_is_understood(error: Exception) -> None:
    with pytest.raises(WorkFailed, match=r"^out of memory while training \(.+\)\.\nfour words of advice$"):  # noqa: SIM117
        with shortage.out_of_memory_explained(lambda: "four words of advice"):
            raise error


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), OSError(28, "No space left on device")])
def test_other_errors_are_not_taken_for_a_lack_of_memory(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error.args[-1])), shortage.out_of_memory_explained(lambda: ""):
        raise error


def advice(model: Path, *, longest: int = 2000, **changes: Any) -> list[str]:
    settings: dict[str, Any] = {
        "lora": {"r": 32, "targets": "all-linear", "dropout": 0.05},
        "pack_length": 4096,
        "micro_batch_tokens": 4096,
        "dtype": "bfloat16",
        "device": torch.device("cpu"),
        "quantization": "none",
        "activation_checkpointing": False,
    }
    return shortage.advice(shortage.Sizes(model, **settings | changes), longest=longest).splitlines()


def test_the_advice_has_the_numbers_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Llama-3-8B on a card of 22 GiB: weights of 14.96 GiB, and 19.23 in all with checkpointing (needs.py).

    4 bits alone save nothing without it: the library's layers, which they need, keep more activations.
    """
    sizes = {"vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}
    heads = {"num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": False}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **sizes, **heads}))
    monkeypatch.setattr(shortage, "_there", lambda device: 22 << 30)
    lines = advice(tmp_path, device=torch.device("cuda"))
    assert "weights 15.0 GiB" in lines[0] and lines[0].endswith("and 22.0 GiB are there. It would need")
    words = [line.partition(" with ")[2] for line in lines[1:]]
    assert words == [
        "pack_length and micro_batch_tokens: 2048 (now 4096; other packs)",
        "activation_checkpointing: true (a third more time)",
        "all of these",
    ]
    assert lines[2].split()[:2] == ["19.2", "GiB"]
    longer = advice(tmp_path, device=torch.device("cuda"), longest=3000, micro_batch_tokens=16384)
    assert "with micro_batch_tokens: 8192 (now 16384; the result stays the same)" in longer[1]
    full = advice(tmp_path, device=torch.device("cuda"), longest=4096, activation_checkpointing=True)
    assert len(full) == 2 and "nf4" in full[1]


def test_the_advice_says_when_the_memory_should_have_been_enough(tmp_path: Path) -> None:
    save_tiny_llama(tmp_path)
    assert "By this estimate it fits: look for other programs" in advice(tmp_path, dtype="float32")[0]


def test_a_family_that_the_plan_does_not_know_gets_advice_without_numbers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "opt"}')
    (line,) = advice(tmp_path)
    assert "lower micro_batch_tokens" in line and "'opt' model cannot be computed" in line


def test_the_advice_counts_token_rows_and_ranks_of_a_pattern(tmp_path: Path) -> None:
    save_tiny_llama(tmp_path)
    own: list[dict[str, Any]] = [{}, {"token_ids": [3]}, {"rank_pattern": {"q_proj": 1 << 20}}]
    lora = {"r": 2, "targets": "all-linear", "dropout": 0.05}
    plain, rows, wide = (advice(tmp_path, lora=lora | more)[0] for more in own)
    assert "It needs about" in rows and "Without numbers" not in rows
    assert "optimizer" in wide and "optimizer" not in plain


@pytest.mark.parametrize(
    ("changes", "why", "last"),
    [
        ({"method": "full"}, "method: full", "true, set method: lora. Without"),
        ({"quantization": "int8"}, "quantization: int8", "true, set quantization: nf4. Without"),
        ({"lora": {"init": "pissa"}}, "the beginning of PiSSA", "true. Without"),
    ],
)
def test_what_the_plan_does_not_count_gets_advice_without_numbers(
    changes: dict[str, Any], why: str, last: str, tmp_path: Path
) -> None:
    save_tiny_llama(tmp_path)
    (line,) = advice(tmp_path, **changes)
    assert last in line and line.endswith(f"numbers, because {why} is not counted.")
    assert "GiB" not in line and "MiB" not in line


# --- a loss that is not a number ---------------------------------------------------------------------------------


def test_the_kept_batch_names_the_documents_to_blame(tmp_path: Path) -> None:
    """Token 60 has an embedding that is not a number, and only documents 4 and 9 hold it."""
    rows = [Tokens(tuple(i % 60 for i in d.ids), d.trained) for d in random_documents(12, shortest=8)]
    for number in (4, 9):
        ids = rows[number].ids
        rows[number] = Tokens((*ids[:3], 60, *ids[4:]), rows[number].trained)
    write_tokens(tmp_path / "tokens", rows)
    model = tiny_llama()
    with torch.no_grad():
        model.get_input_embeddings().weight[60] = float("inf")
    model.save_pretrained(tmp_path / "model")
    store = open_tokens(tmp_path / "tokens")
    run = prepared(model, store, tmp_path)
    before = {name: p.detach().clone() for name, p in run.named.items()}
    with pytest.raises(WorkFailed, match=r"step 1: loss nan") as caught:
        loop.train_step(run)
    assert f"Of its 12 documents these have no finite loss when alone: 4, 9 of {store.folder}." in str(caught.value)
    assert all(torch.equal(p, before[name]) for name, p in run.named.items()), "no weight has changed"
    kept = np.load(tmp_path / "nan_batch.npz")
    assert sorted(kept["documents"]) == list(range(12))
    starts = np.cumsum([0, *kept["lengths"]])
    for number, start, end in zip(kept["documents"], starts, starts[1:], strict=False):
        assert kept["ids"][0, start:end].tolist() == list(rows[number].ids)
    assert {n for n, loss in zip(kept["documents"], kept["document_loss"], strict=True) if np.isnan(loss)} == {4, 9}


def test_the_kept_batch_can_be_computed_again(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens", random_documents(6))
    model = tiny_llama()
    run = prepared(model, open_tokens(tmp_path / "tokens"), tmp_path)
    packs = run.reader(0)
    with pytest.raises(WorkFailed, match="Each of its 6 documents has a finite loss when alone"):
        loop._refuse_not_finite(run, packs, 1.0, float("inf"))
    kept = np.load(tmp_path / "nan_batch.npz")
    tensors = {name: torch.from_numpy(kept[name]) for name in ("ids", "positions", "predicts", "targets")}
    batch = Batch(lengths=tuple(kept["lengths"].tolist()), **tensors)
    with torch.no_grad():
        total = float(loss_sum(model, run.forward, batch, segments_of(batch)))
    targets = [sum(d.trained[1:]) for d in random_documents(6)]
    assert total == pytest.approx(sum(kept["document_loss"] * np.array(targets)[kept["documents"]]), rel=1e-5)


def prepared(model: Any, store: Any, out: Path) -> loop.Run:
    """A run whose one step holds every document."""
    plan = loop.Plan(store.lengths, store.targets_per_document(), np.arange(len(store)), 64, 4096, epochs=1, seed=0)
    adapter = lora.attach(model, r=2, alpha=4)
    use_segment_attention(model)
    return loop.Run(model, adapter, store, plan, out, 1e-3, 0.0, "cosine", 0.0, 0.0, 64, 0)
