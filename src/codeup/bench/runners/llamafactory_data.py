"""Tokenise Alpaca rows as LLaMA-Factory does before training; runs in its own environment, without CodeUp."""

import json
import pathlib
import sys
import time

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

place = pathlib.Path(sys.argv[1])
order = json.loads(place.read_text(encoding="utf-8"))
model_args, data_args, training_args, _, _ = get_train_args(
    {
        "model_name_or_path": order["model"],
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "dataset": "rows",
        "dataset_dir": order["rows_folder"],
        "template": "llama3",
        "cutoff_len": order["cutoff"],
        "output_dir": order["out"],
        "overwrite_cache": True,
        "preprocessing_num_workers": 1,
        "use_cpu": True,
        "report_to": "none",
    }
)
tokenizer = load_tokenizer(model_args)["tokenizer"]
template = get_template_and_fix_tokenizer(tokenizer, data_args)
started, cpu = time.perf_counter(), time.process_time()
rows = get_dataset(template, model_args, data_args, training_args, stage="sft", tokenizer=tokenizer)["train_dataset"]
took = {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu, "rows": len(rows)}
place.with_name("result.json").write_text(json.dumps(took), encoding="utf-8")
