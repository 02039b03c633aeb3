"""Runs hostile code and returns what it did.

Three processes, so that no process holds both the answers and the program under test:

    caller            pool.py      may hold torch; is never forked; hands out jobs and collects verdicts
      referee         referee.py   one per worker, trusted: holds the tests and compares plain values
        zygote        zygote.py    isolated once (layers.py), imports done; forks one fresh child per sample
          child       runner.py    hostile: runs the program, sees one call's arguments at a time, returns plain data

Protects the files, the network, the environment, the other processes and the verdict from the program. Does not protect
against a bug in the Linux kernel, and does not hide how long things take.
"""
