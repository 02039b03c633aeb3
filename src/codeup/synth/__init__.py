"""New training rows written by a model and proved by running them: Self-Instruct, Evol-Instruct, OSS-Instruct.

    seeds -> prompts -> endpoint.py (any OpenAI-compatible server, replayed from cache.py) -> sections.py
          -> evaluate/checks.py, mutants.py, prove.py (tests run in the sandbox) -> decontaminate -> alike.py
          -> rows.jsonl

`make.py` is the way in. Python only; other languages are neither asked for nor validated.
"""
