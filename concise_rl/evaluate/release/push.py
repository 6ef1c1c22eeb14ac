"""Send a released folder to the hub."""

from pathlib import Path

import httpx
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from concise_rl.errors import EngineError


def check_name(repo: str) -> None:
    """
    Raises:
        ValueError: for what cannot be the name of a repository, `ORG/NAME`.
    """
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ValueError(f"--push {repo}: {str(error).splitlines()[0]}") from error
    if "/" not in repo:
        raise ValueError(f"--push {repo}: give ORG/NAME, ORG being an organization of the hub, or your name there.")


def push(folder: Path, repo: str, *, private: bool, kind: str = "model") -> str:
    """Send a folder to a repository of the hub, in one commit: readers see all of it or nothing.

    What the hub has already is not sent again: after a failure the same command goes on.

    Args:
        folder: what to send.
        repo: `ORG/NAME`; made if need be.
        private: whether a repository that is made is private.
        kind: `model` or `dataset`.

    Returns:
        The URL of the commit.

    Raises:
        ValueError: when the hub refuses: no token, no right to write there.
        EngineError: when the hub cannot be reached, or fails.
    """
    api = HfApi()
    try:
        api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo,
            repo_type=kind,
            folder_path=folder,
            commit_message="Release, made by concise-rl release",
            ignore_patterns=[".cache/**"],
        )
    except HfHubHTTPError as error:
        raise _refused(repo, error) from error
    except (httpx.HTTPError, OSError, RuntimeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise EngineError(
            f"The hub at {api.endpoint} could not be reached, or stopped answering ({said}). {folder} is whole: the "
            "same command goes on, and sends nothing twice."
        ) from error
    return done.commit_url


def _refused(repo: str, error: HfHubHTTPError) -> Exception:
    status = error.response.status_code
    said = (str(error).splitlines() or [""])[0]
    if status in (401, 403):
        return ValueError(
            f"The hub does not let you write to {repo} ({status}). Log in with a token that may write: "
            "`hf auth login`, or HF_TOKEN."
        )
    if status < 500:
        return ValueError(f"The hub refuses {repo} ({status}): {said}")
    return EngineError(f"The hub failed ({status}): {said}. The same command goes on, and sends nothing twice.")
