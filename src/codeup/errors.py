"""The two kinds of failure a person meets.

`UserError` is something the user can mend: the message says what is wrong, where, and how to mend it; the command line
prints it without a traceback and exits 2. `WorkFailed` is work that was asked for correctly and did not succeed (a loss
that became NaN, a sandbox that could not start); exit code 1. Our own bugs are `assert`s and ordinary exceptions.
"""


class CodeUpError(Exception):
    """Base of the errors that the command line prints as one message."""


class UserError(CodeUpError):
    """The input is wrong.

    >>> str(UserError("column 'output' is not in the file", where="data/rows.json", mend="name it with columns:"))
    "data/rows.json: column 'output' is not in the file\\n  to mend: name it with columns:"
    """

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__((f"{where}: " if where else "") + what + (f"\n  to mend: {mend}" if mend else ""))


class WorkFailed(CodeUpError):
    """The work was asked for correctly and failed; nothing finished before it is lost."""


def installs(extra: str) -> str:
    """How an extra is installed: from a clone, since on PyPI the name belongs to another project.

    >>> installs("json")
    "pip install -c constraints.txt '.[json]', in the folder that CodeUp was cloned to"
    """
    return f"pip install -c constraints.txt '.[{extra}]', in the folder that CodeUp was cloned to"
