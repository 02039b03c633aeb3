"""The judge as a service: local verdicts over HTTP, for trainers that reward programs which pass their tests.

    bytes --serve/guard.py--> JSON --requests.py--> items --catalog.py, free.py--> jobs --workers.py--> sandboxes
    client.py <--answering.py-- one JSON object per verdict, as each is reached <-------------'

A verdict holds what a line of verdicts.jsonl holds, its key included, and a reward of 1.0 or 0.0; a sandbox that fails
is an error and never a reward. `app.py` holds the routes, `running.py` lives from start to stop, `client.py` is one
file to copy into a trainer. docs/judging-service.md says what is promised. Not covered: TLS, users and quotas, several
machines.
"""
