"""Train with LLaMA-Factory from a YAML of its own; runs in its own environment, without CodeUp."""

import json
import pathlib
import sys

from llamafactory.train.tuner import run_exp

place = pathlib.Path(sys.argv[1])
order = json.loads(place.read_text(encoding="utf-8"))
run_exp(
    {
        "model_name_or_path": order["model"],
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": order["rank"],
        "lora_alpha": 2 * order["rank"],
        "lora_dropout": order["dropout"],
        "lora_target": "all",
        "dataset": "rows",
        "dataset_dir": order["rows_folder"],
        "template": "llama3",
        "cutoff_len": order["cutoff"],
        "output_dir": order["out"],
        "per_device_train_batch_size": order["rows"],
        "gradient_accumulation_steps": order["accumulation"],
        "learning_rate": order["learning_rate"],
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.1,
        "num_train_epochs": order["epochs"],
        "bf16": order["dtype"] == "bfloat16",
        "use_cpu": order["cpu"],
        "logging_steps": 5,
        "save_strategy": "no",
        "report_to": "none",
        "disable_gradient_checkpointing": True,
    }
)
seconds = json.loads((pathlib.Path(order["out"]) / "train_results.json").read_text(encoding="utf-8"))["train_runtime"]
place.with_name("result.json").write_text(json.dumps({"seconds": seconds, "adapter": order["out"]}), encoding="utf-8")
