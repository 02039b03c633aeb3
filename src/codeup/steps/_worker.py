"""One of the processes that _crew.py starts: `python -m codeup.steps._worker`.

    stdin     one line: the order. Then nothing, until it closes: the process that gave it is gone, and this one ends
    stdout    lines of JSON: {"event": ..}  {"summary": ..}  {"error": {"kind", "what", "where", "mend"}}
    stderr    whatever libraries print, to a file

Exit codes: 0 done, 1 an error that was told, 130 interrupted; a bug leaves its traceback in the file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from typing import Any

from codeup.errors import CodeUpError, UserError
from codeup.steps import _crew
from codeup.types import Event


def main() -> int:
    """Carry out the order on stdin."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that works in the background ignores it
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        order = json.loads(stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()

    def say(**message: Any) -> None:
        print(json.dumps(message), file=pipe, flush=True)

    def emit(event: Event) -> None:
        say(event=asdict(event))

    try:
        say(summary=_crew.carry_out(order, emit))
    except CodeUpError as error:
        user = isinstance(error, UserError)
        what, where, mend = (
            (error.what, error.where, error.mend) if isinstance(error, UserError) else (str(error), "", "")
        )
        say(error={"kind": "UserError" if user else type(error).__name__, "what": what, "where": where, "mend": mend})
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _end_with_stdin() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
