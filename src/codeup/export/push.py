"""Send a folder to the Hub: one repository, one commit, by huggingface_hub's own client.

The folder stays whatever happens, and every failure is one message: no token, a token without the right, a name that is
taken, no network. Uploading again after a failure sends only what is missing (the client keeps the large files that
arrived). Reads no token itself: the client finds HF_TOKEN or what `hf auth login` left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codeup.errors import UserError, WorkFailed

TAKEN, UNAUTHORISED, FORBIDDEN = 409, 401, 403


def push(folder: Path, repo: str, *, private: bool = False, update: bool = False, api: Any = None) -> str:
    """Create `repo` and put the folder's files into it; returns the address of the commit.

    `update` allows a repository that is there already. `api` stands in for huggingface_hub.HfApi(). Raises UserError
    for what the user can mend and WorkFailed for what broke on the way.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    api = api or HfApi()
    if not (api.token or _saved_token()):
        raise UserError("no token of the Hub was found", where=repo, mend="run `hf auth login`, or set HF_TOKEN")
    try:
        api.create_repo(repo, private=private or None, exist_ok=update)
        commit = api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message=f"{folder.name}, exported by CodeUp"
        )
    except OfflineModeIsEnabled:
        raise UserError("HF_HUB_OFFLINE is set", where=repo, mend="unset it to push; the folder is kept") from None
    except HfHubHTTPError as error:
        raise _refused(error, repo, folder) from None
    except ValueError as error:  # the Hub's own check of the card
        raise UserError(f"the Hub refuses the card ({' '.join(str(error).split())})", where=repo) from None
    except OSError as error:
        raise WorkFailed(f"{repo}: the Hub could not be reached ({_first(error)}); {folder} is kept") from None
    except Exception as error:  # the client's transport raises types of its own, all meaning "not sent"
        if type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2", "hf_xet"):
            raise WorkFailed(f"{repo}: the Hub could not be reached ({_first(error)}); {folder} is kept") from None
        raise
    return str(commit.commit_url)


def _saved_token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def _refused(error: Any, repo: str, folder: Path) -> UserError | WorkFailed:
    status = getattr(error.response, "status_code", 0)
    told = error.server_message or _first(error)
    if status == TAKEN:
        return UserError(
            "the name is taken", where=repo, mend="choose another --repo, or give --update to add a commit to it"
        )
    if status in (UNAUTHORISED, FORBIDDEN):
        return UserError(
            f"the Hub refuses this token ({told})", where=repo,
            mend=f"use a token with write access to {repo.split('/')[0]}; the folder is kept: {folder}",
        )  # fmt: skip
    return WorkFailed(f"{repo}: the Hub answered {status} ({told}); {folder} is kept")


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
