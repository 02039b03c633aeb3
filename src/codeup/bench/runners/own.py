"""Train with CodeUp, or score any tool's adapter, as one process: reads an order, writes its result beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from codeup.types import Event


def train(order: dict[str, Any]) -> dict[str, Any]:
    """The whole training, as `codeup run` calls it."""
    from codeup.train.sft import train_sft

    def tell(event: Event) -> None:
        if event.kind == "progress" and event.total:
            print(f"{event.done}/{event.total} ", flush=True)

    summary = train_sft(
        model=Path(order["model"]),
        tokens=Path(order["tokens"]),
        validation=None,
        out=Path(order["out"]),
        lora={"r": order["rank"], "alpha": 2 * order["rank"], "dropout": order["dropout"]},
        epochs=order["epochs"],
        learning_rate=order["learning_rate"],
        tokens_per_batch=order["batch_tokens"],
        pack_length=order["cutoff"],
        micro_batch_tokens=order["row_tokens"],
        dtype=order["dtype"],
        emit=tell,
    )
    adapter = str(Path(order["out"]) / "adapter")
    return {"seconds": summary["seconds"], "adapter": adapter, "gpu_mb": summary["peak_gpu_mb"]}


def score(order: dict[str, Any]) -> dict[str, Any]:
    """Mean loss of base + adapter over the trained tokens of a store, in fp32, through PEFT and transformers alone."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from codeup.train.tokens import open_tokens

    device = "cpu" if order["cpu"] else "cuda"
    base = AutoModelForCausalLM.from_pretrained(order["model"], dtype=torch.float32, device_map={"": device})
    model = PeftModel.from_pretrained(base, order["adapter"]).eval() if order["adapter"] else base.eval()
    total, count = 0.0, 0
    store = open_tokens(Path(order["tokens"]))
    with torch.no_grad():
        for ids, trained in (store[index] for index in range(len(store))):
            row = torch.tensor(ids[None].astype("int64"), device=device)
            marks = torch.tensor(trained[1:].astype(bool), device=device)
            logits = model(input_ids=row, use_cache=False).logits[0, :-1][marks]
            total += float(torch.nn.functional.cross_entropy(logits, row[0, 1:][marks], reduction="sum"))
            count += int(marks.sum())
    return {"loss": total / count}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    wanted = json.loads(place.read_text(encoding="utf-8"))
    result = train(wanted) if wanted["do"] == "train" else score(wanted)
    place.with_name("result.json").write_text(json.dumps(result), encoding="utf-8")
