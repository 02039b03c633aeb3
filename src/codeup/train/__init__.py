"""Training: token ids in, adapter out (sft.py), adapter and base in, model out (merge.py).

    tokens.py      token ids on disk, memory-mapped
    packing.py     documents -> packs -> steps, a pure function of (seed, epoch)
    batch.py       packs -> one flat row (1, T) without padding
    attention.py   each document attends to itself only, and the self-test that proves it
    lora.py        the adapter: targets, a lean forward, files
    loss.py        cross entropy of the trained positions only
    objective.py   what is minimised: the seam between the loop and a loss
    preference.py  direct preference optimisation as an objective; dpo.py a stage of it
    trackers.py    the metrics in TensorBoard, Trackio or Weights & Biases too
    checkpoint.py  atomic checkpoints, resume
    sft.py         a training from its inputs to its adapter: job.py carries it out, course.py and loop.py its steps
    sharded.py     a base of which each process holds its share
    ranks.py       several processes that train together; place.py which of them this one is
    needs.py       what memory a stage will need, by arithmetic; shapes.py, counts.py, operations.py, gpus.py for it
    probe.py       a few real steps, to set beside it
    merge.py       base + adapter -> model folder, with the drift measured

Covers LoRA, its kin and full training, on one device or several.
"""
