"""The packaged nano model: its tasks, its corpus and the script that made it."""
