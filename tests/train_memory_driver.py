"""Train under a limit of address space: `python train_memory_driver.py MODEL TOKENS OUT MIB`, exit as the CLI does.

The limit is what the process has after its libraries are loaded and a first step of another training was done, and MIB
more. Prints the message of what was raised.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from codeup.errors import WorkFailed
from codeup.train.sft import train_sft


def train(model: Path, tokens: Path, out: Path, pack_length: int) -> None:
    train_sft(
        model=model,
        tokens=tokens,
        validation=None,
        out=out,
        lora={"r": 8, "alpha": 16},
        tokens_per_batch=8192,
        pack_length=pack_length,
        micro_batch_tokens=8192,
    )


if __name__ == "__main__":
    model, tokens, out = map(Path, sys.argv[1:4])
    train(model, tokens.with_name("few"), out / "first", 256)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + int(sys.argv[4]) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        train(model, tokens, out / "second", 256)
    except WorkFailed as error:
        print(error)
        sys.exit(1)
