"""Train with TRL's SFTTrainer as its documentation shows it; runs in TRL's own environment, without CodeUp."""

import itertools
import json
import pathlib
import sys

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

place = pathlib.Path(sys.argv[1])
order = json.loads(place.read_text(encoding="utf-8"))
tokens = np.load(pathlib.Path(order["rows_folder"], "tokens.npz"))
ids, trained, offsets = (tokens[name] for name in ("ids", "trained", "offsets"))
rows = [
    {"input_ids": ids[a:b].tolist(), "completion_mask": trained[a:b].astype(int).tolist()}
    for a, b in itertools.pairwise(offsets)
]
half = order["dtype"] == "bfloat16"
packed = order["packing"]
settings = SFTConfig(
    output_dir=order["out"],
    bf16=half,
    use_cpu=order["cpu"],
    packing=packed,
    max_length=order["cutoff"],
    per_device_train_batch_size=order["row_tokens"] // order["cutoff"] if packed else order["rows"],
    gradient_accumulation_steps=order["batch_tokens"] // order["row_tokens"] if packed else order["accumulation"],
    learning_rate=order["learning_rate"],
    lr_scheduler_type="cosine",
    warmup_steps=0.1,
    num_train_epochs=order["epochs"],
    logging_steps=5,
    save_strategy="no",
    report_to="none",
    gradient_checkpointing=False,
    completion_only_loss=True,
    model_init_kwargs={"dtype": order["dtype"]},
)
lora = LoraConfig(
    r=order["rank"],
    lora_alpha=2 * order["rank"],
    lora_dropout=order["dropout"],
    target_modules="all-linear",
    task_type="CAUSAL_LM",
)
trainer = SFTTrainer(order["model"], args=settings, train_dataset=Dataset.from_list(rows), peft_config=lora)
seconds = trainer.train().metrics["train_runtime"]
trainer.save_model(order["out"])
result = {"seconds": seconds, "adapter": order["out"]}
if not order["cpu"]:
    result["gpu_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
place.with_name("result.json").write_text(json.dumps(result), encoding="utf-8")
