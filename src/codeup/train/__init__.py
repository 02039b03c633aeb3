"""Packing, LoRA fine-tuning, checkpoints and merging."""
