"""Signals of child processes."""

from __future__ import annotations

import signal


def hears_ctrl_c() -> None:
    """As `preexec_fn`: tests started in the background of a shell ignore SIGINT, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
