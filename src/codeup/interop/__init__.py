"""Files of other trainers, read and written: LLaMA-Factory's training and export YAML, and its output folder."""
