"""A folder -> a repository of the Hugging Face hub, in one commit; what goes wrong is said in our words."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]  # httpx's or httpx2's
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from peftscope.errors import HubError, brief

__all__ = ["Uploaded", "hub_page", "is_hub_id", "repository_problem", "upload"]

REFUSALS = {
    401: "the token is not valid (any more): run 'hf auth login', or set HF_TOKEN to a token of the role 'write'",
    403: "the token may not write there: take a token of the role 'write', and a user or an organisation of yours",
    404: "there is no such user or organisation, or the token may not see it",
    409: "somebody else is changing the repository: give the same command again",
    413: "the hub takes no files as large",
    429: "the hub wants a pause: give the same command again in a few minutes",
}
"""Answers of the hub -> what they mean for an upload, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """What the hub has now."""

    url: str
    """Page of the repository."""
    commit: str
    notes: tuple[str, ...] = ()
    """What the hub had to say on the card."""


def repository_problem(name: str) -> str | None:
    """Why a repository cannot have a name; None where it can.

    >>> repository_problem("me/first-adapter") is None
    True
    >>> repository_problem("first-adapter")
    "'first-adapter': a repository is named USER/NAME, or ORGANISATION/NAME"
    """
    if name.count("/") != 1 or name.startswith("/") or name.endswith("/"):
        return f"{brief(name, 120)!r}: a repository is named USER/NAME, or ORGANISATION/NAME"
    try:
        validate_repo_id(name)
    except HFValidationError:
        return (
            f"{brief(name, 120)!r}: letters, digits, '-', '_' and '.' are allowed, at most 96; neither '--' nor '..' "
            "in it, neither '-' nor '.' at an end, nor '.git'"
        )
    return None


def is_hub_id(name: str | None) -> bool:
    """Whether a name can be that of a repository with its owner; whether there is one, nobody asks."""
    return name is not None and repository_problem(name) is None


def hub_page(repository: str) -> str:
    """Address of a repository at the hub that ``huggingface_hub`` is set to (``HF_ENDPOINT``)."""
    return f"{constants.ENDPOINT}/{repository}"


def upload(folder: Path, repository: str, *, private: bool, ours: Collection[str], message: str) -> Uploaded:
    """Make a repository where there is none, and set its files to those of a folder in one commit.

    Args:
        folder: With the files, none of them in a sub-folder.
        repository: ``USER/NAME``.
        private: Whether nobody else may see it; one that is public already is refused then.
        ours: Names of files that are removed there where the folder has none of them; all others stay.
        message: Of the commit.

    Raises:
        HubError: There is no token, the hub refuses, or it cannot be reached.
    """
    with _hub_errors(repository):
        token = get_token()
    if token is None:
        raise HubError(
            f"{repository}: nobody is logged in at {constants.ENDPOINT}; nothing was uploaded. Run 'hf auth login', or "
            "set HF_TOKEN to a token of the role 'write' (settings, access tokens)"
        )
    api = HfApi(endpoint=constants.ENDPOINT, token=token)
    with _hub_errors(repository), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        # None: an organisation may make its repositories private by itself
        api.create_repo(repository, private=private or None, exist_ok=True)
        if private and not api.model_info(repository).private:
            raise HubError(
                f"{repository}: is public already, and --private was asked for; nothing was uploaded. Make it private "
                f"on {hub_page(repository)}/settings, or name another repository"
            )
        files = sorted(path for path in folder.iterdir() if path.is_file())
        gone = {*ours} - {path.name for path in files}
        operations: list[Any] = [CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=path) for path in files]
        operations += [
            CommitOperationDelete(path_in_repo=name) for name in api.list_repo_files(repository) if name in gone
        ]
        done = api.create_commit(repository, operations, commit_message=message)
    return Uploaded(
        url=hub_page(repository),
        commit=str(done.oid),
        notes=tuple(" ".join(str(each.message).split()) for each in told if each.category is UserWarning),
    )


@contextmanager
def _hub_errors(repository: str) -> Iterator[None]:
    """Say in our words what went wrong on the way to the hub.

    Raises:
        HubError: Something did.
    """
    try:
        yield
    except (HTTPError, OSError, RuntimeError, ValueError, LookupError, TypeError) as error:
        raise HubError(_told(error, repository)) from error


def _told(error: Exception, repository: str) -> str:
    causes = [error]
    while (cause := causes[-1].__cause__) is not None and isinstance(cause, Exception):
        causes.append(cause)
    responses = [found for each in causes if (found := getattr(each, "response", None)) is not None]
    where = f"{repository}: the upload to {constants.ENDPOINT} did not come to its end"
    if any(isinstance(each, json.JSONDecodeError | LookupError | TypeError) for each in causes):
        return f"{where}: what answers there does not speak as the hub does; HF_ENDPOINT says where the hub is"
    if not responses:
        if any(isinstance(each, HTTPError | ConnectionError) for each in causes):
            return f"{where}: the hub cannot be reached ({_first_line(causes[-1])}). Give the same command again"
        return f"{where}: {_first_line(error)}"
    status = int(responses[0].status_code)
    said = getattr(causes[0], "server_message", None)
    reason = REFUSALS.get(status) or f"it answered {status}; give the same command again in a while"
    return f"{where}: {reason} ({status}{f', {_first_line(said)}' if said else ''})"


def _first_line(text: object) -> str:
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return brief(" ".join(lines) or type(text).__name__, 300)
